"""``make run HANDLER=...``: which handlers are functions in modules, and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.app import start_script
from local.failures import LocalFailure
from local.gateway.display import below
from local.run import Options, function_environment


@pytest.fixture
def app(tmp_path: Path) -> Path:
    files = ("app.py", "package/__init__.py", "package/deep.py", "index.ts", "web/main.mjs", "api/index.js")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "serve.bin").write_bytes(b"\x7fELF")
    (tmp_path / "serve.bin").chmod(0o755)
    return tmp_path


FOUND = {
    "app.handler": "app.py",
    "app:app": "app.py",
    "package.handler": "package/__init__.py",
    "package.deep.handler": "package/deep.py",
    "package/deep.handler": "package/deep.py",
    "index.fetch": "index.ts",
    "web/main.handler": "web/main.mjs",
    "web/main.ns.handler": "web/main.mjs",
    "index.$h": "index.ts",
    "index.my-handler": "index.ts",
    "api.handler": "api/index.js",
}


@pytest.mark.parametrize("handler", FOUND)
def test_a_function_in_a_module_is_found(app: Path, handler: str) -> None:
    assert start_script.check(app, "", handler) == []
    assert start_script.module_file(app, handler) == app / FOUND[handler]


@pytest.mark.parametrize("handler", ["missing.handler", "app/deep.handler", "nothing:app"])
def test_a_module_that_is_not_there_is_named(app: Path, handler: str) -> None:
    with pytest.raises(LocalFailure, match=f"the handler {handler} is a function in a module, and .* has no such file"):
        start_script.check(app, "", handler)


def test_a_package_that_is_still_to_be_installed_may_be_the_handler(app: Path) -> None:
    (app / "package.json").write_text('{"dependencies": {"some-wrapper": "1.0.0"}}')
    assert start_script.check(app, "", "some-wrapper.handler") == []
    with pytest.raises(LocalFailure, match=r"the handler other-wrapper\.handler is a function in a module"):
        start_script.check(app, "", "other-wrapper.handler")


def test_an_executable_with_a_dot_is_a_start_script(app: Path) -> None:
    assert start_script.check(app, "", "serve.bin") == []


def test_the_function_gets_its_handler_and_a_python_one_its_packages(app: Path) -> None:
    def environment(handler: str) -> dict[str, str]:
        return function_environment(Options(app=app, handler=handler))

    assert environment("app.handler") == {"_HANDLER": "app.handler", "PYTHONPATH": "/var/task/python"}
    assert environment("index.fetch") == {"_HANDLER": "index.fetch"}
    assert environment("serve.bin") == {"_HANDLER": "serve.bin"}
    assert environment("run.sh") == {}


def test_a_record_of_several_lines_is_shown_as_such() -> None:
    """In CloudWatch a carriage return begins a line; a terminal would write over the one before."""
    assert below("[ERROR] no\rTraceback\r  File") == "[ERROR] no\n          Traceback\n            File"
