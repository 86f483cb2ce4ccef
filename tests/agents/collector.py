"""A local stand-in for whoever agents send to: HTTP and HTTPS in the way of collectors, and UDP in that of the X-Ray
daemon.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import brotli

from local.gateway import certificate

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "deflate": zlib.decompress,
    "gzip": gzip.decompress,
}
WAIT_S = 30.0


class Collector:
    """``received`` is all that came, decompressed, in the order of its coming."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._changed = threading.Condition()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _taker(self.take))
        self._https = ThreadingHTTPServer(("127.0.0.1", 0), _taker(self.take))
        self._https.socket = certificate.context(certificate.ensure()).wrap_socket(
            self._https.socket, server_side=True, do_handshake_on_connect=False
        )
        self.address = f"127.0.0.1:{self._http.server_port}"
        self.secure_address = f"127.0.0.1:{self._https.server_port}"
        self.udp_address = f"127.0.0.1:{self._udp.getsockname()[1]}"

    def take(self, octets: bytes) -> None:
        with self._changed:
            self.received.append(octets)
            self._changed.notify_all()

    def wait(self, *texts: str) -> None:
        """Until each of ``texts`` has come. Raises AssertionError after ``WAIT_S``."""
        self.wait_octets(*(text.encode() for text in texts))

    def wait_octets(self, *parts: bytes) -> None:
        """Until each of ``parts`` has come. Raises AssertionError after ``WAIT_S``."""
        limit = time.monotonic() + WAIT_S
        with self._changed:
            while missing := [part for part in parts if not any(part in one for one in self.received)]:
                assert time.monotonic() < limit, f"waited for {missing} in {self.received}"
                self._changed.wait(0.1)

    def _read_udp(self) -> None:
        while octets := self._udp.recv(65536):
            self.take(octets)

    @contextmanager
    def running(self) -> Iterator[Collector]:
        servers = (self._http, self._https)
        runs = (*(server.serve_forever for server in servers), self._read_udp)
        threads = [threading.Thread(target=run) for run in runs]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            for server in servers:
                server.shutdown()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
                end.sendto(b"", self._udp.getsockname())
            for thread in threads:
                thread.join(WAIT_S)
            for server in servers:
                server.server_close()
            self._udp.close()


def _taker(take: Callable[[bytes], None]) -> type[BaseHTTPRequestHandler]:
    class Taker(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def do_POST(self) -> None:
            body = self._body()
            take(DECODERS.get(self.headers.get("Content-Encoding", ""), bytes)(body))
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", "0")))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            return body

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Be silent."""

    return Taker
