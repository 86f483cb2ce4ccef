"""The parts of a layer, read from ``recipe.toml`` and ``trim.txt``; and where things are inside it."""

from __future__ import annotations

import platform
import tomllib
from pathlib import Path
from typing import NamedTuple

from .failures import LayerError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent

MOUNT = "/opt"  # where Lambda unpacks layers
HOME = "fairlead"  # everything but `bootstrap` is below this name, so that other layers' files are never met
LIBRARIES = f"{HOME}/lib"
SOURCES = f"{HOME}/share/source"  # the runtime package as it was written, for readers and for tracebacks


class Architecture(NamedTuple):
    """A processor by its many names: ``name`` is Lambda's, ``machine`` what an ELF header calls it."""

    name: str
    debian: str
    triplet: str
    loader: str
    machine: str


ARCHITECTURES = {
    "x86_64": Architecture("x86_64", "amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2", "EM_X86_64"),
    "arm64": Architecture("arm64", "arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1", "EM_AARCH64"),
}
_UNAME = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class Recipe(NamedTuple):
    """``packages`` give files, ``texts`` only licences, ``tools`` are used to build and are not in the layer.

    ``libraries`` are taken though nothing asks for them; ``with_unwind_tables`` are names of libraries, and
    ``encodings_as_files`` shell patterns for names of modules.
    """

    suite: str
    python: str
    packages: tuple[str, ...]
    texts: tuple[str, ...]
    libraries: tuple[str, ...]
    with_unwind_tables: tuple[str, ...]
    encodings_as_files: tuple[str, ...]
    tools: tuple[str, ...]
    trims: tuple[str, ...]


def load() -> Recipe:
    """The recipe that is beside this file."""
    values = tomllib.loads((HERE / "recipe.toml").read_text())
    return Recipe(
        suite=values["suite"],
        python=values["python"],
        packages=tuple(values["packages"]),
        texts=tuple(values["texts"]),
        libraries=tuple(values["libraries"]),
        with_unwind_tables=tuple(values["with_unwind_tables"]),
        encodings_as_files=tuple(values["encodings_as_files"]),
        tools=tuple(values["tools"]),
        trims=tuple(lines(HERE / "trim.txt")),
    )


def lines(path: Path) -> list[str]:
    """The lines of ``path`` that say something: no comments, no empty ones."""
    stripped = (line.strip() for line in path.read_text().splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def native() -> Architecture:
    """This machine's: its interpreter makes the byte-code and the zip of every architecture."""
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in _UNAME:
        raise LayerError(
            f"a layer is built by running Debian's Python, which needs Linux on x86_64 or arm64; this is "
            f"{platform.system()} on {machine}: use a Linux virtual machine or container"
        )
    return ARCHITECTURES[_UNAME[machine]]
