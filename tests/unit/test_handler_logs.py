"""A Python handler's logs: what a record looks like, and what the user's module finds when it is imported.

The first half has values in and text out; the second runs a process with the flags that `bootstrap` uses.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runtime.invocation import Invocation
from runtime.logs import NO_BREAK_SPACE, indented, line, stamp
from runtime.python.log_records import JsonFormatter, LambdaLoggerHandler, TextFormatter
from runtime.python.logs import LEVELS, Descriptor, Frames, HandlerLogs, Lines, Scope

ROOT = Path(__file__).parents[2]
NOW = 1763726400.0419
WHEN = "2025-11-21T12:00:00.041Z"


class Kept:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int | None]] = []

    def write(self, text: str, level: int | None) -> None:
        self.records.append((text, level))


def record(message: object = "hello", level: int = logging.INFO, **attributes: object) -> logging.LogRecord:
    made = logging.LogRecord("my.app", level, "/var/task/app.py", 7, message, (), None, "handle")
    made.created = NOW
    made.__dict__.update({"aws_request_id": "id-1", "tenant_id": None, **attributes})
    return made


def exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    try:
        raise error
    except BaseException as raised:
        return type(raised), raised, raised.__traceback__


def fields(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    return json.loads(text)


# Text


def test_a_text_record_has_level_time_request_id_and_message() -> None:
    assert TextFormatter().format(record("a\tb")) == f"[INFO]\t{WHEN}\tid-1\ta\tb\n"


def test_a_text_record_with_an_exception_ends_with_one_line_feed() -> None:
    text = TextFormatter().format(record("caught", exc_info=exc_info(ValueError("bad"))))
    assert text.startswith(
        f"[INFO]\t{WHEN}\tid-1\tcaught\nTraceback (most recent call last):\n{NO_BREAK_SPACE * 2}File "
    )
    assert text.endswith("\nValueError: bad\n")


def test_a_text_record_with_the_stack_ends_with_it() -> None:
    text = TextFormatter().format(record("here", stack_info="Stack (most recent call last):\n  File x"))
    assert text.endswith(f"\there\nStack (most recent call last):\n{NO_BREAK_SPACE * 2}File x\n")


def test_a_formatter_of_a_handler_of_the_users_own_needs_no_ids() -> None:
    made = record()
    del made.aws_request_id
    assert TextFormatter().format(made) == f"[INFO]\t{WHEN}\t\thello\n"


def test_only_the_blanks_that_a_line_begins_with_are_replaced() -> None:
    assert indented("a\n  b  c\n\n") == ["a", f"{NO_BREAK_SPACE * 2}b  c"]


@pytest.mark.parametrize("now", [NOW, 0.0, 1763726400.9999998])
def test_a_time_never_jumps_back_by_a_rounding(now: float) -> None:
    seconds, milliseconds = re.fullmatch(r".*:(\d\d)\.(\d{3})Z", stamp(now)).groups()
    assert 0 <= now % 60 - int(seconds) - int(milliseconds) / 1000 < 0.001001


# JSON


def test_a_json_record_has_the_managed_runtimes_keys_in_its_order() -> None:
    assert list(fields(record(exc_info=exc_info(ValueError("bad")), tenant_id="t-1", order=7)).items()) == [
        ("timestamp", WHEN),
        ("level", "INFO"),
        ("message", "hello"),
        ("logger", "my.app"),
        (
            "stackTrace",
            [f'  File "{__file__}", line {exc_info.__code__.co_firstlineno + 2}, in exc_info\n    raise error\n'],
        ),
        ("errorType", "ValueError"),
        ("errorMessage", "bad"),
        ("requestId", "id-1"),
        ("location", "/var/task/app.py:handle:7"),
        ("tenantId", "t-1"),
        ("order", 7),
    ]


def test_keys_without_a_value_are_left_out() -> None:
    assert set(fields(record(aws_request_id="", nothing=None))) == {"timestamp", "level", "message", "logger"}


def test_our_own_lines_have_the_keys_of_the_users() -> None:
    assert set(json.loads(line("WARN", "careful", "id-1", as_json=True))) == set(fields(record()))


def test_a_dict_stays_an_object() -> None:
    assert fields(record({"order": 7, "nothing": None}))["message"] == {"order": 7, "nothing": None}


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        pytest.param({1}, "{1}", id="set"),
        pytest.param(Decimal("1.10"), "1.10", id="decimal"),
        pytest.param(b"x", "b'x'", id="bytes"),
        pytest.param(float("nan"), "nan", id="nan"),
        pytest.param([1, float("-inf")], [1, "-inf"], id="infinity in a list"),
        pytest.param({(1, 2): {3}}, {"(1, 2)": "{3}"}, id="tuple as key"),
        pytest.param(
            {None: 1, True: 2, 3: {4}}, {"null": 1, "true": 2, "3": "{4}"}, id="keys that JSON has a text for"
        ),
        pytest.param(ValueError("bad"), "bad", id="exception"),
        pytest.param("\ud800", "�", id="lone surrogate"),
        pytest.param(10**5000, "<int str() failed>", id="too many digits"),
    ],
)
def test_what_json_cannot_spell_is_its_text(value: object, logged: object) -> None:
    made = fields(record({"value": value}, extra_value=value))
    assert made["message"]["value"] == logged
    assert made["extra_value"] == logged


def test_a_value_that_contains_itself_is_logged_once() -> None:
    value: dict[str, object] = {"a": 1}
    value["self"] = value
    assert fields(record(value=value))["value"] == {"a": 1, "self": str(value)}


def test_a_value_without_end_is_cut() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert "<list str() failed>" in json.dumps(fields(record(value=deep))["value"])


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_exception_without_text_is_logged_by_its_name() -> None:
    made = fields(record(exc_info=exc_info(Unspeakable())))
    assert (made["errorType"], made["errorMessage"]) == ("Unspeakable", "<exception str() failed>")


def test_exception_outside_of_an_except_block_has_no_error_keys() -> None:
    assert set(fields(record(exc_info=(None, None, None)))) == {"timestamp", "level", "message", "logger", "requestId"}


def chained() -> BaseException:
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    return error


def noted() -> BaseException:
    error = ValueError("outer")
    error.add_note("it was a Friday")
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(chained(), "KeyError: 'inner'", id="cause"),
        pytest.param(noted(), "it was a Friday", id="note"),
        pytest.param(ExceptionGroup("several", [KeyError("inner")]), "KeyError: 'inner'", id="group"),
    ],
)
def test_a_stack_trace_tells_what_belongs_to_the_exception(error: BaseException, told: str) -> None:
    assert told in "".join(fields(record(exc_info=exc_info(error)))["stackTrace"])


def test_the_stack_is_a_stack_trace_when_there_is_no_exception() -> None:
    assert fields(record(stack_info="Stack:\n  File x"))["stackTrace"] == ["Stack:", "  File x"]


def test_an_extra_never_takes_the_place_of_a_key_and_fills_an_empty_one() -> None:
    made = fields(record(requestId="forged", logger="forged", errorType="Own"))
    assert (made["requestId"], made["logger"], made["errorType"]) == ("id-1", "my.app", "Own")


def test_what_other_formatters_leave_on_a_record_is_no_extra() -> None:
    made = record()
    logging.Formatter("%(asctime)s %(message)s").format(made)
    assert set(fields(made)) == {"timestamp", "level", "message", "logger", "requestId"}


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (1, "TRACE"),
        (10, "DEBUG"),
        (20, "INFO"),
        (25, "INFO"),
        (30, "WARNING"),
        (40, "ERROR"),
        (50, "CRITICAL"),
        (99, "CRITICAL"),
    ],
)
def test_a_level_is_rounded_down_to_one_that_lambda_knows(level: int, name: str) -> None:
    made = record(level=level)
    assert fields(made)["level"] == name
    assert made.levelno == level  # the record itself is left alone, other handlers see it too


# The handler


def handler(formatter: logging.Formatter | None = None, tells_level: bool = True) -> tuple[LambdaLoggerHandler, Kept]:
    kept = Kept()
    return LambdaLoggerHandler(
        kept.write, lambda: ("id-1", "t-1"), formatter or TextFormatter(), tells_level=tells_level
    ), kept


def test_a_record_that_cannot_be_formatted_becomes_a_record_that_says_so() -> None:
    logs, kept = handler()
    made = logging.LogRecord("my.app", logging.INFO, "app.py", 7, "%d apples", ("many",), None)
    logs.handle(made)
    ((text, level),) = kept.records
    assert level == logging.ERROR
    assert re.fullmatch(
        r"\[ERROR\]\t\S+\tid-1\ta record of the logger 'my\.app' could not be formatted: TypeError: .*\n", text
    )
    assert "its message is %d apples, its arguments are ('many',)" in text


def test_errors_of_logging_are_not_told_when_logging_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logs, kept = handler()
    logs.handle(logging.LogRecord("my.app", logging.INFO, "app.py", 7, "%d", ("many",), None))
    assert kept.records == []


def test_a_format_of_the_users_own_gets_the_ids_and_the_line_feed() -> None:
    logs, kept = handler()
    logs.setFormatter(logging.Formatter("%(aws_request_id)s %(tenant_id)s %(message)s"))
    logs.handle(record())
    assert kept.records == [("id-1 t-1 hello\n", logging.INFO)]


def test_the_level_is_told_only_when_lambda_is_to_filter() -> None:
    logs, kept = handler(tells_level=False)
    logs.handle(record(level=logging.ERROR))
    assert kept.records[0][1] is None


# Where records go


@pytest.fixture
def pipe() -> Any:
    read, write = os.pipe()
    yield read, Descriptor(write)
    os.close(read)
    os.close(write)


def test_a_record_is_one_line_whatever_it_holds(pipe: tuple[int, Descriptor]) -> None:
    read, descriptor = pipe
    Lines(descriptor).write("one\ntwo\r\nthree\n\n", logging.INFO)
    assert os.read(read, 100) == b"one\rtwo\rthree\n"


def test_a_record_begins_a_line_after_a_print_without_an_end(pipe: tuple[int, Descriptor]) -> None:
    read, descriptor = pipe
    lines = Lines(descriptor)
    for text in (b"open", b"closed\n", b""):
        descriptor.write(text)
        lines.write("record", logging.INFO)
    assert os.read(read, 100) == b"open\nrecord\nclosed\nrecord\nrecord\n"


FRAME_BITS = {
    "TRACE": (5, 4),
    "DEBUG": (10, 8),
    "INFO": (20, 0xC),
    "WARN": (30, 0x10),
    "ERROR": (40, 0x14),
    "FATAL": (50, 0x18),
}


@pytest.mark.parametrize(("as_json", "base"), [(False, 0xA55A0003), (True, 0xA55A0002)])
@pytest.mark.parametrize("name", FRAME_BITS)
def test_a_frame_has_type_length_time_and_the_record_as_it_is(
    pipe: tuple[int, Descriptor], as_json: bool, base: int, name: str
) -> None:
    read, descriptor = pipe
    level, bits = FRAME_BITS[name]
    Frames(descriptor, as_json).write("zwei\nZeilen ü\n", level)
    head, body = os.read(read, 16), os.read(read, 100)
    kind, length, microseconds = struct.unpack(">IIQ", head)
    assert kind == base | bits
    assert body == "zwei\nZeilen ü\n".encode()
    assert length == len(body)
    assert abs(microseconds / 1e6 - os.stat("/proc/self").st_ctime) < 86_400  # it is microseconds


def test_a_frame_without_a_level_has_the_bare_type(pipe: tuple[int, Descriptor]) -> None:
    read, descriptor = pipe
    Frames(descriptor, False).write("x", None)
    assert os.read(read, 4) == b"\xa5\x5a\x00\x03"


def test_records_of_several_threads_stay_whole(pipe: tuple[int, Descriptor]) -> None:
    """Each is longer than what a pipe keeps together."""
    read, descriptor = pipe
    lines = Lines(descriptor)
    writers = [
        threading.Thread(target=lambda letter=letter: [lines.write(letter * 20_000, None) for _ in range(5)])
        for letter in "abcd"
    ]
    for thread in writers:
        thread.start()
    seen = bytearray()
    while seen.count(b"\n") < 20:
        seen += os.read(read, 65536)
    for thread in writers:
        thread.join(30)
    assert {(len(text), len(set(text))) for text in seen.split()} == {(20_000, 1)}


def test_a_pipe_that_a_child_made_non_blocking_loses_nothing(pipe: tuple[int, Descriptor]) -> None:
    read, descriptor = pipe
    os.set_blocking(descriptor.number, False)
    seen = bytearray()

    def drain() -> None:
        while len(seen) < 1_000_000:
            seen.extend(os.read(read, 65536))

    thread = threading.Thread(target=drain)
    thread.start()
    descriptor.write(b"x" * 1_000_000)
    thread.join(10)
    assert len(seen) == 1_000_000


# Error records


def error_record(as_json: bool, *arguments: Any, begun: bool = True) -> str:
    kept = Kept()
    logs = HandlerLogs(kept, Scope(), as_json)
    if begun:
        logs.begin(Invocation("id-1", b"", tenant_id="t-1"))
    logs.error(*arguments)
    ((text, level),) = kept.records
    assert level == logging.ERROR
    return text


TRACE = ['  File "/var/task/app.py", line 2, in handler\n    raise ValueError("bad")\n']


def test_an_error_record_as_text_has_the_managed_runtimes_form() -> None:
    indentation = NO_BREAK_SPACE * 2
    assert error_record(False, "ValueError", "bad", TRACE) == (
        "[ERROR] ValueError: bad\nTraceback (most recent call last):\n"
        f'{indentation}File "/var/task/app.py", line 2, in handler\n{indentation * 2}raise ValueError("bad")'
    )


def test_an_error_record_without_message_or_trace_is_its_type() -> None:
    assert error_record(False, "Runtime.HandlerNotFound", "", []) == "[ERROR] Runtime.HandlerNotFound"


def test_an_error_record_as_json_is_one_object() -> None:
    made = json.loads(error_record(True, "ValueError", "bad\nlines", TRACE))
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made.pop("timestamp"))
    assert made == {
        "level": "ERROR",
        "errorMessage": "bad\nlines",
        "errorType": "ValueError",
        "requestId": "id-1",
        "stackTrace": TRACE,
        "tenantId": "t-1",
    }


def test_an_init_error_has_no_ids() -> None:
    made = json.loads(error_record(True, "ImportError", "", [], begun=False))
    assert set(made) == {"timestamp", "level", "errorMessage", "errorType"}


# Whose record it is


def test_all_threads_have_the_ids_of_the_only_invocation() -> None:
    scope = Scope()
    scope.begin(("id-1", "t-1"))
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(scope.ids()))
    thread.start()
    thread.join(30)
    assert seen == [("id-1", "t-1")]


# The whole, in a process with the flags of `bootstrap`

Run = Callable[..., "subprocess.CompletedProcess[str]"]
INVOCATION = 'logs.begin(Invocation("id-1", b"", tenant_id="t-1"))\n'


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs code as the handler would: after ``install``, with ``logs`` at hand; keyword arguments are variables."""

    def run_code(code: str, *, before: str = "", **environment: str) -> Any:
        (tmp_path / "case.py").write_text(
            f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{before}\nimport posix\n"
            "from runtime.python import logs as handler_logs\nfrom runtime.invocation import Invocation\n"
            "environ = {name.decode(): value.decode() for name, value in posix.environ.items()}\n"
            f"logs = handler_logs.install(environ)\n{code}"
        )
        command = [os.path.realpath(sys.executable), "-ISBXutf8", str(tmp_path / "case.py")]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            pass_fds=passed(environment),
            check=False,
        )

    return run_code


