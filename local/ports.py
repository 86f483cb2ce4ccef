"""TCP ports of this machine."""

from __future__ import annotations

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """``count`` different ports that nobody listens on. Somebody may be quicker than the caller: be ready for that."""
    with ExitStack() as open_until_all_are_known:
        listeners = [open_until_all_are_known.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port``, on every address."""
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on ``port`` of the loopback."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
