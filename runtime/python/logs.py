"""The logs of a Python handler: ``print``, ``logging``, and the record of an exception that it did not catch.

What handler mode does with it::

    logs = handler_logs.install(environ)                  # before the user's module is imported
    logs.error(error_type, message, stack_trace)          # an init error: one record, instead of our own log line
    logs.begin(invocation)                                # as soon as next has answered
    logs.error(error_type, message, stack_trace)          # an invocation error, with the ids of the invocation
    logs.flush()                                          # before posix._exit, which flushes nothing

``stack_trace`` is the list of strings that the error document has. An error that was written here must not be logged by
``runtime_api`` again.

A handler that does not use ``logging`` does not pay for it (docs/decisions/0010): an entry in ``sys.meta_path`` waits
for its import, lets the finders after it load the module, and then gives the root logger its handler.
"""

from __future__ import annotations

import _thread
import posix
import sys
import time

from ..json_codec import dumps
from ..logs import Log, indented, one_line, stamp, wants_json, write_all
from ..standard import WrappedLoader, standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any, Protocol

    from ..invocation import Invocation

    Ids = tuple[str, str]

    class Output(Protocol):
        """Takes records."""

        def write(self, text: str, level: int | None) -> None:
            """One record as text. ``level`` is ``logging``'s number; None: the platform is not told."""


TELEMETRY_DESCRIPTOR = "_LAMBDA_TELEMETRY_LOG_FD"
# The root logger's level, and the least that is written. `logging` has no level TRACE: the root is set to DEBUG, as on
# the managed runtime, and a logger that has a lower level of its own is heard.
LEVELS = {
    "TRACE": (10, 0),
    "NOTSET": (0, 0),
    "DEBUG": (10, 10),
    "INFO": (20, 20),
    "WARN": (30, 30),
    "WARNING": (30, 30),
    "ERROR": (40, 40),
    "CRITICAL": (50, 50),
    "FATAL": (50, 50),
}
NO_IDS = ("", "")


def install(environ: Mapping[str, str]) -> HandlerLogs:
    """Set up what the user's module finds when it is imported: ``print`` that is written at once, and ``logging``.

    Removes the telemetry descriptor's variable from ``os.environ``. Nothing is raised: what is wrong is logged.
    """
    as_json = wants_json(environ)
    log = Log(as_json)
    stdout = Descriptor(1)
    output = _output(environ, as_json, stdout, log)
    level = _level(environ, log)
    scope = Scope()
    _write_through("stdout", stdout)
    _write_through("stderr", Descriptor(2))

    def configure() -> None:
        with standard_library:
            from .log_records import configure  # `logging`, which has just been imported by somebody else

        configure(output.write, scope.ids, as_json=as_json, level=level)

    _after_logging(configure, log)
    return HandlerLogs(output, scope, as_json)


class HandlerLogs:
    """The logs as handler mode uses them."""

    def __init__(self, output: Output, scope: Scope, as_json: bool) -> None:
        self._output = output
        self._scope = scope
        self._as_json = as_json

    def begin(self, invocation: Invocation) -> None:
        """From here on records have the ids of ``invocation``. Keeps neither it nor its payload."""
        self._scope.begin((invocation.request_id, invocation.tenant_id))

    def error(self, error_type: str, message: str, stack_trace: Sequence[str]) -> None:
        """Write what ended the invocation, or the init, as one record. ``stack_trace`` has lines or groups of lines."""
        if self._as_json:
            self._output.write(self._error_object(error_type, message, stack_trace), ERROR)
        else:
            self._output.write(_error_text(error_type, message, stack_trace), ERROR)

    def flush(self) -> None:
        """Write what streams and handlers of the user's own making still hold. Call it before the process ends."""
        records = sys.modules.get(f"{__package__}.log_records")
        steps: list[Callable[[], object]] = [lambda: sys.stdout.flush(), lambda: sys.stderr.flush()]
        if records:
            steps.insert(0, records.logging.shutdown)  # its handlers may write to the streams
        for step in steps:
            try:
                step()
            except Exception:  # None, closed, or the user's
                pass

    def _error_object(self, error_type: str, message: str, stack_trace: Sequence[str]) -> str:
        request_id, tenant_id = self._scope.ids()
        record = {
            "timestamp": stamp(time.time()),
            "level": "ERROR",
            "errorMessage": message,
            "errorType": error_type,
            "requestId": request_id,
            "stackTrace": list(stack_trace),
            "tenantId": tenant_id,
        }
        return dumps({key: value for key, value in record.items() if value or key == "errorMessage"}).decode()


def _error_text(error_type: str, message: str, stack_trace: Sequence[str]) -> str:
    lines = [f"[ERROR] {error_type}: {message}" if message else f"[ERROR] {error_type}"]
    if stack_trace:
        lines += ["Traceback (most recent call last):", *(line for piece in stack_trace for line in indented(piece))]
    return "\n".join(lines)


class Scope:
    """The ids of the invocation. There is one at a time in a process, so every thread of the user's has them."""

    def __init__(self) -> None:
        self._ids = NO_IDS

    def begin(self, ids: Ids) -> None:
        self._ids = ids

    def ids(self) -> Ids:
        return self._ids


def _level(environ: Mapping[str, str], log: Log) -> tuple[int, int] | None:
    name = environ.get("AWS_LAMBDA_LOG_LEVEL", "")
    if name and name.upper() not in LEVELS:
        log("WARN", f"AWS_LAMBDA_LOG_LEVEL={name!r} is ignored: it must be one of {', '.join(LEVELS)}")
    return LEVELS.get(name.upper())


