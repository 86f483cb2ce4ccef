"""How a Python handler starts, and every way in which it cannot, black box: the real ``./bootstrap`` on small modules.

Each case has its number in the project's list of conformance cases. The modules of a case are written to a folder of
its own, which is the function's root.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, Reply, start_bootstrap
from tests.fakes.bash import KEPT_BY_BASH, OF_BASH
from tests.fakes.process import CHECKOUT, PYTHON
from tests.layer.conftest import way_into
from tests.unit.test_house import START_BUDGET

ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
VALID_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")
HANDLER = "def handler(event, context):\n    return {expression}\n"

Files = dict[str, str]
Start = Callable[..., BootstrapProcess]


def returning(expression: str) -> str:
    """A module whose ``handler`` returns that."""
    return HANDLER.format(expression=expression)


def write(root: Path, files: Files) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def start(api: FakeRuntimeApi, tmp_path: Path) -> Start:
    """Starts ``bootstrap`` on a function made of ``files``; keyword arguments are environment variables."""

    def start_function(handler: str, files: Files, **environment: str | None) -> BootstrapProcess:
        write(tmp_path, files)
        return start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(tmp_path), **environment})

    return start_function


class Fails(NamedTuple):
    """A function that cannot start. ``{root}`` in a text is its folder; a message ending in ``...`` is a beginning."""

    handler: str
    files: Files
    error_type: str
    message: str
    stack: tuple[str, ...] = ()
    exit_code: int = 1


BROKEN_SYNTAX = "def handler(event, context)\n    return 1\n"
FAILURES = {
    "21 module missing": Fails(
        "nowhere.handler",
        {},
        "Runtime.ImportModuleError",
        "Unable to import module 'nowhere': No module named 'nowhere'",
    ),
    "21 module missing in a JavaScript project": Fails(
        "index.handler",
        {"package.json": "{}", "src.ts": ""},
        "Runtime.ImportModuleError",
        "Unable to import module 'index': No module named 'index' (nor is there index.js, .mjs, .cjs, .ts, .mts, .cts,"
        " .jsx, .tsx in {root}: is the app built, and the handler's folder right?)",
    ),
    "22 dependency missing": Fails(
        "app.handler",
        {"app.py": "import service\n", "service.py": "import no_such_package\n"},
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'no_such_package'",
        (
            '  File "{root}/app.py", line 1, in <module>\n    import service\n',
            '  File "{root}/service.py", line 1, in <module>\n    import no_such_package\n',
        ),
    ),
    "22 name missing in a dependency": Fails(
        "app.handler",
        {"app.py": "from service import absent\n", "service.py": ""},
        "Runtime.ImportModuleError",
        "Unable to import module 'app': cannot import name 'absent' from 'service' ({root}/service.py)",
        ('  File "{root}/app.py", line 1, in <module>\n    from service import absent\n',),
    ),
    "22 boto3 missing": Fails(
        "app.handler",
        {"app.py": "import boto3\n"},
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'boto3' (Lambda's managed runtime brings boto3 along, Fairlead"
        " does not: put it beside your code with pip install --target . boto3; docs/handlers.md has the line for"
        " another machine's architecture)",
        ('  File "{root}/app.py", line 1, in <module>\n    import boto3\n',),
    ),
    "23 syntax error": Fails(
        "app.handler",
        {"app.py": BROKEN_SYNTAX},
        "Runtime.UserCodeSyntaxError",
        "Syntax error in module 'app': expected ':' (app.py, line 1)",
        ('  File "{root}/app.py" Line 1\n    def handler(event, context)\n',),
    ),
    "23 syntax error in a dependency": Fails(
        "app.handler",
        {"app.py": "import service\n", "service.py": BROKEN_SYNTAX},
        "Runtime.UserCodeSyntaxError",
        "Syntax error in module 'app': expected ':' (service.py, line 1)",
        (
            '  File "{root}/app.py", line 1, in <module>\n    import service\n',
            '  File "{root}/service.py" Line 1\n    def handler(event, context)\n',
        ),
    ),
    "24 attribute missing": Fails(
        "app.absent", {"app.py": ""}, "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'"
    ),
    "24 attribute missing on a module of Python's": Fails(
        "colorsys.handler",
        {},
        "Runtime.HandlerNotFound",
        "Handler 'handler' missing on module 'colorsys' (which comes...",
    ),
    "24 attribute missing on a mere folder": Fails(
        "src.handler",
        {"src/readme.txt": ""},
        "Runtime.HandlerNotFound",
        "Handler 'handler' missing on module 'src' (which is a folder without __init__.py or index.js, {root}/src)",
    ),
    "25 no dot": Fails("handler", {"handler.py": ""}, "Runtime.MalformedHandlerName", "..."),
    "26 built-in module": Fails(
        "sys.handler",
        {},
        "Runtime.BuiltInModuleConflict",
        "Cannot use built-in module sys as a handler module",
    ),
    "27 raise at import": Fails(
        "app.handler",
        {"app.py": "def configure():\n    raise ValueError('no configuration')\n\nconfigure()\n"},
        "ValueError",
        "no configuration",
        (
            '  File "{root}/app.py", line 4, in <module>\n    configure()\n',
            "  File \"{root}/app.py\", line 2, in configure\n    raise ValueError('no configuration')\n",
        ),
    ),
    "27 chained at import": Fails(
        "app.handler",
        {"app.py": "try:\n    {}[1]\nexcept KeyError as error:\n    raise RuntimeError('x') from error\n"},
        "RuntimeError",
        "x",
        (
            "  File \"{root}/app.py\", line 4, in <module>\n    raise RuntimeError('x') from error\n",
            "Caused by: KeyError: 1\n",
            '  File "{root}/app.py", line 2, in <module>\n    {}[1]\n',
        ),
    ),
    "27 recursion at import": Fails(
        "app.handler",
        {"app.py": "def f():\n    f()\nf()\n"},
        "RecursionError",
        "maximum recursion depth exceeded...",
        ("...",),
    ),
    "27 str() fails at import": Fails(
        "app.handler",
        {"app.py": "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E\n"},
        "E",
        "<exception str() failed>",
        ('  File "{root}/app.py", line 4, in <module>\n    raise E\n',),
    ),
    "27 module __getattr__ raises": Fails(
        "app.handler",
        {"app.py": "def __getattr__(name):\n    raise ValueError(name)\n"},
        "ValueError",
        "handler",
        ('  File "{root}/app.py", line 2, in __getattr__\n    raise ValueError(name)\n',),
    ),
    "28 sys.exit(7) at import": Fails(
        "app.handler",
        {"app.py": "import sys\nsys.exit(7)\n"},
        "Runtime.ExitError",
        "the module ended the process with sys.exit(7)",
        ('  File "{root}/app.py", line 2, in <module>\n    sys.exit(7)\n',),
        exit_code=7,
    ),
    "28 sys.exit() at import": Fails(
        "app.handler",
        {"app.py": "exit()\n"},
        "Runtime.ExitError",
        "the module ended the process with sys.exit()",
        ('  File "{root}/app.py", line 1, in <module>\n    exit()\n',),
    ),
    "28 KeyboardInterrupt at import": Fails(
        "app.handler",
        {"app.py": "raise KeyboardInterrupt\n"},
        "Runtime.ExitError",
        "the module was interrupted (KeyboardInterrupt)",
        ('  File "{root}/app.py", line 1, in <module>\n    raise KeyboardInterrupt\n',),
        exit_code=130,
    ),
    "28 BaseException at import": Fails(
        "app.handler",
        {"app.py": "class Leave(BaseException): pass\nraise Leave('now')\n"},
        "Leave",
        "now",
        ("  File \"{root}/app.py\", line 2, in <module>\n    raise Leave('now')\n",),
    ),
    "33 not callable": Fails(
        "app.handler",
        {"app.py": "handler = 5\n"},
        "Runtime.HandlerNotFound",
        "Handler 'handler' on module 'app' is not callable: it is int",
    ),
    "34 outside of the root": Fails("../app.handler", {}, "Runtime.MalformedHandlerName", "..."),
    "34 relative": Fails("./app.handler", {"app.py": ""}, "Runtime.MalformedHandlerName", "..."),
    "34 empty": Fails("", {}, "Runtime.HandlerNotFound", "..."),
    "lone surrogate in a message": Fails(
        "app.handler",
        {"app.py": "raise ValueError('half \\ud83d')\n"},
        "ValueError",
        "half \ufffd",
        ("  File \"{root}/app.py\", line 1, in <module>\n    raise ValueError('half \\ud83d')\n",),
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_21_to_34_a_function_that_cannot_start_says_why(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, case: str
) -> None:
    handler, files, error_type, message, stack, exit_code = FAILURES[case]
    process = start(handler, files)
    request = api.wait_init_error()
    assert process.wait() == exit_code
    document = json.loads(request.body)
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert document["errorType"] == error_type
    assert document["requestId"] == ""
    expected = message.format(root=tmp_path) if "{root}" in message else message
    assert document["errorMessage"].startswith(expected.removesuffix("..."))
    assert document["errorMessage"] == expected or message.endswith("...")
    if stack != ("...",):
        assert document["stackTrace"] == [line.replace("{root}", str(tmp_path)) for line in stack]
    header = request.header(ERROR_TYPE)
    assert header is not None
    assert VALID_ERROR_TYPE.fullmatch(header)
    assert header in (error_type, f"Function.{error_type}", "Function.Unknown")
    assert api.nexts == []
    assert process.output.count("[ERROR]") == 1
    assert f"[ERROR] {error_type}" in process.output or f"\t{error_type}: " in process.output


REFUSALS = {
    "29 403": Reply(403, b'{"errorMessage":"too late","errorType":"InvalidStateTransition"}'),
    "30 500": Reply(500, b'{"errorMessage":"broken","errorType":"InternalServerError"}'),
    "30 closed": Reply(wire=Reply().wire._replace(end="close", end_at=0)),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_29_and_30_it_exits_whatever_the_platform_says_to_that(api: FakeRuntimeApi, start: Start, case: str) -> None:
    api.script("init_error", REFUSALS[case])
    process = start("app.absent", {"app.py": ""})
    assert process.wait() == 1
    assert len(api.posts) == 1
    assert "Traceback" not in process.output


FORMS = {
    "31 with slashes": ("pkg/sub/mod.handler", "pkg/sub/mod.py"),
    "31 with dots": ("pkg.sub.mod.handler", "pkg/sub/mod.py"),
    "31 mixed": ("pkg/sub.mod.handler", "pkg/sub/mod.py"),
    "31 with the root": ("{root}/app.handler", "app.py"),
    "31 a package": ("pkg.handler", "pkg/__init__.py"),
    "31 a hyphen": ("my-app.handler", "my-app.py"),
    "31 unicode": ("größe.handler", "größe.py"),
    "32 ends like a built-in module": ("pkg.sys.handler", "pkg/sys.py"),
    "32 the same with slashes": ("pkg/time.handler", "pkg/time.py"),
    "the name of one of our modules": ("errors.handler", "errors.py"),
}


@pytest.mark.parametrize("case", FORMS)
def test_31_and_32_forms_of_a_handlers_name(api: FakeRuntimeApi, start: Start, tmp_path: Path, case: str) -> None:
    handler, path = FORMS[case]
    request_id = api.add_event({})
    start(handler.format(root=tmp_path), {path: returning("__name__")})
    module = handler.removeprefix("{root}/").removesuffix(".handler").replace("/", ".")
    assert api.wait_answer(request_id).document == module


CALLABLES = {
    "object": "class Handler:\n    def __call__(self, event, context): return event\nhandler = Handler()",
    "method": "class Handler:\n    def handle(self, event, context): return event\nhandler = Handler().handle",
    "partial": "import functools\nhandler = functools.partial(lambda more, event, context: event, 1)",
    "class": "class handler(dict):\n    def __init__(self, event, context): super().__init__(event)",
}


@pytest.mark.parametrize("definition", CALLABLES.values(), ids=CALLABLES)
def test_33_whatever_is_callable_is_called(api: FakeRuntimeApi, start: Start, definition: str) -> None:
    request_id = api.add_event({"some": "event"})
    start("app.handler", {"app.py": definition})
    assert api.wait_answer(request_id).document == {"some": "event"}


# The path and the environment that the user's code finds

LOOK = (
    "import os, sys\n"
    "def handler(event, context):\n"
    "    return {'path': sys.path, 'argv': sys.argv, 'environment': dict(os.environ), 'cwd': os.getcwd()}\n"
)


def test_35_the_path_begins_as_on_the_managed_runtime(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    request_id = api.add_event({})
    start("app.handler", {"app.py": LOOK, "extra/x.py": ""}, PYTHONPATH=f"{extra}::/opt/agent")
    path = api.wait_answer(request_id).document["path"]
    version = re.search(r"python3\.\d+", path[1])
    assert version
    assert path[:5] == [
        str(tmp_path),
        f"/opt/python/lib/{version[0]}/site-packages",
        "/opt/python",
        str(extra),
        "/opt/agent",
    ]


def test_35_the_root_wins_over_layers_and_those_over_python(api: FakeRuntimeApi, tmp_path: Path) -> None:
    """With something on /opt: for this process alone, which needs a sandbox."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    opt, task = tmp_path / "opt", tmp_path / "task"
    packages = f"python/lib/{version}/site-packages"
    write(
        opt,
        {
            f"{packages}/first.py": "where = 'site-packages'",
            f"{packages}/second.py": "where = 'site-packages'",
            "python/second.py": "where = 'python'",
            "python/third.py": "where = 'python'",
            "python/colorsys.py": "where = 'python'",
        },
    )
    write(
        task,
        {
            "first.py": "where = 'root'",
            "app.py": "import first, second, third, colorsys\n"
            + returning("[module.where for module in (first, second, third, colorsys)]"),
        },
    )
    bootstrap = tmp_path / "bootstrap"
    command = shlex.join([*way_into(opt), str(CHECKOUT / "bootstrap")])
    bootstrap.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    bootstrap.chmod(0o755)
    request_id = api.add_event({})
    start_bootstrap(api, handler="app.handler", environment={"LAMBDA_TASK_ROOT": str(task)}, bootstrap=bootstrap)
    assert api.wait_answer(request_id).document == ["root", "site-packages", "python", "python"]


