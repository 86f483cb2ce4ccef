"""Processes as /proc knows them (proc(5)), and which of them belong to the app.

The app's process group is killed with it. What leaves the group (``setsid``, as daemons do) is found by its parents, or
by its environment: a process keeps what it was started with, and so does what it forks.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Environment = Callable[[], Mapping[str, str]]
    """The app's environment, for whoever needs it: making it takes longer than a start has for it."""

# In ``stat_fields``. Times are in clock ticks, mostly of 10 ms.
STATE, PARENT, GROUP, FLAGS, USER_TIME, SYSTEM_TIME, THREADS, START, RESIDENT_PAGES = 0, 1, 2, 6, 11, 12, 17, 19, 21
ZOMBIE = (b"Z", b"X")
EXITING = 0x4  # of the flags: PF_EXITING (include/linux/sched.h)
# Together these are the same in no two environments that can see each other's processes. Extensions have them too, if
# the function sets PORT; but they know the Runtime API, which the app does not (dispatch.HIDDEN_FROM_APP).
MARKS = ("PORT", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "TMPDIR")
HIDDEN = b"AWS_LAMBDA_RUNTIME_API="


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on: the second, the program's name, may hold anything."""
    return read(f"/proc/{pid}/stat").rpartition(b") ")[2].split()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none."""
    fields = stat_fields(pid)
    return int(fields[START]) if fields else 0


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and fields[STATE] not in ZOMBIE


def is_ending(pid: int) -> bool:
    """Whether the process has ended or is about to: a process shows that before its sockets are closed."""
    fields = stat_fields(pid)
    return not fields or fields[STATE] in ZOMBIE or bool(int(fields[FLAGS]) & EXITING)


def is_group_running(group: int) -> bool:
    """Whether any process of the group still holds its sockets.

    A zombie does not, and may stay for ever where nobody waits for orphans; but a leader that has ended is shown as one
    while its other threads have not.
    """
    if not does_group_exist(group):
        return False
    return any(fields[STATE] not in ZOMBIE or int(fields[THREADS]) > 1 for fields in _members(group))


def processor_ticks(group: int) -> int:
    """How much processor time the processes of the group have taken, in clock ticks."""
    return sum(int(fields[USER_TIME]) + int(fields[SYSTEM_TIME]) for fields in _members(group))


def resident_bytes(pid: int) -> int:
    """The process's resident set (VmRSS) in bytes; 0 when there is no such process."""
    fields = stat_fields(pid)
    return int(fields[RESIDENT_PAGES]) * posix.sysconf("SC_PAGE_SIZE") if fields else 0


def group_resident_bytes(group: int) -> int:
    """The sum over the processes of a group, in bytes.

    Pages that they share count for each of them. Their proportional share (smaps_rollup) would not, and takes the
    kernel milliseconds; this takes it 10 us for each process that there is, and a function has few.
    """
    return sum(int(fields[RESIDENT_PAGES]) for fields in _members(group)) * posix.sysconf("SC_PAGE_SIZE")


def does_group_exist(group: int) -> bool:
    """Whether the group has a member, be it a zombie."""
    try:
        posix.killpg(group, 0)
    except OSError:  # nobody left, or somebody else's
        return False
    return True


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process, if it is there."""
    try:
        posix.kill(pid, number)
    except OSError:
        pass


def is_of_app(pid: int, leader: int, environment: Environment) -> bool | None:
    """Whether the process belongs to the app that ``leader`` leads; None when that cannot be known."""
    fields = stat_fields(pid)
    if not fields:
        return None
    if _descends(fields, leader):
        return True
    variables = read(f"/proc/{pid}/environ").split(b"\0")
    if not any(variable.startswith(b"PATH=") for variable in variables):
        return None  # somebody else's, or overwritten by the process's own title, as daemons do it
    return _has_marks(variables, environment())


def strays(leader: int, since: int, environment: Environment) -> list[int]:
    """The app's processes outside of its group. ``since``: when the app was started, in clock ticks."""
    own_group, own_pid = posix.getpgid(0), posix.getpid()
    found = []
    for pid in all_pids():
        if pid == own_pid:  # an emulator (qemu-user) shows another group for it
            continue
        fields = stat_fields(pid)
        if not fields or int(fields[START]) < since or fields[STATE] in ZOMBIE:
            continue
        if int(fields[GROUP]) in (leader, own_group):
            continue
        if is_of_app(pid, leader, environment):
            found.append(pid)
    return found


def _members(group: int) -> list[list[bytes]]:
    """The ``stat_fields`` of each process of the group."""
    return [fields for pid in all_pids() if (fields := stat_fields(pid)) and int(fields[GROUP]) == group]


def _descends(fields: list[bytes], group: int) -> bool:
    """Whether the process, of which these are the ``stat_fields``, or one of its ancestors is of the group."""
    while fields:
        if int(fields[GROUP]) == group:
            return True
        parent = int(fields[PARENT])
        if parent <= 1:
            return False
        fields = stat_fields(parent)
    return False


def _has_marks(variables: list[bytes], environment: Mapping[str, str]) -> bool:
    marks = {f"{name}={environment[name]}".encode("utf-8", "surrogateescape") for name in MARKS if name in environment}
    return marks.issubset(variables) and not any(variable.startswith(HIDDEN) for variable in variables)


def all_pids() -> list[int]:
    """Of every process that can be seen."""
    return [int(name) for name in posix.listdir("/proc") if name.isdigit()]


def read(path: str) -> bytes:
    """A file of /proc, b"" when it cannot be read: it is gone, or somebody else's."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    pieces = []
    try:
        while piece := posix.read(descriptor, 65536):
            pieces.append(piece)
    except OSError:  # it has ended meanwhile
        return b""
    finally:
        posix.close(descriptor)
    return b"".join(pieces)
