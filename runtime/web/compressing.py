"""Compression around the app (``FAIRLEAD_ENABLE_COMPRESSION``); what is compressed, and how, is compression.py's."""

from __future__ import annotations

from .app_client import AppAnswer
from .compression import Compressor, available

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import AppBody, Invocation
    from ..messages import HttpRequest, HttpResponse
    from .app_client import App
    from .compression import Encoder


class Compressing:
    """An app whose answers are compressed where the client accepts it and it pays."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._compressor = Compressor(available())
        self.settle = app.settle

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        return self._compressor.buffered(request, await self._app.ask(request, invocation))

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it."""
        answer = await self._app.begin(request, invocation)
        head, encoder = self._compressor.streamed(request, answer.head)
        return AppAnswer(head, CompressedBody(answer.body, encoder) if encoder else answer.body)


class CompressedBody:
    """A body that is compressed as it comes: what the app has sent can be read by the client at once."""

    def __init__(self, body: AppBody, encoder: Encoder) -> None:
        self._body = body
        self._encoder = encoder
        self._is_over = False
        self.close = body.close

    def ready(self) -> bytes:
        """As ``invocation.AppBody`` has it."""
        octets = self._body.ready()
        return self._encoder.feed(octets) if octets else b""

    async def read(self, watched: int) -> bytes:
        """As ``invocation.AppBody`` has it."""
        while not self._is_over:
            octets = await self._body.read(watched)
            self._is_over = not octets
            if encoded := self._encoder.feed(octets) if octets else self._encoder.finish():
                return encoded
        return b""
