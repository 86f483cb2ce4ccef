"""Starts that fail, under Lambda's own Node runtime (aws-lambda-ric) and ours on Node, Bun and Deno.

Every difference is in ``DIFFERENCES`` with its reason, and one that is no more is a failure too. Bun and Deno have to
post what Node does; where an engine words its own errors, at least the type is the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap

from .conftest import engine_of, javascript_environment

Start = Callable[[FakeRuntimeApi, str, Path], BootstrapProcess]
SERVES = "export const handler = async () => 'served';\n"


class Case(NamedTuple):
    """A function that does not start, or may not."""

    handler: str
    files: Mapping[str, str]


class Outcome(NamedTuple):
    """The init error; or ``served`` with the answer, or ``exit`` with the status, of a start without one."""

    type: str
    message: str


def module(source: str, **others: str) -> Case:
    return Case("index.handler", {"index.mjs": source, **others})


def common(source: str, **others: str) -> Case:
    return Case("index.handler", {"index.cjs": source, **others})


OTHER = {"other.mjs": "export const a = 1;", "broken.mjs": "const const = 1;", "broken.cjs": "const const = 1;"}
HIDING = {
    "node_modules/pkg/package.json": '{"name": "pkg", "exports": {".": "./index.js"}}',
    "node_modules/pkg/index.js": "",
    "node_modules/pkg/inner.js": "",
}

CASES: dict[str, Case] = {
    "file: absent": Case("absent.handler", {}),
    "file: in an absent folder": Case("src/absent.handler", {}),
    "export: absent": Case("index.absent", {"index.mjs": SERVES}),
    "export: absent in an object": Case("index.ns.absent", {"index.mjs": "export const ns = {};"}),
    "export: a number": module("export const handler = 1;"),
    "export: null": module("export const handler = null;"),
    "export: in an object that is the default": module("export default { handler: async () => 'served' };"),
    "export: a name with a dash": Case(
        "index.my-handler", {"index.cjs": "exports['my-handler'] = async () => 'served';"}
    ),
    "export: a name with a dollar": Case("index.$h", {"index.mjs": "export const $h = async () => 'served';"}),
    "export: streams in an unknown way": module(
        SERVES + "handler[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request';"
    ),
    "name: no dot": Case("index", {"index.mjs": SERVES}),
    "name: ends with a dot": Case("index.", {"index.mjs": SERVES}),
    "name: a dot after the function": Case("index.handler.", {"index.mjs": SERVES}),
    "name: begins with a dot": Case(".handler", {"index.mjs": SERVES}),
    "name: two dots": Case("index..handler", {"index.mjs": SERVES}),
    "name: leads out": Case("../index.handler", {"index.mjs": SERVES}),
    "name: leads out and in": Case("src/../index.handler", {"index.mjs": SERVES}),
    "name: a folder": Case("src/", {"src/index.mjs": SERVES}),
    "name: a file": Case("index.mjs", {"index.mjs": SERVES}),
    "name: a folder with an index.js": Case("src.handler", {"src/index.js": "exports.handler = async () => 'served';"}),
    "syntax: ESM": module("export const handler = async () => {"),
    "syntax: CommonJS": common("exports.handler = async () => {"),
    "syntax: of an imported module": module("import './broken.mjs';" + SERVES, **OTHER),
    "syntax: of a required module": common("require('./broken.cjs');", **OTHER),
    "syntax: an import that is not exported": module("import { absent } from './other.mjs';" + SERVES, **OTHER),
    "syntax: of JSON that is parsed": module("JSON.parse('{');"),
    "import: an absent package": module("import 'not-there';" + SERVES),
    "import: an absent file": module("import './not-there.mjs';" + SERVES),
    "import: what a package does not export": module("import 'pkg/inner.js';" + SERVES, **HIDING),
    "require: an absent package": common("require('not-there');"),
    "require: an absent file": common("require('./not-there');"),
    "throw: an error": module("throw new TypeError('no table');"),
    "throw: an error, in CommonJS": common("throw new TypeError('no table');"),
    "throw: an error of its own name": module("throw Object.assign(new Error('x'), { name: 'ConfigMissing' });"),
    "throw: an error with a cause": module("throw new Error('x', { cause: new Error('y') });"),
    "throw: an error of another realm": module("throw { name: 'Far', message: 'm', stack: 'Far: m' };"),
    "throw: an error whose name is a number": module("throw Object.assign(new Error('x'), { name: 7 });"),
    "throw: an error that throws": module(
        "throw Object.defineProperty(new Error('x'), 'message', { get() { throw new Error('y'); } });"
    ),
    "throw: a large error": module("throw new Error('\\u{1F6A2}'.repeat(100_000));"),
    "throw: lines and controls": module("throw new Error('a\\nInit Error\\t{}\\r\\n\\x1b[31mb');"),
    "throw: after much output": module("console.error('y'.repeat(20_000)); throw new Error('after');"),
    "throw: a string": module("throw 'text';"),
    "throw: a string, in CommonJS": common("throw 'text';"),
    "throw: an object": module("throw { a: 1 };"),
    "throw: an object without prototype": module("throw Object.create(null);"),
    "throw: a symbol": module("throw Symbol('s');"),
    "throw: undefined": module("throw undefined;"),
    "throw: null": module("throw null;"),
    "await: rejects": module("await Promise.reject(new RangeError('far'));"),
    "await: rejects later": module(
        "await new Promise((_, reject) => setTimeout(() => reject(new RangeError('far')), 5));"
    ),
    "await: never ends": module("await new Promise(() => {});" + SERVES),
    "uncaught: a rejection": module("Promise.reject(new Error('nobody waits'));" + SERVES),
    "uncaught: a rejection with text": module("Promise.reject('nobody waits');" + SERVES),
    "uncaught: an exception meanwhile": module(
        "setImmediate(() => { throw new Error('later'); }); await new Promise((done) => setTimeout(done, 5_000));"
    ),
    "uncaught: an exception at once after it": module("setImmediate(() => { throw new Error('later'); });" + SERVES),
    "exit: 0": module("process.exit(0);"),
    "exit: 3": module("process.exit(3);"),
    "exit: aborted": module("process.abort();"),
}


class Difference(NamedTuple):
    """Why what is posted differs, and whether that is all in which the two, Lambda's and ours, differ."""

    reason: str
    is_all: Callable[[Outcome, Outcome], bool]


