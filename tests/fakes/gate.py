"""How a test holds an app that runs in the bootstrap's own process, step by step."""

from __future__ import annotations

import queue
import socket
import threading
import time
from contextlib import suppress

from .runtime_api import WAIT_SECONDS


class Gate:
    """The other side of ``handlers_web/gate.py``."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._words: queue.Queue[str] = queue.Queue()
        self._connection: socket.socket | None = None
        self._is_there = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let the handler do one step."""
        assert self._is_there.wait(WAIT_SECONDS)
        assert self._connection
        self._connection.sendall(b".")

    def expect(self, word: str) -> None:
        """Wait until the handler says ``word``, which has to be the next that it says."""
        assert self._words.get(timeout=WAIT_SECONDS) == word

    def close(self) -> None:
        """Break both ends."""
        self._listener.shutdown(socket.SHUT_RDWR)
        limit = time.monotonic() + WAIT_SECONDS
        while self._thread.is_alive() and time.monotonic() < limit:
            if self._connection:  # accepted just now, perhaps
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
            self._thread.join(0.01)
        self._listener.close()
        if self._connection:
            self._connection.close()

    def _listen(self) -> None:
        try:
            self._connection, _ = self._listener.accept()
            self._is_there.set()
            for line in self._connection.makefile("r"):
                self._words.put(line.rstrip("\n"))
        except OSError:
            pass