def passed(environment: Mapping[str, str]) -> tuple[int, ...]:
    given = environment.get("_LAMBDA_TELEMETRY_LOG_FD", "")
    return (int(given),) if given.isdigit() and int(given) < 1000 else ()


def succeeded(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert (done.returncode, done.stderr) == (0, "")
    # Not splitlines: that splits at the carriage returns too.
    return done.stdout.removesuffix("\n").split("\n")


def test_a_handler_that_does_not_log_loads_nothing_for_it(run: Run) -> None:
    done = run(
        "import os, io\nprint('hello')\nloaded = {n for n in sys.modules if n.startswith('runtime')}\n"
        "print('logging' in sys.modules, 're' in sys.modules, 'runtime.python.log_records' in sys.modules)"
    )
    assert succeeded(done) == ["hello", "False False False"]


@pytest.mark.parametrize("statement", ["import logging", "import logging.handlers", "from logging import getLogger"])
def test_the_root_logger_is_ready_when_the_import_is(run: Run, statement: str) -> None:
    done = run(f"{statement}\nlogging = sys.modules['logging']\nlogging.warning('hello')\nlogging.info('not shown')")
    (shown,) = succeeded(done)
    assert re.fullmatch(r"\[WARNING\]\t20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\t\thello", shown)


def test_logging_that_was_loaded_before_is_set_up_too(run: Run) -> None:
    assert len(succeeded(run("logging.warning('hello')", before="import logging"))) == 1


def test_the_module_looks_as_if_nobody_had_come_between(run: Run) -> None:
    done = run(
        "import logging, inspect\nspec = logging.__spec__\n"
        "print(type(logging.__loader__).__name__, spec.loader is logging.__loader__, spec.name)\n"
        "print(inspect.getsource(logging.warning)[:11])"
    )
    assert succeeded(done) == ["SourceFileLoader True logging", "def warning"]


def test_looking_for_logging_does_not_use_up_its_set_up(run: Run) -> None:
    code = "import importlib.util\nimportlib.util.find_spec('logging')\nimport logging\nlogging.warning('hello')"
    assert len(succeeded(run(code))) == 1


def test_a_reloaded_logging_is_set_up_again(run: Run) -> None:
    code = "import importlib, logging\nimportlib.reload(logging)\nlogging.warning('hello')"
    assert len(succeeded(run(code))) == 1


def test_a_module_of_the_users_that_is_called_logging_works(run: Run, tmp_path: Path) -> None:
    (tmp_path / "logging.py").write_text("answer = 42")
    done = run("import logging\nprint(logging.answer)")
    assert done.stdout == "42\n"
    assert "logging could not be set up" in done.stderr


# Levels: what a handler sees of AWS_LAMBDA_LOG_LEVEL

SPEAK = """
import logging
root, own = logging.getLogger(), logging.getLogger("own")
own.setLevel(1)
for logger in (root, own):
    for level in (5, 10, 20, 30, 40, 50):
        logger.log(level, f"{logger.name} {level}")
"""


@pytest.mark.parametrize(
    ("setting", "of_root", "of_own"),
    [
        ("TRACE", 10, 5),
        ("DEBUG", 10, 10),
        ("INFO", 20, 20),
        ("info", 20, 20),
        ("WARN", 30, 30),
        ("WARNING", 30, 30),
        ("ERROR", 40, 40),
        ("FATAL", 50, 50),
        ("CRITICAL", 50, 50),
        ("", 30, 5),
    ],
)
def test_the_configured_level_binds_loggers_with_a_level_of_their_own(
    run: Run, setting: str, of_root: int, of_own: int
) -> None:
    shown = [text.split("\t")[3] for text in succeeded(run(SPEAK, AWS_LAMBDA_LOG_LEVEL=setting))]
    levels = (5, 10, 20, 30, 40, 50)
    assert shown == [f"root {n}" for n in levels if n >= of_root] + [f"own {n}" for n in levels if n >= of_own]


def test_every_level_of_logging_is_a_level_here() -> None:
    assert set(logging.getLevelNamesMapping()) | {"TRACE"} == set(LEVELS)


def test_an_unknown_level_is_named_and_ignored(run: Run) -> None:
    done = run("import logging\nlogging.warning('hello')", AWS_LAMBDA_LOG_LEVEL="LOUD")
    assert done.stdout.endswith("\thello\n")
    assert "AWS_LAMBDA_LOG_LEVEL='LOUD' is ignored: it must be one of TRACE" in done.stderr


# What user code does to logging


def test_basic_config_neither_doubles_nor_loses_lines(run: Run) -> None:
    code = "import logging\nlogging.basicConfig(level=logging.INFO)\nlogging.basicConfig()\nlogging.warning('hello')"
    assert len(succeeded(run(code))) == 1


def test_basic_config_with_force_is_the_users_decision(run: Run) -> None:
    code = "import logging\nlogging.basicConfig(force=True, format='mine %(message)s')\nlogging.warning('hello')"
    done = run(code)
    assert (done.stdout, done.stderr) == ("", "mine hello\n")


def test_dict_config_is_the_users_decision(run: Run) -> None:
    code = (
        "import logging.config\n"
        "logging.config.dictConfig({'version': 1, 'root': {'handlers': ['h'], 'level': 'INFO'}, 'formatters': {'f':"
        " {'format': 'mine %(message)s'}}, 'handlers': {'h': {'class': 'logging.StreamHandler', 'formatter': 'f'}}})\n"
        "logging.info('hello')"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("", "mine hello\n")


def test_handlers_of_the_users_own_are_left_alone(run: Run) -> None:
    """Their format, their level, and their time zone; the record has the ids for them all the same."""
    code = (
        "import logging, time\n"
        "class Mine(logging.Handler):\n"
        "    def emit(self, record): print('mine', record.levelname, record.aws_request_id, self.format(record))\n"
        "logging.getLogger().addHandler(Mine())\nlogging.getLogger('own').setLevel(10)\n"
        f"{INVOCATION}"
        "logging.getLogger('own').debug('hello')\nprint(logging.Formatter.converter is time.localtime)"
    )
    assert succeeded(run(code, AWS_LAMBDA_LOG_LEVEL="INFO")) == ["mine DEBUG id-1 hello", "True"]


def test_a_mistake_in_a_log_call_does_not_reach_the_handler(run: Run) -> None:
    (shown,) = succeeded(run("import logging\nlogging.warning('%d', 'many')"))
    assert "could not be formatted: TypeError" in shown


# Ids


def test_records_have_the_ids_of_their_invocation_and_init_has_none(run: Run) -> None:
    code = (
        f"import logging\nlogging.warning('init')\n{INVOCATION}logging.warning('one')\n"
        "logs.begin(Invocation('id-2', b''))\nlogging.warning('two')"
    )
    shown = [json.loads(text) for text in succeeded(run(code, AWS_LAMBDA_LOG_FORMAT="JSON"))]
    assert [(made.get("requestId"), made.get("tenantId")) for made in shown] == [
        (None, None),
        ("id-1", "t-1"),
        ("id-2", None),
    ]


# print


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "crash", ["posix._exit(3)", "posix.kill(posix.getpid(), 9)", "import ctypes; ctypes.string_at(0)"]
)
def test_what_was_printed_outlives_a_crash(run: Run, stream: str, crash: str) -> None:
    done = run(f"print('line', file=sys.{stream})\nprint('no ', 'end', end='', file=sys.{stream})\n{crash}")
    assert done.returncode in (3, -signal.SIGKILL, -signal.SIGSEGV)
    assert getattr(done, stream) == "line\nno  end"


def test_bytes_that_are_written_to_the_buffer_outlive_a_crash_too(run: Run) -> None:
    assert run("sys.stdout.buffer.write(b'bytes')\nposix._exit(3)").stdout == "bytes"


def test_print_records_and_child_processes_come_in_their_order(run: Run) -> None:
    code = "import logging, os\nprint(1)\nlogging.warning(2)\nos.system('echo 3')\nprint(4)\nlogs.error('E', '5', [])"
    assert [text[-1] for text in succeeded(run(code))] == ["1", "2", "3", "4", "5"]


def test_the_streams_are_what_they_were_otherwise(run: Run) -> None:
    code = (
        "import io\nprint(isinstance(sys.stdout, io.TextIOWrapper), sys.stdout.fileno(), sys.stdout.name)\n"
        "print(sys.stdout.encoding, sys.stdout.errors, sys.stdout is sys.__stdout__, sys.stdout.isatty())\n"
        "sys.stdout.reconfigure(line_buffering=True)\nprint(sys.stdout.write('ü\\n'))"
    )
    assert succeeded(run(code)) == ["True 1 <stdout>", "utf-8 surrogateescape True False", "ü", "2"]


def test_a_closed_stdout_stops_nothing(run: Run) -> None:
    done = run("import logging\nposix.close(1)\nlogging.warning('lost')\nprint('lost')\nposix._exit(3)")
    assert (done.returncode, done.stderr) == (3, "")


def test_a_forked_child_logs_although_another_thread_was_logging(run: Run) -> None:
    code = (
        "import logging, os, threading\nstop = threading.Event()\n"
        "def busy():\n    while not stop.is_set(): logging.warning('busy')\n"
        "threading.Thread(target=busy, daemon=True).start()\n"
        "for _ in range(20):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n        logging.warning('child')\n        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "stop.set()\nos._exit(0)"
    )
    assert run(code).stdout.count("\tchild\n") == 20


def test_the_end_writes_what_others_still_hold(run: Run) -> None:
    code = (
        "import io, logging.handlers\nold = sys.stdout\n"
        "sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, 'wb', closefd=False)))\n"
        "class Mine(logging.Handler):\n    def emit(self, record): print('mine', record.getMessage(), file=old)\n"
        "logging.getLogger('own').addHandler(logging.handlers.MemoryHandler(10, target=Mine()))\n"
        "logging.getLogger('own').propagate = False\nlogging.getLogger('own').warning('kept')\nprint('printed')\n"
        "logs.flush()\nposix._exit(0)"
    )
    assert sorted(succeeded(run(code))) == ["mine kept", "printed"]


# The platform's descriptor


def frames(octets: bytes) -> list[tuple[int, str]]:
    found = []
    while octets:
        kind, length, _ = struct.unpack(">IIQ", octets[:16])
        found.append((kind, octets[16 : 16 + length].decode()))
        octets = octets[16 + length :]
    return found


def run_framed(run: Run, code: str, **environment: str) -> tuple[list[tuple[int, str]], list[str]]:
    """The frames, and what went to stdout."""
    read, write = os.pipe()
    try:
        done = run(code, _LAMBDA_TELEMETRY_LOG_FD=str(write), **environment)
        os.close(write)
        return frames(os.read(read, 65536)), succeeded(done)
    finally:
        os.close(read)


def test_the_descriptors_variable_is_removed_and_it_is_not_inherited(run: Run) -> None:
    seen, printed = run_framed(
        run,
        "import os, subprocess\nprint('_LAMBDA_TELEMETRY_LOG_FD' in os.environ)\n"
        "print(subprocess.run(['/bin/sh', '-c', 'env'], capture_output=True, text=True,"
        " close_fds=False).stdout.count('TELEMETRY'))\n"
        "print(os.get_inheritable(int(environ['_LAMBDA_TELEMETRY_LOG_FD'])))",
    )
    assert seen == []
    assert printed == ["False", "0", "False"]


ALL_LEVELS = (
    "import logging\nlogging.getLogger().setLevel(1)\nfor n in (5, 10, 20, 30, 40, 50): logging.log(n, 'two\\nlines')"
)


@pytest.mark.parametrize(
    ("environment", "types"),
    [
        pytest.param({}, [0xA55A0003] * 6, id="no setting"),
        pytest.param({"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, [0xA55A0003 | bits for bits in range(4, 0x1C, 4)], id="level"),
        pytest.param({"AWS_LAMBDA_LOG_FORMAT": "JSON"}, [0xA55A0002 | bits for bits in range(4, 0x1C, 4)], id="json"),
    ],
)
def test_each_level_has_its_frame_type(run: Run, environment: dict[str, str], types: list[int]) -> None:
    seen, _ = run_framed(run, ALL_LEVELS, **environment)
    assert [kind for kind, _ in seen] == types
    assert all(text.endswith("\n") for _, text in seen)


@pytest.mark.parametrize(("environment", "kind"), [({}, 0xA55A0017), ({"AWS_LAMBDA_LOG_FORMAT": "JSON"}, 0xA55A0016)])
def test_an_error_record_is_always_an_error(run: Run, environment: dict[str, str], kind: int) -> None:
    ((seen, text),), _ = run_framed(run, "logs.error('ValueError', 'bad\\nlines', [])", **environment)
    assert seen == kind
    assert "ValueError" in text


@pytest.mark.parametrize("given", ["x", "-1", "9999", "9" * 30])
def test_a_descriptor_that_is_none_is_named_and_stdout_taken(run: Run, given: str) -> None:
    done = run("import logging\nlogging.warning('hello')", _LAMBDA_TELEMETRY_LOG_FD=given)
    assert done.stdout.endswith("\thello\n")
    assert f"_LAMBDA_TELEMETRY_LOG_FD={given!r} is no open descriptor" in done.stderr
