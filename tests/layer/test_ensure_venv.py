"""layer/ensure-venv.sh in a folder of its own: what it says when it cannot go on, and when it does nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from layer.recipe import REPOSITORY
from tests.fakes.children import child
from tests.integration.ends import eventually, is_gone


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "layer").mkdir()
    shutil.copy(REPOSITORY / "layer/ensure-venv.sh", tmp_path / "layer")
    (tmp_path / "requirements-dev.txt").write_text("")
    return tmp_path


def ensure(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(
        [folder / "layer/ensure-venv.sh"], env=environment, capture_output=True, text=True, timeout=600
    )


def interpreter(folder: Path, *, says: str) -> str:
    """A program that answers as the script's questions find it."""
    path = folder / "python"
    path.write_text(f"#!/bin/bash\ncase $* in {says} esac\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("says", "message"),
    [
        pytest.param(
            '--version) echo "Python 3.9.2" ;; *version_info*) exit 1 ;;',
            "is Python 3.9.2, and 3.11 or newer is needed: install one, or set PYTHON to one",
            id="too-old",
        ),
        pytest.param(
            "*ensurepip*) exit 1 ;;",
            "cannot make virtual environments: on Debian and Ubuntu install python3-venv, or set PYTHON to another",
            id="no-venv",
        ),
        pytest.param("*venv*.venv*) exit 1 ;;", "-m venv .venv failed (its reason is above)", id="venv-fails"),
    ],
)
def test_an_unfit_python_is_named_with_the_way_out(folder: Path, says: str, message: str) -> None:
    python = interpreter(folder, says=says)
    result = ensure(folder, python)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"ensure-venv.sh: {python} ")
    assert message in last


def test_a_missing_python_is_named_with_the_way_out(folder: Path) -> None:
    result = ensure(folder, "python9")
    assert result.returncode == 1
    assert result.stderr == "ensure-venv.sh: no python9 found: install Python 3.11 or newer, or set PYTHON to one\n"


def test_nothing_is_done_while_the_requirements_are_the_same(folder: Path) -> None:
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").write_text("#!/bin/bash\necho pip was run >&2; exit 1\n")
    (folder / ".venv/bin/python").chmod(0o755)
    digest = subprocess.check_output(["sha256sum", "requirements-dev.txt"], cwd=folder, text=True, timeout=600)
    (folder / ".venv/made-from").write_text(digest)
    assert ensure(folder, "python9").returncode == 0
    (folder / "requirements-dev.txt").write_text("something-new==1\n")
    result = ensure(folder, "python9")
    assert result.returncode == 1
    assert "pip could not install requirements-dev.txt (its reason is above)" in result.stderr


def test_a_first_run_that_was_interrupted_is_begun_anew(folder: Path) -> None:
    """It has left a Python without pip; only a run that came to its end has left the stamp."""
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/python").write_text("#!/bin/bash\nexit 1\n")
    (folder / ".venv/bin/python").chmod(0o755)
    python = interpreter(folder, says="*venv*.venv*) echo $*; exit 1 ;;")
    assert "-m venv --clear .venv" in ensure(folder, python).stdout


INTERRUPTED = """\
*venv*.venv*) exec python3 -c '
import os, time
open("started", "w").write(str(os.getpid()))
time.sleep(600)
' ;;"""


def test_ctrl_c_ends_what_makes_it_without_a_traceback(folder: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHON": interpreter(folder, says=INTERRUPTED)}
    started = folder / "started"
    with child(
        [folder / "layer/ensure-venv.sh"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as script:
        try:
            assert eventually(lambda: started.exists() and started.read_text() != "")
            os.killpg(script.pid, signal.SIGINT)
            assert script.communicate(timeout=30)[0] == "making .venv: the tools that requirements-dev.txt names\n"
            assert script.returncode == 130
            assert eventually(lambda: is_gone(int(started.read_text())))
        finally:
            script.kill()
