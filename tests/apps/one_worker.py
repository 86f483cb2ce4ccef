"""An app with one worker: it serves one connection after the other, as small servers do. Environment, beside ``PORT``:

=================  ===================================================================================================
``JOURNAL``        a file to which each request line is appended
``PAGE_MS``        how long ``GET /`` takes
``FIRST_PAGE_MS``  how long the first one takes instead
``PAGE_STATUS``    its status (default 200)
``PAGE_BYTES``     the size of its body
``LISTEN_MS``      wait so long before listening
``ANSWERS``        exit with status 0 after so many answers
``GRACEFUL``       with ``ANSWERS``: close the listener before the last one
``GAP_MS``         with ``ANSWERS``: a supervisor, which stays, starts the app again after so long
``CRASH``          with ``ANSWERS``: exit with status 7 in the middle of the next request instead
=================  ===================================================================================================
"""

from __future__ import annotations

import _socket
import os
import sys
import time


def number(name: str, default: int = 0) -> int:
    return int(os.environ.get(name) or default)


def serve() -> None:
    time.sleep(number("LISTEN_MS") / 1000)
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(os.environ["PORT"])))
    listener.listen(64)
    journal = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    count = 0
    while True:
        descriptor, _ = listener._accept()
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, descriptor)
        request = b""
        while b"\r\n\r\n" not in request and (data := sock.recv(65536)):
            request += data
        if not request:
            sock.close()
            continue
        head, _, body = request.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        while len(body) < length and (data := sock.recv(65536)):
            body += data
        if os.environ.get("CRASH") and count >= number("ANSWERS"):
            os._exit(7)
        os.write(journal, head.partition(b"\r\n")[0] + b"\n")
        status, size = 200, 2
        if head.startswith(b"GET / "):
            time.sleep(((not count and number("FIRST_PAGE_MS")) or number("PAGE_MS")) / 1000)
            status, size = number("PAGE_STATUS", 200), number("PAGE_BYTES", 2)
        count += 1
        if os.environ.get("GRACEFUL") and count == number("ANSWERS"):
            listener.close()
        try:
            sock.sendall(b"HTTP/1.1 %d X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % (status, size))
            sock.sendall(b"1" * size)
        except OSError:  # nobody listens any more
            pass
        sock.close()
        if count == number("ANSWERS") and not os.environ.get("CRASH"):
            os._exit(0)


def supervise() -> None:
    while True:
        child = os.fork()
        if not child:
            serve()
        os.waitpid(child, 0)
        time.sleep(number("GAP_MS") / 1000)


if __name__ == "__main__":
    sys.exit(supervise() if "GAP_MS" in os.environ else serve())
