"""Installs the packages of a Python app's ``requirements.txt``, for Lambda, without touching the app's folder."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from layer import kept, markers
from layer.limited import run

from ..cache import CACHE, CHECKOUT, once
from ..failures import LocalFailure
from ..machine import architecture, architecture_of
from ..sandbox import arm64
from ..sandbox.mounts import TASK_ROOT

REQUIREMENTS = "requirements.txt"
FOLDER = "python"  # where run.sh finds them: PYTHONPATH=/var/task/python
PYTHON = "fairlead/bin/python3"  # the layer's own, which apps may use
LOADER = "fairlead/lib/ld-linux-*"
WHEEL_PLATFORMS = {
    "x86_64": ("manylinux_2_28_x86_64", "manylinux2014_x86_64"),
    "arm64": ("manylinux_2_28_aarch64", "manylinux2014_aarch64"),
}
INCLUDED = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=|(?<=-[rc]))(\S+)")


class Interpreter(NamedTuple):
    """The Python that will import the packages.

    ``command`` starts it on this machine and is empty where the layer has none; ``markers`` are its values of pip's
    environment markers.
    """

    command: list[str]
    markers: dict[str, str]

    @property
    def version(self) -> str:
        """The minor version, such as ``3.13``."""
        return self.markers["python_version"]


def ensure(app: Path, layer: Path, architecture: str) -> Path | None:
    """A folder to be seen as ``/var/task/python``; None when the app names no packages or brings the folder itself.

    Installed once for a given content of ``requirements.txt``, the files that it includes, and the layer's Python.
    Raises ``LocalFailure``.
    """
    requirements = app / REQUIREMENTS
    if not requirements.is_file() or (app / FOLDER).exists():
        return None
    python = interpreter(layer, architecture)
    contents = (file.read_bytes() for file in _files(requirements))
    wanted = kept.digest([json.dumps(python.markers, sort_keys=True), *contents])
    destination = CACHE / "apps" / f"{app.name}-{wanted[:16]}-{architecture}-{python.version}"

    def make(draft: Path) -> None:
        print(f"installing {requirements}", file=sys.stderr, flush=True)
        _install(requirements, draft, architecture, python)
        _compile(draft, layer, python)

    return once(destination, make)


def interpreter(layer: Path, architecture: str) -> Interpreter:
    """The layer's Python, asked for its environment markers; what Fairlead's own has, where the layer has no Python."""
    command = _command(layer)
    if not command:
        return Interpreter([], markers.environment(architecture))
    result = run([*command, "-S", "-c", markers.PROGRAM], env=_environment(layer), capture_output=True)
    if result.returncode:
        raise LocalFailure(f"the layer's Python does not start: {result.stderr.strip()}")
    return Interpreter(command, json.loads(result.stdout))


def _command(layer: Path) -> list[str]:
    """A command line that starts the layer's Python from where the layer lies: no sandbox is needed for it."""
    home = layer.resolve() / "fairlead"
    if not (layer / PYTHON).exists():
        return []
    loader = next(iter(layer.resolve().glob(LOADER)), None)  # it is linked for /opt; one on the system's libc has none
    machine = architecture()
    emulation = [] if architecture_of(layer) == machine else arm64.prefix(machine)
    loading = [str(loader), "--library-path", str(home / "lib")] if loader else []
    return [*emulation, *loading, str(layer.resolve() / PYTHON)]


def _environment(layer: Path) -> dict[str, str]:
    return {"PYTHONHOME": str(layer.resolve() / "fairlead")}


def _files(requirements: Path) -> Iterator[Path]:
    """``requirements`` and every file that it includes, at whatever depth, each once."""
    waiting, seen = [requirements.resolve()], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        yield file
        lines = file.read_text(errors="replace").splitlines()
        waiting += [(file.parent / match[1]).resolve() for line in lines if (match := INCLUDED.match(line))]


def _install(requirements: Path, destination: Path, architecture: str, python: Interpreter) -> None:
    platforms = (word for platform in WHEEL_PLATFORMS[architecture] for word in ("--platform", platform))
    result = run(
        [
            *(sys.executable, "-m", "local.app.pip_for", json.dumps(python.markers)),
            *("install", "--quiet", "--disable-pip-version-check", "--no-compile"),
            *("--implementation", "cp", "--python-version", python.markers["python_full_version"]),
            *("--only-binary", ":all:", *platforms),
            *("--target", str(destination), "--requirement", str(requirements.resolve())),
        ],
        cwd=CHECKOUT,
        capture_output=True,
    )
    if result.returncode:
        raise LocalFailure(f"pip could not install {requirements}:\n{result.stderr.strip()}")


def _compile(destination: Path, layer: Path, python: Interpreter) -> None:
    """Byte-compiles with the layer's Python: on Lambda the folder is read-only, and every cold start would compile."""
    if not python.command or not any(destination.rglob("*.py")):
        return  # another layer, without a Python, or no packages: there is nothing to do, and nothing is wrong
    result = run(
        [
            *(*python.command, "-S", "-m", "compileall"),
            # unchecked-hash: a zip changes the times of files, and stale .pyc files are as slow as none
            *("-qq", "--invalidation-mode", "unchecked-hash"),
            # what a traceback says: the path on Lambda
            *("-s", str(destination), "-p", f"{TASK_ROOT}/{FOLDER}", str(destination)),
        ],
        env=_environment(layer),
        capture_output=True,
    )
    # A file that cannot be compiled (a template, a test of old syntax) makes the status 1 and is nobody's problem.
    if result.returncode not in (0, 1) or not any(destination.rglob("*.pyc")):
        reason = (result.stderr or result.stdout).strip() or f"it ended with status {result.returncode}"
        raise LocalFailure(f"the layer's Python could not compile the packages:\n{reason}")
