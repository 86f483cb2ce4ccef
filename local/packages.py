"""The packages of a Python app: what its ``requirements.txt`` names, for Lambda, without touching the app's folder."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from layer.limited import run

from . import arm64
from .cache import CACHE, once
from .failures import LocalFailure
from .machine import architecture, architecture_of
from .mounts import TASK_ROOT

REQUIREMENTS = "requirements.txt"
FOLDER = "python"  # where run.sh finds them: PYTHONPATH=/var/task/python
PYTHON = "fairlead/bin/python3"  # the layer's own, which apps may use
LOADER = "fairlead/lib/ld-linux-*"
PYTHON_VERSION = "3.13"
WHEEL_PLATFORMS = {
    "x86_64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64"),
}


def ensure(app: Path, layer: Path, architecture: str) -> Path | None:
    """A folder to be seen as ``/var/task/python``; None when the app names no packages or brings the folder itself.

    Installed once for a given content of ``requirements.txt``.
    """
    requirements = app / REQUIREMENTS
    if not requirements.is_file() or (app / FOLDER).exists():
        return None
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    destination = CACHE / "apps" / f"{app.name}-{wanted}-{architecture}-{PYTHON_VERSION}"

    def make(draft: Path) -> None:
        print(f"installing {requirements}", file=sys.stderr, flush=True)
        _install(requirements, draft, architecture)
        _compile(draft, layer)

    return once(destination, make)


def _install(requirements: Path, destination: Path, architecture: str) -> None:
    platforms = (word for platform in WHEEL_PLATFORMS[architecture] for word in ("--platform", platform))
    result = run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--implementation", "cp", "--python-version", PYTHON_VERSION, "--only-binary", ":all:", *platforms),
            *("--target", str(destination), "--requirement", str(requirements)),
        ],
        capture_output=True,
    )
    if result.returncode:
        raise LocalFailure(f"pip could not install {requirements}:\n{result.stderr.strip()}")


def _compile(destination: Path, layer: Path) -> None:
    """Byte-compiles with the layer's Python: on Lambda the folder is read-only, and every cold start would compile."""
    home = layer.resolve() / "fairlead"
    # It is linked for /opt. By its own loader it runs from where it lies, so that no sandbox is needed for this.
    loader = next(iter(layer.resolve().glob(LOADER)), None)
    if loader is None:
        return  # another layer, without a Python: the packages work all the same
    machine = architecture()
    emulation = [] if architecture_of(layer) == machine else arm64.prefix(machine)
    python = (str(loader), "--library-path", str(home / "lib"), str(layer.resolve() / PYTHON))
    result = run(
        [
            *(*emulation, *python, "-S", "-m", "compileall"),
            # unchecked-hash: a zip changes the times of files, and stale .pyc files are as slow as none
            *("-qq", "--invalidation-mode", "unchecked-hash"),
            # what a traceback says: the path on Lambda
            *("-s", str(destination), "-p", f"{TASK_ROOT}/{FOLDER}", str(destination)),
        ],
        env={"PYTHONHOME": str(home)},
        capture_output=True,
    )
    # A file that cannot be compiled (a template, a test of old syntax) makes the status 1 and is nobody's problem.
    if result.returncode not in (0, 1) or not any(destination.rglob("*.pyc")):
        raise LocalFailure(f"the layer's Python could not compile the packages:\n{result.stderr.strip()}")
