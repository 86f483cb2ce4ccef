"""The logs of Python handlers, black box: the real ``./bootstrap`` runs ``tests/handlers_logs``.

First each rule, with its number in the project's list of conformance cases. Then the same handlers under awslambdaric,
the library of Lambda's managed Python runtime: every difference is listed by name in ``DIFFERENCES``.
"""

from __future__ import annotations

import json
import re
import shlex
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.handlers_logs import speaking

HANDLERS = Path(speaking.__file__).parent
TENANT = {"Lambda-Runtime-Aws-Tenant-Id": "t-1"}
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
JSON = {"AWS_LAMBDA_LOG_FORMAT": "JSON"}
NBSP = "\N{NO-BREAK SPACE}"


def start_handler(api: FakeRuntimeApi, module: str = "speaking", **environment: str) -> BootstrapProcess:
    variables = {"LAMBDA_TASK_ROOT": str(HANDLERS), **environment}
    return start_bootstrap(api, handler=f"{module}.handler", environment=variables)


def said(api: FakeRuntimeApi, *cases: str, tenant: bool = False, **environment: str) -> list[str]:
    """What stdout got for each case, without the line that announces it; before them, what init said."""
    for case in cases:
        api.add_event(case, headers=TENANT if tenant else {})
    process = start_handler(api, **environment)
    api.wait_idle()
    process.kill()
    return chunks(process.stdout)


def chunks(stdout: str) -> list[str]:
    return re.split(r"--- .*? ---\n", stdout)


def lines(text: str) -> list[str]:
    """Not splitlines: a record may hold carriage returns."""
    return text.removesuffix("\n").split("\n")


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(text)]


def test_76_a_text_record_is_level_time_request_id_and_message(api: FakeRuntimeApi) -> None:
    _, said_first, said_then = said(api, "message", "message")
    for number, text in ((1, said_first), (2, said_then)):
        request_id = f"00000000-0000-4000-8000-{number:012d}"
        assert re.fullmatch(rf"\[WARNING\]\t{TIME}\t{request_id}\thello world, 3 times\n", text)


def test_77_a_json_record_has_the_keys_the_extras_and_an_object_as_message(api: FakeRuntimeApi) -> None:
    _, message, extra, odd, of_dict = said(
        api, "message", "extra", "extra that JSON has no type for", "dict", AWS_LAMBDA_LOG_FORMAT="json"
    )
    (made,) = records(message)
    assert re.fullmatch(TIME, made.pop("timestamp"))
    assert made == {
        "level": "WARNING",
        "message": "hello world, 3 times",
        "logger": "root",
        "requestId": "00000000-0000-4000-8000-000000000001",
    }
    common = {"timestamp", "level", "message", "logger", "requestId"}
    (made,) = records(extra)
    assert (set(made), made["order"], made["amount"]) == ({*common, "order", "amount"}, 7, {"eur": 1.5})
    (made,) = records(odd)
    assert (made["a"], made["b"], made["c"]) == ("{1}", "1.10", "<class 'object'>")
    (made,) = records(of_dict)
    assert made["message"] == {"order": 7, "nothing": None, "items": [1, 2.5, True]}


ALL = list(speaking.LEVELS)


@pytest.mark.parametrize(
    ("setting", "of_root", "of_own"),
    [
        ("TRACE", "DEBUG", "TRACE"),
        ("DEBUG", "DEBUG", "DEBUG"),
        ("INFO", "INFO", "INFO"),
        ("WARN", "WARNING", "WARNING"),
        ("ERROR", "ERROR", "ERROR"),
        ("FATAL", "FATAL", "FATAL"),
        ("", "WARNING", "TRACE"),
    ],
)
def test_78_and_79_the_level_binds_the_root_logger_and_those_with_a_level_of_their_own(
    api: FakeRuntimeApi, setting: str, of_root: str, of_own: str
) -> None:
    _, root, own = said(api, "levels", "levels of a logger of its own", AWS_LAMBDA_LOG_LEVEL=setting)
    assert [line.split("\t")[3] for line in lines(root)] == ALL[ALL.index(of_root) :]
    assert [line.split("\t")[3] for line in lines(own)] == ALL[ALL.index(of_own) :]


