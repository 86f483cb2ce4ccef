"""The Python that makes every byte of a layer that a program makes, whatever Python is installed on the machine.

Byte-code is the same on both architectures, and a zip is the same wherever the same compressor packs it. So Debian's
Python of this machine's architecture serves for both, run from where its packages were unpacked.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .failures import LayerError
from .limited import run
from .recipe import HERE, MOUNT, Architecture

# No byte-code of its own is read or left: which strings are shared in a .pyc depends on what the compiling process has
# loaded before, and on whether that came from source.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/nonexistent"}


class Toolchain:
    """``command`` starts a Python; ``libdeflate`` is that library, or None to compress with zlib."""

    def __init__(self, command: Sequence[str | Path], libdeflate: Path | None = None) -> None:
        self._command = command
        self._libdeflate = libdeflate

    def run(self, *arguments: str | Path) -> str:
        """Run it without ``site`` and with a bare environment; what it printed. Raises ``LayerError`` when it fails."""
        result = run(
            [*self._command, "-sSP", *arguments],
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if result.returncode:
            output = (result.stdout + result.stderr).strip()
            raise LayerError(f"{self._command[-1]} failed at {' '.join(map(str, arguments))}:\n{output}")
        return result.stdout

    def compile(self, tree: Path, *sources: Path, optimize: int = 0) -> None:
        """Put a ``.pyc`` beside each ``.py`` of ``sources``, which name their source as it is seen below ``/opt``.

        "Unchecked": a .pyc is never compared with its source, whose time is anything once it went through a zip.
        Without the columns that underline the place in a traceback's line: 0.8 MB less in the zip, 3 % faster imports.
        ``optimize`` 2 leaves out docstrings and asserts as well.
        """
        self.run(
            *("-X", "no_debug_ranges", "-m", "compileall", "-q", "-b", "--invalidation-mode", "unchecked-hash"),
            *("-o", str(optimize), "-s", str(tree), "-p", MOUNT, *map(str, sources)),
        )

    def bundle(self, tree: Path, package: str) -> None:
        """Put the modules of a start into one ``.pyc``, below ``package`` in ``tree``; bundle.py has the details."""
        self.run("-X", "no_debug_ranges", HERE / "bundle.py", tree / package, Path(MOUNT) / package)

    def pack(self, target: Path, tree: Path, epoch: int, *base: Path) -> None:
        """Pack ``tree``; archive.py has the details."""
        self.run(HERE / "archive.py", target, tree, str(epoch), str(self._libdeflate or ""), *base)


def of_debian(debian: Path, tools: Path, python: str, architecture: Architecture) -> Toolchain:
    """The Python in the Debian tree ``debian``, which packs with the libdeflate in the Debian tree ``tools``."""
    libraries = Path("usr/lib") / architecture.triplet
    return Toolchain(
        [
            debian / libraries / architecture.loader,
            "--library-path",
            debian / libraries,
            debian / "usr/bin" / python,
        ],
        tools / libraries / "libdeflate.so.0",
    )
