"""The C programs of this directory, compiled by the machine's own compiler when they have changed.

``python -m bench.build`` prints where they are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .failures import BenchError

HERE = Path(__file__).parent
BUILT = HERE.parent / ".cache" / "bench"
PROGRAMS = ("mock_api", "fast_app")
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")


class BuildError(BenchError):
    """A program cannot be had. The text says why, and what to do."""


def build(program: str) -> Path:
    """The executable of ``program``, compiled if its source is not that of the last time. Raises ``BuildError``."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not compiler:
        raise BuildError("no C compiler was found: install gcc or clang, or set CC")
    source = HERE / f"{program}.c"
    content = b"\0".join(
        [source.read_bytes(), (HERE / "http.h").read_bytes(), compiler.encode(), *map(str.encode, FLAGS)]
    )
    executable = BUILT / f"{program}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not executable.exists():
        _compile(compiler, source, executable)
    return executable


def _compile(compiler: str, source: Path, executable: Path) -> None:
    BUILT.mkdir(parents=True, exist_ok=True)
    draft = executable.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [compiler, *FLAGS, str(source), "-o", str(draft)], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise BuildError(f"{source.name} cannot be compiled with {compiler}:\n{done.stderr}")
    draft.rename(executable)  # two at once make the same
    for other in BUILT.glob(f"{source.stem}-*"):
        if other.name != executable.name and not other.suffix:
            other.unlink(missing_ok=True)


def main() -> None:
    """Build all."""
    try:
        for program in PROGRAMS:
            print(build(program))
    except BuildError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
