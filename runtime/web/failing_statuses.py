"""Statuses of the app that make an invocation fail, for an HTTP event too (``FAIRLEAD_ERROR_STATUS_CODES``)."""

from __future__ import annotations

from ..events import fault_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import Invocation
    from ..messages import HttpRequest, HttpResponse
    from .app_client import App, AppAnswer


class FailingStatuses:
    """An app whose answers with a status in ``ranges`` (both ends included) are raised as ``FunctionFailed``."""

    def __init__(self, app: App, ranges: tuple[tuple[int, int], ...]) -> None:
        self._app = app
        self._ranges = ranges
        self.settle = app.settle

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        response = await self._app.ask(request, invocation)
        if self._fails(response.status):
            raise fault_of(response)
        return response

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it. Of the failed answer's body, what came with its head is told."""
        answer = await self._app.begin(request, invocation)
        if self._fails(answer.head.status):
            started = answer.head._replace(body=answer.body.ready())
            answer.body.close()
            raise fault_of(started)
        return answer

    def _fails(self, status: int) -> bool:
        return any(low <= status <= high for low, high in self._ranges)
