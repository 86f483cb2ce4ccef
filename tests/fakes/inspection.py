"""What another process is waiting for, seen from outside: for rules that would otherwise take a minute to test."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import socket
import time
from collections.abc import Callable
from pathlib import Path

from .runtime_api import WAIT_SECONDS

SYS_PIDFD_GETFD = 438
# recvfrom and recvmsg: they wait as long as the socket's own options say.
RECEIVING_CALLS = {"x86_64": {45, 47}, "aarch64": {207, 212}}[platform.machine()]


def sockets_to(pid: int, port: int) -> list[socket.socket]:
    """Duplicates of the process's TCP connections to ``port``: the same open files, with their flags and options.

    Raises PermissionError where one process may not look into another.
    """
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == port:
            inodes.add(f"socket:[{fields[9]}]")
    links = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    found = [_duplicate(pid, descriptor) for descriptor, link in links.items() if link in inodes]
    assert found, f"process {pid} has no connection to port {port}"
    return found


def _duplicate(pid: int, descriptor: int) -> socket.socket:
    process = os.pidfd_open(pid)
    try:
        ours = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, process, descriptor, 0)
    finally:
        os.close(process)
    if ours < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return socket.socket(fileno=ours)


def time_limits_of(sock: socket.socket) -> list[str]:
    """What ends a receive on the socket before anything arrives. Closes it."""
    with sock:
        limits = []
        if any(sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)):
            limits.append("SO_RCVTIMEO")
        # CPython's settimeout makes a socket non-blocking and polls with the limit before each call.
        if fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK:
            limits.append("O_NONBLOCK")
        return limits


def wait_receiving(pid: int) -> bool:
    """Whether the main thread comes to rest in a receive call."""
    return _becomes(lambda: _system_call(pid) in RECEIVING_CALLS)


def wait_asleep(pid: int) -> None:
    """Wait until the main thread sleeps, in whatever."""
    assert _becomes(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "S")


def wait_hung_up(port: int) -> None:
    """Wait until nobody listens at ``port``, and the peers of all who did have seen the end of their connections.

    The kernel hands that over after the end of the process, and may take its time on a busy machine.
    """
    assert _becomes(lambda: not {"01", "0A"} & set(_tcp_states(port))), f"port {port} is still in use"


def _tcp_states(port: int) -> list[str]:
    """Of each TCP connection from or to ``port``, and of who listens there: 01 is established, 0A is listening."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    suffix = f":{port:04X}"
    return [fields[3] for fields in rows if fields[1].endswith(suffix) or fields[2].endswith(suffix)]


def _system_call(pid: int) -> int:
    number = Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return -1 if number == "running" else int(number)


def _becomes(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.002)
    return True