def has_other_words(managed: Outcome, ours: Outcome) -> bool:
    return managed.type == ours.type


def is_an_import_error(managed: Outcome, ours: Outcome) -> bool:
    return managed.type == "Error" and ours.type == "Runtime.ImportModuleError" and managed.message in ours.message


def is_cropped(managed: Outcome, ours: Outcome) -> bool:
    return managed.type == ours.type and managed.message.startswith(ours.message) and len(ours.message) > 200


def is_named(managed: Outcome, ours: Outcome) -> bool:
    return managed.type in ("exit", "TypeError", "ReferenceError") and ours.type not in ("exit", "served")


def is_not_found(managed: Outcome, ours: Outcome) -> bool:
    return managed.type == "Runtime.MalformedHandlerName" and ours.type == "Runtime.HandlerNotFound"


WORDS = Difference("the message says what is there, and what is needed", has_other_words)
IMPORTS = Difference("Lambda's runtime knows only what `require` does not find", is_an_import_error)
CROPPED = Difference("all of it is in the log; Fairlead reads the end of that", is_cropped)
NAMED = Difference("Lambda's runtime ends without a word, or fails in its own code", is_named)
SCRIPTS = Difference("a handler may be a start script, so nothing is wrong with the name alone", is_not_found)

DIFFERENCES: dict[str, Difference] = {
    "file: absent": WORDS,
    "file: in an absent folder": WORDS,
    "export: absent": WORDS,
    "export: absent in an object": WORDS,
    "export: a number": WORDS,
    "export: null": WORDS,
    "export: in an object that is the default": Difference(
        "the exports of a module that was CommonJS are there", lambda _, ours: ours.type == "served"
    ),
    "export: streams in an unknown way": NAMED,
    "name: no dot": WORDS,
    "name: ends with a dot": WORDS,
    "name: a dot after the function": WORDS,
    "name: begins with a dot": Difference(
        "a name without a module is none", lambda _, ours: ours.type == "Runtime.HandlerNotFound"
    ),
    "name: two dots": WORDS,
    "name: leads out": WORDS,
    "name: leads out and in": WORDS,
    "name: a folder": SCRIPTS,
    "name: a file": WORDS,
    "import: an absent package": IMPORTS,
    "import: an absent file": IMPORTS,
    "import: what a package does not export": IMPORTS,
    "throw: a large error": CROPPED,
    "throw: an object without prototype": NAMED,
    "throw: a symbol": NAMED,
    "throw: undefined": NAMED,
    "throw: null": NAMED,
    "await: never ends": NAMED,
    "exit: 0": NAMED,
    "exit: 3": NAMED,
    "exit: aborted": NAMED,
}
# What an engine has words of its own for. The type is the same.
WORDED = ("syntax: ", "import: ", "require: ", "exit: aborted", "await: never ends")


