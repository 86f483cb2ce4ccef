"""A runtime whose every step is the test's, and a function that consists of it: no sandbox, no process."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from typing import Any, NamedTuple

from local.runtime_api.reply import Reply
from local.runtime_api.server import RuntimeApiServer
from local.runtime_api.session import Session, TimedOut

PATIENCE_S = 30.0
API = "/2018-06-01/runtime"
HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"


class Said(NamedTuple):
    """What the server answered."""

    status: int
    body: bytes
    fields: dict[str, str]

    @property
    def error_type(self) -> str:
        return str(json.loads(self.body)["errorType"])


class Upload:
    """A streamed answer that the test writes bit by bit."""

    def __init__(self, address: str, request_id: str, content_type: str, mode: str = "streaming") -> None:
        host, _, port = address.partition(":")
        self.sock = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        lines = [
            f"POST {API}/invocation/{request_id}/response HTTP/1.1",
            f"Host: {address}",
            f"Content-Type: {content_type}",
            f"Lambda-Runtime-Function-Response-Mode: {mode}",
            "Transfer-Encoding: chunked",
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        ]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, *pieces: bytes) -> None:
        """Each as a chunk of its own."""
        self.sock.sendall(b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces))

    def end(self, *trailers: str) -> Said:
        """The last chunk; what the server says to it."""
        self.sock.sendall("\r\n".join(["0", *trailers, "", ""]).encode())
        return self.answer()

    def fail(self, error_type: str, message: str) -> Said:
        """The same with the trailers of an error."""
        document = json.dumps({"errorType": error_type, "errorMessage": message}).encode()
        return self.end(
            f"Lambda-Runtime-Function-Error-Type: {error_type}",
            f"Lambda-Runtime-Function-Error-Body: {b64encode(document).decode()}",
        )

    def answer(self) -> Said:
        with HTTPResponse(self.sock, method="POST") as response:
            response.begin()
            return Said(response.status, response.read(), dict(response.getheaders()))

    def cut(self) -> None:
        """Close in the middle."""
        self.sock.close()

    def was_closed(self) -> bool:
        """Wait for the server to close the connection."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


class ScriptedRuntime:
    """Speaks with the server at ``address`` as a runtime does, one request at a time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._connection = HTTPConnection(address, timeout=PATIENCE_S)
        self._others: list[socket.socket] = []

    def ask(self, method: str, path: str, body: bytes | None = None, **fields: str) -> Said:
        self._connection.request(method, path, body, {name.replace("_", "-"): value for name, value in fields.items()})
        response = self._connection.getresponse()
        return Said(response.status, response.read(), dict(response.getheaders()))

    def next(self) -> Said:
        return self.ask("GET", f"{API}/invocation/next")

    def take(self) -> str:
        """The id of the next invocation."""
        said = self.next()
        assert said.status == 200, said
        return said.fields["Lambda-Runtime-Aws-Request-Id"]

    def respond(self, request_id: str, body: bytes = b"{}", **fields: str) -> Said:
        return self.ask("POST", f"{API}/invocation/{request_id}/response", body, **fields)

    def fail(self, request_id: str, body: bytes) -> Said:
        return self.ask("POST", f"{API}/invocation/{request_id}/error", body)

    def fail_init(self, body: bytes) -> Said:
        return self.ask("POST", f"{API}/init/error", body)

    def register(self, body: bytes = b'{"events":[]}', name: str = "test") -> Said:
        return self.ask("POST", "/2020-01-01/extension/register", body, Lambda_Extension_Name=name)

    def park(self, method: str, path: str, **fields: str) -> socket.socket:
        """A request whose answer is not waited for; the connection."""
        host, _, port = self.address.partition(":")
        sock = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.address}",
            *(f"{n.replace('_', '-')}: {v}" for n, v in fields.items()),
        ]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        self._others.append(sock)
        return sock

    def stream(self, request_id: str, content_type: str = HTTP_INTEGRATION, mode: str = "streaming") -> Upload:
        upload = Upload(self.address, request_id, content_type, mode)
        self._others.append(upload.sock)
        return upload

    def begin(self, request_id: str, head: object = None, body: bytes = b"") -> Upload:
        """A stream with its prelude, and with what comes in the same chunk."""
        upload = self.stream(request_id)
        upload.send(json.dumps({"statusCode": 200} if head is None else head).encode() + bytes(8) + body)
        return upload

    def close(self) -> None:
        """Every connection, as the end of a process does."""
        for sock in self._others:
            sock.close()
        # shutdown, because another thread may sit in a request
        if self._connection.sock:
            try:
                self._connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the server was first
        self._connection.close()


class ScriptedFunction:
    """Stands where a ``Function`` that streams does: its runtime is ``self.runtime``."""

    def __init__(self, timeout_s: float = PATIENCE_S, stream_limit: int | None = None) -> None:
        self.server = RuntimeApiServer(stream_limit) if stream_limit else RuntimeApiServer()
        self.runtime = ScriptedRuntime(self.server.address)
        self.timeout_s = timeout_s
        self.session: Session = self.server.new_session()
        self._platform = ThreadPoolExecutor(4)

    def invoke(self, payload: bytes, *, on_answer: Callable[[Reply], object]) -> Reply:
        try:
            return self.session.invoke(payload, self.timeout_s, on_answer)._replace(stream=None)
        except TimedOut as late:
            self.session.stop()
            return late.reply

    def invoking(self, payload: bytes = b"{}") -> Invoking:
        """An invocation under way."""
        return Invoking(self, payload, self._platform)

    def in_background(self, call: Callable[..., Any], *arguments: object) -> Future[Any]:
        return self._platform.submit(call, *arguments)

    def exit(self, status: int) -> None:
        """The runtime's process ends, and its connections with it."""
        self.runtime.close()
        self.server.end_session(status)

    def stop(self) -> None:
        self.runtime.close()
        self.server.close()
        self._platform.shutdown()


class Invoking:
    """One invocation of a ``ScriptedFunction``: what is known early, and what it ends with."""

    def __init__(self, function: ScriptedFunction, payload: bytes, pool: ThreadPoolExecutor) -> None:
        self._early: list[Reply] = []
        self._is_early = threading.Event()
        self._end = pool.submit(function.invoke, payload, on_answer=self._answered)

    def _answered(self, reply: Reply) -> None:
        self._early.append(reply)
        self._is_early.set()

    def early(self) -> Reply:
        assert self._is_early.wait(PATIENCE_S), "there is no answer yet"
        return self._early[0]

    def end(self) -> Reply:
        return self._end.result(PATIENCE_S)

    def was_early(self) -> bool:
        return bool(self._early)
