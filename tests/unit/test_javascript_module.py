"""Which handlers are JavaScript, and what runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.config import Config
from runtime.dispatch import app_environment
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
    program, option, host, file, function, handler = config.command
    assert option == "--no-install"
    assert (program, file, function) == (f"{root}/bin/bun", f"{root}/index.mjs", "fetch")
    assert handler == "index.fetch"
    assert Path(host).is_file()
    assert config.events.mode == "http"


def test_any_function_but_fetch_takes_events_as_they_are(root: Path) -> None:
    config = chosen(root, "folder/deep.handler")
    assert config.command[3:] == (f"{root}/folder/deep.cjs", "handler", "folder/deep.handler")
    assert config.events.mode == "raw"
    assert config.readiness.healthy_statuses == ((204, 204),)


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


def test_a_function_may_have_any_name_that_javascript_has(root: Path) -> None:
    for name in ("$h", "my-handler", "\u00e9t\u00e9", "ns.$h"):
        assert chosen(root, f"index.{name}").command[-2] == name


@pytest.mark.parametrize(
    ("files", "main"),
    [
        ({"index.js": ""}, "index.js"),
        ({"index.ts": ""}, "index.ts"),
        ({"package.json": '{"main": "dist/main.js"}', "dist/main.js": "", "index.js": ""}, "dist/main.js"),
        ({"package.json": '{"main": "./dist/main"}', "dist/main.cjs": ""}, "dist/main.cjs"),
        ({"package.json": '{"main": "lib"}', "lib/index.js": ""}, "lib/index.js"),
        ({"package.json": '{"main": "gone.js"}', "index.js": ""}, "index.js"),
        ({"package.json": '{"exports": "./e.js", "main": "m.js"}', "e.js": "", "m.js": ""}, "e.js"),
        ({"package.json": '{"exports": {".": {"types": "./t.d.ts", "import": "./e.mjs"}}}', "e.mjs": ""}, "e.mjs"),
        ({"package.json": '{"exports": {"browser": "./b.js", "default": {"node": "./n.js"}}}', "n.js": ""}, "n.js"),
        ({"package.json": "{", "index.js": ""}, "index.js"),
        ({"package.json": '["main"]', "index.js": ""}, "index.js"),
    ],
)
@pytest.mark.parametrize("place", ["wrapper", "node_modules/wrapper"])
def test_a_folder_stands_for_what_its_package_names(root: Path, files: dict[str, str], main: str, place: str) -> None:
    for name, content in files.items():
        path = root / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert chosen(root, "wrapper.handler").command[-3] == f"{root}/{place}/{main}"


def test_a_python_package_comes_before_a_folder_of_javascript(root: Path) -> None:
    (root / "folder/__init__.py").write_text("")
    (root / "folder/index.js").write_text("")
    assert chosen(root, "folder.handler").handler == "folder.handler"


def test_two_dots_in_a_row_are_named(root: Path) -> None:
    with pytest.raises(InitFault) as caught:
        chosen(root, "index..handler")
    assert (caught.value.error_type, caught.value.message) == (
        "Runtime.MalformedHandlerName",
        "the handler 'index..handler' has two dots in a row",
    )


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


@pytest.mark.parametrize(
    ("text", "installs"),
    [
        ("", False),
        ('[install]\nauto = "fallback"\n', True),
        ('install.auto="force"', True),
        ('# auto is off\n[install]\nregistry = "https://auto.example"\n', False),
    ],
)
def test_bun_installs_nothing_unless_its_settings_say_so(root: Path, text: str, installs: bool) -> None:
    (root / "bunfig.toml").write_text(text)
    assert ("--no-install" in chosen(root, "index.fetch").command) is not installs


@pytest.mark.parametrize(
    ("files", "options"),
    [
        ((), ["--no-lock"]),
        (("deno.lock",), ["--frozen"]),
        (("folder/deno.lock",), ["--frozen"]),
        (("folder/inner/deno.lock",), ["--no-lock"]),
        (("deno.jsonc",), ["--frozen"]),
        (("node_modules/x/package.json",), ["--no-lock", "--node-modules-dir=manual"]),
        (("folder/node_modules/x/package.json", "deno.lock"), ["--frozen", "--node-modules-dir=manual"]),
    ],
)
def test_deno_downloads_and_writes_nothing(root: Path, files: tuple[str, ...], options: list[str]) -> None:
    (root / "bin/deno").symlink_to("bun")
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text('{"lock": {"path": "other.lock"}}')
    command = chosen(root, "folder/deep.handler", FAIRLEAD_JAVASCRIPT_RUNTIME="deno").command
    own = ["--cached-only", "--frozen", "--no-lock", "--node-modules-dir=manual"]
    assert [option for option in command if option in own] == ["--cached-only", *options]


def test_node_path_is_that_of_lambdas_node_runtime_unless_the_function_sets_it(root: Path) -> None:
    variables = chosen(root, "index.fetch").variables
    assert variables == (("NODE_PATH", f"/opt/nodejs/node_modules:{root}"),)
    assert app_environment({}, 80, variables)["NODE_PATH"] == f"/opt/nodejs/node_modules:{root}"
    assert app_environment({"NODE_PATH": "/mine"}, 80, variables)["NODE_PATH"] == "/mine"


def test_deno_finds_its_cache_in_the_function(root: Path) -> None:
    (root / "bin/deno").symlink_to("bun")
    assert "DENO_DIR" not in dict(chosen(root, "index.fetch", FAIRLEAD_JAVASCRIPT_RUNTIME="deno").variables)
    (root / ".deno_dir").mkdir()
    variables = dict(chosen(root, "index.fetch", FAIRLEAD_JAVASCRIPT_RUNTIME="deno").variables)
    assert (variables["DENO_DIR"], variables["NO_COLOR"]) == (f"{root}/.deno_dir", "1")


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