@pytest.mark.parametrize("case", ["raise", "raise with two lines"])
def test_80_an_invocation_error_is_one_line_of_text(api: FakeRuntimeApi, case: str) -> None:
    _, text, next_one = said(api, case, "message")
    message, *trace = text.split("\rTraceback (most recent call last):\r")
    assert message == {"raise": "[ERROR] ValueError: bad", "raise with two lines": "[ERROR] ValueError: one\rtwo"}[case]
    assert text.count("\n") == 1
    assert trace[0].startswith(f'{NBSP * 2}File "{HANDLERS}/speaking.py", line ')
    assert trace[0].endswith(f"{NBSP * 4}raise error\n")
    assert next_one.startswith("[WARNING]")


def test_80_an_invocation_error_is_one_json_object_that_says_what_was_posted(api: FakeRuntimeApi) -> None:
    (made,) = records(said(api, "raise with two lines", tenant=True, **JSON)[1])
    assert re.fullmatch(TIME, made.pop("timestamp"))
    assert made.pop("level") == "ERROR"
    assert made.pop("tenantId") == "t-1"
    assert made == json.loads(api.of_kind("error")[0].body)


@pytest.mark.parametrize("environment", [{}, JSON], ids=["text", "json"])
def test_80_an_init_error_is_one_line_without_a_request_id(api: FakeRuntimeApi, environment: dict[str, str]) -> None:
    process = start_handler(api, "failing_init", **environment)
    assert process.wait() == 1
    assert process.stderr == ""  # and it is not told a second time
    logged, error = lines(process.stdout)
    if environment:
        made = json.loads(error)
        assert (made["errorType"], made["errorMessage"], "requestId" in made) == ("ValueError", "one\ntwo", False)
        assert made["stackTrace"] == json.loads(api.of_kind("init_error")[0].body)["stackTrace"]
    else:
        assert error.startswith(f"[ERROR] ValueError: one\rtwo\rTraceback (most recent call last):\r{NBSP * 2}File ")


def test_81_a_logged_exception_is_one_record_that_ends_its_line(api: FakeRuntimeApi) -> None:
    exception, next_one = lines(said(api, "exception")[1])
    assert "\tcaught\rTraceback (most recent call last):\r" in exception
    assert exception.endswith("\rValueError: bad")
    assert next_one.endswith("\tthe next record")


def test_81_a_logged_exception_has_its_error_as_keys(api: FakeRuntimeApi) -> None:
    exception, _ = records(said(api, "exception", **JSON)[1])
    assert (exception["errorType"], exception["errorMessage"]) == ("ValueError", "bad")
    assert re.fullmatch(rf"{re.escape(str(HANDLERS))}/speaking\.py:caught:\d+", exception["location"])
    (frame,) = exception["stackTrace"]
    assert re.match(rf'  File "{re.escape(str(HANDLERS))}/speaking\.py", line \d+, in caught\n    raise error\n', frame)


@pytest.mark.parametrize(
    ("environment", "of_levels", "of_error"),
    [
        pytest.param({}, [0xA55A0003] * 3, 0xA55A0017, id="no setting"),
        pytest.param(
            {"AWS_LAMBDA_LOG_LEVEL": "TRACE"},
            [0xA55A0003 | bits for bits in (8, 12, 12, 16, 20, 24)],
            0xA55A0017,
            id="level",
        ),
        pytest.param(JSON, [0xA55A0002 | bits for bits in (16, 20, 24)], 0xA55A0016, id="json"),
    ],
)
def test_82_frames_on_the_platforms_descriptor(
    api: FakeRuntimeApi, tmp_path: Path, environment: dict[str, str], of_levels: list[int], of_error: int
) -> None:
    frames, stdout = framed(api, tmp_path, ["levels", "raise with two lines", "variables"], environment)
    assert stdout == ["init: printed\n", "", "", "[]\n"]
    *_, (error_type, error_text) = frames
    assert [kind for kind, _ in frames[:-1]][-len(of_levels) :] == of_levels
    assert error_type == of_error
    assert ("one\\ntwo" if environment == JSON else "one\ntwo") in error_text


