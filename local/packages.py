"""The packages of a Python app: what its ``requirements.txt`` names, for Lambda, without touching the app's folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from . import bubblewrap, rootfs
from .cache import CACHE, once
from .failures import LocalFailure

REQUIREMENTS = "requirements.txt"
FOLDER = "python"  # where run.sh finds them: PYTHONPATH=/var/task/python
PYTHON = "/opt/fairlead/bin/python3"  # the layer's own, which apps may use
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
        _compile(draft, layer, architecture)

    return once(destination, make)


def _install(requirements: Path, destination: Path, architecture: str) -> None:
    platforms = (word for platform in WHEEL_PLATFORMS[architecture] for word in ("--platform", platform))
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--implementation", "cp", "--python-version", PYTHON_VERSION, "--only-binary", ":all:", *platforms),
            *("--target", str(destination), "--requirement", str(requirements)),
        ],
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise LocalFailure(f"pip could not install {requirements}:\n{result.stderr.strip()}")


def _compile(destination: Path, layer: Path, architecture: str) -> None:
    """Byte-compiles with the layer's Python: on Lambda the folder is read-only, and every cold start would compile."""
    command = [
        *bubblewrap.command(architecture),
        *("--unshare-user", "--unshare-pid", "--unshare-net", "--die-with-parent"),
        *("--ro-bind", str(rootfs.ensure(architecture)), "/", "--ro-bind", str(layer.resolve()), "/opt"),
        *("--tmpfs", bubblewrap.TASK_ROOT, "--bind", str(destination), f"{bubblewrap.TASK_ROOT}/{FOLDER}"),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv", "--"),
        # unchecked-hash: a zip changes the times of files, and stale .pyc files are as slow as none
        *(PYTHON, "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"),
        f"{bubblewrap.TASK_ROOT}/{FOLDER}",
    ]
    # A file that cannot be compiled (a template, a test of old syntax) makes the status 1 and is nobody's problem.
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in (0, 1) or not any(destination.rglob("*.pyc")):
        raise LocalFailure(f"the layer's Python could not compile the packages:\n{result.stderr.strip()}")
