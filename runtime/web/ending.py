"""Whether an app that has closed a connection did so at the end of its answer, or because it was ending.

An answer without a length ends with the connection, and the kernel closes that too when the app is killed: the two ends
look the same. It closes them before the parent is told, so who answered is looked at in /proc.
"""

from __future__ import annotations

from ..c_modules import socket
from .app_process import describe_status
from .processes import read, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = "is ending"
_STATE, _FLAGS, _THREADS, _EXIT_CODE = 0, 6, 17, 49  # of proc(5)'s fields of stat, from the third on
_PF_EXITING = 0x4  # include/linux/sched.h
_LISTEN = b"0A"  # include/net/tcp_states.h
# include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR = 4, 20, 2
_DUMP = _SOCK_DIAG_BY_FAMILY | 0x301 << 16  # NLM_F_REQUEST, NLM_F_DUMP
_DUMP_SIZE = 72  # struct nlmsghdr and struct inet_diag_req_v2
_ONE_SECOND = b"\1" + bytes(15)  # struct timeval; both of Lambda's architectures put the low byte first
_ACCEPTS = b"00010000"  # __SO_ACCEPTCON, include/linux/net.h


def ending_of(leader: int, port: int, unix_socket: str = "") -> str | None:
    """How a process of the app has just ended; ``ENDING`` when that is told in a moment, None when none has.

    ``leader`` is the app's own process, of whose end its parent tells. What a process below it has ended with counts
    only when nobody listens any more: helpers may end as they like, and one whose parent does not ask for its status is
    shown as dead for ever.
    """
    own = _Process(leader)
    if own.has_ended:
        return ENDING
    others = [process for pid in _children(leader) for process in _tree(pid)]
    if not _is_listening(port, unix_socket):
        return next((describe_status(other.status) for other in others if other.has_ended and other.status), ENDING)
    return ENDING if own.is_ending or any(other.is_ending for other in others) else None


class _Process:
    """A process as /proc shows it now."""

    def __init__(self, pid: int) -> None:
        fields = stat_fields(pid)
        is_known = len(fields) > _EXIT_CODE
        # A leader that has ended is shown as dead while its other threads have not.
        self.has_ended = not is_known or (fields[_STATE] in (b"Z", b"X") and int(fields[_THREADS]) <= 1)
        self.is_ending = not self.has_ended and bool(int(fields[_FLAGS]) & _PF_EXITING)
        self.status = int(fields[_EXIT_CODE]) if is_known else 0


def _tree(pid: int) -> Iterator[_Process]:
    """The process and everything that it has forked, as far as that was not left to somebody else."""
    yield _Process(pid)
    for child in _children(pid):
        yield from _tree(child)


def _children(pid: int) -> list[int]:
    return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]


def _is_listening(port: int, unix_socket: str) -> bool:
    """Whether anybody accepts connections there. Where the kernel does not say, somebody does."""
    if unix_socket:
        path = unix_socket.encode()
        rows = [fields for line in read("/proc/self/net/unix").splitlines()[1:] if len(fields := line.split()) > 3]
        return not rows or any(fields[-1] == path and fields[3] == _ACCEPTS for fields in rows)
    try:
        return any(_has_listener(family, port) for family in (socket.AF_INET, socket.AF_INET6))
    except OSError:  # a kernel without it, or a sandbox
        tables = read("/proc/self/net/tcp") + read("/proc/self/net/tcp6")  # some milliseconds on a large machine
        rows = [fields for line in tables.splitlines() if len(fields := line.split()) > 3]
        return not rows or any(fields[3] == _LISTEN and fields[1].endswith(b":%04X" % port) for fields in rows)


def _has_listener(family: int, port: int) -> bool:
    """Ask the kernel for the sockets that listen on a port: sock_diag(7). Raises ``OSError``."""
    words = (_DUMP_SIZE, _DUMP, 0, 0, family | socket.IPPROTO_TCP << 8, 1 << int(_LISTEN, 16))
    request = b"".join(word.to_bytes(4, "little") for word in words) + port.to_bytes(2, "big")
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    try:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ONE_SECOND)
        kernel.send(request.ljust(_DUMP_SIZE, b"\0"))
        kind = int.from_bytes(kernel.recv(65536)[4:6], "little")
    finally:
        kernel.close()
    if kind == _NLMSG_ERROR:
        raise OSError("the kernel does not list sockets")
    return kind == _SOCK_DIAG_BY_FAMILY  # or the end of an empty list
