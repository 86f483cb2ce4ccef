"""Ctrl-C before an app runs: no traceback, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local.cache import CHECKOUT

from .ends import all_gone

pytestmark = pytest.mark.integration

PATIENCE_S = 60
# A module that is imported on the way, in whose place Ctrl-C is pressed.
INTERRUPTING = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
# A program that is called on the way: the whole group hears Ctrl-C, as in a terminal.
INTERRUPTED = "#!/bin/sh\necho $$ >>{pids}\nkill -INT 0\nexec sleep 600\n"
PROGRAMS = {"run": ("local.run", "--port", "0"), "smoke": ("local.smoke",)}


def said(command: tuple[str, ...], **variables: str) -> tuple[int, str]:
    program = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=CHECKOUT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        start_new_session=True,
    )
    return program.returncode, program.stdout


@pytest.mark.parametrize("module", ["argparse", "h11", "urllib3", "ctypes"])
@pytest.mark.parametrize("command", PROGRAMS.values(), ids=PROGRAMS)
def test_ctrl_c_while_the_program_is_loaded(tmp_path: Path, command: tuple[str, ...], module: str) -> None:
    (tmp_path / f"{module}.py").write_text(INTERRUPTING)
    assert said(command, PYTHONPATH=str(tmp_path)) == (-signal.SIGINT, "")


@pytest.mark.parametrize(("command", "status"), [(PROGRAMS["run"], 0), (PROGRAMS["smoke"], 130)], ids=PROGRAMS)
def test_ctrl_c_while_the_sandbox_is_made(
    tmp_path: Path, layer_tree: Path, root: Path, emulator: Path, command: tuple[str, ...], status: int
) -> None:
    pids = tmp_path / "pids"
    (tmp_path / "bwrap").write_text(INTERRUPTED.format(pids=pids))
    (tmp_path / "bwrap").chmod(0o755)
    assert said(command, PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}", LOCAL_SANDBOX="bubblewrap") == (status, "")
    assert all_gone(map(int, pids.read_text().split()))