def framed(
    api: FakeRuntimeApi, tmp_path: Path, cases: list[str], environment: dict[str, str], *command: str
) -> tuple[list[tuple[int, str]], list[str]]:
    """The frames, and what went to stdout. `start_bootstrap` hands on no descriptor, so a shell opens one."""
    frames = tmp_path / f"frames-{len(command)}"
    opener = tmp_path / f"open-{len(command)}.sh"
    program = shlex.join(command or [str(Path("bootstrap").resolve())])
    opener.write_text(f"#!/bin/sh\n_LAMBDA_TELEMETRY_LOG_FD=7 exec {program} 7>{frames}\n")
    opener.chmod(0o755)
    for case in cases:
        api.add_event(case)
    environment = {"LAMBDA_TASK_ROOT": str(HANDLERS), **environment}
    process = start_bootstrap(api, handler="speaking.handler", environment=environment, bootstrap=opener)
    api.wait_idle()
    process.kill()
    return list(read_frames(frames.read_bytes())), chunks(process.stdout)


def read_frames(octets: bytes) -> Iterator[tuple[int, str]]:
    while octets:
        kind, length, _ = struct.unpack(">IIQ", octets[:16])
        yield kind, octets[16 : 16 + length].decode()
        octets = octets[16 + length :]


def test_83_what_was_printed_and_logged_before_a_crash_is_there(api: FakeRuntimeApi) -> None:
    api.add_event("crash")
    process = start_handler(api)
    assert process.wait() == 3
    logged, printed, open_one = chunks(process.stdout)[1].split("\n")
    assert logged.endswith("\tlogged before the crash")
    assert (printed, open_one) == ("printed before the crash", "without an end")


def test_84_a_tenant_is_in_the_record_of_its_invocation_only(api: FakeRuntimeApi) -> None:
    api.add_event("message", headers=TENANT)
    api.add_event("message")
    process = start_handler(api, **JSON)
    api.wait_idle()
    process.kill()
    _, of_tenant, of_nobody = chunks(process.stdout)
    assert records(of_tenant)[0]["tenantId"] == "t-1"
    assert "tenantId" not in records(of_nobody)[0]


def test_85_init_knows_no_request_id_not_even_after_a_crash(api: FakeRuntimeApi) -> None:
    first = api.add_event("crash")
    start_handler(api).wait()
    with FakeRuntimeApi() as fresh:
        fresh.add_event("message")
        again = start_handler(fresh)
        fresh.wait_idle()
        again.kill()
    init = chunks(again.stdout)[0]
    assert re.fullmatch(rf"init: printed\n\[WARNING\]\t{TIME}\t\tinit: logged\n", init)
    assert first not in init


def test_our_own_lines_have_the_keys_of_the_handlers_and_go_to_stderr(api: FakeRuntimeApi) -> None:
    api.add_event("message")
    process = start_handler(api, AWS_LAMBDA_LOG_LEVEL="LOUD", **JSON)
    api.wait_idle()
    process.kill()
    (ours,) = records(process.stderr)
    assert (ours["level"], ours["logger"]) == ("WARN", "fairlead")
    assert set(ours) | {"requestId"} == set(records(chunks(process.stdout)[1])[0])


# The same under awslambdaric


class Difference(NamedTuple):
    """What differs on purpose, and in which formats; the two are regular expressions that each side's text contains."""

    name: str
    case: str
    formats: tuple[str, ...]
    theirs: str
    ours: str


