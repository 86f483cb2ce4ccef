"""awslambdaric, the client of Lambda's own Python runtime: what a Python handler is compared with.

It runs on the interpreter that ours runs on. It cannot be imported from ``.venv``, whose Python is another one, so it
is installed once more for that interpreter, into ``.cache``, in the version that requirements-dev.txt names.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from local.cache import CACHE, CHECKOUT, once

from .cases import HANDLED
from .contestants import Contestant
from .failures import BenchError, output_of
from .mount import Mounted
from .session import FUNCTION

PACKAGE = "awslambdaric"
LAYERS_PYTHON = "/opt/fairlead/bin/python3"
# What ``python -m awslambdaric`` does, less what -m itself takes.
_START = "import os, sys; from awslambdaric.__main__ import main; main([sys.argv[0], os.environ['_HANDLER']])"
_FACTS = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.version.split()[0])"


def awslambdaric(mounted: Mounted) -> Contestant | None:
    """On the layer's interpreter, or on the machine's where our side runs on that. None when pip cannot give it."""
    python = LAYERS_PYTHON if mounted.tree else _machines_python()
    series, version = output_of([python, "-ISc", _FACTS]).split()
    package_version = pinned_version((CHECKOUT / "requirements-dev.txt").read_text())

    def install(draft: Path) -> None:
        # --no-compile: pip would compile for its own Python.
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        options = ["--only-binary", ":all:", "--python-version", series, "--target", str(draft)]
        output_of([*pip, *options, f"{PACKAGE}=={package_version}"])
        output_of([python, "-m", "compileall", "-q", str(draft)])

    try:
        folder = once(CACHE / "awslambdaric" / f"{package_version}-python{series}", install)
    except BenchError as failure:
        print(failure, file=sys.stderr)
        return None
    return Contestant(
        "peer",
        f"{PACKAGE} {package_version} (the same interpreter, CPython {version})",
        (python, "-c", _START),
        False,
        {
            "PYTHONPATH": f"{HANDLED.environment['LAMBDA_TASK_ROOT']}:{folder}",
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task is read-only
        },
    )


def pinned_version(requirements: str) -> str:
    """The version in requirements-dev.txt. Raises ``BenchError`` when there is none."""
    found = re.search(rf"^{PACKAGE}==(\S+)$", requirements, re.MULTILINE)
    if not found:
        raise BenchError(f"requirements-dev.txt has no line {PACKAGE}==VERSION")
    return found[1]


def _machines_python() -> str:
    """The first Python on PATH that is no script, which `bootstrap` finds too."""
    for folder in FUNCTION["PATH"].split(":"):
        program = shutil.which("python3", path=folder)
        if program and Path(program).read_bytes()[:2] != b"#!":
            return program
    raise BenchError(f"there is no python3 on {FUNCTION['PATH']}: build the layer (make layer), or install one")
