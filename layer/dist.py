"""Another interpreter than Debian's: a directory or a tarball that holds bin/python3.X and lib/python3.X.

Made for what python-build-standalone calls "install_only": the dependencies are inside, and the C library is the
system's. So it gets no loader, and is not changed; it is checked that Amazon Linux 2023 can load it. No apt is needed.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from . import elf, interpreter, recipe
from .failures import LayerError
from .kept import digest, once, sha256
from .limited import run
from .recipe import ARCHITECTURES, HOME, LIBRARIES, Architecture
from .toolchain import Toolchain

OLDEST = 11  # Python 3.11: what Fairlead is written for
PLACEHOLDER = "{architecture}"

# Beyond trim.txt: what Debian has in packages of its own.
TRIMS = (
    "site-packages",
    "idlelib",
    "tkinter",
    "turtledemo",
    "lib2to3",
    "ensurepip",
    "config-3*",
    "lib-dynload/_tkinter*",
)
# Public from Python 3.14 on.
NOT_TRIMMED = {"lib-dynload/_interp*"}


class Dist:
    """The interpreter that ``name`` leads to; ``{architecture}`` in it becomes ``x86_64`` or ``arm64``."""

    def __init__(self, name: str, architecture: Architecture, parts: Path) -> None:
        path = Path(name.replace(PLACEHOLDER, architecture.name)).expanduser().resolve()
        self._architecture = architecture
        self._name = path.name
        self._root, self.identity = _opened(path, parts / architecture.name / "dist")
        self.python = _python(self._root, path)
        minor = int(self.python.removeprefix("python3."))
        if minor < OLDEST:
            raise LayerError(f"PYTHON_DIST is {self.python}, and Fairlead needs Python 3.{OLDEST} or newer")
        program = self._root / "bin" / self.python
        self._require_architecture(program)
        self.toolchain = self._toolchain(program)

    def assemble(self, tree: Path) -> dict[str, object]:
        python = tree / HOME / "bin/python3"
        python.parent.mkdir(parents=True)
        shutil.copyfile(self._root / "bin" / self.python, python)
        library = tree / LIBRARIES / self.python
        trims = [trim for trim in recipe.load().trims if trim not in NOT_TRIMMED]
        interpreter.copy_standard_library(self._root / "lib" / self.python, library, (*trims, *TRIMS))
        self._copy_libraries(tree)
        self.check(tree)
        interpreter.compile_in_place(self.toolchain, tree, library)
        self._require_magic(library)
        licences = self._copy_licences(tree)
        return {
            "python": self.python.removeprefix("python"),
            "dist": {"name": self._name, "sha256": self.identity[0], "licence": licences},
        }

    def check(self, tree: Path) -> None:
        elf.check_on_system(tree, self._architecture)

    def _require_architecture(self, program: Path) -> None:
        file = elf.read(program)
        if file is None or file.machine != self._architecture.machine:
            raise LayerError(
                f"PYTHON_DIST is for {file.machine if file else 'no processor (its bin/python3 is not an ELF file)'}, "
                f"and the layer for {self._architecture.machine}: name one for each, with {PLACEHOLDER} in its path"
            )

    def _toolchain(self, program: Path) -> Toolchain:
        if self._architecture == recipe.native():
            return Toolchain([program])
        # This machine cannot run it. Byte-code is the same on every processor, so another Python of its version serves.
        mine = f"python{sys.version_info.major}.{sys.version_info.minor}"
        if mine == self.python:
            return Toolchain([sys.executable])
        raise LayerError(
            f"byte-code for {self.python} is made by {self.python}; this machine cannot run the one in PYTHON_DIST, "
            f"and .venv has {mine}: build on {self._architecture.name}, or make .venv anew with PYTHON={self.python}"
        )

    def _copy_libraries(self, tree: Path) -> None:
        """From its lib/ what its files ask for: there may be Tcl and much else beside it."""
        destination = tree / LIBRARIES
        wanted = [name for _, file in elf.files(tree) for name in file.needed]
        while wanted:
            name = wanted.pop()
            source = self._root / "lib" / name
            if elf.OF_GLIBC.fullmatch(name) or (destination / name).exists() or not source.is_file():
                continue
            shutil.copyfile(source, destination / name)
            file = elf.read(source)
            wanted.extend(file.needed if file else ())

    def _require_magic(self, library: Path) -> None:
        """Byte-code that another version made is not imported, and there are no sources to fall back to."""
        made = next(library.glob("*.pyc")).read_bytes()[:4]
        own = _magic(self._root / "lib" / self.python)
        if own and own != made:
            raise LayerError(
                f"the byte-code made for PYTHON_DIST has the magic number {made.hex()}, and its own is {own.hex()}: "
                "use a final release of Python, or build on a machine that can run it"
            )

    def _copy_licences(self, tree: Path) -> str:
        place = f"{interpreter.LICENCES}/{self.python}"
        texts = list(_licences(self._root, self.python))
        if not texts:
            raise LayerError(f"PYTHON_DIST has no licence: put Python's LICENSE.txt into its lib/{self.python}")
        (tree / place).mkdir(parents=True)
        for text in texts:
            shutil.copyfile(text, tree / place / text.name)
        return place


def architectures(name: str) -> list[str]:
    """The names of the architectures that ``name`` serves: both, or that of the one interpreter."""
    if PLACEHOLDER in name:
        return list(ARCHITECTURES)
    machine = _machine(Path(name).expanduser().resolve())
    return [architecture.name for architecture in ARCHITECTURES.values() if architecture.machine == machine]


def _machine(path: Path) -> str:
    if path.is_dir():
        program = _home(path, path) / "bin" / _python(path, path)
        file = elf.read(program)
        return file.machine if file else ""
    match = re.search(r"x86_64|amd64|aarch64|arm64", path.name)
    machines = {"x86_64": "EM_X86_64", "amd64": "EM_X86_64", "aarch64": "EM_AARCH64", "arm64": "EM_AARCH64"}
    return machines[match[0]] if match else recipe.native().machine


def _opened(path: Path, unpacked: Path) -> tuple[Path, tuple[str, ...]]:
    if path.is_dir():
        root = _home(path, path)
        return root, (digest(_listing(root)),)
    if not path.is_file():
        raise LayerError(f"PYTHON_DIST names {path}, which is not there: give a directory or a tarball")
    checksum = sha256(path)
    once(unpacked, checksum, lambda draft: _unpack(path, draft))
    return _home(unpacked, path), (checksum,)


def _listing(root: Path) -> Iterator[str]:
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        yield f"{path.relative_to(root)} {status.st_size} {status.st_mtime_ns}"


def _unpack(tarball: Path, destination: Path) -> None:
    destination.mkdir(parents=True)
    result = run(["tar", "-xf", tarball, "-C", destination], capture_output=True)
    if result.returncode:
        raise LayerError(f"{tarball} cannot be unpacked by tar: {result.stderr.strip()}")


def _home(path: Path, named: Path) -> Path:
    """Where bin/ and lib/ are: in ``path``, or one or two directories below (``python``, ``python/install``)."""
    for root in (path, path / "python", path / "python/install", *sorted(path.glob("*/"))):
        if (root / "bin").is_dir() and any((root / "lib").glob("python3.*/os.py")):
            return root
    raise LayerError(f"PYTHON_DIST names {named}, which has no bin/python3.X with lib/python3.X beside bin")


def _python(root: Path, named: Path) -> str:
    names = [
        path.parent.name
        for path in sorted(_home(root, named).glob("lib/python3.*/os.py"))
        if re.fullmatch(r"python3\.\d+", path.parent.name)
    ]
    for name in names:
        if (_home(root, named) / "bin" / name).exists():
            return name
    raise LayerError(f"PYTHON_DIST names {named}, which has no bin/python3.X with lib/python3.X beside bin")


def _magic(library: Path) -> bytes:
    """The first four bytes of the byte-code that came along; nothing where none did."""
    return next((path.read_bytes()[:4] for path in sorted(library.rglob("*.pyc"))), b"")


def _licences(root: Path, python: str) -> Iterator[Path]:
    for directory in (root, root / "licenses", root / "lib" / python):
        names = sorted(directory.iterdir()) if directory.is_dir() else []
        everything = directory.name == "licenses"
        yield from (path for path in names if path.is_file() and (everything or fnmatch(path.name, "LICEN[SC]E*")))
