"""Apps in JavaScript: the runtimes' layers merged with Fairlead's, packages by their lock files, and builds.

Nothing here comes from a registry but the runtimes: the packages are tarballs beside the app.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from layer import build, merge, runtimes
from local.app import node_modules, prepared
from local.app.node_modules import Wish
from local.app.prepared import NONE, Prepared, prepare
from local.environments.function import Function
from local.failures import LocalFailure
from local.machine import architecture
from local.ports import free_ports
from local.runtime_api import emulator
from local.sandbox import rootfs
from local.sandbox.mounts import Bind
from tests.conformance.test_app_faults import function_url
from tests.fakes.registry import FakeRegistry

from .conftest import StartFunction, can_run, had

pytestmark = pytest.mark.integration

# One file each, and nothing to install.
SERVERS = {
    "bun": (
        "exec bun run app.ts",
        'export default { fetch: (r: Request) => Response.json(["bun", Bun.version, new URL(r.url).pathname]) };',
    ),
    "deno": (
        'DENO_DIR=/tmp/deno exec deno serve --no-prompt --host 127.0.0.1 --port "$PORT" app.ts',
        'const answer = (url: string) => Response.json(["deno", Deno.version.deno, new URL(url).pathname]);\n'
        "export default { fetch: (r: Request) => answer(r.url) };",
    ),
    "node": (
        "exec node app.ts",
        'import { createServer } from "node:http";\n'
        'const answer = (path) => JSON.stringify(["node", process.versions.node, path]);\n'
        'createServer((q, r) => r.end(answer(q.url))).listen(process.env.PORT, "127.0.0.1");',
    ),
}


def written(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    return folder


def served(start_function: StartFunction, app: Prepared, path: str = "/a/b", **environment: str) -> object:
    function = start_function(app.task, layer=app.layer, extra_binds=tuple(app.binds), **environment)
    payload = json.loads(function.invoke(function_url(path)).body)
    assert payload.get("statusCode") == 200, (payload, function.output)
    return json.loads(payload["body"])


@pytest.mark.parametrize("name", SERVERS)
def test_a_one_file_server_answers_out_of_both_layers(
    name: str, start_function: StartFunction, layer_tree: Path, tmp_path: Path
) -> None:
    had(lambda of: runtimes.ensure(name, of))
    command, server = SERVERS[name]
    app = prepare(written(tmp_path, {"run.sh": f"#!/bin/sh\n{command}\n", "app.ts": server}), layer_tree, name)
    assert served(start_function, app) == [name, runtimes.version(name), "/a/b"]


@pytest.mark.parametrize("name", ["bun", "node"])
def test_the_other_processors_runtime_starts_beside_fairleads_layer(name: str, tmp_path: Path) -> None:
    """arm64, emulated on x86_64: the program and what it loads are found. How it serves is said of this machine's."""
    for make in (rootfs.ensure, emulator.ensure, lambda of: runtimes.ensure(name, of)):
        had(make, "arm64")
    can_run("arm64")
    app = prepare(written(tmp_path, {"run.sh": "#!/bin/sh\n"}), had(build.ensure, "arm64"), name)
    written(tmp_path, {"run.sh": f"#!/bin/sh\necho version $({name} --version)\nexit 7\n"})
    variables = {"PORT": str(free_ports(1)[0]), "FAIRLEAD_DEADLINE_MARGIN_MS": "1000"}
    with Function(app.layer, app.task, variables, 512, 20, app.binds) as function:
        function.invoke(b"{}")
        output = function.output
    assert any(line.removeprefix("version ").lstrip("v") == runtimes.version(name) for line in output), output


@pytest.mark.parametrize("name", SERVERS)
def test_a_start_script_without_its_runtimes_layer_is_refused(name: str, layer_tree: Path, tmp_path: Path) -> None:
    command, server = SERVERS[name]
    written(tmp_path, {"run.sh": f"#!/bin/sh\n{command}\n", "app.ts": server})
    with pytest.raises(LocalFailure, match=f"run.sh calls {name}, and no layer has it: say RUNTIME={name}"):
        prepare(tmp_path, layer_tree)


