"""A scripted Lambda Runtime API, faithful on the wire: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html.

It keeps the platform's rules (one answer per invocation, ``next`` only when the last one is answered, nothing after an
init error, no registration after the first ``next``) and records every request as it came. What a client does against
the rules is answered as the platform would answer it and noted in ``violations``; leaving the ``with`` block fails on
any that the test did not take.

When its script is used up, ``next`` is held open for ever, as Lambda does while idle. ``add_stop`` ends the client.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from urllib.parse import unquote

from .wire import (
    ConnectionGone,
    MalformedRequest,
    RecordedRequest,
    Reply,
    RequestReader,
    Wire,
    is_gone,
    reset,
    write_reply,
)

if TYPE_CHECKING:
    from .process import BootstrapProcess

Found = TypeVar("Found")

WAIT_SECONDS = 30.0  # room for a machine that does other things: what works does not wait so long
POLL_SECONDS = 0.02  # how often a held request looks whether its client is still there
PAYLOAD_LIMIT = 6_291_556
FUNCTION_ARN = "arn:aws:lambda:eu-central-1:123456789012:function:fairlead-test"
TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

ROUTES = (
    ("next", "GET", r"/2018-06-01/runtime/invocation/next"),
    ("response", "POST", r"/2018-06-01/runtime/invocation/([^/?#]+)/response"),
    ("error", "POST", r"/2018-06-01/runtime/invocation/([^/?#]+)/error"),
    ("init_error", "POST", r"/2018-06-01/runtime/init/error"),
    ("restore_next", "GET", r"/2018-06-01/runtime/restore/next"),
    ("restore_error", "POST", r"/2018-06-01/runtime/restore/error"),
    ("register", "POST", r"/2020-01-01/extension/register"),
    ("extension_next", "GET", r"/2020-01-01/extension/event/next"),
    ("extension_error", "POST", r"/2020-01-01/extension/(?:init|exit)/error"),
)

# What these mean for the invocation does not depend on what the client is told.
SETTLING = ("response", "error", "init_error")


class Answer(NamedTuple):
    """What an invocation was answered with; ``status`` is what the fake said to that."""

    kind: str  # "response" or "error"
    body: bytes
    headers: list[tuple[str, str]]
    status: int
    request: RecordedRequest

    @property
    def document(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class FakeRuntimeApi:
    """A Runtime API for one child process. ``concurrency`` is how many invocations may be open at once."""

    def __init__(self, concurrency: int = 1) -> None:
        self.concurrency = concurrency
        self.requests: list[RecordedRequest] = []
        self.violations: list[str] = []
        self.processes: list[BootstrapProcess] = []
        self._changed = threading.Condition()
        self._events: deque[tuple[str | None, Callable[[], Reply]]] = deque()
        self._scripts: dict[str, deque[Reply]] = {}
        self._answers: list[tuple[str, Answer]] = []
        self._handed: set[str] = set()
        self._open: list[str] = []  # handed out and not answered
        self._polling: dict[int, socket.socket] = {}
        self._extensions: dict[str, str] = {}  # identifier: name
        self._connections: dict[int, socket.socket] = {}
        self._connection_count = 0
        self._request_ids = 0
        self._has_failed_init = False
        self._is_over = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        leftovers = [line for process in self.processes for line in process.stop()]
        self._close()
        if kind is None:
            assert not self.violations, f"the Runtime API's rules were broken: {self.violations}{self._outputs()}"
            assert not leftovers, f"left running after the bootstrap ended: {leftovers}{self._outputs()}"

    # The script

    def add_event(
        self,
        payload: object = None,
        *,
        request_id: str | None = None,
        deadline_ms: int | str | None = None,
        deadline_s: float = 60,
        headers: Mapping[str, str | None] | None = None,
        spelling: Callable[[str], str] = str,
        wire: Wire | None = None,
    ) -> str:
        """Let one ``GET next`` answer with an event; its request id.

        ``payload`` is sent as it is when it is bytes, else as JSON. The deadline is ``deadline_s`` after the event was
        handed out, as the platform counts it, unless ``deadline_ms`` names it. A header given as None is left out.
        ``spelling`` rewrites every header name.
        """
        self._request_ids += 1
        request_id = request_id or f"00000000-0000-4000-8000-{self._request_ids:012d}"
        body = payload if isinstance(payload, bytes) else json.dumps({} if payload is None else payload).encode()

        def reply() -> Reply:
            deadline = int((time.time() + deadline_s) * 1000) if deadline_ms is None else deadline_ms
            fields: dict[str, str | None] = {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": FUNCTION_ARN,
                "Lambda-Runtime-Trace-Id": TRACE_ID,
                **(headers or {}),
            }
            sent = tuple((spelling(name), value) for name, value in fields.items() if value is not None)
            return Reply(200, body, sent, wire or Wire())

        self._add(request_id, reply)
        return request_id

    def add_next(self, reply: Reply) -> None:
        """Let one ``GET next`` answer with anything else."""
        self._add(None, lambda: reply)

    def add_stop(self) -> None:
        """Let ``GET next`` answer 410: the client has to exit non-zero."""
        self.add_next(Reply(410, b'{"errorMessage":"stopped by the test","errorType":"Gone"}'))

    def script(self, kind: str, *replies: Reply) -> None:
        """Answer the coming requests of a kind (see ``ROUTES``) with these instead of what the platform would say."""
        assert kind != "next", "use add_event or add_next"
        with self._changed:
            self._scripts.setdefault(kind, deque()).extend(replies)

    # What came

    def of_kind(self, *kinds: str) -> list[RecordedRequest]:
        """The requests of these kinds, in the order of their arrival."""
        with self._changed:
            return [request for request in self.requests if _route(request)[0] in kinds]

    @property
    def nexts(self) -> list[RecordedRequest]:
        """Every ``GET next``."""
        return self.of_kind("next")

    @property
    def posts(self) -> list[RecordedRequest]:
        """Every response, error and init error."""
        return self.of_kind("response", "error", "init_error")

    def take_violations(self) -> list[str]:
        """The violations so far; the test expected them, so they no longer fail it."""
        taken, self.violations = self.violations, []
        return taken

    # Waiting

    def wait_answer(self, request_id: str, *, timeout: float = WAIT_SECONDS) -> Answer:
        """What the invocation was answered with."""

        def find() -> Answer | None:
            return next((answer for known, answer in self._answers if known == request_id), None)

        return self._wait(find, f"an answer to {request_id}", timeout)

    def wait_answers(self, request_ids: Sequence[str], *, timeout: float = WAIT_SECONDS) -> dict[str, Answer]:
        """What the invocations were answered with; less than all of them when the bootstrap has ended before."""

        def find() -> dict[str, Answer] | None:
            found = {known: answer for known, answer in self._answers if known in request_ids}
            is_over = not self._connections and all(process.has_exited() for process in self.processes)
            return found if is_over or len(found) == len(request_ids) else None

        # In a list, since nothing at all is an outcome too.
        return self._wait(lambda: None if (found := find()) is None else [found], f"{request_ids}", timeout)[0]

    def wait_init_error(self, *, timeout: float = WAIT_SECONDS) -> RecordedRequest:
        """The init error that was posted."""
        return self._wait(lambda: self._completed("init_error"), "an init error", timeout)

    def wait_next(self, count: int = 1, *, timeout: float = WAIT_SECONDS) -> None:
        """Wait until ``GET next`` has come so many times."""
        self._wait(lambda: len(self.nexts) >= count, f"GET next number {count}", timeout)

    def wait_idle(self, *, timeout: float = WAIT_SECONDS) -> None:
        """Wait until the script is used up and the client waits in ``next`` for more."""
        self._wait(lambda: not self._events and len(self._polling) >= 1, "an idle client", timeout)

    @property
    def polling(self) -> frozenset[int]:
        """The connections on which ``GET next`` is held."""
        with self._changed:
            return frozenset(self._polling)

    def wait_polling(self, other_than: frozenset[int] = frozenset(), *, timeout: float = WAIT_SECONDS) -> None:
        """Wait until ``GET next`` is held as often as it may be, and not on just these connections."""
        self._wait(
            lambda: len(self._polling) == self.concurrency and self._polling.keys() != other_than,
            f"{self.concurrency} requests for the next event",
            timeout,
        )

    def wait_registered(self, *, timeout: float = WAIT_SECONDS) -> RecordedRequest:
        """The request that registered an extension, once its ``event/next`` waits too."""
        self._wait(lambda: self._completed("extension_next"), "an extension that waits for events", timeout)
        return self.of_kind("register")[0]

    def _completed(self, kind: str) -> RecordedRequest | None:
        return next((request for request in self.of_kind(kind) if request.is_complete), None)

    def _wait(self, find: Callable[[], Found | None], what: str, timeout: float) -> Found:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (found := find()):
                # A client that has ended and whose connections are read to the end will not send anything more.
                is_dead = self.processes and not self._connections and all(p.has_exited() for p in self.processes)
                if is_dead or time.monotonic() > deadline:
                    if found := find():  # it has ended between the two looks, and that may be what is waited for
                        break
                    why = "the bootstrap has exited" if is_dead else f"{timeout} s have passed"
                    raise AssertionError(f"waited for {what}, but {why}{self._seen()}{self._outputs()}")
                self._changed.wait(0.05)
            return found

    def _seen(self) -> str:
        lines = [f"  {r.number}. on {r.connection}: {r.method} {r.target} -> {r.status}" for r in self.requests[-20:]]
        return "\n".join([f"\nrequests ({len(self.requests)} in all), violations {self.violations}:", *lines])

    def _outputs(self) -> str:
        return "".join(f"\n{process.describe()}" for process in self.processes)

    # The server

    def _add(self, request_id: str | None, reply: Callable[[], Reply]) -> None:
        with self._changed:
            self._events.append((request_id, reply))
            self._changed.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._connection_count += 1
                number = self._connection_count
                self._connections[number] = sock
                thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
                self._threads.append(thread)
            thread.start()

    def _close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
            for sock in (self._listener, *self._connections.values()):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # the client was first
        for thread in list(self._threads):
            thread.join(WAIT_SECONDS)
        self._listener.close()

    def _serve(self, sock: socket.socket, connection: int) -> None:
        reader = RequestReader(sock)
        try:
            while self._exchange(reader, sock, connection):
                pass
        except MalformedRequest as error:
            self._note(f"malformed: {error}")
            reset(sock)
        except (ConnectionGone, OSError):
            pass  # the request stays recorded as incomplete
        finally:
            sock.close()
            with self._changed:
                del self._connections[connection]
                self._changed.notify_all()

    def _exchange(self, reader: RequestReader, sock: socket.socket, connection: int) -> bool:
        head = reader.head()
        if head is None:
            return False
        with self._changed:
            request = RecordedRequest(len(self.requests) + 1, connection, *head)
            self.requests.append(request)
            self._changed.notify_all()
            scripted = self._scripted(_route(request)[0])
        self._check_head(request)
        limit = scripted.read if scripted and scripted.read is not None else None
        self._read_body(reader, request, limit)
        if limit is None and reader.has_more():
            self._note(f"pipelining: more bytes after {request.method} {request.target}, which is not answered yet")
        reply = self._decide(request, sock, scripted)
        return reply is not None and write_reply(sock, reply, lambda: self._is_over)

    def _scripted(self, kind: str) -> Reply | None:
        replies = self._scripts.get(kind)
        return replies.popleft() if replies else None

    def _read_body(self, reader: RequestReader, request: RecordedRequest, limit: int | None) -> None:
        if limit == 0:
            return
        for piece in reader.body(request.headers, request.trailers):
            with self._changed:
                request.received += piece
                self._changed.notify_all()
            if limit is not None and len(request.received) >= limit:
                return

    def _check_head(self, request: RecordedRequest) -> None:
        where = f"{request.method} {request.target}"
        if len(request.header_values("Host")) != 1:
            self._note(f"{where}: no Host, or several")
        if request.header_values("Expect"):
            self._note(f"{where}: Expect")
        if request.header_values("Transfer-Encoding") and not _is_streamed(request):
            self._note(f"{where}: Transfer-Encoding")
        framing = request.header_values("Content-Length") + request.header_values("Transfer-Encoding")
        if request.method == "POST" and not framing:
            self._note(f"{where}: no Content-Length")
        if len(framing) > 1:
            self._note(f"{where}: more than one length")

    def _note(self, violation: str) -> None:
        with self._changed:
            self.violations.append(violation)
            self._changed.notify_all()

    # The platform's rules

    def _decide(self, request: RecordedRequest, sock: socket.socket, scripted: Reply | None) -> Reply | None:
        """The reply to a complete request, or None when the client or the test is gone."""
        kind, request_id = _route(request)
        with self._changed:
            request.is_complete = scripted is None or scripted.read is None
            if kind == "next":
                reply = self._on_next(request, sock)
            elif kind == "extension_next":
                reply = scripted or self._on_extension_next(request, sock)
            elif scripted and kind not in SETTLING:
                reply = scripted
            else:
                usual: Reply = getattr(self, f"_on_{kind}")(request, request_id)
                reply = scripted or usual
            request.status = reply.status if reply and reply.wire.end_at != 0 else 0
            if kind in ("response", "error"):
                answer = Answer(kind, request.body, request.headers, request.status, request)
                self._answers.append((request_id, answer))
            self._changed.notify_all()
            return reply

    def _on_next(self, request: RecordedRequest, sock: socket.socket) -> Reply | None:
        for connection, held in list(self._polling.items()):
            if is_gone(held):  # its thread has not noticed yet
                del self._polling[connection]
        if self._has_failed_init:
            return self._refuse(403, "InvalidStateTransition", "next after an init error")
        if self._polling and len(self._polling) >= self.concurrency:
            return self._refuse(403, "InvalidStateTransition", "overlapping next")
        if len(self._open) + len(self._polling) >= self.concurrency:
            return self._refuse(403, "InvalidStateTransition", f"next before {self._open} was answered")
        self._polling[request.connection] = sock
        self._changed.notify_all()
        try:
            if not self._hold(request, sock, lambda: bool(self._events)):
                return None
        finally:
            self._polling.pop(request.connection, None)
        request_id, make = self._events.popleft()
        reply = make()
        if request_id and reply.status == 200 and reply.wire.is_complete:
            self._handed.add(request_id)
            self._open.append(request_id)
        return reply

    def _hold(self, request: RecordedRequest, sock: socket.socket, is_due: Callable[[], bool]) -> bool:
        has_complained = False
        while not self._is_over and not is_gone(sock):
            if not has_complained and RequestReader(sock).has_more():
                has_complained = True
                self._note(f"pipelining: more bytes while {request.target} is not answered")
            if is_due():
                return True
            self._changed.wait(POLL_SECONDS)
        return False

    def _on_response(self, request: RecordedRequest, request_id: str) -> Reply:
        mode = request.header("Lambda-Runtime-Function-Response-Mode")
        if mode is not None and mode.lower() != "streaming":
            return self._refuse(400, "InvalidFunctionResponseMode", f"response mode {mode!r}")
        if refusal := self._settle(request_id):
            return refusal
        if not _is_streamed(request) and len(request.received) > PAYLOAD_LIMIT:
            message = f"Exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes)."
            return Reply(413, _error(message, "RequestEntityTooLarge"))
        return Reply()

    def _on_error(self, request: RecordedRequest, request_id: str) -> Reply:
        return self._settle(request_id) or Reply()

    def _settle(self, request_id: str) -> Reply | None:
        if request_id not in self._handed:
            return self._refuse(400, "InvalidRequestID", f"a post for the unknown id {request_id!r}")
        if request_id not in self._open:
            return self._refuse(403, "InvalidStateTransition", f"a second answer to {request_id!r}")
        self._open.remove(request_id)
        return None

    def _on_init_error(self, request: RecordedRequest, _: str) -> Reply:
        if self._has_failed_init:
            return self._refuse(403, "InvalidStateTransition", "a second init error")
        if len(self.nexts) > 0:
            return self._refuse(403, "InvalidStateTransition", "an init error after next")
        self._has_failed_init = True
        return Reply()

    def _on_register(self, request: RecordedRequest, _: str) -> Reply:
        name = request.header("Lambda-Extension-Name")
        if not name or name in self._extensions.values():
            return self._refuse(403, "Extension.InvalidExtensionName", f"extension name {name!r}")
        if self.nexts:
            return self._refuse(403, "Extension.RegistrationClosed", "registration after the first next")
        try:
            events = json.loads(request.received)["events"]
        except (ValueError, KeyError, TypeError):
            return self._refuse(400, "InvalidRequestFormat", f"registration {request.body!r}")
        if "SHUTDOWN" in events:  # ours is never external: it is not a file in /opt/extensions
            return self._refuse(403, "ShutdownEventNotSupportedForInternalExtension", "SHUTDOWN wanted")
        identifier = f"5a1c3d2e-0000-4000-8000-{len(self._extensions) + 1:012d}"
        self._extensions[identifier] = name
        body = b'{"functionName":"fairlead-test","functionVersion":"$LATEST","handler":""}'
        return Reply(200, body, (("Content-Type", "application/json"), ("Lambda-Extension-Identifier", identifier)))

    def _on_extension_next(self, request: RecordedRequest, sock: socket.socket) -> Reply | None:
        if request.header("Lambda-Extension-Identifier") not in self._extensions:
            return self._refuse(403, "Extension.UnknownExtensionIdentifier", "event/next without registration")
        self._hold(request, sock, lambda: False)
        return None

    def _on_extension_error(self, request: RecordedRequest, _: str) -> Reply:
        return Reply()

    def _on_restore_next(self, request: RecordedRequest, _: str) -> Reply:
        return Reply(404, _error("not a SnapStart function", "NotFound"))

    def _on_restore_error(self, request: RecordedRequest, _: str) -> Reply:
        return Reply()

    def _on_unknown(self, request: RecordedRequest, _: str) -> Reply:
        return self._refuse(404, "NotFound", f"wrong path: {request.method} {request.target}")

    def _refuse(self, status: int, error_type: str, violation: str) -> Reply:
        self._note(violation)
        return Reply(status, _error(violation, error_type))


def _route(request: RecordedRequest) -> tuple[str, str]:
    """The kind of a request and the request id in its path, decoded."""
    for kind, method, path in ROUTES:
        match = re.fullmatch(path, request.target)
        if match and request.method == method:
            return kind, unquote(match[1]) if match.re.groups else ""
    return "unknown", ""


def _is_streamed(request: RecordedRequest) -> bool:
    return request.header_values("Lambda-Runtime-Function-Response-Mode") == ["streaming"]


def _error(message: str, error_type: str) -> bytes:
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()
