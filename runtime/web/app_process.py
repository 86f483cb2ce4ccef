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
import select
import time

from ..dispatch import EXEC_WRAPPER, found_environment
from ..errors import InitFault
from ..logs import STDERR, write_all
from ..standard import signal, standard_library
from .processes import (
    describe_status,
    does_group_exist,
    is_group_running,
    is_running,
    signal_process,
    start_time,
    stranger_at,
    strays,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..logs import Log
    from .processes import Environment

# What is kept of stderr. Java, Ruby and Go name the cause in the first lines, Python in the last.
HEAD_SIZE, TAIL_SIZE = 2 * 1024, 6 * 1024
READ_SIZE = 64 * 1024
S_IFMT, S_IFREG = 0o170000, 0o100000  # inode(7)
RECORD_SIZE = 100
HOW_TO_WRAP = 'which has to run the command that it is given, as with exec "$@"'
ENOEXEC = 8  # of a script without #!, which every shell runs by itself, and of a program for another machine
# How often a process that is expected to end soon is looked at.
POLL_S = 0.001
# SIGKILL is not answered by anybody: what takes longer than this is the kernel's business.
KILL_WAIT_S = 1.0
# Time for the last bytes to come through the pipe after the app's end. Its end of file is seen at once, except when a
# process outside of the group still holds the other end.
TAIL_WAIT_S, BUSY_WAIT_S = 0.2, 2.0
SIGNALLED = 128  # to which shells add the number of the signal
# The same when this process is about to end too: the platform waits for half a second in all.
DRAIN_WAIT_S = 0.05


class AppProcess:
    """The app's process, over all of its restarts."""

    def __init__(
        self, command: tuple[str, ...], environment: Callable[[], Mapping[str, str]], record: str, log: Log
    ) -> None:
        self._command = command
        self._ask_environment = environment
        self._record = record
        self._log = log
        self._stderr: StderrTail | None = None
        self._ended: str | None = "was not started"
        self._was_told = ""  # how its end came about, once it was told to end
        # The thread that ends everything must not miss an app that the loop is just starting.
        self._change = _thread.allocate_lock()
        self.pid = 0
        self._born = 0  # when it was started, in clock ticks
        self._outside: list[int] = []  # what had left its group when its end began

    def adopt(self, pid: int, stderr: int, status: str = "") -> None:
        """Take over an app that `bootstrap` started: a child of this very process, since exec keeps the pid.

        ``status`` is that of one that has ended already, as shells have it, "" else.
        """
        posix.set_inheritable(stderr, False)
        self._started(pid, stderr)
        if status:
            number = int(status)
            self._ended = describe_status(number - SIGNALLED if number > SIGNALLED else number << 8)

    def clean_leftover(self) -> None:
        """Kill the app that a killed predecessor of this process has left running, if there is one."""
        clean_leftover(self._record, self._ask_environment, self._log)

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
        # Before there is an app: whoever comes after a bootstrap that is killed now has to know that there may be one.
        write_record(self._record, 0, self._log)
        try:
            pid = self._spawn(actions)
        except OSError as error:
            posix.close(reader)
            remove_record(self._record)
            reason = f"{self._command[0]} cannot be started: {error.strerror}{self.what_is_run()}"
            raise InitFault("Runtime.AppExited", reason) from error
        finally:
            posix.close(writer)
        self._started(pid, reader)

    def _spawn(self, actions: Sequence[tuple[object, ...]]) -> int:
        environment = self._ask_environment()  # not kept: this object may be in a frame below a hook

        def spawn(command: tuple[str, ...]) -> int:
            return posix.posix_spawnp(
                command[0],
                command,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=(),
                # CPython ignores these; an app that inherits that would not notice a closed pipe.
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
            )

        try:
            return spawn(self._command)
        except OSError as error:
            with standard_library:
                from ..report import is_script

            if error.errno != ENOEXEC or not is_script(self._command[0]):
                raise
            return spawn(("/bin/sh", *self._command))

    def _started(self, pid: int, stderr: int) -> None:
        self.pid = pid
        self._born = start_time(pid)
        self._ended = None
        self._stderr = StderrTail(stderr)
        write_record(self._record, pid, self._log)
        _thread.start_new_thread(self._end_with_leader, (pid,))

    def ended(self) -> str | None:
        """How the app ended, as the rest of a sentence that begins with "the app"; None while it runs."""
        if self._ended is None:
            try:
                pid, status = posix.waitpid(self.pid, posix.WNOHANG)
                if pid:
                    self._ended = describe_status(status) + self._was_told
            except ChildProcessError:  # the shell that started it has taken its exit status
                self._ended = "exited (its status is not known)"
        return self._ended

    def last_words(self) -> str:
        """The first and the last lines that an ended app wrote to stderr."""
        return self._stderr.text() if self._stderr else ""

    def what_is_run(self) -> str:
        """Returns sentences that say why a command may have ended early; "": none is known."""
        with standard_library:
            from ..report import obstacle

        wrapper = found_environment().get(EXEC_WRAPPER, "")
        is_wrapped = len(self._command) > 1 and self._command[0] == wrapper
        programs = self._command[: 2 if is_wrapped else 1]
        told = [reason for program in programs if "/" in program and (reason := obstacle(program))]
        if is_wrapped:
            told.append(f"{EXEC_WRAPPER} has the app started by {wrapper}, {HOW_TO_WRAP}")
        return "".join(f". {one}" for one in told)

    def kill(self) -> None:
        """End the app and everything it forked, at once. The port is free afterwards."""
        with self._change:
            self._kill()

    def _kill(self) -> None:
        if self.pid:
            outside = []
            if does_group_exist(self.pid):
                outside = self._strays()
                signal_group(self.pid, signal.SIGKILL)
                self._wait_gone(KILL_WAIT_S)
            kill_all([*outside, *self._outside], self._strays)
            self._outside = []
            self.pid = 0
            self._ended = self._ended or "was killed"
            remove_record(self._record)

    def kill_soon(self) -> None:
        """Begin to end the app and everything it forked; ``kill`` then only waits for it."""
        if self.pid:
            signal_group(self.pid)

    end_refusing = kill_soon

    def stranger_at(self, port: int) -> str:
        """Who listens on the port and is not the app; "" when nobody else is known to."""
        return stranger_at(port, self.pid, self._ask_environment)

    def stop(self, grace_s: float) -> None:
        """SIGTERM, so that the app can finish; SIGKILL for what is still there after ``grace_s``.

        For good: the process is about to exit, and whoever would start the app now waits for that.
        """
        self._change.acquire()
        if self.pid and grace_s:
            self._outside = self._strays()
            self._was_told = " after SIGTERM"  # a status of 0 does not mean then that its last answer was whole
            signal_group(self.pid, signal.SIGTERM)
            self._wait_gone(grace_s)
        self._kill()
        if self._stderr:  # what the app said at its end must not be lost with this process
            self._stderr.wait_end(DRAIN_WAIT_S)

    def _strays(self) -> list[int]:
        """The app's processes outside of its group. To be asked while their parents are there to be seen."""
        return strays(self.pid, self._born, self._ask_environment)

    def _end_with_leader(self, pid: int) -> None:
        """Wait for the end of a group's leader, and end with it what it has forked.

        What it has forked holds its sockets, and whoever has asked for something would wait at them for an answer that
        nobody gives. The status is left for ``ended``, and with it the number: nobody else can have it before that.
        """
        try:
            posix.waitid(posix.P_PID, pid, posix.WEXITED | posix.WNOWAIT)
        except ChildProcessError:  # the shell that started it has taken its exit status
            return
        if pid == self.pid:
            self._outside = [*self._outside, *self._strays()]
        signal_group(pid)

    def _wait_gone(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while (self.ended() is None or is_group_running(self.pid)) and time.monotonic() < limit:
            time.sleep(POLL_S)


class StderrTail:
    """Passes the app's stderr on as it comes, and remembers the first 2 KiB and the last 6.

    A thread, since the loop sits in next for hours: an app must never block on a full pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._head = self._tail = b""
        self._size = 0
        self._open = _thread.allocate_lock()
        self._open.acquire()
        _thread.start_new_thread(self._drain, ())

    def _drain(self) -> None:
        try:
            while data := posix.read(self._descriptor, READ_SIZE):
                write_all(STDERR, data)
                if len(self._head) < HEAD_SIZE:
                    self._head = (self._head + data)[:HEAD_SIZE]
                self._tail = (self._tail + data)[-TAIL_SIZE:]
                self._size += len(data)
        except OSError:
            pass
        finally:
            posix.close(self._descriptor)
            self._open.release()

    def wait_end(self, seconds: float) -> None:
        """Wait until the pipe is at its end, and all of it passed on; at most so long."""
        if self._open.acquire(timeout=seconds):
            self._open.release()

    def _has_more(self) -> bool:
        """Whether bytes wait in the pipe that nobody has read."""
        if not self._open.locked():  # it is closed
            return False
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def text(self) -> str:
        """The first and the last of what was written, once the pipe is at its end or some time has passed."""
        limit = time.monotonic() + BUSY_WAIT_S
        self.wait_end(TAIL_WAIT_S)
        while self._has_more() and time.monotonic() < limit:  # the thread that reads it waits for a processor
            self.wait_end(TAIL_WAIT_S)
        after_head = self._size - len(self._head)
        tail = self._tail[max(0, len(self._tail) - after_head) :]  # without what is in the head too
        left_out = after_head - len(tail)
        between = b"\n... (%d bytes left out) ...\n" % left_out if left_out else b""
        return (self._head + between + tail).decode("utf-8", "replace").strip()


def clean_leftover(record: str, environment: Environment, log: Log) -> None:
    """Kill the app that a killed predecessor has left running, if it is certainly the one that ``record`` names.

    A record without a pid was written by a bootstrap that was killed while it started the app: that is known by its
    environment.
    """
    leftover = read_record(record)
    if leftover is None:
        return
    pid, app_started, bootstrap, bootstrap_started = leftover
    if start_time(bootstrap) == bootstrap_started and is_running(bootstrap) and bootstrap != posix.getpid():
        return  # its bootstrap lives: it is nobody's leftover
    since = app_started or bootstrap_started
    outside = strays(pid, since, environment)
    # Numbers are given again: the leader is the same only if it started at the same tick. A group that has lost its
    # leader still holds its number.
    has_group = pid and start_time(pid) in (app_started, 0) and does_group_exist(pid)
    if has_group:
        signal_group(pid, signal.SIGKILL)
        limit = time.monotonic() + KILL_WAIT_S
        while is_group_running(pid) and time.monotonic() < limit:
            time.sleep(POLL_S)
    kill_all(outside, lambda: strays(pid, since, environment))
    if has_group or outside:
        log("WARN", f"killed the app that a killed predecessor had left running (process group {pid or outside[0]})")
    remove_record(record)


def kill_all(known: list[int], others: Callable[[], list[int]]) -> None:
    """Kill these processes, and those that ``others`` finds until it finds none: what is killed may have forked."""
    limit = time.monotonic() + KILL_WAIT_S
    while (known := [*known, *others()]) and time.monotonic() < limit:
        for pid in known:
            signal_process(pid, signal.SIGKILL)
        known = []
        time.sleep(POLL_S)


def write_record(record: str, pid: int, log: Log) -> None:
    """Note the app's pid (its group has the same number; 0: none yet) and start time, and ours.

    A full /tmp is no reason to stop.
    """
    bootstrap = posix.getpid()
    text = f"{pid} {start_time(pid)} {bootstrap} {start_time(bootstrap)}"
    try:
        descriptor = _open_record(record, posix.O_WRONLY | posix.O_CREAT)
        try:  # over what is there, in one go: at no moment does a record say nothing
            posix.pwrite(descriptor, text.encode().ljust(RECORD_SIZE), 0)
        finally:
            posix.close(descriptor)
    except OSError as error:
        log("WARN", f"{record} cannot be written ({error.strerror}): an app that outlives its bootstrap is not found")


def read_record(record: str) -> tuple[int, int, int, int] | None:
    """The four numbers of ``write_record``, or None. Somebody else's file is not read."""
    try:
        descriptor = _open_record(record, posix.O_RDONLY)
    except OSError:
        return None
    try:
        fields = posix.read(descriptor, RECORD_SIZE).split() if posix.fstat(descriptor).st_uid == posix.getuid() else []
    finally:
        posix.close(descriptor)
    if len(fields) != 4 or not all(field.isdigit() for field in fields):
        return None
    pid, app_started, bootstrap, bootstrap_started = map(int, fields)
    return (pid, app_started, bootstrap, bootstrap_started) if pid != 1 else None


def _open_record(record: str, flags: int) -> int:
    """A descriptor of the record. Raises ``OSError`` when it is anything else than a file.

    Mode 0600, and never through somebody's symbolic link: /tmp may be shared where this is not Lambda. O_NONBLOCK: to
    open a FIFO must not wait for its other end.
    """
    descriptor = posix.open(record, flags | posix.O_NOFOLLOW | posix.O_CLOEXEC | posix.O_NONBLOCK, 0o600)
    if posix.fstat(descriptor).st_mode & S_IFMT != S_IFREG:
        posix.close(descriptor)
        raise OSError(0, "it is not a file")
    return descriptor


def remove_record(record: str) -> None:
    """Forget the app."""
    try:
        posix.unlink(record)
    except OSError:
        pass


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