def test_the_environment_is_the_functions_own(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    request_id = api.add_event({})
    given = {"LD_PRELOAD": "", "CUSTOM": "ä", "EMPTY": ""}
    start("app.handler", {"app.py": LOOK}, **given)
    seen = api.wait_answer(request_id).document
    environment = seen["environment"]
    assert [name for name in environment if "FAIRLEAD_" in name and name.startswith("_")] == []
    assert {name: environment.get(name) for name in ("CUSTOM", "EMPTY", "_HANDLER")} == {
        "CUSTOM": "ä",
        "EMPTY": "",
        "_HANDLER": "app.handler",
    }
    assert seen["argv"] == [str(CHECKOUT / "bootstrap"), "app.handler"]
    assert seen["cwd"] == str(tmp_path)


# What the function was given, and what `bootstrap` and the interpreter make of it: `os.environ`, the environment of C
# (`env` is started with it) and that of a wrapper, which has it from yet another place.
BOTH_ENVIRONMENTS = """import os, subprocess
def handler(names, context):
    child = dict(line.split("=", 1) for line in subprocess.check_output("env", text=True).splitlines())
    return [{name: seen[name] for name in names if name in seen} for seen in (os.environ, child)]
"""
LOCALE = {"LANG": "en_US.UTF-8", "LC_ALL": None}  # as on Lambda, where there is no such locale
# libc itself: it is loaded anyhow, so that nothing changes for those who preload it.
GIVEN = {
    "nothing": {"LD_PRELOAD": None, "LC_CTYPE": None},
    "preload": {"LD_PRELOAD": "libc.so.6", "LC_CTYPE": None},
    "a locale that is not there": {"LD_PRELOAD": None, "LC_CTYPE": "en_US.UTF-8"},
    "the locale that CPython replaces": {"LD_PRELOAD": None, "LC_CTYPE": "C"},
    "a locale that is there": {"LD_PRELOAD": None, "LC_CTYPE": "C.UTF-8"},
    "both": {"LD_PRELOAD": "libc.so.6", "LC_CTYPE": "POSIX"},
}
WRAPPER = '#!/bin/sh\nexport WRAPPED="$WRAPPED yes" SEEN="${LD_PRELOAD-none} ${LC_CTYPE-none}"\nexec "$@"\n'


def wrapper_in(folder: Path) -> str:
    path = folder / "wrap"
    path.write_text(WRAPPER)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_what_is_kept_from_the_interpreter_reaches_the_handler_and_its_child_processes(
    api: FakeRuntimeApi, start: Start, given: dict[str, str | None]
) -> None:
    request_id = api.add_event([*given])
    start("app.handler", {"app.py": BOTH_ENVIRONMENTS}, **LOCALE, **given)
    assert api.wait_answer(request_id).document == [as_any_python_has(given)] * 2


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_a_wrapper_too_gets_what_is_kept_from_the_interpreter(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, given: dict[str, str | None]
) -> None:
    """It runs `bootstrap` again, which must not take what the first interpreter has set for the function's own."""
    request_id = api.add_event([*given, "SEEN"])
    wrapper = wrapper_in(tmp_path)
    start("app.handler", {"app.py": BOTH_ENVIRONMENTS}, AWS_LAMBDA_EXEC_WRAPPER=wrapper, **LOCALE, **given)
    seen = {**as_any_python_has(given), "SEEN": " ".join(value or "none" for value in given.values())}
    assert api.wait_answer(request_id).document == [seen, seen]


def test_a_handler_gets_what_was_given_under_the_names_of_bash(api: FakeRuntimeApi, start: Start) -> None:
    unlike = KEPT_BY_BASH | {"LINES_AND_BLANKS", "NOT_UTF_8"}  # as `env` prints them they cannot be told
    given = {name: value for name, value in OF_BASH.items() if name not in unlike}
    request_id = api.add_event([*given])
    start(
        "app.handler",
        {"app.py": BOTH_ENVIRONMENTS.replace("text=True", "text=True, errors='surrogateescape'")},
        **given,
    )
    assert api.wait_answer(request_id).document == [given, given]


def test_a_handler_gets_no_variable_of_bash(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event(["PWD", "OLDPWD", "SHLVL", "_"])
    start("app.handler", {"app.py": BOTH_ENVIRONMENTS})
    assert api.wait_answer(request_id).document[0] == {}


def as_any_python_has(given: dict[str, str | None]) -> dict[str, str]:
    """What a Python process has of it: where there is no such locale it sets another one, for its children too."""
    command = [PYTHON, "-IS", "-c", f"import json, os; print(json.dumps({{k: os.environ.get(k) for k in {[*given]}}}))"]
    environment = {name: value for name, value in present({**LOCALE, **given}).items() if name != "LD_PRELOAD"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return present({**json.loads(done.stdout), "LD_PRELOAD": given["LD_PRELOAD"]})


def test_without_a_locale_the_interpreter_sets_one_for_itself() -> None:
    """Guards the cases above."""
    assert as_any_python_has(GIVEN["nothing"]) == {"LC_CTYPE": "C.UTF-8"}


def present(given: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in given.items() if value is not None}


def test_a_sitecustomize_on_pythonpath_runs_first(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    """As agents that trace applications do it. One that fails is told, and is not the end."""
    files = {
        "app.py": "import os\nseen = os.environ.get('AGENT')\n" + returning("seen"),
        "agent/sitecustomize.py": "import os, agent_core\nos.environ['AGENT'] = 'here'\nraise ValueError('later')\n",
        "agent/agent_core.py": "",
    }
    request_id = api.add_event({})
    process = start("app.handler", files, PYTHONPATH=str(tmp_path / "agent"))
    assert api.wait_answer(request_id).document == "here"
    assert "sitecustomize could not be imported" in process.stderr
    assert "ValueError: later" in process.stderr


def test_a_wrapper_runs_once_around_the_process(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    request_id = api.add_event({})
    process = start("app.handler", {"app.py": LOOK}, AWS_LAMBDA_EXEC_WRAPPER=wrapper_in(tmp_path), WRAPPED="")
    environment = api.wait_answer(request_id).document["environment"]
    assert environment["WRAPPED"] == " yes"
    assert "AWS_LAMBDA_EXEC_WRAPPER" not in environment
    assert "LD_PRELOAD" not in environment
    assert not process.has_exited()
    assert process.app_pids == []


def test_a_wrapper_that_cannot_be_started_is_named(api: FakeRuntimeApi, start: Start) -> None:
    process = start("app.handler", {"app.py": LOOK}, AWS_LAMBDA_EXEC_WRAPPER="/no/such/wrapper")
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.InvalidConfig"
    assert "'/no/such/wrapper' cannot be started: No such file or directory" in document["errorMessage"]
    assert process.wait() == 1


def test_we_are_the_wrapper_of_a_managed_runtime_and_run_the_handler(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    start("app.handler", {"app.py": returning("'here'")}, AWS_LAMBDA_EXEC_WRAPPER=str(CHECKOUT / "bootstrap"))
    assert api.wait_answer(request_id).document == "here"


def test_a_codec_that_is_not_there_is_named_with_its_remedy(api: FakeRuntimeApi, start: Start) -> None:
    process = start("app.handler", {"app.py": LOOK}, FAIRLEAD_JSON_CODEC="orjson")
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.InvalidConfig"
    assert "./build-layer.sh --with orjson" in document["errorMessage"]
    assert process.wait() == 1


def test_a_start_loads_little_besides_the_users_module(api: FakeRuntimeApi, start: Start) -> None:
    """Milliseconds of every cold start. What the layer's sitecustomize loads (os) comes to that."""
    request_id = api.add_event({})
    start("app.handler", {"app.py": "import sys\n" + returning("sorted(sys.modules)")})
    loaded = set(api.wait_answer(request_id).document)
    base = "import sys; print(*sys.modules)"
    bare = subprocess.run(
        [PYTHON, "-ISBXutf8", "-c", base], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    foreign = {name for name in loaded - {*bare, "app"} if name.split(".")[0] != "runtime"}
    assert foreign - LOADED_BY_SITECUSTOMIZE <= START_BUDGET


# Debian's Python has one too.
LOADED_BY_SITECUSTOMIZE = {
    "sitecustomize",
    "os",
    "stat",
    "_stat",
    "genericpath",
    "posixpath",
    "_collections_abc",
    "os.path",
}


def test_what_is_printed_at_import_comes_out(api: FakeRuntimeApi, start: Start) -> None:
    process = start("app.handler", {"app.py": "print('importing', end='')\nraise ValueError\n"})
    assert process.wait() == 1
    assert process.stdout.startswith("importing")
