"""WSGI and ASGI apps in this process: how they are told of a request, and how their answers are checked.

A server on its way from a socket would know the client's address from its connection; here the event and the header
fields that AWS's front ends have written tell.
"""

from __future__ import annotations

import time

from ..errors import AppTimeout, ClientGone, EnvironmentLost, InvocationFault
from ..events.fields import mapping
from ..events.request import octets_of
from ..http1 import field_text
from ..json_codec import loads
from ..messages import HttpResponse, header
from ..standard import signal
from ..values import NamedTuple
from ..web.app_client import app_deadline
from .handler import HandlerExit, report_exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from ..config import Config
    from ..invocation import Invocation
    from ..messages import HttpRequest
    from .lambda_context import LambdaContext
    from .logs import HandlerLogs

    Returned = TypeVar("Returned")
    from types import FrameType
    from typing import Self


# What is raised can be caught: it is raised again.
AGAIN_S = 0.05


class Late(BaseException):
    """The deadline has passed. Not an ``Exception``, which apps catch."""


class Alarm:
    """A context manager that is used again and again; ``until`` sets its deadline.

    ``patience``: how many signals it takes, ``AGAIN_S`` apart. ``spared``: packages whose code is not interrupted.
    """

    def __init__(self, patience: int = 1, spared: tuple[str, ...] = ()) -> None:
        self._patience = self._left = patience
        self._spared = spared
        self._seconds = 0.0
        self._is_set = False
        self._is_ours = signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        if self._is_ours:
            signal.signal(signal.SIGALRM, self._on_alarm)

    def until(self, deadline: float | None) -> Self:
        """Returns this object, with a deadline in epoch seconds; None is no deadline."""
        self._seconds = 0.0 if deadline is None else max(0.001, deadline - time.time())
        return self

    def __enter__(self) -> None:
        if self._seconds and self._is_ours:
            self._is_set = True
            self._left = self._patience
            signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN_S)

    def __exit__(self, *_: object) -> None:
        if self._is_set:
            self._is_set = False  # first: the signal may have come, and its handler not
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _on_alarm(self, _signal: int, frame: FrameType | None) -> None:
        if not self._is_set:
            return
        self._left -= 1
        interrupted = str(frame.f_globals.get("__name__")).partition(".")[0] if frame else ""
        if self._left <= 0 and interrupted not in self._spared:
            raise Late


PREFIX = "x-forwarded-prefix"  # set by events/request.py when FAIRLEAD_REMOVE_BASE_PATH has applied
NOBODY = "127.0.0.1"  # who asks when no client does, but a trigger or the console's test button
_IN_ADDRESSES = frozenset("0123456789abcdefABCDEF.:")


class Current:
    """The invocation that is being served, as the app may see it."""

    def __init__(self) -> None:
        self.event: Any = None
        self.context: LambdaContext | None = None

    def decode(self, payload: bytes) -> object:
        """The event, which is remembered."""
        self.event = None
        self.event = loads(payload)
        return self.event


class RequestParts(NamedTuple):
    """A request as an interface wants it: in parts."""

    scheme: str
    server: tuple[str, int]
    client: str  # an IP address
    root: str  # the base path that was taken from the path; "" when none was
    path: str  # percent-encoded, as it came
    query: str

    @property
    def path_octets(self) -> bytes:
        """The path, percent-decoded."""
        return octets_of(self.path)


def parts_of(request: HttpRequest, event: object, has_root: bool) -> RequestParts:
    """The parts of ``request``. ``has_root``: there is a base path, so that a prefix in the header is ours."""
    path, _, query = request.target.partition("?")
    fields = dict(request.headers)
    scheme = "https" if fields.get("x-forwarded-proto") == "https" else "http"
    root = fields.get(PREFIX, "") if has_root else ""
    return RequestParts(scheme, _server(fields, scheme), _client(event, fields), root, path, query)


def _server(fields: dict[str, str], scheme: str) -> tuple[str, int]:
    """Name and port. A port in Host is what the client has used; the other is the front end's."""
    host = fields.get("host", "")
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, fields.get("x-forwarded-port", "")
    is_port = port.isascii() and port.isdigit() and len(port) <= 5
    return name or "localhost", int(port) if is_port else 443 if scheme == "https" else 80


