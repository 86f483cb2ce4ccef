"""A layer or a function as Lambda gets it, read from a zip or a directory: names, modes, and what is in some files."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from . import elf
from .elf import Elf
from .failures import LayerError

SHEBANG = b"#!"


class Entry(NamedTuple):
    """One file or directory. ``mode`` is stat's, and None in a zip that was made where there are no modes (Windows).

    ``script`` is the whole of a file at the top that begins with ``#!``, and ``elf`` what an ELF file asks for.
    """

    name: str
    mode: int | None
    size: int
    script: bytes = b""
    elf: Elf | None = None

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode) if self.mode is not None else self.name.endswith("/")

    @property
    def is_link(self) -> bool:
        return self.mode is not None and stat.S_ISLNK(self.mode)

    @property
    def is_executable(self) -> bool:
        return self.mode is not None and bool(self.mode & 0o001)


class Package(NamedTuple):
    """``role`` is what messages call it; ``zipped`` its size in bytes, None for a directory."""

    role: str
    path: Path
    zipped: int | None
    entries: dict[str, Entry]

    @property
    def unpacked(self) -> int:
        """What it takes on Lambda, in bytes."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def elves(self) -> Iterator[tuple[Entry, Elf]]:
        """Its ELF files."""
        return ((entry, entry.elf) for entry in self.entries.values() if entry.elf)


def load(role: str, path: Path) -> Package:
    """What ``path``, a zip or a directory, holds. Raises ``LayerError``."""
    if path.is_dir():
        return Package(role, path, None, {entry.name: entry for entry in _of_directory(path)})
    if not path.is_file():
        raise LayerError(f"{role}: there is no {path}: give a zip or a directory")
    try:
        with zipfile.ZipFile(path) as archive:
            return Package(role, path, path.stat().st_size, {entry.name: entry for entry in _of_zip(archive)})
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise LayerError(f"{role}: {path} is no zip that Lambda could unpack ({error}): make it anew") from error


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        # `filename` has another system's separators made good, and Lambda would not do that.
        entry = Entry(info.orig_filename, info.external_attr >> 16 or None, info.file_size)
        yield _with_content(entry, partial(archive.open, info))


def _of_directory(root: Path) -> Iterator[Entry]:
    for directory, directories, files in os.walk(root):
        for name in sorted((*directories, *files)):
            path = Path(directory) / name
            status = path.lstat()
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            entry = Entry(path.relative_to(root).as_posix(), status.st_mode, size)
            yield _with_content(entry, partial(io.FileIO, path))


def _with_content(entry: Entry, opened: Callable[[], IO[bytes]]) -> Entry:
    if entry.is_directory or entry.is_link:
        return entry
    with opened() as file:
        head = file.read(len(elf.MAGIC))
        if head == elf.MAGIC:
            return entry._replace(elf=elf.parse(io.BytesIO(head + file.read())))
        if head.startswith(SHEBANG) and "/" not in entry.name:
            return entry._replace(script=head + file.read())
    return entry
