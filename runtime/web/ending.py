"""Whether an app that has closed a connection did so at the end of its answer, or because it was ending.

An answer without a length ends with the connection, and the kernel closes that too when the app is killed: the two ends
look the same. It closes them before the parent is told, so who answered is looked at in /proc.
"""

from __future__ import annotations

from .app_process import describe_status
from .listening import listeners
from .processes import EXITING, FLAGS, STATE, THREADS, ZOMBIE, read, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = "is ending"
_EXIT_CODE = 49  # in ``stat_fields``
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
        self.has_ended = not is_known or (fields[STATE] in ZOMBIE and int(fields[THREADS]) <= 1)
        self.is_ending = not self.has_ended and bool(int(fields[FLAGS]) & EXITING)
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
    return next(listeners(port), None) is not None or not read("/proc/self/net/tcp")