def test_who_says_none_is_only_told(layer_tree: Path, tmp_path: Path) -> None:
    written(tmp_path, {"run.sh": "#!/bin/sh\nexec node app.js\n", "package-lock.json": {}})
    app = prepare(tmp_path, layer_tree, NONE)
    assert (app.layer, app.task, app.binds) == (layer_tree, tmp_path, [])
    assert [notice.partition(":")[0] for notice in app.notices] == ["run.sh calls node, and no layer has it"]


# Packages


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of packages and builds that this test alone has. The runtimes stay where they are."""
    folder = tmp_path_factory.mktemp("cache")
    for module in (node_modules, prepared.built_copy):
        monkeypatch.setattr(module, "CACHE", folder)
    return folder


def package(folder: Path, name: str, files: dict[str, str], **manifest: object) -> str:
    """A tarball as npm packs one; what a package.json says to have it."""
    files = {"package.json": json.dumps({"name": name, "version": "1.0.0", **manifest}), **files}
    with tarfile.open(folder / f"{name}-1.0.0.tgz", "w:gz") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(content.encode())
            archive.addfile(entry, io.BytesIO(content.encode()))
    return f"file:{name}-1.0.0.tgz"


@pytest.fixture
def npm_app(tmp_path: Path) -> Path:
    """An app with a package to run, one to build with, a script that would run at installing, and a build."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    folder = tmp_path / "app"
    folder.mkdir()
    greeting = package(
        folder, "greeting", {"index.js": 'module.exports = "hello";'}, scripts={"postinstall": "touch it-ran"}
    )
    tool = package(folder, "tool", {"index.js": 'module.exports = "built";'})
    written(
        folder,
        {
            "run.sh": "#!/bin/sh\nexec node server.js\n",
            "package.json": {
                "private": True,
                "scripts": {"build": "node build.js"},
                "dependencies": {"greeting": greeting},
                "devDependencies": {"tool": tool},
            },
            "build.js": 'const path = "node_modules/greeting/it-ran";\n'
            'const found = [require("tool"), process.versions.node, require("fs").existsSync(path)];\n'
            'require("fs").mkdirSync("dist");\n'
            'require("fs").writeFileSync("dist/out.json", JSON.stringify(found));',
            "server.js": 'const found = { greeting: require("greeting"), build: require("./dist/out.json") };\n'
            'try { require("tool"); } catch (error) { found.tool = error.code; }\n'
            'require("http").createServer((q, r) => r.end(JSON.stringify(found)))\n'
            '  .listen(process.env.PORT, "127.0.0.1");',
        },
    )
    lock = ["npm", "install", "--package-lock-only", "--silent", "--no-audit", "--no-fund", "--offline"]
    subprocess.run(lock, cwd=folder, check=True, timeout=120)
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_app_is_built_in_a_copy_and_runs_without_what_only_the_build_needs(
    npm_app: Path, own_cache: Path, start_function: StartFunction, layer_tree: Path
) -> None:
    had(lambda of: runtimes.ensure("node", of))
    before = listing(npm_app)
    app = prepare(npm_app, layer_tree)
    assert served(start_function, app) == {
        "greeting": "hello",
        "build": ["built", runtimes.version("node"), False],  # by the layer's Node; the package's script did not run
        "tool": "MODULE_NOT_FOUND",
    }
    assert listing(npm_app) == before
    notices = "\n".join(app.notices)
    assert "built by `npm run build` (node build.js)" in notices
    assert "install scripts did not run, of greeting: INSTALL_SCRIPTS=1 lets them" in notices


def test_nothing_is_built_again_until_a_file_changes(npm_app: Path, own_cache: Path, layer_tree: Path) -> None:
    had(lambda of: runtimes.ensure("node", of))
    first = prepare(npm_app, layer_tree)
    marker = first.task / "dist/marker"
    marker.touch()
    assert prepare(npm_app, layer_tree).task == first.task
    assert marker.exists()
    (npm_app / "build.js").write_text('require("fs").mkdirSync("dist");')
    assert prepare(npm_app, layer_tree).task != first.task


def test_install_scripts_run_when_they_are_wanted(npm_app: Path, own_cache: Path, layer_tree: Path) -> None:
    had(lambda of: runtimes.ensure("node", of))
    app = prepare(npm_app, layer_tree, with_install_scripts=True)
    assert json.loads((app.task / "dist/out.json").read_text())[2] is True
    assert "install scripts" not in "\n".join(app.notices)


