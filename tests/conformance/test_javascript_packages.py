"""Where JavaScript handlers find modules: packages, workspaces, layers and maps, under Node, Bun and Deno.

Each case is a function's files. No start may ask a registry for anything, but for the one whose ``bunfig.toml`` says
so, and none may write into the function's folder, which is read-only on Lambda.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fakes import FakeRuntimeApi, start_bootstrap
from tests.fakes.children import ENDS_WITHIN_S
from tests.fakes.registry import FakeRegistry

from .conftest import engine_of, javascript_environment

RUNTIMES = ("node", "bun", "deno")
HANDLER = "export const handler = async () => v;"


class Failure(NamedTuple):
    """A start that fails, and what its message has."""

    words: str
    type: str = "Runtime.ImportModuleError"


class Case(NamedTuple):
    """``found`` is what the handler answers with, or what each runtime has for it; those that are left out do not run.

    ``root`` is the function's folder below that of the files, ``links`` are symbolic ones.
    """

    files: Mapping[str, str]
    found: object
    handler: str = "index.handler"
    links: Mapping[str, str] = {}
    root: str = ""
    variables: Mapping[str, str] = {}


def package(folder: str, source: str = "exports.v = 'found';", **manifest: object) -> dict[str, str]:
    """The files of a package in a folder, CommonJS unless ``manifest`` says otherwise."""
    described = json.dumps({"name": folder.rpartition("node_modules/")[2], "version": "1.0.0", **manifest})
    return {f"{folder}/package.json": described, f"{folder}/index.js": source}


def each(node: object, bun: object, deno: object) -> dict[str, object]:
    return {"node": node, "bun": bun, "deno": deno}


IN_NODE_MODULES = package("node_modules/greeting")
IMPORTS = {"index.mjs": "import { v } from 'greeting';" + HANDLER}
WORKSPACE = {
    "package.json": '{"workspaces": ["packages/*"]}',
    **package("packages/words", "export const v = 'a member';", name="@our/words", type="module"),
    "packages/api/package.json": '{"name": "api", "type": "module", "dependencies": {"@our/words": "workspace:*"}}',
    "packages/api/index.js": "import { v } from '@our/words';" + HANDLER,
}
LINKED = {"node_modules/@our/words": "../../packages/words"}
IN_LAYER = package("layer/nodejs/node_modules/greeting", "exports.v = 'of a layer';")
EXPORTS_ALONE = {
    "layer/nodejs/node_modules/greeting/package.json": json.dumps(
        {"name": "greeting", "version": "1.0.0", "exports": {"import": "./lib/i.mjs", "require": "./lib/r.cjs"}}
    ),
    "layer/nodejs/node_modules/greeting/lib/i.mjs": "export const v = 'by condition';",
    "layer/nodejs/node_modules/greeting/lib/r.cjs": "exports.v = 'required';",
}
NODE_PATH = {"NODE_PATH": "LAYER/nodejs/node_modules:TASK"}
NO_NPM = "knows no npm: specifiers, which are Deno's: add the layer with Deno"
NOTHING_IS_DOWNLOADED = "nothing is downloaded when a function starts"

CASES: dict[str, Case] = {
    "node_modules": Case(
        {**IMPORTS, **IN_NODE_MODULES, "package.json": '{"dependencies": {"greeting": "1"}}'}, "found"
    ),
    "node_modules that no package.json names": Case({**IMPORTS, **IN_NODE_MODULES}, "found"),
    "node_modules above a nested handler": Case(
        {"src/deep/index.mjs": IMPORTS["index.mjs"], **IN_NODE_MODULES}, "found", handler="src/deep/index.handler"
    ),
    "node_modules, by npm:": Case(
        {"index.mjs": "import { v } from 'npm:greeting@1';" + HANDLER, **IN_NODE_MODULES},
        each(Failure("Node " + NO_NPM), Failure("Bun " + NO_NPM), "found"),
    ),
    "node_modules, by deno.json": Case(
        {**IMPORTS, **IN_NODE_MODULES, "deno.json": '{"imports": {"greeting": "npm:greeting@^1.0.0"}}'}, "found"
    ),
    "node_modules that Deno would fill": Case(
        {
            **IMPORTS,
            **IN_NODE_MODULES,
            "deno.json": '{"nodeModulesDir": "auto", "imports": {"greeting": "npm:greeting@1"}}',
        },
        "found",
    ),
    "pnpm's node_modules": Case(
        {
            **IMPORTS,
            "package.json": '{"dependencies": {"greeting": "1"}}',
            **package("node_modules/.pnpm/greeting@1/node_modules/greeting", "exports.v = require('inner').v;"),
            **package("node_modules/.pnpm/inner@1/node_modules/inner", "exports.v = 'found by a link';"),
        },
        "found by a link",
        links={
            "node_modules/greeting": ".pnpm/greeting@1/node_modules/greeting",
            "node_modules/.pnpm/greeting@1/node_modules/inner": "../../inner@1/node_modules/inner",
        },
    ),
    "workspace: the whole is the function": Case(
        WORKSPACE, "a member", handler="packages/api/index.handler", links=LINKED
    ),
    "workspace: a member is the function": Case(WORKSPACE, "a member", root="packages/api", links=LINKED),
    "jsr as npm has it": Case(
        {
            "index.mjs": "import { v } from '@our/words';" + HANDLER,
            "package.json": '{"dependencies": {"@our/words": "npm:@jsr/our__words@1.0.0"}}',
            **package("node_modules/@our/words"),
        },
        "found",
    ),
    "jsr as npm has it, by deno.json": Case(
        {
            "index.mjs": "import { v } from '@our/words';" + HANDLER,
            "deno.json": '{"imports": {"@our/words": "npm:@jsr/our__words@1"}}',
            **package("node_modules/@jsr/our__words"),
        },
        {"deno": "found"},
    ),
    "package.json: imports": Case(
        {
            "package.json": json.dumps(
                {"type": "module", "imports": {"#db": {"bun": "./b.js", "deno": "./d.js", "node": "./n.js"}}}
            ),
            "index.js": "import { v } from '#db';" + HANDLER,
            **{f"{name}.js": f"export const v = '{name}';" for name in "bdn"},
        },
        each("n", "b", "d"),
    ),
    "package.json: exports by condition": Case(
        {
            "package.json": '{"type": "module", "dependencies": {"c": "1"}}',
            "index.js": "import v from 'c';" + HANDLER,
            "node_modules/c/package.json": json.dumps(
                {
                    "name": "c",
                    "version": "1.0.0",
                    "exports": {"bun": "./b.mjs", "deno": "./d.mjs", "import": "./i.mjs", "require": "./r.cjs"},
                }
            ),
            **{f"node_modules/c/{name}.mjs": f"export default '{name}';" for name in "bdi"},
            "node_modules/c/r.cjs": "module.exports = 'r';",
        },
        each("i", "b", "d"),
    ),
    "package.json: its own name": Case(
        {
            "package.json": '{"name": "me", "type": "module", "exports": {"./inner": "./inner.js"}}',
            "index.js": "import { v } from 'me/inner';" + HANDLER,
            "inner.js": "export const v = 'self';",
        },
        "self",
    ),
    "package.json: type commonjs beside deno.json": Case(
        {
            "package.json": '{"type": "commonjs"}',
            "deno.json": "{}",
            "index.js": "const { v } = require('./inner'); exports.handler = async () => v;",
            "inner.js": "exports.v = 'common';",
        },
        "common",
    ),
    "package.json: broken": Case(
        {"package.json": "{", "index.js": "exports.handler = async () => 'served';"},
        each(Failure("Invalid package config"), "served", Failure("Malformed package.json", "Runtime.AppExited")),
    ),
    "handler: a package by its main": Case(
        package("node_modules/wrapper", main="dist/main")
        | {"node_modules/wrapper/dist/main.js": "exports.handler = async () => 'wrapped';"},
        "wrapped",
        handler="wrapper.handler",
    ),
    "handler: a folder": Case({"src/index.ts": "const v: string = 'ts';" + HANDLER}, "ts", handler="src.handler"),
    "TypeScript: CommonJS": Case(
        {"index.cts": "const { v } = require('./x.cjs'); exports.handler = async () => v;", "x.cjs": "exports.v = 1;"},
        1,
    ),
    "TypeScript: paths of tsconfig.json": Case(
        {
            "tsconfig.json": '{"compilerOptions": {"baseUrl": ".", "paths": {"@/*": ["./src/*"]}}}',
            "index.ts": "import { v } from '@/x.ts';" + HANDLER,
            "src/x.ts": "export const v: string = 'by path';",
        },
        each(
            Failure("Node knows nothing of tsconfig.json's paths"),
            "by path",
            Failure('Import "@/x.ts" not a dependency'),
        ),
    ),
    "TypeScript: JSX": Case(
        {"index.tsx": "const v: string = 'tsx';" + HANDLER}, each(Failure("Node runs no JSX"), "tsx", "tsx")
    ),
    "layer: require": Case(
        {**IN_LAYER, "task/index.cjs": "const { v } = require('greeting'); exports.handler = async () => v;"},
        "of a layer",
        root="task",
        variables=NODE_PATH,
    ),
    "layer: import": Case(
        {**IN_LAYER, "task/index.mjs": IMPORTS["index.mjs"]},
        each("of a layer", "of a layer", Failure('Import "greeting" not a dependency')),
        root="task",
        variables=NODE_PATH,
    ),
    "layer: a package with exports alone": Case(
        {**EXPORTS_ALONE, "task/index.mjs": IMPORTS["index.mjs"]},
        each(
            "by condition",
            Failure("Bun looks for main alone, and not for exports: a link to"),
            Failure("it is in a layer, where Deno's import does not look: a link to"),
        ),
        root="task",
        variables=NODE_PATH,
    ),
    "layer: a package with exports alone, required": Case(
        {**EXPORTS_ALONE, "task/index.cjs": "const { v } = require('greeting'); exports.handler = async () => v;"},
        each("required", Failure("a link to"), "required"),
        root="task",
        variables=NODE_PATH,
    ),
    "layer: a link to it": Case(
        {**EXPORTS_ALONE, "task/index.mjs": IMPORTS["index.mjs"]},
        "by condition",
        root="task",
        links={"task/node_modules": "../layer/nodejs/node_modules"},
    ),
    "layer: the function's own comes first": Case(
        {**IN_LAYER, **package("task/node_modules/greeting"), "task/index.mjs": IMPORTS["index.mjs"]},
        "found",
        root="task",
        variables=NODE_PATH,
    ),
    "layer: by deno.json": Case(
        {
            **IN_LAYER,
            "task/index.mjs": IMPORTS["index.mjs"],
            "task/deno.json": '{"imports": {"greeting": "../layer/nodejs/node_modules/greeting/index.js"}}',
        },
        {"deno": "of a layer"},
        root="task",
    ),
    "task root: require": Case(
        {
            "src/index.cjs": "const { v } = require('lib/util'); exports.handler = async () => v;",
            "lib/util.js": "exports.v = 'of the root';",
        },
        each("of the root", "of the root", Failure("Cannot find module 'lib/util'")),
        handler="src/index.handler",
    ),
    "absent: a package": Case(
        {"index.mjs": "import 'is-odd';" + HANDLER},
        each(Failure("'is-odd'"), Failure("'is-odd'"), Failure('"is-odd"')),
    ),
    "absent: a package that is named": Case(
        {"index.mjs": "import 'is-odd';" + HANDLER, "package.json": '{"dependencies": {"is-odd": "3.0.1"}}'},
        each(Failure("'is-odd'"), Failure("'is-odd'"), Failure("Did you forget to run `deno install`?")),
    ),
    "absent: at run time": Case(
        {"index.mjs": "const v = await import('is-odd').catch((e) => /is-odd/.test(e.message));" + HANDLER}, True
    ),
    "absent: the AWS SDK": Case(
        {"index.mjs": "import '@aws-sdk/client-s3';" + HANDLER},
        each(
            Failure("Lambda's managed runtime brings the AWS SDK along, Fairlead does not"),
            Failure("Lambda's managed runtime brings the AWS SDK along, Fairlead does not"),
            Failure("@aws-sdk/client-s3"),
        ),
    ),
    "absent: npm:": Case(
        {"index.mjs": "import 'npm:is-odd@3';" + HANDLER},
        each(Failure("Node " + NO_NPM), Failure("Bun " + NO_NPM), Failure(NOTHING_IS_DOWNLOADED)),
    ),
    "absent: npm:, beside others": Case(
        {"index.mjs": "import 'npm:is-odd@3';" + HANDLER, **IN_NODE_MODULES}, {"deno": Failure(NOTHING_IS_DOWNLOADED)}
    ),
    "absent: jsr:": Case(
        {"index.mjs": "import 'jsr:@our/words@1';" + HANDLER},
        each(Failure("Node knows no jsr:"), Failure("Bun knows no jsr:"), Failure(NOTHING_IS_DOWNLOADED)),
    ),
    "absent: https:": Case(
        {"index.mjs": "import 'https://deno.land/x/words/mod.ts';" + HANDLER},
        each(Failure("Node knows no https:"), Failure("Bun knows no https:"), Failure(NOTHING_IS_DOWNLOADED)),
    ),
    "Deno: an import map of its own, with scopes": Case(
        {
            "deno.json": '{"importMap": "./map.json"}',
            "map.json": '{"imports": {"words/": "./lib/"}, "scopes": {"./src/": {"x": "./lib/x.ts"}}}',
            "lib/x.ts": "export const v = 'by scope';",
            "src/index.ts": "import { v } from 'x'; import 'words/x.ts';" + HANDLER,
        },
        {"deno": "by scope"},
        handler="src/index.handler",
    ),
    "Deno: deno.jsonc": Case(
        {
            "deno.jsonc": '{ // a comment\n"imports": {"words/": "./lib/"}, }',
            "lib/x.ts": "export const v = 'with comments';",
            "index.ts": "import { v } from 'words/x.ts';" + HANDLER,
        },
        {"deno": "with comments"},
    ),
    "Deno: a workspace": Case(
        {
            "deno.json": '{"workspace": ["./words", "./api"], "imports": {"root/": "./lib/"}}',
            "lib/x.ts": "export const x = 'of the root';",
            "words/deno.json": '{"name": "@our/words", "version": "1.0.0", "exports": "./mod.ts"}',
            "words/mod.ts": "export const words: string = 'a member';",
            "api/deno.json": '{"name": "@our/api", "imports": {"own": "./own.ts"}}',
            "api/own.ts": "export const own = 'its own';",
            "api/index.ts": "import { words } from '@our/words'; import { words as again } from 'jsr:@our/words@1';"
            "import { x } from 'root/x.ts'; import { own } from 'own'; const v = [words, again, x, own];" + HANDLER,
        },
        {"deno": ["a member", "a member", "of the root", "its own"]},
        handler="api/index.handler",
    ),
    "Deno: a package of JSR's beside the function": Case(
        {
            "deno.json": '{"links": ["./words"]}',
            "words/deno.json": '{"name": "@our/words", "version": "1.0.0", "exports": "./mod.ts"}',
            "words/mod.ts": "export const v: string = 'linked';",
            "index.ts": "import { v } from 'jsr:@our/words@1';" + HANDLER,
        },
        {"deno": "linked"},
    ),
    "Deno: vendored, without a lock file": Case(
        {
            "deno.json": '{"vendor": true}',
            "vendor/deno.land/x/words/mod.ts": "export const v: string = 'vendored';",
            "index.ts": "import { v } from 'https://deno.land/x/words/mod.ts';" + HANDLER,
        },
        {"deno": "vendored"},
    ),
    "Deno: a lock file that lacks something": Case(
        {
            "deno.json": '{"vendor": true}',
            "deno.lock": '{"version": "5"}',
            "vendor/deno.land/x/words/mod.ts": "export const v: string = 'vendored';",
            "index.ts": "import { v } from 'https://deno.land/x/words/mod.ts';" + HANDLER,
        },
        {"deno": Failure("deno.lock cannot be changed when a function starts")},
    ),
    "Deno: a broken deno.json": Case(
        {"deno.json": "{", "index.ts": HANDLER}, {"deno": Failure("Failed deserializing config", "Runtime.AppExited")}
    ),
    "Deno: a broken lock file": Case(
        {"deno.json": "{}", "deno.lock": "{", "index.ts": HANDLER},
        {"deno": Failure("Failed reading lockfile", "Runtime.AppExited")},
    ),
    "Bun: define": Case(
        {
            "bunfig.toml": '[define]\n"WHO" = "\'defined\'"\n',
            "index.ts": "declare const WHO: string; const v = WHO;" + HANDLER,
        },
        {"bun": "defined"},
    ),
    "Bun: preload of a package": Case(
        {
            "bunfig.toml": 'preload = ["greeting"]\n',
            "index.ts": "const v = (globalThis as any).first;" + HANDLER,
            **package("node_modules/greeting", "globalThis.first = 'loaded before';"),
        },
        {"bun": "loaded before"},
    ),
    "Bun: a broken bunfig.toml": Case(
        {"bunfig.toml": "preload = [\n", "index.ts": HANDLER},
        {"bun": Failure("failed to load bunfig", "Runtime.AppExited")},
    ),
}
RUNS = [
    (name, runtime)
    for name, case in CASES.items()
    for runtime in RUNTIMES
    if not isinstance(case.found, dict) or runtime in case.found
]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as fake:
        yield fake


def outcome(runtime: str, handler: str, task: Path, variables: Mapping[str, str]) -> Any:
    """The answer to one event, or the error that it or the start ends with."""
    with FakeRuntimeApi() as api, tempfile.TemporaryDirectory() as folder:
        environment = {
            **javascript_environment(engine_of(runtime), task),
            "HOME": f"{folder}/not-there",  # which Bun and Deno make
            **variables,
        }
        start_bootstrap(api, handler=handler, environment=environment)
        answers = list(api.wait_answers([api.add_event({})]).values())
        api.take_violations()
        posted = answers[0].document if answers else json.loads(api.of_kind("init_error")[0].body)
    if answers and answers[0].kind == "response":
        return posted
    return Failure(posted["errorMessage"], posted["errorType"])


def written(folder: Path, case: Case) -> Path:
    """The function's folder."""
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name, target in case.links.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return folder / case.root


