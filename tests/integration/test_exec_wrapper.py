"""As the exec wrapper of a managed runtime, out of the real layer: what spoils an interpreter reaches the app alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conformance.test_app_faults import function_url

from .conftest import StartFunction

pytestmark = pytest.mark.integration

APPS = Path(__file__).parents[1] / "apps"
# As the Python runtime of Lambda and the agents of tracing vendors set them, and some that nobody should.
FOREIGN = {
    "PYTHONHOME": "/var/lang",
    "PYTHONPATH": "/var/task/python:/var/runtime",
    "PYTHONSTARTUP": "/var/task/startup.py",
    "NODE_OPTIONS": "--require /var/task/agent.js",
    "LD_PRELOAD": "/var/task/preload.so",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
}
START = """#!/bin/sh
for name in {names}; do eval "export SEEN_$name=\\"\\$$name\\""; done
unset PYTHONHOME PYTHONPATH LD_PRELOAD
exec /opt/fairlead/bin/python3 -S /var/task/faults.py
"""


def test_the_start_script_gets_what_the_layers_interpreter_must_not(
    start_function: StartFunction, tmp_path: Path
) -> None:
    for name in ("faults.py", "serving.py"):
        (tmp_path / name).write_bytes((APPS / name).read_bytes())
    spoiled = tmp_path / "python"
    spoiled.mkdir()
    for name in ("sitecustomize", "time", "json", "encodings", "fairlead", "runtime"):
        (spoiled / f"{name}.py").write_text("raise SystemExit('a module of the function was imported')\n")
    (tmp_path / "run.sh").write_text(START.format(names=" ".join(FOREIGN)))
    (tmp_path / "run.sh").chmod(0o755)
    function = start_function(tmp_path, _HANDLER="run.sh", AWS_LAMBDA_EXEC_WRAPPER="/opt/bootstrap", **FOREIGN)
    for _ in range(2):  # as it was started at first, and as it was started again
        environment = json.loads(json.loads(function.invoke(function_url("/environment")).body)["body"])
        assert {name: environment.get(f"SEEN_{name}") for name in FOREIGN} == FOREIGN
        assert "AWS_LAMBDA_EXEC_WRAPPER" not in environment
        assert json.loads(function.invoke(function_url("/die")).body)["statusCode"] == 502
    assert "a module of the function was imported" not in "\n".join(function.output)


# OpenTelemetry's: a shell script that has its own program run by whatever python3 is.
OF_AN_AGENT = """#!/bin/bash
export AGENT=on
exec python3 /var/task/agent.py "$@"
"""
AGENT = """#!/usr/bin/env python
import os, shutil, sys
os.environ["AGENTS_PYTHON"] = sys.executable
os.execl(shutil.which(sys.argv[1]), *sys.argv[1:])
"""
SEES = """
import os, subprocess
def handler(event, context):
    called = [subprocess.check_output([name, "-c", "import sys; print(sys.executable)"], text=True).strip()
              for name in ("python3", "python")]
    return [os.environ["AGENT"], os.environ["AGENTS_PYTHON"], called, os.environ["PATH"].split(":")[-1]]
"""
OURS = "/opt/fairlead/bin/python3"


@pytest.mark.parametrize("wrapper", ["agent.sh", "agent.py"])
def test_a_wrapper_that_calls_python_finds_the_layers(
    start_function: StartFunction, tmp_path: Path, wrapper: str
) -> None:
    """provided.al2023 has none. The second one is itself a script for ``python``."""
    files = {"agent.sh": OF_AN_AGENT, "agent.py": AGENT, "app.py": SEES}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    function = start_function(
        tmp_path, _HANDLER="app.handler", AWS_LAMBDA_EXEC_WRAPPER=f"/var/task/{wrapper}", AGENT="on"
    )
    assert json.loads(function.invoke(b"{}").body) == ["on", OURS, [OURS, OURS], "/opt/fairlead/bin"]


def test_a_start_script_that_calls_python_finds_the_layers(start_function: StartFunction, tmp_path: Path) -> None:
    """And its own first, where it brings one. As it is started at first, and as it is started again."""
    for name in ("faults.py", "serving.py"):
        (tmp_path / name).write_bytes((APPS / name).read_bytes())
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text('#!/bin/sh\nSEEN_OWN=yes exec python3 "$@"\n')
    (tmp_path / "run.sh").write_text("#!/bin/sh\nPATH=/var/task/bin:$PATH\nexec python -S /var/task/faults.py\n")
    for name in ("bin/python", "run.sh"):
        (tmp_path / name).chmod(0o755)
    function = start_function(tmp_path, _HANDLER="run.sh")
    for _ in range(2):
        environment = json.loads(json.loads(function.invoke(function_url("/environment")).body)["body"])
        assert environment["SEEN_OWN"] == "yes"
        assert environment["PATH"].endswith(":/opt/fairlead/bin")
        assert environment["PATH"].count("/opt/fairlead/bin") == 1
        assert json.loads(function.invoke(function_url("/die")).body)["statusCode"] == 502
