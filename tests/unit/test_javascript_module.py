"""Which handlers are JavaScript, and what runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import Config
from runtime.errors import InitFault


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("index.ts", "index.mjs", "both.py", "both.js", "folder/deep.cjs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for name in ("bun", "node"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def chosen(root: Path, handler: str, **environ: str) -> Config:
    given = {"LAMBDA_TASK_ROOT": str(root), "_HANDLER": handler, "PATH": f"{root}/empty:{root}/bin", **environ}
    return Config.from_env(given)


def test_a_handler_whose_file_is_javascript_is_run_by_a_host(root: Path) -> None:
    config = chosen(root, "index.fetch")
    program, host, file, function, handler = config.command
    assert (program, file, function) == (f"{root}/bin/bun", f"{root}/index.mjs", "fetch")
    assert handler == "index.fetch"
    assert Path(host).is_file()
    assert config.events.mode == "http"


def test_any_function_but_fetch_takes_events_as_they_are(root: Path) -> None:
    config = chosen(root, "folder/deep.handler")
    assert config.command[2:] == (f"{root}/folder/deep.cjs", "handler", "folder/deep.handler")
    assert config.events.mode == "raw"


@pytest.mark.parametrize(
    ("handler", "file", "name"),
    [
        ("folder/deep.ns.h", "folder/deep.cjs", "ns.h"),
        ("folder/deep.a.b.c", "folder/deep.cjs", "a.b.c"),
        ("two.dots.handler", "two.dots.mjs", "handler"),
        ("two.dots.ns.h", "two.dots.mjs", "ns.h"),
        ("folder/index.handler", "folder/index.js", "handler"),
    ],
)
def test_a_handler_may_lie_in_objects_and_in_modules_with_dots(root: Path, handler: str, file: str, name: str) -> None:
    (root / "two.dots.mjs").write_text("")
    for suffix in ("ts", "mjs", "js"):
        (root / f"folder/index.{suffix}").write_text("")
    config = chosen(root, handler)
    assert config.command[-3:] == (f"{root}/{file}", name, handler)
    assert (config.javascript, config.events.mode) == ("handler", "raw")


def test_an_absolute_path_leads_to_a_module_of_a_layer(root: Path) -> None:
    handler = f"{root}/folder/deep.handler"
    config = chosen(root, handler, LAMBDA_TASK_ROOT=f"{root}/empty")
    assert config.command[-3:] == (f"{root}/folder/deep.cjs", "handler", handler)


def test_deno_finds_the_functions_configuration_from_its_module(root: Path) -> None:
    (root / "bin/deno").symlink_to("bun")
    program, *arguments, file, name, _ = chosen(root, "index.fetch", FAIRLEAD_JAVASCRIPT_RUNTIME="deno").command
    assert (program, file, name) == (f"{root}/bin/deno", f"{root}/index.mjs", "fetch")
    assert arguments[-1] == file  # the entry; the host is loaded before it
    assert any(argument.startswith("--preload=") and argument.endswith("/host.mjs") for argument in arguments)


def test_bun_gets_the_functions_bunfig(root: Path) -> None:
    assert f"--config={root}/bunfig.toml" not in chosen(root, "index.fetch").command
    (root / "bunfig.toml").write_text("")
    assert chosen(root, "index.fetch").command[1] == f"--config={root}/bunfig.toml"


def test_node_compiles_enums_of_typescript(root: Path) -> None:
    (root / "typed.ts").write_text("")
    command = chosen(root, "typed.handler", FAIRLEAD_JAVASCRIPT_RUNTIME="node").command
    assert "--experimental-transform-types" in command
    assert "--experimental-transform-types" not in chosen(root, "index.h", FAIRLEAD_JAVASCRIPT_RUNTIME="node").command


def test_the_runtime_can_be_named(root: Path) -> None:
    assert chosen(root, "index.fetch", FAIRLEAD_JAVASCRIPT_RUNTIME="node").command[0] == f"{root}/bin/node"


def test_a_runtime_is_a_file_that_may_be_run(root: Path) -> None:
    (root / "a" / "bun").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "b" / "bun").write_text("")
    assert chosen(root, "index.fetch", PATH=f"{root}/a:{root}/b:{root}/bin").command[0] == f"{root}/bin/bun"


def test_python_comes_first(root: Path) -> None:
    assert chosen(root, "both.handler").handler == "both.handler"


@pytest.mark.parametrize(("wanted", "words"), [("auto", "no bun or deno or node on PATH"), ("deno", "no deno on PATH")])
def test_without_a_runtime_the_message_names_the_layer(root: Path, wanted: str, words: str) -> None:
    with pytest.raises(InitFault) as caught:
        chosen(root, "index.fetch", PATH=f"{root}/empty", FAIRLEAD_JAVASCRIPT_RUNTIME=wanted)
    assert caught.value.error_type == "Runtime.HandlerNotFound"
    assert words in caught.value.message
    assert "--with-runtime" in caught.value.message


def test_a_module_outside_of_the_function_is_not_looked_for(root: Path) -> None:
    (root.parent / "outside.mjs").write_text("")
    with pytest.raises(InitFault) as caught:
        chosen(root, "../outside.fetch")
    assert caught.value.error_type == "Runtime.MalformedHandlerName"
