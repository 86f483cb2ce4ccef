"""The records of ``logging`` as Lambda's managed Python runtime writes them, as text or as JSON.

Loaded when a handler imports ``logging``, and never otherwise (logs.py). docs/logging.md shows what comes out,
tests/conformance/test_handler_logs.py lists every difference to the managed runtime by name.
"""

from __future__ import annotations

import logging
import sys
import traceback

from ..errors import InvocationFault
from ..json_codec import dumps
from ..logs import indented, stamp
from ..report import name_of, text_of, user_fault
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Any

    Ids = Callable[[], tuple[str, str]]
    Write = Callable[[str, int | None], None]
    """Takes a record as text, and its level; None: the platform is not told."""
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
# What every record has, or what formatters leave on it: anything else came from `extra`, and is the user's.
OF_EVERY_RECORD = frozenset(
    {
        *("args", "asctime", "aws_request_id", "created", "exc_info", "exc_text", "filename", "funcName", "levelname"),
        *("levelno", "lineno", "message", "module", "msecs", "msg", "name", "pathname", "process", "processName"),
        *("relativeCreated", "stack_info", "tenant_id", "thread", "threadName"),
    }
)
NESTING_LIMIT = 20


class LambdaLoggerHandler(logging.Handler):
    """The root logger's handler. Formatters and filters that a user adds to it work as on the managed runtime."""

    def __init__(
        self, write: Write, ids: Ids, formatter: logging.Formatter, *, minimum: int = 0, tells_level: bool = False
    ) -> None:
        super().__init__()
        self._put = write
        self._ids = ids
        self._minimum = minimum
        self._tells_level = tells_level
        self._own_formatter = formatter
        self.setFormatter(formatter)

    def filter(self, record: logging.LogRecord) -> Any:
        """Give the record ``aws_request_id`` and ``tenant_id``, and refuse what is below the configured level.

        Not by the handler's own level: a record that this refuses goes on to handlers of the user's, who may name the
        ids in their formats.
        """
        self._identify(record)
        return record.levelno >= self._minimum and super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record. What cannot be formatted costs a line that says so, and not the invocation."""
        try:
            text = self.format(record)
        except RecursionError:  # as logging's own handlers have it
            raise
        except Exception:
            self.handleError(record)
        else:
            self._write(text, record.levelno)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (its name in logging)
        """Log that the record could not be formatted, and why."""
        if logging.raiseExceptions:
            error = sys.exc_info()[1]
            reason = f"{name_of(error)}: {text_of(error)}" if error else ""
            message = (
                f"a record of the logger {record.name!r} could not be formatted: {reason};"
                f" its message is {_text(record.msg)}, its arguments are {_text(record.args)}"
            )
            told = logging.LogRecord(record.name, logging.ERROR, record.pathname, record.lineno, message, (), None)
            self._identify(told)
            self._write(self._own_formatter.format(told), logging.ERROR)

    def _identify(self, record: logging.LogRecord) -> None:
        record.aws_request_id, tenant_id = self._ids()
        record.tenant_id = tenant_id or None

    def _write(self, text: str, level: int) -> None:
        self._put(text if text.endswith("\n") else text + "\n", level if self._tells_level else None)


class TextFormatter(logging.Formatter):
    """``[LEVEL]``, UTC time, request id, message, with tabs between them; then the trace, indented with NBSP."""

    def __init__(self) -> None:
        super().__init__(TEXT_FORMAT, "%Y-%m-%dT%H:%M:%S")  # for those who read a formatter's format

    def format(self, record: logging.LogRecord) -> str:
        """The record, its final line feed included."""
        request_id = getattr(record, "aws_request_id", "")
        head = f"[{record.levelname}]\t{stamp(record.created)}\t{request_id}\t{record.getMessage()}"
        return "\n".join([head, *_trace_lines(record)]) + "\n"


class JsonFormatter(logging.Formatter):
    """One object; ``extra`` attributes are keys beside the record's own, and keys without a value are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, its final line feed included."""
        exception = _exception_of(record)
        fields = {
            "timestamp": stamp(record.created),
            "level": _level_name(record.levelno),
            "message": record.msg if isinstance(record.msg, dict) and not record.args else record.getMessage(),
            "logger": record.name,
            **(_error_fields(exception) if exception else {}),
            "requestId": getattr(record, "aws_request_id", None) or None,
            "location": f"{record.pathname}:{record.funcName}:{record.lineno}" if exception else None,
            "tenantId": getattr(record, "tenant_id", None),
        }
        fields = {key: value for key, value in fields.items() if value is not None}
        for key, value in record.__dict__.items():
            if key not in OF_EVERY_RECORD and value is not None:
                fields.setdefault(key, value)
        if record.stack_info:
            fields.setdefault("stackTrace", record.stack_info.split("\n"))
        return json_of(fields) + "\n"


