"""The app: a child process with a process group, a stderr pipe and a record in /tmp.

`bootstrap` may have started it already (``adopt``); restarts, and starts where there is no bash, are ``start``. Both
give it the same descriptors, process group, signal dispositions and environment.

Why a group of its own: the app may fork, and what it forked has to go with it. The price: the platform kills the
bootstrap's group on a timeout and a group of its own survives that. Neither bash nor Python can ask the kernel to end
the app with its parent (PR_SET_PDEATHSIG), so the record tells the next start what to kill.
"""

from __future__ import annotations

import _thread
import posix
import time

from ..c_modules import signal
from ..errors import InitFault
from ..logs import STDERR, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..logs import Log

# What shells mean by them.
SHELL_STATUSES = {
    126: " (a program that it calls cannot be executed)",
    127: " (a program that it calls was not found: is the layer that has it attached?)",
}
TAIL_SIZE = 8 * 1024
READ_SIZE = 64 * 1024
# How often a process that is expected to end soon is looked at.
POLL_S = 0.001
# SIGKILL is not answered by anybody: what takes longer than this is the kernel's business.
KILL_WAIT_S = 1.0
# Time for the last bytes to come through the pipe after the app's end. Its end of file is seen at once, except when a
# process outside of the group still holds the other end.
TAIL_WAIT_S = 0.2
# The same when this process is about to end too: the platform waits for half a second in all.
DRAIN_WAIT_S = 0.05


