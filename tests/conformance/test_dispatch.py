"""Which command is run: `bootstrap` (bash) and `Config.from_env` (runtime/dispatch.py) must decide alike, case by case.

Outside of Lambda `bootstrap` executes what it has chosen, so its choice can be seen: every candidate prints who it is.
The same candidate is then run as Config chooses it, and both must have said the same.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.config import Config
from runtime.dispatch import app_environment
from runtime.errors import InitFault
from tests.fakes.bash import OF_BASH, own_names
from tests.fakes.process import CHECKOUT

BOOTSTRAP = CHECKOUT / "bootstrap"
SAY = '#!/bin/sh\nprintf "[%s]" "${0##*/}" "$@" "PORT=$PORT"\n'


class Case(NamedTuple):
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()
    said: str | None = None  # None: there is nothing to run


CASES = {
    "nothing": Case({}),
    "command-setting": Case({"FAIRLEAD_COMMAND": "serve a 'b c'"}, said="[serve][a][b c]"),
    "command-setting-is-a-shell-line": Case({"FAIRLEAD_COMMAND": "X=1; serve $X | cat"}, said="[serve][1]"),
    "command-setting-before-arguments": Case({"FAIRLEAD_COMMAND": "serve"}, ("start.sh",), "[serve]"),
    "arguments": Case({}, ("serve", "--flag", ""), "[serve][--flag][]"),
    "arguments-before-handler": Case({"_HANDLER": "start.sh"}, ("serve",), "[serve]"),
    "handler-executable": Case({"_HANDLER": "serve"}, said="[serve]"),
    "handler-script-with-absolute-path": Case({"_HANDLER": "{root}/start.sh"}, said="[start.sh]"),
    "handler-script-without-executable-bit": Case({"_HANDLER": "plain.sh"}, said="[plain.sh]"),
    "handler-in-a-folder": Case({"_HANDLER": "folder/start.sh"}, said="[start.sh]"),
    "handler-with-a-blank": Case({"_HANDLER": "with blank.sh"}, said="[with blank.sh]"),
    "handler-data-file": Case({"_HANDLER": "data.txt"}),
    "handler-folder": Case({"_HANDLER": "folder"}),
    "handler-outside": Case({"_HANDLER": "../outside.sh"}),
    "handler-outside-by-detour": Case({"_HANDLER": "folder/../../outside.sh"}),
    "handler-of-a-managed-runtime": Case({"_HANDLER": "app.handler"}),
    "empty-counts-as-not-set": Case({"FAIRLEAD_COMMAND": "", "FAIRLEAD_PORT": "", "_HANDLER": "serve"}, said="[serve]"),
    "port": Case({"FAIRLEAD_PORT": "3000", "AWS_LWA_PORT": "4000", "PORT": "5000"}, ("serve",), "[serve]PORT=3000"),
    "port-of-the-peer": Case({"AWS_LWA_PORT": "4000", "PORT": "5000"}, ("serve",), "[serve]PORT=4000"),
    "port-by-custom": Case({"PORT": "5000"}, ("serve",), "[serve]PORT=5000"),
    "wrapper-around-arguments": Case({"AWS_LAMBDA_EXEC_WRAPPER": "{root}/wrap"}, ("serve", "x"), "<wrap>[serve][x]"),
    "wrapper-around-handler": Case(
        {"AWS_LAMBDA_EXEC_WRAPPER": "{root}/wrap", "_HANDLER": "serve"}, said="<wrap>[serve]"
    ),
    "we-are-the-wrapper": Case(
        {"AWS_LAMBDA_EXEC_WRAPPER": "{bootstrap}", "_HANDLER": "serve"}, ("/var/lang/bin/node", "index.mjs"), "[serve]"
    ),
    "we-are-the-wrapper-by-link": Case(
        {"AWS_LAMBDA_EXEC_WRAPPER": "{root}/link", "_HANDLER": "serve"}, ("/var/lang/bin/node",), "[serve]"
    ),
    "we-are-the-wrapper-and-there-is-nothing": Case(
        {"AWS_LAMBDA_EXEC_WRAPPER": "{bootstrap}"}, ("/var/lang/bin/node",)
    ),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = tmp_path_factory.mktemp("dispatch") / "task"
    (task / "folder").mkdir(parents=True)
    for name, mode in {
        "serve": 0o755,
        "start.sh": 0o755,
        "folder/start.sh": 0o755,
        "with blank.sh": 0o755,
        "plain.sh": 0o644,
        "data.txt": 0o644,
        "../outside.sh": 0o755,
    }.items():
        (task / name).write_text(SAY)
        (task / name).chmod(mode)
    (task / "wrap").write_text('#!/bin/sh\nprintf "<wrap>"\nexec "$@"\n')
    (task / "wrap").chmod(0o755)
    (task / "link").symlink_to(BOOTSTRAP)
    return task


def environment_of(case: Case, root: Path) -> dict[str, str]:
    given = {name: text.format(root=root, bootstrap=BOOTSTRAP) for name, text in case.environment.items()}
    return {"PATH": f"{root}:/usr/bin:/bin", "LAMBDA_TASK_ROOT": str(root), **given}


def output_of(command: list[str], environment: Mapping[str, str], root: Path) -> str | None:
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout if done.returncode == 0 else None


@pytest.mark.parametrize("name", CASES)
def test_bash_and_python_decide_alike(name: str, root: Path) -> None:
    case = CASES[name]
    environment = environment_of(case, root)
    by_bash = output_of([str(BOOTSTRAP), *case.arguments], environment, root)
    try:
        config = Config.from_env(environment, case.arguments, str(BOOTSTRAP))
    except InitFault:
        by_python = None
    else:
        # A handler module is run on Lambda only, so outside of it both have nothing to run.
        app = app_environment(environment, config.app.port)
        by_python = output_of(list(config.command), app, root) if config.command else None
    assert by_bash == by_python == expected(case)


def expected(case: Case) -> str | None:
    if case.said is None:
        return None
    said, _, port = case.said.partition("PORT=")
    return f"{said}[PORT={port or 8080}]"


def test_with_nothing_to_run_outside_of_lambda_it_prints_usage(root: Path) -> None:
    done = subprocess.run(
        [str(BOOTSTRAP)],
        env={"PATH": os.environ["PATH"]},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 64
    assert done.stderr.startswith("usage: bootstrap COMMAND")


def test_bootstrap_uses_no_process_substitution() -> None:
    """It needs /dev/fd, which not every sandbox has; checked by hand with a /dev that has none."""
    code = [line.partition(" #")[0] for line in BOOTSTRAP.read_text().splitlines()]
    assert not [line for line in code if "<(" in line and not line.startswith("#")]


@pytest.mark.parametrize("given", [OF_BASH, {}], ids=["with names of bash", "with little"])
def test_outside_of_lambda_the_app_gets_its_environment_as_it_was_given(root: Path, given: dict[str, str]) -> None:
    """Whatever its variables are called, and nothing more: as if the command had been run without us."""
    names = own_names()
    assert {"_handler", "_started", "_self", "_command"} <= names
    environment = {"PATH": "/usr/bin:/bin", **dict.fromkeys(names, "mine"), **given}
    done = subprocess.run(
        [BOOTSTRAP, "env", "-0"], env=environment, cwd=root, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    got = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    assert got.pop(b"PORT") == b"8080"
    assert got == {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