def configure(write: Write, ids: Ids, *, as_json: bool, level: tuple[int, int] | None) -> None:
    """Give the root logger its handler, unless it has it. ``level``: the root's own and the least that is written."""
    root = logging.getLogger()
    if any(isinstance(handler, LambdaLoggerHandler) for handler in root.handlers):
        return
    formatter = JsonFormatter() if as_json else TextFormatter()
    if level:
        root.setLevel(level[0])
    # The root's level does not bind a logger that has one of its own: the handler's minimum does. Without the two
    # settings the managed runtime tells the platform no level, so that nothing is filtered there.
    minimum = level[1] if level else 0
    root.addHandler(LambdaLoggerHandler(write, ids, formatter, minimum=minimum, tells_level=as_json or bool(level)))


def json_of(fields: dict[str, Any]) -> str:
    """``fields`` as JSON; what JSON cannot spell is replaced by its ``str()``."""
    try:
        return dumps(fields).decode()
    except (ValueError, TypeError):
        return dumps(_plain(fields)).decode()


def _plain(value: object, inside: tuple[int, ...] = ()) -> object:
    if id(value) not in inside and len(inside) < NESTING_LIMIT:
        within = (*inside, id(value))
        if isinstance(value, dict):
            return {_plain_key(key): _plain(item, within) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_plain(item, within) for item in value]
    try:
        dumps(value)
    except (ValueError, TypeError):
        return _text(value)
    return value


def _plain_key(key: object) -> object:
    return key if key is None or isinstance(key, (str, int)) else _text(key)


def _text(value: object) -> str:
    """``str(value)``, whatever its class makes of that."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__} str() failed>"


def _level_name(level: int) -> str:
    return logging.getLevelName(min(level, logging.CRITICAL) // 10 * 10) if level >= logging.DEBUG else "TRACE"


def _exception_of(record: logging.LogRecord) -> ExcInfo | None:
    """logger.exception() outside of an ``except`` leaves three Nones."""
    info = record.exc_info
    return info if info and info[0] is not None and info[1] is not None else None


def _error_fields(exception: ExcInfo) -> dict[str, Any]:
    _, error, trace = exception
    if _has_more_than_frames(error):  # they are told as the error document tells them
        frames = list(user_fault(InvocationFault, error).stack)
    else:
        with standard_library:  # source lines are read with modules that are imported then
            frames = traceback.format_tb(trace)
    return {"stackTrace": frames, "errorType": name_of(error), "errorMessage": text_of(error)}


def _has_more_than_frames(error: BaseException) -> bool:
    chained = error.__cause__ or (error.__context__ and not error.__suppress_context__)
    return bool(chained or isinstance(error, BaseExceptionGroup) or getattr(error, "__notes__", None))


def _trace_lines(record: logging.LogRecord) -> Iterator[str]:
    exception = _exception_of(record)
    if exception:
        with standard_library:  # source lines are read with modules that are imported then
            lines = traceback.format_exception(*exception)
        yield from indented("".join(lines))
    if record.stack_info:
        yield from indented(record.stack_info)
