"""TCP ports of this machine."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

LOOPBACK = "127.0.0.1"
LISTEN = "0A"  # the state in /proc/net/tcp (include/net/tcp_states.h)
ATTEMPTS = 100


class HeldPort:
    """A port number that no other program of Fairlead's on this machine takes, until it is released.

    Other programs are not kept from it: they may open the port at any time.
    """

    def __init__(self, number: int, mark: socket.socket) -> None:
        self.number = number
        self._mark = mark

    def release(self) -> None:
        """Let others take it. May be called again."""
        self._mark.close()


def hold(number: int) -> HeldPort | None:
    """The port ``number``, held; None when another one of Fairlead's holds it.

    What marks it is an abstract Unix socket: it belongs to the same network namespace as the port, and ends with this
    process however that ends.
    """
    mark = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mark.bind(f"\0fairlead-port-{number}")
    except OSError:
        mark.close()
        return None
    return HeldPort(number, mark)


def hold_free(address: str = "") -> HeldPort:
    """A port on which nobody listens at ``address`` (by default at none of this machine's), held."""
    for _ in range(ATTEMPTS):
        with socket.create_server((address, 0)) as found:
            held = hold(found.getsockname()[1])
        if held:
            return held
    raise OSError(f"none of {ATTEMPTS} free ports could be held")


def loopback_address() -> str:
    """One of this machine's 16 million addresses, by chance: a web page cannot find who listens there."""
    first, second, third = secrets.token_bytes(3)
    return f"127.{first or 1}.{second}.{third or 1}"


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


def is_listening(port: int, address: str = LOOPBACK) -> bool:
    """Whether somebody accepts connections on ``port`` of ``address``."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def shut_down(open_socket: socket.socket) -> None:
    """End both directions, which wakes the thread that sits in accept or recv; `close` alone would not."""
    try:
        # Not TLS's own way, which would take it out of the hands of the thread that reads from it.
        socket.socket.shutdown(open_socket, socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was first


def listening_ports(pids: Iterable[int]) -> list[int]:
    """The ports on which the processes ``pids`` of this user listen, sorted; without those that cannot be looked at."""
    owned = {inode for pid in pids for inode in _sockets_of(pid)}
    return sorted({port for inode, port in _listeners() if inode in owned})


def _listeners() -> Iterator[tuple[str, int]]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if fields[3] == LISTEN:
                yield fields[9], int(fields[1].rpartition(":")[2], 16)


def _sockets_of(pid: int) -> Iterator[str]:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1]
