"""The exec wrapper around a Python handler: a child process first, so that there is somebody to say why it failed.

A wrapper that takes this process's place and then fails leaves an exit status in the platform's log, and nothing else.
So it is run beside this process, with `bootstrap` as its command. What it starts so (``deliver``) only tells what it
was given, and ends: environment, arguments, folder and umask become this process's, which then goes on as if the
wrapper had run it. Where the wrapper itself waits for the end of its command, that command waits for ours.
"""

from __future__ import annotations

import posix
import select

from ..dispatch import (
    EXEC_WRAPPER,
    PRIVATE_PREFIX,
    WRAPPED,
    EarlyStart,
    adopt_environment,
    found_environment,
    users_environment,
    with_interpreter,
)
from ..errors import InitFault
from ..logs import STDERR
from ..standard import standard_library
from ..web.processes import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..web.app_process import StderrTail

# How often a wrapper that has said nothing yet is looked at, in milliseconds. What it says is heard at once.
LOOK_MS = 20
READ_SIZE = 64 * 1024
OF_EARLY_START = PRIVATE_PREFIX + "APP_"
SIZE_DIGITS = 10  # of a delivery: its length comes first


def run_wrapped(wrapper: str, argv: Sequence[str]) -> list[str]:
    """Run the wrapper with our own command line; the command line that it has made of it, in its environment.

    Raises ``InitFault`` when it cannot be started, or ends without having run `bootstrap`.
    """
    delivery, deliver_to = posix.pipe()
    wait_at, _until_our_end = posix.pipe()  # the second one stays open for as long as this process lives
    told = f"{posix.getpid()} {start_time(posix.getpid())} {deliver_to} {wait_at}"
    pid, stderr = _start(wrapper, argv, told)
    delivered = b""
    status = None
    while not _is_complete(delivered):
        if _has_data(delivery, 0 if status is not None else LOOK_MS):
            delivered += posix.read(delivery, READ_SIZE)
        elif status is not None:
            raise _failed(wrapper, status, stderr)
        else:
            ended, ending = posix.waitpid(pid, posix.WNOHANG)
            status = ending if ended else None
    for descriptor in (delivery, deliver_to):
        posix.close(descriptor)
    own_pid, folder, umask, count, *rest = delivered[SIZE_DIGITS:].split(b"\0")
    if int(own_pid) == pid and status is None:  # as with exec "$@": it ends now
        posix.waitpid(pid, 0)
    arguments, variables = rest[: int(count)], rest[int(count) :]
    adopt_environment({name: value for name, _, value in (entry.partition(b"=") for entry in variables)})
    posix.umask(int(umask))
    try:
        posix.chdir(folder)
    except OSError:
        pass  # it is gone
    return [argument.decode("utf-8", "surrogateescape") for argument in arguments]


def _start(wrapper: str, argv: Sequence[str], told: str) -> tuple[int, StderrTail]:
    """The pid, and what it says. Raises ``InitFault``."""
    with standard_library:
        from ..report import is_script, obstacle
        from ..standard import signal
        from ..web.app_process import ENOEXEC, StderrTail

    inherited = with_interpreter(users_environment(found_environment()))
    environment = {name: value for name, value in inherited.items() if name != EXEC_WRAPPER} | {WRAPPED: told}
    reader, writer = posix.pipe()

    def spawn(command: list[str]) -> int:
        return posix.posix_spawn(
            command[0],
            command,
            environment,
            file_actions=[(posix.POSIX_SPAWN_DUP2, writer, STDERR)],
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # CPython ignores them, and exec would hand that on
        )

    command = [wrapper, *argv]
    try:
        try:
            pid = spawn(command)
        except OSError as error:
            if error.errno != ENOEXEC or not is_script(wrapper):
                raise
            pid = spawn(["/bin/sh", *command])
    except (OSError, ValueError) as error:
        reason = obstacle(wrapper)
        message = f"{EXEC_WRAPPER}={wrapper!r} cannot be started: {getattr(error, 'strerror', '') or error}"
        raise InitFault("Runtime.InvalidConfig", f"{message}. {reason}" if reason else message) from None
    finally:
        posix.close(writer)
    return pid, StderrTail(reader)


def _is_complete(delivered: bytes) -> bool:
    return len(delivered) >= SIZE_DIGITS and len(delivered) == int(delivered[:SIZE_DIGITS])


def _has_data(descriptor: int, wait_ms: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(wait_ms))


def _failed(wrapper: str, status: int, stderr: StderrTail) -> InitFault:
    with standard_library:
        from ..report import obstacle
        from ..web.app_process import HOW_TO_WRAP
        from ..web.processes import describe_status

    how = describe_status(status)
    message = f"{EXEC_WRAPPER} has the handler started by {wrapper}, {HOW_TO_WRAP}. It {how} and has not run it"
    reason, words = obstacle(wrapper), stderr.text()
    detail = f"Its stderr:\n{words}" if words else "It wrote nothing to stderr."
    return InitFault("Runtime.WrapperFailed", f"{message}. {reason}" if reason else message, detail)


def deliver(told: str, argv: Sequence[str]) -> None:
    """Tell the process that has run the wrapper what it has made of our command line and environment, and end.

    ``told`` is the variable that it has set. Returns where that comes from anywhere else.
    """
    fields = told.split()
    if len(fields) != 4 or not all(field.isdecimal() for field in fields):
        return
    waiting, born, deliver_to, wait_at = map(int, fields)
    if start_time(waiting) != born:
        return
    found = found_environment()
    early = EarlyStart.from_env(found)
    if early.pid:  # the wrapper has made a web app of it, which is the other process's to start
        with standard_library:
            from ..web.app_process import signal_group

        signal_group(early.pid)
    try:
        # Not inherited: a wrapper may close what it does not know.
        output = posix.open(f"/proc/{waiting}/fd/{deliver_to}", posix.O_WRONLY)
        entries = [f"{name}={value}" for name, value in found.items() if not name.startswith((WRAPPED, OF_EARLY_START))]
        umask = posix.umask(0o077)
        said = [str(posix.getpid()), posix.getcwd(), str(umask), str(len(argv)), *argv, *entries]
        octets = "\0".join(said).encode("utf-8", "surrogateescape")
        rest = b"%*d" % (SIZE_DIGITS, SIZE_DIGITS + len(octets)) + octets
        while rest:
            rest = rest[posix.write(output, rest) :]
        if posix.getppid() != waiting:
            posix.read(posix.open(f"/proc/{waiting}/fd/{wait_at}", posix.O_RDONLY), 1)
    except OSError:
        pass  # it has ended
    posix._exit(0)