def outcome(start: Start, case: Case, folder: Path) -> Outcome:
    """What comes of a start, with one invocation that waits for it."""
    folder.mkdir()
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with FakeRuntimeApi() as api:
        process = start(api, case.handler, folder)
        answers = api.wait_answers([api.add_event({})])
        api.take_violations()
        posted = api.of_kind("init_error")
        if answers:
            return Outcome("served", next(iter(answers.values())).body.decode())
        if not posted:
            return Outcome("exit", str(process.wait()))
    document = json.loads(posted[0].body)
    message = document.get("errorMessage", "").replace(str(folder), "DIR").partition("\nRequire stack:")[0]
    return Outcome(document["errorType"], message)


def starter_of(runtime: str, given: Mapping[str, str] | None = None) -> Start:
    """What starts ours on that runtime. Skips where it cannot be had."""
    engine = engine_of(runtime)

    def start(api: FakeRuntimeApi, handler: str, folder: Path) -> BootstrapProcess:
        environment = {**javascript_environment(engine, folder), **(given or {})}
        return start_bootstrap(api, handler=handler, environment=environment)

    return start


@pytest.mark.parametrize("name", CASES)
def test_a_start_fails_as_under_lambdas_runtime_but_for_known_differences(
    managed_program: list[str], tmp_path: Path, name: str
) -> None:
    program, *arguments = managed_program

    def start(api: FakeRuntimeApi, handler: str, folder: Path) -> BootstrapProcess:
        environment = {"LAMBDA_TASK_ROOT": str(folder), "AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1": "true"}
        given = [*arguments, handler]
        return start_bootstrap(api, handler=handler, bootstrap=Path(program), arguments=given, environment=environment)

    theirs = outcome(start, CASES[name], tmp_path / "theirs")
    ours = outcome(starter_of("node"), CASES[name], tmp_path / "ours")
    if name not in DIFFERENCES:
        assert ours == theirs
    else:
        assert ours != theirs, "no difference any more: take it off the list"
        assert DIFFERENCES[name].is_all(theirs, ours), (theirs, ours)
    for runtime in ("bun", "deno"):
        other = outcome(starter_of(runtime), CASES[name], tmp_path / runtime)
        assert other.type == ours.type, (runtime, other, ours)
        assert name.startswith(WORDED) or other.message == ours.message, (runtime, other, ours)


def test_no_difference_is_listed_for_nothing() -> None:
    assert set(DIFFERENCES) - set(CASES) == set()


@pytest.mark.parametrize("runtime", ["bun", "deno", "node"])
@pytest.mark.parametrize("name", ["fetch", "handler"])
def test_a_module_that_is_still_being_loaded_is_not_told_where_to_listen(
    tmp_path: Path, runtime: str, name: str
) -> None:
    source = "setInterval(() => {}, 1_000); await new Promise(() => {}); export const NAME = async () => 1;"
    case = Case(f"index.{name}", {"index.mjs": source.replace("NAME", name)})
    given = {"FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "1"}
    error_type, message = outcome(starter_of(runtime, given), case, tmp_path / "function")
    assert error_type == "Runtime.AppNotReady"
    assert (
        "DIR/index.mjs is still being loaded: it, or what NODE_OPTIONS or a wrapper loads before it, awaits" in message
    )
    assert "listen" not in message


@pytest.mark.parametrize("runtime", ["bun", "deno", "node"])
@pytest.mark.parametrize(
    "name", ["await: never ends", "uncaught: a rejection", "throw: a symbol", "import: an absent file"]
)
def test_a_module_with_fetch_fails_as_one_with_a_handler(tmp_path: Path, runtime: str, name: str) -> None:
    case = CASES[name]
    files = {"index.mjs": case.files["index.mjs"].replace("handler", "fetch")}
    of_fetch = outcome(starter_of(runtime), Case("index.fetch", files), tmp_path / "fetch")
    assert of_fetch == outcome(starter_of(runtime), case, tmp_path / "handler")


@pytest.mark.parametrize("runtime", ["bun", "deno", "node"])
def test_the_last_words_of_a_module_that_exits_are_in_the_error(tmp_path: Path, runtime: str) -> None:
    case = module("process.stderr.write('DATABASE_URL is missing\\n'); process.exit(3);" + SERVES)
    error_type, message = outcome(starter_of(runtime), case, tmp_path / "function")
    assert error_type == "Runtime.AppExited"
    assert "exited with status 3" in message
    assert "DATABASE_URL is missing\nthe process ends while DIR/index.mjs is being loaded: did that call" in message