class AppProcess:
    """The app's process, over all of its restarts."""

    def __init__(self, command: tuple[str, ...], environment: Mapping[str, str], record: str, log: Log) -> None:
        self._command = command
        self._environment = environment
        self._record = record
        self._log = log
        self._stderr: StderrTail | None = None
        self._ended: str | None = "was not started"
        # The thread that ends everything must not miss an app that the loop is just starting.
        self._change = _thread.allocate_lock()
        self.pid = 0

    def adopt(self, pid: int, stderr: int) -> None:
        """Take over an app that `bootstrap` started: a child of this very process, since exec keeps the pid."""
        posix.set_inheritable(stderr, False)
        self._started(pid, stderr)

    def clean_leftover(self) -> None:
        """Kill the app that a killed predecessor of this process has left running, if there is one."""
        clean_leftover(self._record, self._log)

    def start(self) -> None:
        """Start the app. Raises ``InitFault`` ``Runtime.AppExited`` when the command cannot be executed."""
        with self._change:
            self._start()

    def _start(self) -> None:
        reader, writer = posix.pipe()  # neither is inherited by anybody: only the copies that spawn makes are
        actions = [
            (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
            (posix.POSIX_SPAWN_DUP2, writer, STDERR),
            *((posix.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable_descriptors()),
        ]
        try:
            pid = self._spawn(actions)
        except OSError as error:
            posix.close(reader)
            raise InitFault("Runtime.AppExited", f"{self._command[0]} cannot be started: {error.strerror}") from error
        finally:
            posix.close(writer)
        self._started(pid, reader)

    def _spawn(self, actions: Sequence[tuple[object, ...]]) -> int:
        def spawn(command: tuple[str, ...]) -> int:
            return posix.posix_spawnp(
                command[0],
                command,
                self._environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                # CPython ignores these; an app that inherits that would not notice a closed pipe.
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )

        try:
            return spawn(self._command)
        except OSError as error:
            if error.errno != 8:  # ENOEXEC: a script without #!, which every shell runs by itself
                raise
            return spawn(("/bin/sh", *self._command))

    def _started(self, pid: int, stderr: int) -> None:
        self.pid = pid
        self._ended = None
        self._stderr = StderrTail(stderr)
        write_record(self._record, pid)
        _thread.start_new_thread(end_with_leader, (pid,))

    def ended(self) -> str | None:
        """How the app ended, as the rest of a sentence that begins with "the app"; None while it runs."""
        if self._ended is None:
            try:
                pid, status = posix.waitpid(self.pid, posix.WNOHANG)
                if pid:
                    self._ended = describe_status(status)
            except ChildProcessError:  # the shell that started it has taken its exit status
                self._ended = "exited (its status is not known)"
        return self._ended

    def last_words(self) -> str:
        """The last lines that an ended app wrote to stderr."""
        return self._stderr.text() if self._stderr else ""

    def kill(self) -> None:
        """End the app and everything it forked, at once. The port is free afterwards."""
        with self._change:
            self._kill()

    def _kill(self) -> None:
        if self.pid:
            signal_group(self.pid, signal.SIGKILL)
            self._wait_gone(KILL_WAIT_S)
            self.pid = 0
            self._ended = self._ended or "was killed"
            remove_record(self._record)

    def condemn(self) -> None:
        """Begin to end the app and everything it forked; ``kill`` then only waits for it."""
        if self.pid:
            signal_group(self.pid)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, so that the app can finish; SIGKILL for what is still there after ``grace_s``.

        For good: the process is about to exit, and whoever would start the app now waits for that.
        """
        self._change.acquire()
        if self.pid and grace_s:
            signal_group(self.pid, signal.SIGTERM)
            self._wait_gone(grace_s)
        self._kill()
        if self._stderr:  # what the app said at its end must not be lost with this process
            self._stderr.wait_end(DRAIN_WAIT_S)

    def _wait_gone(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while (self.ended() is None or _is_group_running(self.pid)) and time.monotonic() < limit:
            time.sleep(POLL_S)


class StderrTail:
    """Passes the app's stderr on as it comes, and remembers its last 8 KiB.

    A thread, since the loop sits in next for hours: an app must never block on a full pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._tail = b""
        self._open = _thread.allocate_lock()
        self._open.acquire()
        _thread.start_new_thread(self._drain, ())

    def _drain(self) -> None:
        try:
            while data := posix.read(self._descriptor, READ_SIZE):
                write_all(STDERR, data)
                self._tail = (self._tail + data)[-TAIL_SIZE:]
        except OSError:
            pass
        finally:
            posix.close(self._descriptor)
            self._open.release()

    def wait_end(self, seconds: float) -> None:
        """Wait until the pipe is at its end, and all of it passed on; at most so long."""
        if self._open.acquire(timeout=seconds):
            self._open.release()

    def text(self) -> str:
        """What was written last, once the pipe is at its end (or is not, some time after the app's)."""
        self.wait_end(TAIL_WAIT_S)
        return self._tail.decode("utf-8", "replace").strip()


def end_with_leader(pid: int) -> None:
    """Wait for the end of a group's leader, and end with it what it has forked.

    What it has forked holds its sockets, and whoever has asked for something would wait at them for an answer that
    nobody gives. The status is left for ``ended``, and with it the number: nobody else can have it before that.
    """
    try:
        posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOWAIT)
    except ChildProcessError:  # the shell that started it has taken its exit status
        return
    signal_group(pid)


def clean_leftover(record: str, log: Log) -> None:
    """Kill the app that a killed predecessor has left running, if ``record`` names one that is certainly the same."""
    leftover = read_record(record)
    if leftover is None:
        return
    pid, app_started, bootstrap, bootstrap_started = leftover
    if start_time(bootstrap) == bootstrap_started and bootstrap != posix.getpid():
        return  # its bootstrap lives: it is nobody's leftover
    # Numbers are given again: the leader is the same only if it started at the same tick. A group that has lost its
    # leader still holds its number.
    if start_time(pid) in (app_started, 0) and _group_exists(pid):
        signal_group(pid, signal.SIGKILL)
        limit = time.monotonic() + KILL_WAIT_S
        while _is_group_running(pid) and time.monotonic() < limit:
            time.sleep(POLL_S)
        log("WARN", f"killed the app that a killed predecessor had left running (process group {pid})")
    remove_record(record)


def write_record(record: str, pid: int) -> None:
    """Note the app's pid (its group has the same number) and start time, and ours. A full /tmp is no reason to stop."""
    bootstrap = posix.getpid()
    text = f"{pid} {start_time(pid)} {bootstrap} {start_time(bootstrap)}\n"
    try:
        # 0600, and never through somebody's symbolic link: /tmp may be shared where this is not Lambda.
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC
        descriptor = posix.open(record, flags, 0o600)
    except OSError:
        return
    write_all(descriptor, text.encode())
    posix.close(descriptor)


def read_record(record: str) -> tuple[int, int, int, int] | None:
    """The four numbers of ``write_record``, or None. Somebody else's file is not read."""
    try:
        descriptor = posix.open(record, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
    except OSError:
        return None
    try:
        fields = posix.read(descriptor, 200).split() if posix.fstat(descriptor).st_uid == posix.getuid() else []
    finally:
        posix.close(descriptor)
    if len(fields) != 4 or not all(field.isdigit() for field in fields):
        return None
    pid, app_started, bootstrap, bootstrap_started = map(int, fields)
    return (pid, app_started, bootstrap, bootstrap_started) if pid > 1 else None


def remove_record(record: str) -> None:
    """Forget the app."""
    try:
        posix.unlink(record)
    except OSError:
        pass


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot; 0 when there is none (proc(5), field 22 of stat)."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields else 0


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in (b"Z", b"X")


def stat_fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat from the third on: the second, the program's name, may hold anything."""
    try:
        descriptor = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return []
    try:
        return posix.read(descriptor, 4096).rpartition(b") ")[2].split()
    except OSError:
        return []
    finally:
        posix.close(descriptor)


def _is_group_running(group: int) -> bool:
    """Whether any process of the group still holds its sockets.

    A zombie does not, and may stay for ever where nobody waits for orphans; but a leader that has ended is shown as one
    while its other threads have not.
    """
    if not _group_exists(group):
        return False
    members = [fields for name in posix.listdir("/proc") if name.isdigit() and (fields := stat_fields(int(name)))]
    return any(int(f[2]) == group and (f[0] not in (b"Z", b"X") or int(f[17]) > 1) for f in members)


def _inheritable_descriptors() -> list[int]:
    """Descriptors beyond 0-2 that a child would get: those that the platform gave us, ours never are."""
    found = []
    for name in posix.listdir("/proc/self/fd"):
        try:
            if int(name) > STDERR and posix.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # the one through which the directory was read
            pass
    return found


def signal_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to every process of a group, if there is one."""
    try:
        posix.killpg(group, number)
    except OSError:  # nobody left
        pass


def _group_exists(group: int) -> bool:
    try:
        posix.killpg(group, 0)
    except OSError:  # nobody left, or somebody else's
        return False
    return True


def describe_status(status: int) -> str:
    """A wait status in words: "exited with status 3", "was killed by SIGKILL"."""
    code = posix.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}{SHELL_STATUSES.get(code, '')}"
    import signal as names  # the wrapper that knows them: 4 ms, and the app is dead anyway

    try:
        name = names.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (out of memory?)" if code == -signal.SIGKILL else "")