def _output(environ: Mapping[str, str], as_json: bool, stdout: Descriptor, log: Log) -> Output:
    """Frames where the platform gave a descriptor for them, else stdout."""
    given = environ.get(TELEMETRY_DESCRIPTOR, "")
    # The dictionary behind os.environ, and what a child process inherits.
    posix.environ.pop(TELEMETRY_DESCRIPTOR.encode(), None)
    posix.unsetenv(TELEMETRY_DESCRIPTOR)
    if not given:
        return Lines(stdout)
    try:
        descriptor = int(given)
        posix.set_inheritable(descriptor, False)
    except (ValueError, OverflowError, OSError):
        log("WARN", f"{TELEMETRY_DESCRIPTOR}={given!r} is no open descriptor: log records go to stdout")
        return Lines(stdout)
    return Frames(Descriptor(descriptor), as_json)


def _write_through(name: str, descriptor: Descriptor) -> None:
    """Have each ``write`` of ``sys.<name>`` reach the kernel, which outlives every crash.

    Flushing at line feeds only would be one system call for a line instead of two, and would lose what was printed with
    ``end=""`` when the process is killed at its timeout.
    """
    stream = getattr(sys, name)
    if stream is None:  # the platform closed it
        return
    with standard_library:
        import io  # the interpreter has loaded it for its own start

    class Whole(io.FileIO):
        """Writes all: the stream of `python -u` drops the rest when the kernel takes a part only."""

        def write(self, octets: Any) -> int:
            view = memoryview(octets).cast("B")
            descriptor.write(view)
            return view.nbytes

    raw: Any = Whole(descriptor.number, "wb", closefd=False)
    raw.name = stream.name
    unbuffered = io.TextIOWrapper(raw, encoding=stream.encoding, errors=stream.errors, write_through=True)
    setattr(sys, name, unbuffered)
    setattr(sys, f"__{name}__", unbuffered)


def _after_logging(configure: Callable[[], None], log: Log) -> None:
    """Call ``configure`` once ``logging`` is loaded: now, or when somebody imports it."""

    def guarded() -> None:
        try:
            configure()
        except Exception as error:  # a module of the user's that is called logging, or the import goes wrong with us
            log("WARN", f"logging could not be set up: {type(error).__name__}: {error}")

    if "logging" in sys.modules:
        guarded()
    else:
        sys.meta_path.insert(0, _OnImport(guarded))


class _OnImport:
    """Finds nothing but ``logging``, and that with the help of the finders after it.

    It stays where it is: a list that shrinks while another thread imports would hide a finder from that thread.
    """

    def __init__(self, configure: Callable[[], None]) -> None:
        self._configure = configure

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "logging":
            return None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if finder is not self else None
            if spec and spec.loader:
                loader: Any = _Loader(spec.loader, self._configure)
                spec.loader = loader
                return spec
        return None


class _Loader(WrappedLoader):
    """The module's own loader, and then ``configure``: when the import statement is done, so is the root logger."""

    def __init__(self, loader: Any, configure: Callable[[], None]) -> None:
        super().__init__(loader)
        self._configure = configure

    def exec_module(self, module: Any) -> None:
        super().exec_module(module)
        self._configure()


# ---- where records go: lines on stdout, or frames on a descriptor that the platform gave ----------------------------
#
# A layer for ``provided.*`` gets no such descriptor today; where there is one, the level travels beside the record and
# nothing has to be squeezed into one line.

LINE_FEED = 10
ERROR = 40
TEXT_FRAME = 0xA55A0003
JSON_FRAME = 0xA55A0002


def rank(level: int) -> int:
    """0 TRACE, 1 DEBUG, 2 INFO, 3 WARN, 4 ERROR, 5 FATAL: a level of ``logging``, rounded down to one of Lambda's."""
    return min(max(level, 0), 50) // 10


class Descriptor:
    """A descriptor to which several threads write, each piece as a whole."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._is_mid_line = False
        self._new_lock()
        posix.register_at_fork(after_in_child=self._new_lock)  # whoever held it does not exist there

    def write(self, octets: bytes | memoryview) -> None:
        """Write as it is."""
        with self._lock:  # a pipe keeps no more than 4 KiB together (PIPE_BUF)
            write_all(self.number, octets)
            if octets:
                self._is_mid_line = octets[-1] != LINE_FEED

    def write_line(self, line: bytes) -> None:
        """Write a line at the beginning of one: ``print(..., end="")`` may have left the last one open."""
        with self._lock:
            self.write(b"\n" + line if self._is_mid_line else line)

    def _new_lock(self) -> None:
        self._lock = _thread.RLock()  # a signal handler that logs interrupts whoever holds it


class Lines:
    """Standard output: one record, one line, and the level only in the text."""

    def __init__(self, stdout: Descriptor) -> None:
        self._stdout = stdout

    def write(self, text: str, level: int | None) -> None:
        """Write the record."""
        self._stdout.write_line(f"{one_line(text)}\n".encode("utf-8", "backslashreplace"))


class Frames:
    """The platform's telemetry descriptor: type (4 bytes, big-endian), length (4), time in µs (8), then the record."""

    def __init__(self, descriptor: Descriptor, as_json: bool) -> None:
        self._descriptor = descriptor
        self._type = JSON_FRAME if as_json else TEXT_FRAME

    def write(self, text: str, level: int | None) -> None:
        """Write the record as it is."""
        octets = text.encode("utf-8", "backslashreplace")
        kind = self._type if level is None else self._type | (rank(level) + 1) << 2
        head = kind.to_bytes(4, "big") + len(octets).to_bytes(4, "big") + (time.time_ns() // 1000).to_bytes(8, "big")
        self._descriptor.write(head + octets)
