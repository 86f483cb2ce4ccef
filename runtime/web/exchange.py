"""One invocation on its way between the event and the app, and the steps that it passes."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Protocol

    from ..events import EventFormat
    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse

    class Middleware(Protocol):
        """A step between the event and the app. The first in a list is the outermost."""

        def before(self, exchange: Exchange) -> None:
            """May replace ``request``, or set ``response``: then neither the app nor a further step is asked."""

        def after(self, exchange: Exchange) -> None:
            """May replace ``response``, add to ``filters`` or ``follow_ups``, or raise ``InvocationFault``.

            Called in the reverse order, for each step whose ``before`` has let the request pass.
            """

    class AppBody(Protocol):
        """The rest of an app's answer, as ``invocation.Body``, of which something may have come with the head."""

        waits: Literal[True]

        def ready(self) -> bytes:
            """Returns what there is without waiting; ``b""`` does not mean that it was all."""

        async def read(self, watched: int) -> bytes: ...

        def close(self) -> None: ...

    class InProcessBody(Protocol):
        """The same of an app in this process, as ``invocation.InProcessBody``."""

        waits: Literal[False]

        def ready(self) -> bytes:
            """Returns what there is without calling the app; ``b""`` does not mean that it was all."""

        def read(self, watched: int) -> bytes: ...

        def close(self) -> None: ...

    class Filter(Protocol):
        """Changes the body of a streamed answer as it passes."""

        def feed(self, octets: bytes) -> bytes:
            """Returns what is sent for ``octets``, which are some; ``b""``: nothing yet."""

        def finish(self) -> bytes:
            """Returns what is sent at the end of the body."""


class Exchange:
    """One invocation on its way to the app and back: what is known of it so far."""

    event: object = None
    event_format: EventFormat | None = None  # None: the payload is not JSON
    is_streamed = False
    request: HttpRequest
    response: HttpResponse | None = None  # of a streamed answer, the head
    body: AppBody | InProcessBody | None = None  # of a streamed answer; None: the response has all of it
    passed: Sequence[Middleware] = ()  # the steps that have let the request pass
    filters: Sequence[Filter] = ()  # of the streamed body, the innermost first
    follow_ups: Sequence[HttpRequest] = ()  # sent to the app once the invocation is answered
    # For the request log, metrics and traces, and set only where these are on. Epoch seconds, and monotonic ones.
    began = started = app_began = app_started = app_ms = 0.0
    status = response_bytes = 0  # of the app's answer
    error_type = ""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
