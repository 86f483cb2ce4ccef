"""How a test holds an app in this process, step by step: over a connection to the port that GATE names."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

_socket = socket.create_connection(("127.0.0.1", int(os.environ["GATE"])))


def tell(word: str) -> None:
    """Let the test know."""
    _socket.sendall(f"{word}\n".encode())


def wait() -> None:
    """Wait until the test lets go."""
    _socket.recv(1)


async def wait_async() -> None:
    """The same, while the event loop goes on. No executor's thread outlives what waits for it."""
    loop = asyncio.get_running_loop()
    released = asyncio.Event()
    thread = threading.Thread(target=lambda: (wait(), loop.call_soon_threadsafe(released.set)), daemon=True)
    thread.start()
    await released.wait()
