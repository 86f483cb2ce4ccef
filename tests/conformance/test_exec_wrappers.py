"""Wrappers around the function (AWS_LAMBDA_EXEC_WRAPPER), black box: how agents are started, and how they fail.

Each case runs around a Python handler, around a start script's app, and around a JavaScript handler's host.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.events import function_url
from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.process import APPS, CHECKOUT, PYTHON

Start = Callable[..., BootstrapProcess]
MODES = ("handler", "app", "javascript")
HANDLER = """import os, sys
print("said at the start", file=sys.stderr)
def handler(event, context):
    return {"environment": dict(os.environ), "folder": os.getcwd(), "pid": os.getpid(), "argv": sys.argv}
"""
SERVER = f'#!/bin/sh\nexec {PYTHON} -S {APPS / "faults.py"} "$@"\n'


@pytest.fixture
def start(api: FakeRuntimeApi, tmp_path: Path) -> Start:
    """``start(mode, wrapper)``; further arguments are variables."""
    (tmp_path / "app.py").write_text(HANDLER)
    (tmp_path / "run.sh").write_text(SERVER)
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "index.js").write_text("exports.handler = async () => ({ environment: process.env });\n")

    def started(mode: str, wrapper: Path | str, **environment: str) -> BootstrapProcess:
        handler = {"handler": "app.handler", "app": "run.sh", "javascript": "index.handler"}[mode]
        if mode == "javascript" and not shutil.which("node"):
            pytest.skip("needs node on PATH")
        variables = {"LAMBDA_TASK_ROOT": str(tmp_path), "AWS_LAMBDA_EXEC_WRAPPER": str(wrapper), **environment}
        return start_bootstrap(api, handler=handler, environment=variables)

    return started


def script(folder: Path, text: str, name: str = "agent", mode: int = 0o755) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


def program_for_another_machine(folder: Path) -> Path:
    """The head of an ELF file."""
    other = 62 if platform.machine() == "aarch64" else 183
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + other.to_bytes(2, "little") + bytes(44)
    path = folder / "agent"
    path.write_bytes(head)
    path.chmod(0o755)
    return path


def program_without_its_loader(folder: Path) -> Path:
    """A program of musl's, as it is on a system of glibc's: its head, and the header that names the loader."""
    ours = {"x86_64": 62, "aarch64": 183}[platform.machine()]
    loader = b"/lib/ld-of-another-libc.so\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += b"".join(number.to_bytes(size, "little") for number, size in ((2, 2), (ours, 2), (1, 4), (0, 8), (64, 8)))
    head += b"".join(number.to_bytes(size, "little") for number, size in ((0, 8), (0, 4), (64, 2), (56, 2), (1, 2)))
    head = head.ljust(64, b"\0")
    fields = ((3, 4), (4, 4), (120, 8), (120, 8), (120, 8), (len(loader), 8), (len(loader), 8), (1, 8))
    path = folder / "agent"
    path.write_bytes(head + b"".join(number.to_bytes(size, "little") for number, size in fields) + loader)
    path.chmod(0o755)
    return path


class Fails(NamedTuple):
    """A wrapper that does not come to run the function, and what the init error says."""

    make: Callable[[Path], Path]
    said: tuple[str, ...]


RUNS = 'exec "$@"'
FAILURES = {
    "calls an interpreter that is not there": Fails(
        lambda folder: script(folder, '#!/bin/sh\nexec no-such-python3 /opt/agent "$@"\n'),
        ("exited with status 127", "no-such-python3: not found", RUNS),
    ),
    "fails with last words": Fails(
        lambda folder: script(folder, '#!/bin/sh\necho "AGENT_KEY is not set" >&2\nexit 3\n'),
        ("exited with status 3", "AGENT_KEY is not set", RUNS),
    ),
    "ends without running anything": Fails(
        lambda folder: script(folder, "#!/bin/sh\nexport AGENT=on\n"), ("exited with status 0", RUNS)
    ),
    "is killed": Fails(lambda folder: script(folder, "#!/bin/sh\nkill -KILL $$\n"), ("was killed by SIGKILL", RUNS)),
    "is missing": Fails(lambda folder: folder / "agent", ("agent: No such file or directory",)),
    "is a folder": Fails(lambda folder: folder, (" is a folder",)),
    "is not executable": Fails(
        lambda folder: script(folder, '#!/bin/sh\nexec "$@"\n', mode=0o644), ("is not executable (chmod +x it)",)
    ),
    "is run by what is not there": Fails(
        lambda folder: script(folder, '#!/opt/no/such/python3\n"$@"\n'),
        ("is run by /opt/no/such/python3, which is not there",),
    ),
    "was saved with CR LF": Fails(
        lambda folder: script(folder, '#!/bin/sh\r\nexec "$@"\r\n'), ("has lines that end with CR LF",)
    ),
    "is of another architecture": Fails(
        program_for_another_machine, ("is built for", f"this function runs on {platform.machine()}")
    ),
    "is of another C library": Fails(
        program_without_its_loader, ("needs /lib/ld-of-another-libc.so, which is not there",)
    ),
}
NAMES = {
    "handler": {"Runtime.WrapperFailed", "Runtime.InvalidConfig"},
    "app": {"Runtime.AppExited"},
    "javascript": {"Runtime.AppExited"},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", FAILURES.values(), ids=FAILURES)
def test_a_wrapper_that_does_not_run_the_function_is_an_init_error_with_its_last_words(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, mode: str, case: Fails
) -> None:
    wrapper = case.make(tmp_path)
    process = start(mode, wrapper)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] in NAMES[mode]
    for said in (*case.said, "AWS_LAMBDA_EXEC_WRAPPER", str(wrapper)):
        assert said in document["errorMessage"]
    assert process.wait() == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_wrapper_that_fails_is_named_when_python_starts_the_app(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, mode: str
) -> None:
    """Not `bootstrap`: what a killed predecessor has left is looked at first."""
    (tmp_path / ".fairlead-app").write_text("not a record\n")
    process = start(mode, program_for_another_machine(tmp_path), TMPDIR=str(tmp_path))
    assert "is built for" in json.loads(api.wait_init_error().body)["errorMessage"]
    assert process.wait() == 1


# How a wrapper has the function run, and whether it stays beside it.
WAYS = {
    "exec": ('#!/bin/sh\nexport AGENT="on$AGENT"\nexec "$@"\n', False),
    "without #!": ('export AGENT="on$AGENT"\nexec "$@"\n', False),
    "as its child": ('#!/bin/sh\nexport AGENT="on$AGENT"\n"$@"\nexit $?\n', True),
    "as its child, without inheriting anything": (
        f"#!{PYTHON} -IS\nimport os, subprocess, sys\n"
        "os.environ['AGENT'] = 'on' + os.environ.get('AGENT', '')\n"
        "sys.exit(subprocess.call(sys.argv[1:], close_fds=True))\n",
        True,
    ),
    "by os.system": (
        f"#!{PYTHON} -IS\nimport os, sys\nos.environ['AGENT'] = 'on' + os.environ.get('AGENT', '')\n"
        "os.system(' '.join(sys.argv[1:]))\n",
        True,
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_is_in_the_environment_that_its_wrapper_has_made(
    api: FakeRuntimeApi, start: Start, tmp_path: Path, way: str
) -> None:
    text, stays = WAYS[way]
    process = start("handler", script(tmp_path, text), KEPT="ä = b", GONE="1")
    seen = api.wait_answer(api.add_event({})).document
    assert (seen["environment"]["AGENT"], seen["environment"]["KEPT"]) == ("on", "ä = b")
    assert not [name for name in seen["environment"] if "FAIRLEAD" in name and name != "FAIRLEAD_PORT"]
    assert "AWS_LAMBDA_EXEC_WRAPPER" not in seen["environment"]
    assert seen["pid"] == process.pid  # the platform's signals reach it
    assert bool(process.app_pids) == stays
    assert process.stderr == "said at the start\n"
    process.terminate()
    process.wait()


def test_a_wrapper_may_change_all_that_a_command_is_started_with(
    api: FakeRuntimeApi, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    text = '#!/bin/sh\nunset GONE\ncd "$LAMBDA_TASK_ROOT/elsewhere"\nexport _HANDLER=other.handler\nexec "$@"\n'
    (tmp_path / "other.py").write_text(HANDLER)
    start("handler", script(tmp_path, text), GONE="1", LINES="one\ntwo\n", LONG="x" * 100_000)
    seen = api.wait_answer(api.add_event({})).document
    assert "GONE" not in seen["environment"]
    assert (seen["environment"]["LINES"], len(seen["environment"]["LONG"])) == ("one\ntwo\n", 100_000)
    assert seen["folder"] == str(tmp_path / "elsewhere")
    assert seen["argv"][1:] == ["other.handler"]


def test_a_wrapper_may_make_a_web_app_of_a_handler(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    start("handler", script(tmp_path, '#!/bin/sh\nexport _HANDLER=run.sh\nexec "$@"\n'))
    assert api.wait_answer(api.add_event(function_url("GET", "/text"))).document["statusCode"] == 200


@pytest.mark.parametrize("mode", MODES)
def test_two_wrappers_are_one_that_runs_the_other(api: FakeRuntimeApi, start: Start, tmp_path: Path, mode: str) -> None:
    inner = script(tmp_path, '#!/bin/sh\nexport INNER=on\nexec "$@"\n', "inner")
    outer = script(tmp_path, f'#!/bin/sh\nexport OUTER=on\nexec {inner} "$@"\n', "outer")
    start(mode, outer)
    answer = api.wait_answer(api.add_event(function_url("GET", "/environment")))
    seen: dict[str, Any] = answer.document
    environment = json.loads(seen["body"]) if mode == "app" else seen["environment"]
    assert (environment["INNER"], environment["OUTER"]) == ("on", "on")


def test_what_a_wrapper_leaves_running_may_go_on_writing(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    """An agent in the background whose stderr is the wrapper's."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    text = f'#!/bin/sh\n(read line <{fifo}; echo "the agent heard $line" >&2) </dev/null &\nexec "$@"\n'
    process = start("handler", script(tmp_path, text))
    api.wait_answer(api.add_event({}))
    fifo.write_text("this\n")
    process.wait_output("the agent heard this")


