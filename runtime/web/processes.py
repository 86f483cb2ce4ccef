"""Processes as /proc knows them (proc(5)), and which of them belong to the app.

The app's process group is killed with it. What leaves the group (``setsid``, as daemons do) is found by its parents, or
by its environment: a process keeps what it was started with, and so does what it forks.
"""

from __future__ import annotations

import posix

from ..standard import signal, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Environment = Callable[[], Mapping[str, str]]
    """The app's environment, for whoever needs it: making it takes longer than a start has for it."""
    from collections.abc import Iterator


# In ``stat_fields``. Times are in clock ticks, mostly of 10 ms.
STATE, PARENT, GROUP, FLAGS, USER_TIME, SYSTEM_TIME, THREADS, START, RESIDENT_PAGES = 0, 1, 2, 6, 11, 12, 17, 19, 21
ZOMBIE = (b"Z", b"X")
EXITING = 0x4  # of the flags: PF_EXITING (include/linux/sched.h)
# Together these are the same in no two environments that can see each other's processes. Extensions have them too, if
# the function sets PORT; but they know the Runtime API, which the app does not (dispatch.HIDDEN_FROM_APP).
MARKS = ("PORT", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "TMPDIR")
HIDDEN = b"AWS_LAMBDA_RUNTIME_API="


def stat_fields(pid: int, count: int = -1) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on: the second, the program's name, may hold anything.

    The first ``count``, and the rest as one, or all; none when there is no such process.
    """
    try:
        descriptor = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return []
    try:  # all of it at once: 52 numbers of at most 20 digits, and the name
        return posix.read(descriptor, 4096).rpartition(b") ")[2].split(None, count)
    except OSError:  # it has ended meanwhile
        return []
    finally:
        posix.close(descriptor)


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
        fields = stat_fields(pid, START + 1)
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


# What shells mean by them.
SHELL_STATUSES = {
    126: " (a program that it calls cannot be executed)",
    127: " (a program that it calls was not found: is the layer that has it attached?)",
}


def describe_status(status: int) -> str:
    """A wait status in words: "exited with status 3", "was killed by SIGKILL"."""
    code = posix.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}{SHELL_STATUSES.get(code, '')}"
    name = _signal_name(-code)
    return f"was killed by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")


def _signal_name(number: int) -> str:
    """The signal's name, of several the first of the alphabet. ``signal.Signals`` takes 4 ms to import."""
    for name in dir(signal):
        if name.startswith("SIG") and name[3] != "_" and getattr(signal, name) == number:
            return name
    return f"signal {number}"


# ---- who listens -----------------------------------------------------------------------------------------------------
#
# Where an app listens, and who listens where it should, as the kernel knows it (sock_diag(7), proc_net(5)).


_LISTEN = b"0A"  # the state in /proc/net/tcp (include/net/tcp_states.h)
# include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 4, 20, 2, 3
_DUMP = _SOCK_DIAG_BY_FAMILY | 0x301 << 16  # NLM_F_REQUEST, NLM_F_DUMP
_DUMP_SIZE = 72  # struct nlmsghdr and struct inet_diag_req_v2
_INODE = slice(84, 88)  # of struct nlmsghdr and struct inet_diag_msg
_ONE_SECOND = b"\1" + bytes(15)  # struct timeval; both of Lambda's architectures put the low byte first
_EVERY = ("0.0.0.0", "::")


def described(group: int) -> str:
    """A sentence about the ports of a process group: "It listens on 127.0.0.1:3000." """
    addresses = addresses_of(group)
    if not addresses:
        return "It listens on no TCP port."
    return f"It listens on {', '.join(addresses)}."


def addresses_of(group: int) -> list[str]:
    """``host:port`` of each TCP socket on which a process of the group listens, sorted."""
    owned = {inode for pid in all_pids() if _is_member(pid, group) for inode in _sockets_of(pid)}
    return sorted({_address(address) for inode, address in _listening() if inode in owned})


def stranger_at(port: int, leader: int, environment: Environment) -> str:
    """Who listens on the port and does not belong to the app that ``leader`` leads: its name and pid.

    "" when the app listens there too, and when it is not known who does.
    """
    held = set(_sockets_of(leader))
    inodes = set()
    for inode in listeners(port):
        if inode in held:
            return ""
        inodes.add(inode)
    if not inodes:
        return ""
    stranger = ""
    for pid in all_pids():
        if inodes.isdisjoint(_sockets_of(pid)):
            continue
        is_the_apps = is_of_app(pid, leader, environment)
        if is_the_apps is not False:
            return ""
        name = read(f"/proc/{pid}/comm").decode("ascii", "replace").strip()
        stranger = f"{name if name.isprintable() else 'a process'} (pid {pid})"
    return stranger


def listeners(port: int) -> Iterator[bytes]:
    """The inode of each socket that listens on the port, of whatever address."""
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from _asked_of_kernel(family, port)
    except OSError:  # a kernel without it, or a sandbox; the tables take milliseconds on a large machine
        ending = b":%04X" % port
        yield from (inode for inode, address in _listening() if address.endswith(ending))


def _asked_of_kernel(family: int, port: int) -> Iterator[bytes]:
    """Raises ``OSError`` when the kernel does not list sockets."""
    words = (_DUMP_SIZE, _DUMP, 0, 0, family | socket.IPPROTO_TCP << 8, 1 << int(_LISTEN, 16))
    request = b"".join(word.to_bytes(4, "little") for word in words) + port.to_bytes(2, "big")
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    try:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ONE_SECOND)
        kernel.send(request.ljust(_DUMP_SIZE, b"\0"))
        while True:
            messages = kernel.recv(65536)
            while messages:
                kind = int.from_bytes(messages[4:6], "little")
                if kind == _NLMSG_ERROR:
                    raise OSError("the kernel does not list sockets")
                if kind == _NLMSG_DONE:
                    return
                yield b"%d" % int.from_bytes(messages[_INODE], "little")
                messages = messages[int.from_bytes(messages[:4], "little") :]
    finally:
        kernel.close()


def _listening() -> Iterator[tuple[bytes, bytes]]:
    """Inode and address of every listening socket that this process can see."""
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                yield fields[9], fields[1]


def _address(field: bytes) -> str:
    """``0100007F:0BB8`` as 127.0.0.1:3000. Words of four octets, the last one first on every machine of Lambda's."""
    digits, _, port = field.decode().partition(":")
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    octets = b"".join(words)
    host = ".".join(map(str, octets)) if len(octets) == 4 else _ipv6(octets)
    number = int(port, 16)
    return f"port {number} of every address" if host in _EVERY else f"{host}:{number}"


def _ipv6(octets: bytes) -> str:
    if not any(octets[:15]):
        return "::1" if octets[15] == 1 else "::"
    return "[" + ":".join(octets[at : at + 2].hex() for at in range(0, 16, 2)) + "]"


def _sockets_of(pid: int) -> Iterator[bytes]:
    """The inodes of the sockets that the process has open."""
    try:
        descriptors = posix.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = posix.readlink(f"/proc/{pid}/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1].encode()


def _is_member(pid: int, group: int) -> bool:
    try:
        return posix.getpgid(pid) == group
    except OSError:
        return False


# ---- whether the app is ending ---------------------------------------------------------------------------------------
#
# Whether an app that has closed a connection did so at the end of its answer, or because it was ending.
#
# An answer without a length ends with the connection, and the kernel closes that too when the app is killed: the two
# ends look the same. It closes them before the parent is told, so who answered is looked at in /proc.


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