@pytest.mark.parametrize(("name", "runtime"), RUNS)
def test_what_a_handler_imports_is_found_or_named(
    registry: FakeRegistry, tmp_path: Path, name: str, runtime: str
) -> None:
    case = CASES[name]
    task = written(tmp_path, case)
    before = sorted(tmp_path.rglob("*"))
    places = {"TASK": str(task), "LAYER": str(tmp_path / "layer")}
    given = dict(case.variables)
    for word, place in places.items():
        given = {variable: value.replace(word, place) for variable, value in given.items()}
    found = outcome(runtime, case.handler, task, {**registry.variables, **given})
    wanted = case.found[runtime] if isinstance(case.found, dict) else case.found
    if isinstance(wanted, Failure):
        assert isinstance(found, Failure)
        assert found.type == wanted.type
        assert wanted.words in found.words
        assert "\x1b" not in found.words
    else:
        assert found == wanted
    assert registry.asked == []
    assert sorted(tmp_path.rglob("*")) == before, "a start writes nothing into the function's folder"


def test_bun_installs_where_its_settings_say_so(registry: FakeRegistry, tmp_path: Path) -> None:
    files = {"bunfig.toml": '[install]\nauto = "fallback"\n', "index.ts": "import 'is-odd';" + HANDLER}
    found = outcome("bun", "index.handler", written(tmp_path, Case(files, None)), registry.variables)
    assert found.type == "Runtime.ImportModuleError"
    assert registry.asked == ["/is-odd"]