@pytest.mark.parametrize("value", ["", "1 2 3 4", "ours 1 2 3", "x", "1 0 1 1"])
def test_a_variable_of_another_wrapper_means_nothing(api: FakeRuntimeApi, start: Start, value: str) -> None:
    """An image can name any variable."""
    start("handler", "", __FAIRLEAD_WRAPPED=value.replace("ours", str(os.getpid())))
    assert "__FAIRLEAD_WRAPPED" not in api.wait_answer(api.add_event({})).document["environment"]


@pytest.mark.parametrize("environment", [{"PATH": "/usr/bin:/bin"}, {"PATH": ""}, {}], ids=["set", "empty", "not set"])
def test_outside_of_lambda_the_layers_interpreter_is_the_last_on_the_path(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """Where the layer is a part of an image. Who has no PATH gets none: it would hide the system's own."""
    layer = tmp_path / "opt"
    (layer / "fairlead/bin").mkdir(parents=True)
    shutil.copy(CHECKOUT / "bootstrap", layer)
    (layer / "fairlead/bin/python3").symlink_to(PYTHON)
    command = [layer / "bootstrap", "/usr/bin/env"]
    seen = subprocess.check_output(command, env=environment, text=True, timeout=60).splitlines()
    ours = f":{layer}/fairlead/bin"
    assert [line for line in seen if line.startswith("PATH=")] == [
        f"PATH={path}{ours}" for path in environment.values()
    ]
