"""Requests that we make to the app on our own account, and the paths that are reserved for them.

Lambda freezes a function as soon as it asks for its next invocation, in the middle of whatever the app still does. With
``FAIRLEAD_AFTER_RESPONSE_PATH`` the app is asked there once an answer is on its way, and the next invocation waits for
what it says to that, at most until the deadline of this one. The client has its answer long before.
"""

from __future__ import annotations

from ..errors import InvocationFault
from ..messages import HttpRequest, HttpResponse, header
from .app_client import whole_answer
from .reserved_paths import ReservedPaths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import Invocation
    from ..logs import Log
    from .app_client import App, AppAnswer

UNFINISHED = "x-fairlead-unfinished"  # between the host of ``fetch`` and us: of its answer, and of our question
FORBIDDEN = HttpResponse(
    403, "Forbidden", (("content-type", "text/plain"), ("cache-control", "no-store")), b"403 Forbidden\n"
)


def internal_request(path: str, host: str, request_id: str = "") -> HttpRequest:
    """The request to a reserved path. ``host``: ``Config.host_header``. No client can send its last field."""
    headers = [("host", host), ("content-length", "0"), ("user-agent", "fairlead")]
    if request_id:
        headers.append(("x-fairlead-request-id", request_id))
    return HttpRequest("POST", path, headers)


class AfterResponse:
    """An app that is asked at ``path`` after each of its answers.

    ``app`` answers clients; ``itself`` is the same app with nothing around it, since hooks, failing statuses and
    compression are for what clients ask.
    """

    def __init__(self, app: App, itself: App, path: str, host: str, log: Log) -> None:
        self._app = app
        self._itself = itself
        self._path = path
        self._host = host
        self._log = log
        self._answered: Invocation | None = None

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        response = await self._app.ask(request, invocation)
        self._answered = invocation
        return response

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it."""
        answer = await self._app.begin(request, invocation)
        self._answered = invocation
        return answer

    async def settle(self) -> None:
        """As ``App`` has it. What goes wrong here is logged: the invocation has its answer already."""
        invocation, self._answered = self._answered, None
        if invocation:
            await self._finish(invocation)
        await self._app.settle()

    async def _finish(self, invocation: Invocation) -> None:
        try:
            response = await self._itself.ask(self._request(invocation), invocation)
        except InvocationFault as fault:
            self._log("ERROR", f"work after the response: {fault.error_type}: {fault.message}", invocation.request_id)
            return
        if response.status >= 500:
            words = f"work after the response: the app answered {self._path} with status {response.status}"
            self._log("ERROR", words, invocation.request_id)

    def _request(self, invocation: Invocation) -> HttpRequest:
        return internal_request(self._path, self._host, invocation.request_id)


class Unfinished(AfterResponse):
    """The host of ``fetch``: it is asked after an answer that says that work is left to do (``waitUntil``)."""

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        return self._noted(await self._app.ask(request, invocation), invocation)

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it."""
        answer = await self._app.begin(request, invocation)
        return answer._replace(head=self._noted(answer.head, invocation))

    def _noted(self, head: HttpResponse, invocation: Invocation) -> HttpResponse:
        if header(head.headers, UNFINISHED) is None:
            return head
        self._answered = invocation
        return head._replace(headers=[line for line in head.headers if line[0] != UNFINISHED])

    def _request(self, invocation: Invocation) -> HttpRequest:
        request = super()._request(invocation)
        return request._replace(headers=[*request.headers, (UNFINISHED, "1")])


class Reserved:
    """An app of which some paths are not for clients: they get 403, and the app is not asked."""

    def __init__(self, app: App, paths: ReservedPaths) -> None:
        self._app = app
        self._paths = paths
        self.settle = app.settle

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """As ``App`` has it."""
        return FORBIDDEN if self._is_reserved(request) else await self._app.ask(request, invocation)

    async def begin(self, request: HttpRequest, invocation: Invocation) -> AppAnswer:
        """As ``App`` has it."""
        if self._is_reserved(request):
            return whole_answer(FORBIDDEN)
        return await self._app.begin(request, invocation)

    def _is_reserved(self, request: HttpRequest) -> bool:
        return request.target.partition("?")[0] in self._paths