def test_a_build_that_fails_is_told_with_its_last_words(npm_app: Path, own_cache: Path, layer_tree: Path) -> None:
    had(lambda of: runtimes.ensure("node", of))
    (npm_app / "build.js").write_text('console.error("no such page"); process.exit(3);')
    with pytest.raises(LocalFailure, match=r"(?s)could not be built; `npm run build` said:.*no such page"):
        prepare(npm_app, layer_tree)
    assert list((own_cache / "apps").glob("app-copy*")) == []


def test_a_lock_file_that_does_not_fit_is_told_in_npms_words(npm_app: Path, own_cache: Path, layer_tree: Path) -> None:
    had(lambda of: runtimes.ensure("node", of))
    document = json.loads((npm_app / "package.json").read_text())
    document["dependencies"]["other"] = package(npm_app, "other", {})
    (npm_app / "package.json").write_text(json.dumps(document))
    with pytest.raises(LocalFailure, match=r"(?s)package-lock\.json could not be installed; `npm ci .*in sync"):
        prepare(npm_app, layer_tree)


def test_scripts_for_another_processor_are_refused(npm_app: Path, own_cache: Path) -> None:
    other = next(name for name in build.ARCHITECTURES if name != architecture())
    with pytest.raises(LocalFailure, match=f"install scripts would make programs for {architecture()}"):
        node_modules.ensure(npm_app, "node", Wish(other, with_scripts=True))


def test_a_folder_of_packages_without_a_lock_file_is_taken_as_it_is(layer_tree: Path, tmp_path: Path) -> None:
    had(lambda of: runtimes.ensure("node", of))
    files = {"run.sh": "#!/bin/sh\nexec node a.js\n", "package.json": {"dependencies": {"a": "1"}}}
    written(tmp_path, {**files, "node_modules/a/index.js": ""})
    app = prepare(tmp_path, layer_tree)
    assert (app.task, app.binds) == (tmp_path, [])
    assert any(notice.startswith("the app's own node_modules is used") for notice in app.notices)


def test_more_than_lambda_unpacks_is_said(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("opt", "task", "packages")]
    for folder in (*folders, tmp_path / "task/node_modules"):
        folder.mkdir(exist_ok=True)
        with (folder / "file").open("wb") as file:
            file.truncate(100_000_000)
    bind = Bind(folders[2], "/var/task/node_modules")
    (sentence,) = prepared.oversize(Prepared(folders[0], folders[1], [bind], []))
    assert sentence.startswith(
        "unpacked, this has 300,000,000 bytes (the layers 100,000,000, the app 100,000,000, node_modules 100,000,000), "
        "and Lambda allows 262,144,000 (250 MiB)"
    )
    assert prepared.oversize(Prepared(folders[0], folders[2], [], [])) == []


# Workspaces, and what Deno installs


def invoked(start_function: StartFunction, app: Prepared, handler: str, **environment: str) -> object:
    binds = tuple(app.binds)
    function = start_function(app.task, layer=app.layer, extra_binds=binds, _HANDLER=handler, **environment)
    return json.loads(function.invoke(b"{}").body)


@pytest.mark.parametrize("name", ["bun", "node"])
def test_a_member_of_a_workspace_is_the_handler_and_finds_the_others(
    name: str, own_cache: Path, start_function: StartFunction, layer_tree: Path, tmp_path: Path
) -> None:
    """Its own package.json names no packages: the members do."""
    had(lambda of: runtimes.ensure(name, of))
    words = {"name": "@our/words", "version": "1.0.0", "type": "module", "exports": "./words.js"}
    api = {"name": "api", "version": "1.0.0", "type": "module", "dependencies": {"@our/words": "1.0.0"}}
    files = {
        "package.json": {"private": True, "workspaces": ["packages/*"]},
        "packages/words/package.json": words,
        "packages/words/words.js": "export const words = 'a member';",
        "packages/api/package.json": api,
        "packages/api/index.js": "import { words } from '@our/words'; export const handler = async () => words;",
    }
    folder = written(tmp_path, files)
    if name == "node" and not shutil.which("npm"):
        pytest.skip("there is no npm")
    program = "npm" if name == "node" else str(runtimes.ensure(name, architecture()) / "bin" / name)
    only_lock = ("--package-lock-only", "--offline") if name == "node" else ("--lockfile-only",)
    subprocess.run([program, "install", *only_lock], cwd=folder, check=True, capture_output=True, timeout=120)
    app = prepare(folder, layer_tree, handler="packages/api/index.handler")
    assert invoked(start_function, app, "packages/api/index.handler") == "a member"
    assert not (folder / "node_modules").exists()


