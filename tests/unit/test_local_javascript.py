"""What a JavaScript app's files say: its runtime, its lock file, its build; and the words when they say too little."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.app import javascript, start_script
from local.app.javascript import SIGNS, Package
from local.failures import LocalFailure


def app(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


RUNTIMES = {
    "bun.lock": (("bun.lock", "package.json"), "bun"),
    "bun.lockb": (("bun.lockb", "package.json"), "bun"),
    "bun-before-npm": (("package-lock.json", "bun.lock", "package.json"), "bun"),
    "deno.json": (("deno.json",), "deno"),
    "deno.jsonc": (("deno.jsonc",), "deno"),
    "deno.lock": (("deno.lock", "package.json"), "deno"),
    "package-lock.json": (("package-lock.json", "package.json"), "node"),
    "npm-shrinkwrap.json": (("npm-shrinkwrap.json",), "node"),
    "package.json": (("package.json", "run.sh"), "node"),
    "python": (("requirements.txt", "run.sh"), ""),
    "nothing": ((), ""),
}


@pytest.mark.parametrize(("files", "runtime"), RUNTIMES.values(), ids=RUNTIMES)
def test_the_files_say_which_runtime_is_needed(tmp_path: Path, files: tuple[str, ...], runtime: str) -> None:
    sign = javascript.sign(app(tmp_path, dict.fromkeys(files, "")))
    assert SIGNS.get(sign, "") == runtime


PACKAGES: dict[str, tuple[str, dict[str, object], Package]] = {
    "no-package.json": ("bun", {}, Package()),
    "empty": ("node", {"package.json": {}}, Package()),
    "dependencies": ("node", {"package.json": {"dependencies": {"a": "1"}}}, Package(has_dependencies=True)),
    "optional": ("bun", {"package.json": {"optionalDependencies": {"a": "1"}}}, Package(has_dependencies=True)),
    "dev": ("bun", {"package.json": {"devDependencies": {"a": "^1"}}}, Package(has_dev_dependencies=True)),
    "build": ("node", {"package.json": {"scripts": {"build": "next build"}}}, Package(build="next build")),
    "other-scripts": ("node", {"package.json": {"scripts": {"dev": "next dev", "prebuild": "x"}}}, Package()),
    "nulls": ("node", {"package.json": {"scripts": None, "dependencies": None}}, Package()),
    "workspaces": ("bun", {"package.json": {"workspaces": ["packages/*"]}}, Package(is_several=True)),
    "file": (
        "node",
        {"package.json": {"dependencies": {"a": "file:../a"}}},
        Package(has_dependencies=True, is_several=True),
    ),
    "workspace-protocol": (
        "bun",
        {"package.json": {"devDependencies": {"a": "workspace:*"}}},
        Package(has_dev_dependencies=True, is_several=True),
    ),
    "deno-imports": ("deno", {"deno.json": {"imports": {"a": "npm:a@1"}}}, Package(has_dependencies=True)),
    "deno-no-imports": ("deno", {"deno.json": {"imports": {}}}, Package()),
    "deno-lock-alone": ("deno", {"deno.lock": "{}"}, Package(has_dependencies=True)),
    "deno-task": ("deno", {"deno.json": {"tasks": {"build": "deno cache a.ts"}}}, Package(build="deno cache a.ts")),
    "deno-task-object": ("deno", {"deno.json": {"tasks": {"build": {"command": "x"}}}}, Package(build="x")),
    "deno-npm-script": ("deno", {"package.json": {"scripts": {"build": "x"}}, "deno.json": {}}, Package(build="x")),
    "deno-workspace": ("deno", {"deno.json": {"workspace": ["./a"]}}, Package(is_several=True)),
    "deno-comments": (
        "deno",
        {"deno.jsonc": '{ // it\n "tasks": { /* "no": 1, */ "build": "deno run https://a.example//b", }, }'},
        Package(build="deno run https://a.example//b"),
    ),
    "deno.json-is-deno's": ("node", {"deno.json": {"tasks": {"build": "x"}}, "package.json": {}}, Package()),
}


@pytest.mark.parametrize(("runtime", "files", "package"), PACKAGES.values(), ids=PACKAGES)
def test_what_is_installed_and_built(tmp_path: Path, runtime: str, files: dict[str, object], package: Package) -> None:
    assert javascript.package(app(tmp_path, files), runtime) == package


@pytest.mark.parametrize("content", ["{", "[]", '"text"'])
def test_a_package_json_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    with pytest.raises(LocalFailure, match=r"package\.json .*: mend it"):
        javascript.package(app(tmp_path, {"package.json": content}), "node")


LOCKS = {
    "own-first": ("node", ("bun.lock", "package-lock.json"), "package-lock.json"),
    "own-first-bun": ("bun", ("bun.lock", "package-lock.json"), "bun.lock"),
    "anothers": ("bun", ("package-lock.json",), "package-lock.json"),
    "node-with-buns": ("node", ("bun.lock",), "bun.lock"),
    "shrinkwrap-before-lock": ("node", ("package-lock.json", "npm-shrinkwrap.json"), "npm-shrinkwrap.json"),
    "deno": ("deno", ("package-lock.json", "deno.lock"), "deno.lock"),
}


@pytest.mark.parametrize(("runtime", "files", "lock"), LOCKS.values(), ids=LOCKS)
def test_the_runtimes_own_lock_file_comes_first(
    tmp_path: Path, runtime: str, files: tuple[str, ...], lock: str
) -> None:
    assert javascript.lock(app(tmp_path, dict.fromkeys(files, "")), runtime) == lock


UNLOCKED = {
    "bun": ("bun", (), "`bun install --lockfile-only` makes bun.lock"),
    "deno": ("deno", (), "`deno install` makes deno.lock"),
    "node": ("node", (), "`npm install --package-lock-only` makes package-lock.json"),
    "yarn": ("node", ("yarn.lock",), r"no lock file \(yarn\.lock cannot be used here\)"),
    "pnpm-and-yarn": ("node", ("pnpm-lock.yaml", "yarn.lock"), r"\(yarn\.lock and pnpm-lock\.yaml cannot"),
}


@pytest.mark.parametrize(
    "whole",
    [
        {"package.json": {"workspaces": ["packages/*"]}, "package-lock.json": {}},
        {"package.json": {"workspaces": {"packages": ["packages/*"]}}, "bun.lock": ""},
        {"deno.json": {"workspace": ["packages/api"]}, "deno.lock": {}},
    ],
    ids=["npm", "bun", "deno"],
)
def test_a_member_of_a_workspace_is_told_where_its_lock_file_is(tmp_path: Path, whole: dict[str, object]) -> None:
    member = app(tmp_path, whole) / "packages/api"
    member.mkdir(parents=True)
    with pytest.raises(LocalFailure, match=r"run all of it, with APP=.* HANDLER=packages/api/MODULE\.FUNCTION"):
        javascript.lock(app(member, {"package.json": {"dependencies": {"a": "1"}}}), "node")


@pytest.mark.parametrize(("runtime", "files", "words"), UNLOCKED.values(), ids=UNLOCKED)
def test_without_a_lock_file_the_command_that_makes_one_is_said(
    tmp_path: Path, runtime: str, files: tuple[str, ...], words: str
) -> None:
    with pytest.raises(LocalFailure, match=words):
        javascript.lock(app(tmp_path, dict.fromkeys(files, "")), runtime)


def test_a_runtime_that_no_layer_has_is_named_with_what_to_say(tmp_path: Path) -> None:
    app(tmp_path, {"run.sh": "#!/bin/sh\nexec bun run it.ts\n"})
    (sentence,) = start_script.lacking(tmp_path, "", tmp_path / "opt")
    assert sentence.startswith("run.sh calls bun, and no layer has it: say RUNTIME=bun (--runtime bun), and on Lambda ")
    assert "`./build-layer.sh --with-runtime bun`" in sentence


def test_a_command_is_looked_at_instead_of_the_start_script(tmp_path: Path) -> None:
    app(tmp_path, {"run.sh": "#!/bin/sh\nexec bun run it.ts\n"})
    (sentence,) = start_script.lacking(tmp_path, "node server.js", tmp_path / "opt")
    assert sentence.startswith("the command calls node, and no layer has it")


def test_a_runtime_that_a_layer_has_needs_no_words(tmp_path: Path) -> None:
    app(tmp_path, {"run.sh": "#!/bin/sh\nexec bun run it.ts\n"})
    (tmp_path / "opt/bin").mkdir(parents=True)
    (tmp_path / "opt/bin/bun").touch()
    assert start_script.lacking(tmp_path, "", tmp_path / "opt") == []
