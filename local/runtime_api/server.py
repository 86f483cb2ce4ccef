"""A Runtime API of our own, where the emulator's does not do: it hands a streamed answer on while it comes.

The same rules and words otherwise. It is a server of this process, outside of the sandbox: the network is the same.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import h11

from runtime.invocation import (
    CLIENT_CONTEXT,
    DEADLINE_MS,
    FUNCTION_ARN,
    INVOCATION_ID,
    PAYLOAD_LIMIT,
    REQUEST_ID,
    RESPONSE_MODE,
    TRACE_ID,
    Invocation,
)

from ..hosts import is_loopback, parse_authority
from ..ports import loopback_address, shut_down
from .session import Gone, Refusal, Session
from .streamed_answer import RECEIVE_BYTES, StreamedAnswer

STREAM_LIMIT = 200 * 1024 * 1024
HEAD_BYTES = (
    1024 * 1024
)  # the X-Ray cause is a header field of up to 64 KiB; Go's servers, like the platform's, take this
DRAIN_S = 5.0
JSON = ("Content-Type", "application/json")
OK = b'{"status":"OK"}\n'
Fields = tuple[tuple[str, str], ...]


class Response(NamedTuple):
    """The answer to a request of the runtime."""

    status: int
    body: bytes
    fields: Fields = (JSON,)


class RuntimeApiServer:
    """The Runtime API at ``address`` for one runtime process after the other, each of which is a session.

    ``stream_limit`` is what a streamed answer may have, in bytes.
    """

    def __init__(self, stream_limit: int = STREAM_LIMIT) -> None:
        self._stream_limit = stream_limit
        host = loopback_address()
        self._listener = socket.create_server((host, 0), backlog=64)
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._conversations: set[Conversation] = set()
        self._session = Session()
        threading.Thread(target=self._accept, daemon=True).start()

    def new_session(self) -> Session:
        """Begin a session for a process that is about to be started; no other may be left."""
        self._session = Session()
        return self._session

    def end_session(self, status: int) -> None:
        """End the session of a process that has ended with this status, after reading what it has sent."""
        self._session.leave()
        self._catch_up()
        limit = time.monotonic() + DRAIN_S
        for conversation in self._open():
            conversation.drain(limit)
        self._session.end(status)

    def close(self) -> None:
        """Serve no more."""
        self._session.stop()
        shut_down(self._listener)
        self._listener.close()
        for conversation in self._open():
            conversation.hang_up()

    def _catch_up(self) -> None:
        """Return when each connection that was made until now has its conversation: they are accepted in order."""
        try:
            with socket.create_connection(self._listener.getsockname(), timeout=DRAIN_S) as marker:
                marker.shutdown(socket.SHUT_WR)
                marker.recv(1)
        except OSError:
            pass  # nobody is served any more

    def _open(self) -> list[Conversation]:
        with self._lock:
            return list(self._conversations)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conversation = Conversation(connection, self._session, self._stream_limit, self._forget)
            with self._lock:
                self._conversations.add(conversation)
            conversation.start()

    def _forget(self, conversation: Conversation) -> None:
        with self._lock:
            self._conversations.discard(conversation)


class Conversation:
    """Serves one connection of the runtime."""

    def __init__(
        self,
        connection: socket.socket,
        session: Session,
        stream_limit: int,
        on_end: Callable[[Conversation], object],
    ) -> None:
        self._connection = connection
        self._session = session
        self._stream_limit = stream_limit
        self._on_end = on_end
        self._http = h11.Connection(h11.SERVER, HEAD_BYTES)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_streaming = False

    def start(self) -> None:
        """Read the requests, in a thread."""
        self._thread.start()

    def drain(self, limit: float) -> None:
        """Return when all has been read of what the runtime, which has ended, sent; an answer that is streamed is
        somebody else's to read."""
        while self._thread.is_alive() and not self._is_streaming and time.monotonic() < limit:
            self._thread.join(0.01)

    def hang_up(self) -> None:
        """Close the connection from another thread."""
        shut_down(self._connection)

    def _run(self) -> None:
        try:
            with self._connection:
                while self._exchange():
                    self._http.start_next_cycle()
        except (h11.RemoteProtocolError, OSError, Gone):
            pass  # the session knows what it means for the invocation
        finally:
            self._on_end(self)

    def _exchange(self) -> bool:
        """Serve one request; returns whether another may follow."""
        head = self._next_event()
        if not isinstance(head, h11.Request):
            return False
        try:
            response = self._response(head)
        except Refusal as refusal:
            response = Response(refusal.status, refusal.body)
        for _ in iter(self._data, b""):
            pass  # of a body that nobody wanted
        self._send(response)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _response(self, head: h11.Request) -> Response:
        if self._http.they_are_waiting_for_100_continue:
            go_on = h11.InformationalResponse(status_code=100, headers=[], reason="Continue")
            self._connection.sendall(self._http.send(go_on) or b"")
        _refuse_browsers(head)
        target = head.target.decode("latin-1").partition("?")[0]
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in head.headers}
        for method, pattern, handle in ROUTES:
            match = pattern.fullmatch(target)
            if match and head.method == method:
                return handle(self, fields, *match.groups())
        raise Refusal(404, "NotFound", f"there is no {head.method.decode('latin-1')} {target}")

    def _next(self, fields: dict[str, str]) -> Response:
        invocation = self._session.next()
        return Response(200, invocation.payload, next_fields(invocation))

    def _answer(self, fields: dict[str, str], request_id: str) -> Response:
        session, mode = self._session, fields.get(RESPONSE_MODE.lower(), "")
        session.begin_answer(request_id, fields.get(INVOCATION_ID.lower(), ""))
        if mode.lower() == "streaming":
            return self._stream(fields.get("content-type", ""))
        if mode:
            raise session.answer_has_a_wrong_mode(mode)
        return self._whole_answer()

    def _error(self, fields: dict[str, str], request_id: str) -> Response:
        self._session.begin_answer(request_id, fields.get(INVOCATION_ID.lower(), ""))
        return self._whole_answer()

    def _whole_answer(self) -> Response:
        kept, size = bytearray(), 0
        try:
            for data in iter(self._data, b""):
                size += len(data)
                kept += data if size <= PAYLOAD_LIMIT else b""
        except (h11.RemoteProtocolError, OSError):
            self._session.answer_broke_off()
            raise
        if size > PAYLOAD_LIMIT:
            raise self._session.answer_is_too_large(size)
        self._session.answer(bytes(kept))
        return Response(202, OK)

    def _stream(self, content_type: str) -> Response:
        session = self._session
        stream = StreamedAnswer(
            self._http,
            self._connection,
            content_type,
            self._stream_limit,
            on_end=session.stream_has_ended,
            on_cut=session.stream_was_cut,
        )
        self._is_streaming = True
        session.answer_is_streamed(stream)
        stream.finished.wait()
        self._is_streaming = False
        return Response(202, OK)

    def _init_error(self, fields: dict[str, str]) -> Response:
        self._session.fail_init(b"".join(iter(self._data, b"")))
        return Response(202, OK)

    def _register(self, fields: dict[str, str]) -> Response:
        try:
            events = json.loads(b"".join(iter(self._data, b"")) or b"{}").get("events", [])
        except (ValueError, AttributeError) as error:
            raise Refusal(400, "InvalidRequestFormat", f"the registration is no JSON object: {error}") from None
        identifier = self._session.register(fields.get("lambda-extension-name", ""), events)
        about = {"functionName": "test_function", "functionVersion": "$LATEST", "handler": ""}
        return Response(200, json.dumps(about).encode(), (JSON, ("Lambda-Extension-Identifier", identifier)))

    def _next_extension_event(self, fields: dict[str, str]) -> Response:
        self._session.next_event(fields.get("lambda-extension-identifier", ""))
        raise Gone

    def _data(self) -> bytes:
        """The next piece of the request's body, ``b""`` at its end."""
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        event = self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(self._connection.recv(RECEIVE_BYTES))
        return event

    def _send(self, response: Response) -> None:
        fields = [*response.fields, ("Content-Length", str(len(response.body)))]
        send, http = self._connection.sendall, self._http
        head = h11.Response(status_code=response.status, headers=[(n.encode(), v.encode()) for n, v in fields])
        parts = (http.send(head), http.send(h11.Data(data=response.body)), http.send(h11.EndOfMessage()))
        send(b"".join(part or b"" for part in parts))


