"""The 50 hashes behind the server of the standard library."""

from __future__ import annotations

import os
from hashlib import sha3_512
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The body follows the head in a segment of its own, which would wait for an acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        digest = ""
        for turn in range(50):
            digest = sha3_512((digest + str(turn)).encode()).hexdigest()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(digest)))
        self.end_headers()
        self.wfile.write(digest.encode())

    def log_request(self, *_: object) -> None:
        """Nothing: the others write no log either."""


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