TEXT = ("text", "level")
BOTH = ("text", "json")
ONE_LINE = "a record is one line"
ENDS = "a record with a trace ends its line"
DIFFERENCES = [
    Difference(ONE_LINE, "two lines", ("text",), r"\tone\ntwo\n$", r"\tone\rtwo\n$"),
    Difference(ONE_LINE, "raise with two lines", TEXT, r"ValueError: one\ntwo\r", r"ValueError: one\rtwo\r"),
    Difference(
        ENDS,
        "exception",
        TEXT,
        r"\n    raise error\nValueError: bad(\[|$)",
        rf"\r{NBSP * 4}raise error\rValueError: bad\n",
    ),
    Difference(ENDS, "exception with a cause", TEXT, r"LookupError: outer$", r"LookupError: outer\n$"),
    Difference(ENDS, "exception whose text cannot be had", TEXT, r"failed>(\[|$)", r"failed>\n"),
    Difference(ENDS, "stack", ("text",), r"stack_info=True\),$", r"stack_info=True\),\n$"),
    Difference(ENDS, "format of its own", BOTH, r"formatted[\[{]", r"formatted\n[\[{]"),
    Difference("a record begins a line", "print without an end", BOTH, r"^open[\[{]", r"^open\n[\[{]"),
    Difference(
        "the level binds every logger", "levels of a logger of its own", ("level",), r"\tDEBUG\n", r"^\[ERROR\]"
    ),
    Difference("TRACE is a level", "levels of a logger of its own", ("json",), r'"NOTSET"', r'"TRACE"'),
    Difference(
        "a mistake in a log call is a record",
        "wrong arguments",
        BOTH,
        r"TypeError: %d|\"TypeError\"",
        r"could not be formatted",
    ),
    Difference(
        "nothing caught is no exception", "exception outside of an except block", TEXT, r"NoneType: None$", r"caught\n$"
    ),
    Difference(
        "nothing caught is no exception",
        "exception outside of an except block",
        ("json",),
        r"AttributeError",
        r"caught",
    ),
    Difference("any text can be logged", "lone surrogate", ("text",), r"UnicodeEncodeError", r"\t\\ud800\n"),
    Difference("any text can be logged", "lone surrogate", ("json",), r"UnicodeEncodeError", "\ufffd"),
    Difference(
        "any exception can be logged",
        "exception whose text cannot be had",
        ("json",),
        r'"RuntimeError"',
        r'"Unspeakable"',
    ),
    Difference(
        "causes are told", "exception with a cause", ("json",), r"outer", r"Caused by: ValueError: invalid literal"
    ),
    Difference("stack_info is told", "stack", ("json",), r'"here"', r'"stackTrace":\["Stack'),
    Difference("any value can be logged", "extra NaN", ("json",), r'"ratio": NaN', r'"ratio":"nan"'),
    Difference("any value can be logged", "extra with a tuple as key", ("json",), r'"TypeError"', r'{"\(1, 2\)":3}'),
    Difference("any value can be logged", "value that contains itself", ("json",), r"Circular", r"\{\.\.\.\}"),
    Difference(
        "an extra may fill an empty key", "extra called like an empty key", ("json",), r'"odd"', r'"errorType":"Own"'
    ),
]
ENVIRONMENTS = {"text": {}, "json": JSON, "level": {"AWS_LAMBDA_LOG_LEVEL": "ERROR"}}
COMPARED = [case for case in speaking.CASES if case != "crash"]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def both(request: pytest.FixtureRequest) -> tuple[str, dict[str, tuple[str, str]]]:
    """The format, and what each case made awslambdaric and us write."""
    pytest.importorskip("awslambdaric", reason="awslambdaric is the reference")
    spoken = []
    python = {"bootstrap": Path(sys.executable), "arguments": ["-m", "awslambdaric", "speaking.handler"]}
    for command in (python, {"handler": "speaking.handler"}):
        with FakeRuntimeApi() as api:
            for case in COMPARED:
                api.add_event(case)
            environment = {"LAMBDA_TASK_ROOT": str(HANDLERS), **ENVIRONMENTS[request.param]}
            process = start_bootstrap(api, environment=environment, **command)
            api.wait_idle(timeout=30)
            process.kill()
            spoken.append(chunks(process.stdout))
    return request.param, dict(zip(["init", *COMPARED], zip(*spoken, strict=True), strict=True))


