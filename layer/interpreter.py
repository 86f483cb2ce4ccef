"""The part of the layer that is Debian's: interpreter, libraries, standard library and licences, laid out for /opt."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from . import charsets, elf
from .debian import Package, unpack
from .failures import LayerError
from .recipe import HOME, LIBRARIES, Architecture, Recipe
from .toolchain import Toolchain

LICENCES = f"{HOME}/share/licenses"
COMMON_LICENCES = "common-licenses"


def unpack_all(packages: Sequence[Package], root: Path) -> None:
    """A Debian tree of ``packages`` below ``root``, with /lib in /usr/lib as on every present Debian."""
    for directory in ("lib", "lib64"):
        (root / "usr" / directory).mkdir(parents=True)
        (root / directory).symlink_to(f"usr/{directory}")
    for package in packages:
        unpack(package, root)


def assemble(debian: Path, tree: Path, recipe: Recipe, architecture: Architecture, toolchain: Toolchain) -> None:
    """Make ``tree`` out of the Debian tree ``debian``; ``toolchain`` may be of another architecture."""
    python = tree / HOME / "bin/python3"
    python.parent.mkdir(parents=True)
    shutil.copyfile(debian / "usr/bin" / recipe.python, python)
    elf.bind_to_layer(python, architecture)
    library = tree / LIBRARIES / recipe.python
    unused = copy_standard_library(debian / "usr/lib" / recipe.python, library, recipe.trims)
    if unused:
        raise LayerError(f"layer/trim.txt names what is not there: {', '.join(sorted(unused))}; remove those lines")
    _copy_libraries(debian / "usr/lib" / architecture.triplet, tree, (architecture.loader, *recipe.libraries))
    charsets.announce(library / "encodings")
    compile_in_place(toolchain, tree, library)
    charsets.gather(library / "encodings", recipe.encodings_as_files)
    elf.check(tree, architecture)
    _empty(tree, recipe, architecture)


def _empty(tree: Path, recipe: Recipe, architecture: Architecture) -> None:
    """Fill with zeros what no program reads."""
    for path, _ in elf.files(tree):
        if path.name not in {architecture.loader, *recipe.with_unwind_tables}:
            elf.drop_unwind_tables(path)
        if path.name != architecture.loader:  # nobody relocates that one before it runs
            elf.drop_relocated_values(path)


def compile_in_place(toolchain: Toolchain, tree: Path, *sources: Path) -> None:
    """Byte-code instead of the sources: it is what gets imported, and a .py beside it would only be looked at first."""
    toolchain.compile(tree, *sources)
    for source in sources:
        for path in source.rglob("*.py") if source.is_dir() else (source,):
            path.unlink()


def copy_standard_library(source: Path, destination: Path, trims: Sequence[str]) -> set[str]:
    """Copy what none of ``trims`` (shell patterns for paths below ``source``) matches; which matched nothing."""
    used: set[str] = set()

    def trimmed(directory: str, names: list[str]) -> list[str]:
        below = Path(directory).relative_to(source)
        matches = {(name, trim) for name in names for trim in trims if fnmatch(str(below / name), trim)}
        used.update(trim for _, trim in matches)
        return ["__pycache__", *(name for name, _ in matches)]

    shutil.copytree(source, destination, ignore=trimmed)  # symbolic links become what they point to
    return set(trims) - used


def _copy_libraries(source: Path, tree: Path, names: Sequence[str]) -> None:
    """Copy ``names`` and everything that they and what is in ``tree`` already need."""
    destination = tree / LIBRARIES
    wanted = [*names, *(name for _, file in elf.files(tree) for name in file.needed)]
    while wanted:
        name = wanted.pop()
        copy = destination / name
        if copy.exists() or not (source / name).exists():
            continue  # elf.check names what is missing, and who needs it
        shutil.copyfile(source / name, copy)
        file = elf.read(copy)
        wanted.extend(file.needed if file else ())


def copy_licences(debian: Path, tree: Path, packages: Sequence[Package], place: str = LICENCES) -> dict[str, str]:
    """The copyright file of each package by its name (as paths below ``/opt``), with the licences they refer to.

    They are copied from the Debian tree ``debian`` to ``tree / place``.
    """
    directory = tree / place
    directory.mkdir(parents=True, exist_ok=True)
    places: dict[str, str] = {}
    texts: dict[bytes, str] = {}  # packages of one source have the same text
    for package in packages:
        path = debian / "usr/share/doc" / package.name / "copyright"
        if not path.exists():
            raise LayerError(f"{package.name} has no copyright file: name the package that has it in layer/recipe.toml")
        text = path.read_bytes()
        path_below = texts.setdefault(text, f"{place}/{package.name}")
        places[package.name] = path_below
        (tree / path_below).write_bytes(text)
    for name in sorted({name for text in texts for name in _common_licences(text.decode())}):
        _copy_common_licence(debian / "usr/share/common-licenses" / name, directory / COMMON_LICENCES)
    return places


def _copy_common_licence(source: Path, directory: Path) -> None:
    """``GPL`` is a link to its newest version. Whether Lambda keeps links is not known, so a sentence leads there."""
    directory.mkdir(exist_ok=True)
    text = source.resolve()
    shutil.copyfile(text, directory / text.name)
    if text.name != source.name:
        sentence = f"The newest version is meant, which is in {text.name}, beside this file.\n"
        (directory / source.name).write_text(sentence)


def _common_licences(text: str) -> Iterator[str]:
    # A full stop after the path belongs to the sentence.
    return (match[1] for match in re.finditer(r"/usr/share/common-licenses/([A-Za-z]+(?:-[0-9]+(?:\.[0-9]+)*)?)", text))