ROUTES: tuple[tuple[bytes, re.Pattern[str], Callable[..., Response]], ...] = (
    (b"GET", re.compile("/2018-06-01/runtime/invocation/next"), Conversation._next),
    (b"POST", re.compile("/2018-06-01/runtime/invocation/([^/]+)/response"), Conversation._answer),
    (b"POST", re.compile("/2018-06-01/runtime/invocation/([^/]+)/error"), Conversation._error),
    (b"POST", re.compile("/2018-06-01/runtime/init/error"), Conversation._init_error),
    (b"POST", re.compile("/2020-01-01/extension/register"), Conversation._register),
    (b"GET", re.compile("/2020-01-01/extension/event/next"), Conversation._next_extension_event),
)


def _refuse_browsers(head: h11.Request) -> None:
    """Raises ``Refusal`` for what a web page sends: it says whose it is, or takes this machine for its own site's."""
    for name, value in head.headers:
        if name in (b"origin", b"sec-fetch-site"):
            raise Refusal(403, "Forbidden", "the Runtime API is for the runtime, and not for web pages")
        host = parse_authority(value.decode("latin-1")) if name == b"host" else None
        if name == b"host" and not (host and is_loopback(host)):
            raise Refusal(403, "Forbidden", f"{value.decode('latin-1')!r} is no name of this machine's Runtime API")


def next_fields(invocation: Invocation) -> Fields:
    """The header of an answer to ``next``."""
    fields = (
        JSON,
        (REQUEST_ID, invocation.request_id),
        (DEADLINE_MS, str(invocation.deadline_ms)),
        (FUNCTION_ARN, invocation.function_arn),
        (TRACE_ID, invocation.trace_id),
        (INVOCATION_ID, invocation.invocation_id),
        (CLIENT_CONTEXT, invocation.client_context),
    )
    return tuple((name, value) for name, value in fields if value)