@pytest.mark.parametrize("settings", [{}, {"vendor": True, "nodeModulesDir": "auto"}], ids=["cache", "folders"])
def test_what_deno_installs_is_there_when_the_handler_starts(
    settings: dict[str, object],
    own_cache: Path,
    start_function: StartFunction,
    layer_tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    had(lambda of: runtimes.ensure("deno", of))
    source = "import { words } from 'words'; import { greeting } from 'greeting';"
    files = {
        "deno.json": {"imports": {"words": "jsr:@our/words@1", "greeting": "npm:greeting@1"}, **settings},
        "index.ts": f"{source} export const handler = async () => [words, greeting];",
    }
    folder = written(tmp_path / "app", files)
    with FakeRegistry() as registry:
        for variable, value in registry.variables.items():
            monkeypatch.setenv(variable, value)
        deno = str(runtimes.ensure("deno", architecture()) / "bin/deno")
        own = {**os.environ, "DENO_DIR": str(tmp_path / "cache")}
        subprocess.run([deno, "install"], cwd=folder, env=own, check=True, capture_output=True, timeout=120)
        for made in ("node_modules", "vendor"):
            shutil.rmtree(folder / made, ignore_errors=True)
        before = listing(folder)
        app = prepare(folder, layer_tree, handler="index.handler")
        variables = registry.variables
    assert invoked(start_function, app, "index.handler", **variables) == ["of jsr", "of npm"]
    assert listing(folder) == before


# Handlers, with nothing of their own to write to: the function's folder and the layers are read-only here as on Lambda

LAYER_PACKAGES = {
    "nodejs/node_modules/greeting/package.json": {"name": "greeting", "version": "1.0.0"},
    "nodejs/node_modules/greeting/index.js": "exports.greeting = 'of a layer';",
    "nodejs/node_modules/native/package.json": {"name": "native", "version": "1.0.0"},
    "nodejs/node_modules/native/index.js": "exports.native = 'for all';",
    "nodejs/node22/node_modules/native/package.json": {"name": "native", "version": "1.0.0"},
    "nodejs/node22/node_modules/native/index.js": "exports.native = 'for Node 22';",
}


@pytest.mark.parametrize(("name", "native"), [("bun", "for all"), ("deno", "for all"), ("node", "for Node 22")])
def test_a_handler_requires_the_packages_of_a_layer(
    name: str, native: str, start_function: StartFunction, layer_tree: Path, tmp_path: Path
) -> None:
    had(lambda of: runtimes.ensure(name, of))
    source = (
        "const { greeting } = require('greeting'); const { native } = require('native');"
        "exports.handler = async () => [greeting, native];"
    )
    own = written(tmp_path / "layer", LAYER_PACKAGES)
    opt = merge.merged([layer_tree, runtimes.ensure(name, architecture()), own])
    task = written(tmp_path / "task", {"index.cjs": source})
    function = start_function(task, layer=opt, _HANDLER="index.handler")
    assert json.loads(function.invoke(b"{}").body) == ["of a layer", native]


@pytest.mark.parametrize("lock", [{}, {"deno.lock": {"version": "5"}}], ids=["no lock file", "an old lock file"])
def test_deno_writes_no_lock_file_where_it_cannot(
    lock: dict[str, object], start_function: StartFunction, layer_tree: Path, tmp_path: Path
) -> None:
    had(lambda of: runtimes.ensure("deno", of))
    files = {
        "deno.json": {"vendor": True},
        "vendor/deno.land/x/words/mod.ts": "export const words: string = 'vendored';",
        "index.ts": "import { words } from 'https://deno.land/x/words/mod.ts';"
        "export const handler = async () => words;",
    }
    app = prepare(written(tmp_path, {**files, **lock}), layer_tree, "deno", handler="index.handler")
    function = start_function(app.task, layer=app.layer, extra_binds=tuple(app.binds), _HANDLER="index.handler")
    answer = function.invoke(b"{}").body
    if lock:
        assert any("deno.lock cannot be changed when a function starts" in line for line in function.output)
    else:
        assert json.loads(answer) == "vendored", function.output
