"""A function may have modules under names of the standard library's, ``types.py`` or ``queue.py``: black box.

``full`` has one for every name there is. Each says in the log that it was imported: what Fairlead needs itself it must
find all the same, at whatever time, and the function's own imports find what they find on Lambda's managed runtime.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runtime.standard import BUILT_IN_EVERYWHERE, LOADED_BY_MANAGED_RUNTIME
from tests.events import function_url
from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import CHECKOUT
from tests.fakes.wire import Reply

NAMES = sorted(name for name in sys.stdlib_module_names if name.isidentifier())
IMPORTED = "OF_THE_USER = True\nprint('imported', __name__, flush=True)\n"
GET = function_url("GET", "/", "x" * 2000)
STREAMED = {"FAIRLEAD_INVOKE_MODE": "response_stream"}
SURROUNDED = {
    "FAIRLEAD_ENABLE_COMPRESSION": "true",
    "FAIRLEAD_ERROR_STATUS_CODES": "500-599",
    "FAIRLEAD_AFTER_RESPONSE_PATH": "/done",
    "FAIRLEAD_REQUEST_LOG": "true",
    "FAIRLEAD_METRICS": "emf",
    "FAIRLEAD_TRACING": "xray",
}
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"good" * 1000, "more_body": True})
    await send({"type": "http.response.body"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"good" * 1000]
"""
HOOKS = """
def on_request(request):
    return None

def on_response(request, response):
    return response._replace(headers=[*response.headers, ("x-hooked", "yes")])
"""
FAILING_HOOKS = "def on_request(request):\n    raise ValueError('of the hook')\n"


class Case(NamedTuple):
    """A function: its one module, what it is given, and what must be in the answer or in the log."""

    source: str
    said: str
    handler: str = "app.handler"  # "": web mode
    event: Any = {}  # noqa: RUF012 (never changed)
    environment: dict[str, str] = {}  # noqa: RUF012
    hooks: str = ""


def handler(body: str) -> str:
    return f"def handler(event, context):\n    {body}\n"