@pytest.mark.parametrize("settings", [{}, {"vendor": True, "nodeModulesDir": "auto"}], ids=["cache", "folders"])
@pytest.mark.parametrize("locked", [True, False], ids=["locked", "not locked"])
def test_deno_starts_with_what_deno_install_has_put_into_the_function(
    registry: FakeRegistry, tmp_path: Path, settings: dict[str, object], locked: bool
) -> None:
    imports = {"imports": {"words": "jsr:@our/words@1", "greeting": "npm:greeting@1"}}
    source = "import { words } from 'words'; import { greeting } from 'greeting'; const v = [words, greeting];"
    files = {"deno.json": json.dumps(imports | settings), "index.ts": source + HANDLER}
    written(tmp_path, Case(files, None))
    own = {**os.environ, **registry.variables, "DENO_DIR": str(tmp_path / (".deno_dir" if not settings else "cache"))}
    command = [engine_of("deno"), "install", *(() if locked else ("--no-lock",))]
    subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, check=True, timeout=ENDS_WITHIN_S)
    assert (tmp_path / "deno.lock").exists() is locked
    registry.asked.clear()
    given = dict(registry.variables) if not settings else {**registry.variables, "DENO_DIR": str(tmp_path / "empty")}
    assert outcome("deno", "index.handler", tmp_path, given) == ["of jsr", "of npm"]
    assert registry.asked == []