def _client(event: object, fields: dict[str, str]) -> str:
    """The address that the front end saw: what stands further left in X-Forwarded-For was written by the client."""
    context = mapping(event.get("requestContext")) if isinstance(event, dict) else {}
    for source in (mapping(context.get("http")), mapping(context.get("identity"))):
        if isinstance(source.get("sourceIp"), str):
            return _address(source["sourceIp"])
    return _address(fields.get("x-forwarded-for", "").rpartition(",")[2].strip())


def _address(text: str) -> str:
    """The IP address, without the port that a load balancer may be told to add."""
    if text.count(":") == 1 or text.startswith("["):
        text = text.rpartition(":")[0].strip("[]")
    return text if text and _IN_ADDRESSES.issuperset(text) else NOBODY


def head_of(status: int, reason: str, fields: Iterable[tuple[bytes, bytes]]) -> HttpResponse:
    """An answer without its body, its fields read as those of a server are."""
    return HttpResponse(status, reason, [(field_text(name).lower(), field_text(value)) for name, value in fields])


def check_length(request: HttpRequest, head: HttpResponse, size: int) -> None:
    """Raises ``InvocationFault`` when the app has announced another length than ``size``, as a client would see it."""
    announced = header(head.headers, "content-length")
    if announced is None or not announced.isdigit() or int(announced) == size or request.method == "HEAD":
        return
    raise bad_answer(f"the app has announced {announced[:20]} bytes and sent {size}")


def bad_answer(why: str) -> InvocationFault:
    """Returns the fault for an answer that the app's interface does not allow."""
    return InvocationFault("Runtime.AppBadResponse", why)


class Rules:
    """The rules for every request to the app: its limits, and what becomes of its exceptions."""

    def __init__(self, config: Config, logs: HandlerLogs) -> None:
        self._margin_ms = config.lifecycle.deadline_margin_ms
        self._logs = logs
        self._exit: HandlerExit | None = None
        self.has_root = bool(config.events.base_path.rstrip("/"))
        self.max_body = config.answers.largest_body

    def deadline(self, invocation: Invocation) -> float | None:
        """Until when the app may take, in epoch seconds. Raises ``AppTimeout``."""
        return app_deadline(invocation, self._margin_ms)

    def report(self, error: BaseException) -> InvocationFault:
        """Logs an exception of the app. Returns the fault that it is reported as."""
        fault = report_exception(error, self._logs)
        if isinstance(fault, HandlerExit):
            self._exit = fault
        return fault

    def after_response(self) -> None:
        """Raises ``HandlerExit`` when the app has ended the process while its answer was being sent."""
        if self._exit:
            raise self._exit


class Guard:
    """Runs code of the app's, which may raise what it likes and take as long as it likes.

    ``in_order``: what comes when the app is not done at the deadline and was left so that it can go on.
    """

    def __init__(self, rules: Rules, alarm: Alarm, in_order: tuple[type[Exception], ...] = ()) -> None:
        self._rules = rules
        self._alarm = alarm
        self._in_order = in_order
        self._is_broken = False

    def run(self, step: Callable[[], Returned], request: HttpRequest, deadline: float | None) -> Returned:
        """Returns what ``step`` does. ``deadline``: epoch seconds. Raises ``InvocationFault`` and ``ClientGone``."""
        try:
            with self._alarm.until(deadline):
                return step()
        except (InvocationFault, ClientGone):
            raise
        except self._in_order:
            raise AppTimeout.of(request.method, request.target) from None
        except Late:
            self._is_broken = True
            raise AppTimeout.of(request.method, request.target) from None
        except BaseException as error:
            raise self._rules.report(error) from None

    def after_response(self) -> None:
        """Raises what ``Rules.after_response`` does, and ``EnvironmentLost``.

        An app that was stopped somewhere in its code is not called again.
        """
        self._rules.after_response()
        if self._is_broken:
            raise EnvironmentLost("Runtime.AppTimeout", "the app was stopped at its deadline")
