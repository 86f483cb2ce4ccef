"""The built layer on ``/opt``, for this process and its children alone.

The whole harness moves into a mount namespace of its own, instead of each process that is measured: entering one takes
longer than what is measured, and both sides are to see the same machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from layer import build
from layer.failures import LayerError
from local import machine
from local.failures import LocalFailure
from local.sandbox import bubblewrap

OPT = Path("/opt")
# Set for the second life of the harness: the tree, since a build in between may have made another.
VARIABLE = "BENCH_LAYER"


class Mounted(NamedTuple):
    """``tree`` is what ``/opt`` is now, or None, and then ``why_not`` says why."""

    tree: Path | None
    why_not: str = ""


def enter(module: str, arguments: Sequence[str]) -> Mounted:
    """Run ``python -m module`` again where the layer is on ``/opt``; returns there, or here where that cannot be."""
    given = os.environ.pop(VARIABLE, "")
    if given and os.path.samefile(OPT / "bootstrap", Path(given) / "bootstrap"):
        return Mounted(Path(given))
    try:
        tree = build.ensure(machine.architecture()).resolve()
        prefix = _namespace(tree)
    except (LayerError, LocalFailure) as failure:
        return Mounted(None, str(failure))
    if prefix:
        command = [*prefix, sys.executable, "-m", module, *arguments]
        sys.stdout.flush()
        os.execvpe(command[0], command, {**os.environ, VARIABLE: str(tree)})
    return Mounted(None, "nothing can be mounted here, neither by unshare nor by bubblewrap")


def _namespace(tree: Path) -> list[str]:
    """The first way that works: root's, any user's, bubblewrap."""
    for options in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        prefix = ["unshare", *options, "sh", "-c", 'mount --bind "$0" /opt && exec "$@"', str(tree)]
        if shutil.which("unshare") and _works(prefix):
            return prefix
    prefix = [*bubblewrap.command(machine.architecture()), "--dev-bind", "/", "/", "--ro-bind", str(tree), "/opt", "--"]
    return prefix if _works(prefix) else []


def _works(prefix: Sequence[str]) -> bool:
    """Both interpreters have to start there: this one may be installed below the machine's own ``/opt``."""
    for program in (sys.executable, str(OPT / "fairlead/bin/python3")):
        command = [*prefix, program, "-ISc", "pass"]
        if subprocess.run(command, capture_output=True, check=False, timeout=60).returncode:
            return False
    return True