ERROR = handler("raise ValueError('no such order')")
TRACED = "raise ValueError('no such order')"
LOGS = """
import logging

def handler(event, context):
    try:
        return 1 / 0
    except ArithmeticError:
        logging.exception("it failed")
    return "good"
"""
STARTS = {
    "init error": Case("value = 1 / 0\n", "value = 1 / 0"),
    "syntax error": Case("def handler(event, context)\n    pass\n", "Runtime.UserCodeSyntaxError"),
    "package missing": Case("import no_such_package\n", "import no_such_package"),
    "handler missing": Case("", "Handler 'handler' missing"),
    "sys.exit": Case("raise SystemExit(3)\n", "sys.exit(3)"),
    "hooks that cannot be loaded": Case(WSGI, "value = 1 / 0", "app:app", hooks="value = 1 / 0\n"),
    "web, hooks that cannot be loaded": Case("", "value = 1 / 0", "", hooks="value = 1 / 0\n"),
    "web, syntax error in hooks": Case("", "SyntaxError", "", hooks="value =\n"),
    "failed lifespan": Case(ASGI.replace("startup.complete", "startup.failed"), "Runtime.LifespanFailed", "app:app"),
}
CALLS = {
    "good": Case(handler("return 'good'"), "good"),
    "not JSON": Case(handler("return 'good'"), "Runtime.UnmarshalError", event=b"{"),
    "raises": Case(ERROR, TRACED),
    "raises, logs as JSON": Case(ERROR, TRACED, environment={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    "logs": Case(LOGS, "return 1 / 0"),
    "logs as JSON": Case(LOGS, "return 1 / 0", environment={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    "generator": Case(handler("yield 'good'"), "good"),
    "generator that fails": Case(handler("yield 'good'\n    1 / 0"), "ZeroDivisionError"),
    "HTTP answer, streamed": Case(handler("return {'statusCode': 200, 'body': iter(['good'])}"), "good"),
    "async generator": Case("async " + handler("yield 'good'"), "good"),
    "writer": Case(handler("context.response_stream({'statusCode': 200}).write('good')"), "good"),
    "async def": Case("async " + handler("return 'good'"), "good"),
    "async def that raises": Case("async " + ERROR, TRACED),
    "sys.exit": Case(handler("raise SystemExit(3)"), "raise SystemExit(3)"),
    "marshal error": Case(handler("return {1, 2}"), "Object of type set"),
    "several pollers": Case(handler("return 'good'"), "good", environment={"AWS_LAMBDA_MAX_CONCURRENCY": "2"}),
    "snapshot": Case(handler("return 'good'"), "good", environment={"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}),
    "ASGI": Case(ASGI, '"statusCode":200', "app:app", GET, SURROUNDED, HOOKS),
    "ASGI, streamed": Case(ASGI, "goodgood", "app:app", GET, STREAMED),
    "WSGI": Case(WSGI, '"statusCode":200', "app:app", GET, SURROUNDED, HOOKS),
    "WSGI, streamed": Case(WSGI, "goodgood", "app:app", GET, STREAMED, HOOKS),
    "WSGI that raises": Case("def app(environ, start_response):\n    1 / 0\n", "1 / 0", "app:app", GET),
    "web with hooks": Case("", "x-hooked", "", GET, SURROUNDED, HOOKS),
    "web with hooks, streamed": Case("", "x-hooked", "", GET, STREAMED, HOOKS),
    "web, hooks that raise": Case("", "raise ValueError('of the hook')", "", GET, hooks=FAILING_HOOKS),
    "web with hooks, several pollers": Case("", "x-hooked", "", GET, {"AWS_LAMBDA_MAX_CONCURRENCY": "2"}, HOOKS),
    "web with hooks, snapshot": Case("", "x-hooked", "", GET, {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, HOOKS),
}
# Built in since: 3.12, 3.13.
NEW_IN_C = {"_suggestions", "_sysconfig", "_typing"}
Start = Callable[..., BootstrapProcess]


def write_users(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(IMPORTED)


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi(concurrency=2) as fake:
        yield fake


@pytest.fixture
def start(api: FakeRuntimeApi, tmp_path: Path) -> Start:
    """Starts ``bootstrap`` on a case's function, with modules of the user's under ``names`` in its folder."""

    def started(case: Case, names: list[str]) -> BootstrapProcess:
        write_users(tmp_path, names)
        return start_function(api, case, tmp_path)

    return started


def start_function(api: FakeRuntimeApi, case: Case, root: Path) -> BootstrapProcess:
    (root / "app.py").write_text(case.source)
    if case.hooks:
        (root / "fairlead_hooks.py").write_text(case.hooks)
    api.script("restore_next", Reply(200, b""))
    return start_bootstrap(
        api,
        command=None if case.handler else app("echo.py"),
        handler=case.handler or None,
        environment={"LAMBDA_TASK_ROOT": str(root), **case.environment},
    )


def imported(process: BootstrapProcess) -> list[str]:
    """Modules of the user's that were imported."""
    return re.findall(r"^imported (\w+)$", process.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", STARTS)
def test_a_start_that_fails_says_why_whatever_the_users_modules_are_called(
    api: FakeRuntimeApi, start: Start, name: str
) -> None:
    process = start(STARTS[name], NAMES)
    report = api.wait_init_error()
    assert process.wait() == 3 if name == "sys.exit" else process.wait() == 1
    assert STARTS[name].said in report.body.decode() + process.output
    assert "cannot be shown" not in process.output
    assert imported(process) == []


@pytest.mark.parametrize("name", CALLS)
def test_an_invocation_is_served_whatever_the_users_modules_are_called(
    api: FakeRuntimeApi, start: Start, name: str
) -> None:
    case = CALLS[name]
    process = start(case, NAMES)
    answers = [api.wait_answer(api.add_event(case.event)) for _ in range(1 if name == "sys.exit" else 2)]
    if name != "sys.exit":
        api.wait_idle()
        process.terminate()
    process.wait()
    for answer in answers:
        said = answer.body.decode("utf-8", "replace").replace("\\/", "/")
        assert case.said in said or case.said in process.output, said
    assert "cannot be shown" not in process.output
    assert imported(process) == []


ALONE = ("types", "token", "string", "enum", "traceback", "json", "typing", "queue", "select", "tokenize", "signal")
KINDS = ("raises", "raises, logs as JSON", "async def that raises", "WSGI", "web with hooks")


@pytest.mark.parametrize("name", ALONE)
def test_one_such_module_alone_is_in_nobodys_way(name: str, tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / kind).mkdir()
        write_users(tmp_path / kind, [name])
        with FakeRuntimeApi() as api:
            process = start_function(api, CALLS[kind], tmp_path / kind)
            answer = api.wait_answer(api.add_event(CALLS[kind].event))
            assert CALLS[kind].said in answer.body.decode() + process.output
            assert imported(process) == []


HOOKS_WITH_NEIGHBOURS = """
import queue, types, token

assert queue.OF_THE_USER and token.OF_THE_USER and not hasattr(types, "OF_THE_USER")

def on_response(request, response):
    import calendar

    return response._replace(headers=[("x-hooked", str(calendar.OF_THE_USER))])
"""


@pytest.mark.parametrize("handler", ["", "app:app"])
def test_hooks_import_their_neighbours(api: FakeRuntimeApi, start: Start, handler: str) -> None:
    process = start(Case(WSGI, "", handler, hooks=HOOKS_WITH_NEIGHBOURS), ["queue", "token", "types", "calendar"])
    for _ in range(2):
        assert api.wait_answer(api.add_event(GET)).document["headers"]["x-hooked"] == "True"
    assert sorted(imported(process)) == ["calendar", "queue", "token"]


FIRST = "".join(f"import {name}\n" for name in NAMES if name != "__future__")


@pytest.mark.parametrize("name", [name for name, case in CALLS.items() if case.source])
def test_an_invocation_is_served_where_the_user_has_imported_such_modules(
    api: FakeRuntimeApi, start: Start, name: str
) -> None:
    case = CALLS[name]
    process = start(case._replace(source=FIRST + case.source), NAMES)
    answers = [api.wait_answer(api.add_event(case.event)) for _ in range(1 if name == "sys.exit" else 2)]
    if name != "sys.exit":
        api.wait_idle()
        process.terminate()
    process.wait()
    for answer in answers:
        said = answer.body.decode("utf-8", "replace")
        assert case.said in said or case.said in process.output, said
    assert "cannot be shown" not in process.output
    pollers = int(case.environment.get("AWS_LAMBDA_MAX_CONCURRENCY", "1"))
    assert max(Counter(imported(process)).values()) <= pollers


WHOSE = """
import importlib

def handler(event, context):
    return [name for name in event if hasattr(importlib.import_module(name), "OF_THE_USER")]
"""
# What CPython 3.13's own start, or awslambdaric's, has loaded, and another version's has not.
CHANGED = {"_colorize", "token", "tokenize"}


@pytest.mark.skipif(not importlib.util.find_spec("runtime_client"), reason="awslambdaric has no native part here")
def test_an_import_of_the_users_finds_what_it_finds_on_the_managed_runtime(
    api: FakeRuntimeApi, start: Start, tmp_path: Path
) -> None:
    asked = [name for name in NAMES if name != "distutils"]  # setuptools in this test's environment takes that over
    ours = start(Case(WHOSE, ""), NAMES)
    found = api.wait_answer(api.add_event(asked)).document
    ours.stop()
    code = (
        "import sys, awslambdaric.__main__ as runtime; sys.path.insert(0, sys.argv[1]);"
        "runtime.main(['', 'app.handler'])"
    )
    with FakeRuntimeApi() as other:
        start_bootstrap(
            other,
            bootstrap=Path(sys.executable),
            arguments=["-P", "-c", code, str(tmp_path)],
            environment={"LAMBDA_TASK_ROOT": str(tmp_path)},
        )
        managed = other.wait_answer(other.add_event(asked)).document
    assert (sorted(set(found) - set(managed) - CHANGED), sorted(set(managed) - set(found) - CHANGED)) == ([], [])
    assert {"queue", "select", "zlib", "asyncio"} <= set(found)
    assert set(found).isdisjoint({"types", "logging", "json", "math", "sys"})


def test_what_the_managed_runtime_has_loaded_is_still_what_is_listed() -> None:
    """With the versions at hand: those of the list differ in a few names only."""
    code = (
        "import sys, awslambdaric.bootstrap;"
        "print(*{name.partition('.')[0] for name in sys.modules} & sys.stdlib_module_names);"
        "print(*sys.builtin_module_names)"
    )
    done = subprocess.run(
        [sys.executable, "-Pc", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded, built_in = (set(line.split()) for line in done.stdout.splitlines())
    assert loaded ^ LOADED_BY_MANAGED_RUNTIME <= CHANGED
    assert {name for name in BUILT_IN_EVERYWHERE if name in sys.stdlib_module_names} - built_in <= NEW_IN_C


HANDLED = (
    "import math, json, select, sys\ndef handler(event, context):\n    return [__name__, json.dumps(math.pi)[:4]]\n"
)
PLACES = {
    **{f"{name}.handler": (f"{name}.py",) for name in ("math", "select", "array", "zlib", "json", "types", "sys")},
    **{f"{name}.handler": (f"{name}.py",) for name in ("time", "queue", "asyncio", "logging", "traceback")},
    "math/orders.handler": ("math/orders.py",),
    "queue/orders.handler": ("queue/orders.py",),
    "json.orders.handler": ("json/__init__.py", "json/orders.py"),
    "zlib/orders.handler": ("zlib/__init__.py", "zlib/orders.py"),
}


@pytest.mark.parametrize("handler", PLACES)
def test_a_handler_may_be_called_like_a_module_of_pythons(api: FakeRuntimeApi, tmp_path: Path, handler: str) -> None:
    for name in PLACES[handler]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HANDLED)
    start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    name, pi = api.wait_answer(api.add_event({})).document
    module = handler.removesuffix(".handler").replace("/", ".")
    assert name in (module, f"handler_{module}")
    assert pi == "3.14"


@pytest.mark.parametrize("name", ["math", "sys", "select"])
def test_a_handler_in_a_module_of_pythons_is_a_conflict_where_the_user_has_none(
    api: FakeRuntimeApi, tmp_path: Path, name: str
) -> None:
    start_bootstrap(api, handler=f"{name}.handler", environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    error_type = api.wait_init_error().header("Lambda-Runtime-Function-Error-Type")
    is_built_in = name in sys.builtin_module_names
    assert error_type == ("Runtime.BuiltInModuleConflict" if is_built_in else "Runtime.HandlerNotFound")


def test_a_relative_import_works_in_a_package_that_is_called_like_a_module_of_pythons(
    api: FakeRuntimeApi, tmp_path: Path
) -> None:
    (tmp_path / "math").mkdir()
    (tmp_path / "math" / "__init__.py").write_text("from .prices import PRICE\n")
    (tmp_path / "math" / "prices.py").write_text("PRICE = 7\n")
    (tmp_path / "math" / "orders.py").write_text(
        "from . import PRICE\ndef handler(event, context):\n    return PRICE\n"
    )
    start_bootstrap(api, handler="math/orders.handler", environment={"LAMBDA_TASK_ROOT": str(tmp_path)})
    assert api.wait_answer(api.add_event({})).document == 7