def canonical(text: str) -> str:
    """Without the time, and without what spaces make of a JSON object."""
    compact = [json.dumps(json.loads(line)) if line.startswith("{") else line for line in text.split("\n")]
    return re.sub(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "TIME", "\n".join(compact))


@pytest.mark.parametrize("case", COMPARED)
def test_a_record_is_the_managed_runtimes_or_its_difference_has_a_name(
    both: tuple[str, dict[str, tuple[str, str]]], case: str
) -> None:
    kind, spoken = both
    theirs, ours = spoken[case]
    differences = [one for one in DIFFERENCES if one.case == case and kind in one.formats]
    assert (canonical(theirs) != canonical(ours)) == bool(differences)
    for difference in differences:
        assert re.search(difference.theirs, theirs), difference.name
        assert re.search(difference.ours, ours), difference.name


def test_init_is_the_managed_runtimes_without_its_empty_request_id(
    both: tuple[str, dict[str, tuple[str, str]]],
) -> None:
    kind, spoken = both
    theirs, ours = map(canonical, spoken["init"])
    assert ours == (theirs.replace(', "requestId": ""', "") if kind == "json" else theirs)


def test_json_is_compact_and_has_milliseconds(both: tuple[str, dict[str, tuple[str, str]]]) -> None:
    kind, spoken = both
    if kind == "json":
        theirs, ours = spoken["message"]
        assert re.match(r'\{"timestamp": "[-T:\d]{19}Z", "level": ', theirs)
        assert re.match(rf'\{{"timestamp":"{TIME}","level":', ours)


@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_frames_are_the_managed_runtimes(api: FakeRuntimeApi, tmp_path: Path, environment: dict[str, str]) -> None:
    """Types, order and text: in a frame nothing has to be one line."""
    pytest.importorskip("awslambdaric", reason="awslambdaric is the reference")
    cases = ["message", "levels", "two lines", "dict", "extra", "raise", "raise with two lines"]
    ours, _ = framed(api, tmp_path, cases, environment)
    with FakeRuntimeApi() as other:
        official = (sys.executable, "-m", "awslambdaric", "speaking.handler")
        theirs, _ = framed(other, tmp_path, cases, environment, *official)
    assert [(kind, canonical(text)) for kind, text in ours] == [
        (kind, canonical(text).replace(', "requestId": ""', "")) for kind, text in theirs
    ]


# docs/logging.md

EXAMPLE = re.compile(r"```python\n(.*?)```|```(json)?\n(.*?)```", re.DOTALL)


def examples() -> Iterator[tuple[str, str, str]]:
    """Handler, format, and what the page says that it writes."""
    handler = ""
    for found in EXAMPLE.finditer((Path(__file__).parents[2] / "docs/logging.md").read_text()):
        handler = found[1] or handler
        if not found[1]:
            yield handler, found[2] or "text", found[3]


@pytest.mark.parametrize(("handler", "kind", "shown"), [*examples()])
def test_an_example_of_the_page_writes_what_the_page_shows(
    api: FakeRuntimeApi, tmp_path: Path, handler: str, kind: str, shown: str
) -> None:
    (tmp_path / "app.py").write_text(handler)
    api.add_event({})
    process = start_handler(api, "app", LAMBDA_TASK_ROOT=str(tmp_path), **ENVIRONMENTS[kind])
    api.wait_idle()
    process.kill()
    written = process.stdout.replace(str(tmp_path), "/var/task").replace(NBSP, " ")
    written = re.sub(r"0{8}-0000-4000-8000-\d{12}", "8e04…", written)
    if kind == "text":
        assert canonical(written.replace("\r", "\n")) == canonical(shown.replace("␍", "\n"))
    else:
        assert set(canonical(shown).splitlines()) <= set(canonical(written).splitlines())
