"""A layer or a function as Lambda gets it, read from a zip or a directory: names, modes, and what is in some files."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from . import elf
from .elf import Elf
from .failures import LayerError

SHEBANG = b"#!"
# Whose content is read besides that of scripts: what says which packages an app needs, and what imports them.
LISTS = ("package.json", "pyproject.toml")
LISTS_SUFFIX = ".txt"
SOURCES = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx")
SOURCE_BYTES = 1 << 20  # a larger one is a bundle, which has what it needs
OF_OTHERS = ("node_modules", ".next", ".git")


class Entry(NamedTuple):
    """One file or directory. ``mode`` is stat's, and None in a zip that was made where there are no modes (Windows).

    ``text`` is the content of a script, of a list of packages or of JavaScript, and ``elf`` what an ELF file asks for.
    """

    name: str
    mode: int | None
    size: int
    text: bytes = b""
    elf: Elf | None = None

    @property
    def is_script(self) -> bool:
        """Whether it says what runs it."""
        return self.text.startswith(SHEBANG)

    @property
    def script(self) -> bytes:
        """The whole of a script at the top."""
        return self.text if self.is_script and "/" not in self.name else b""

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
        """Its size on Lambda, in bytes."""
        return sum(entry.size for entry in self.entries.values())

    @property
    def elves(self) -> Iterator[tuple[Entry, Elf]]:
        """Its ELF files."""
        return ((entry, entry.elf) for entry in self.entries.values() if entry.elf)


def load(role: str, path: Path, left_out: Collection[str] = ()) -> Package:
    """Reads ``path``, a zip or a directory. Names in ``left_out`` are skipped at the top of a directory.

    Raises ``LayerError``.
    """
    if path.is_dir():
        return Package(role, path, None, {entry.name: entry for entry in _of_directory(path, left_out)})
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


def _of_directory(root: Path, left_out: Collection[str]) -> Iterator[Entry]:
    for directory, directories, files in os.walk(root):
        if directory == str(root):
            directories[:] = [name for name in directories if name not in left_out]
        for name in sorted((*directories, *files)):
            path = Path(directory) / name
            status = path.lstat()
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            entry = Entry(path.relative_to(root).as_posix(), status.st_mode, size)
            yield _with_content(entry, partial(open_file, path))


def open_file(path: Path) -> IO[bytes]:
    """The file's content, to be read without a buffer: of most files four bytes are wanted."""
    return io.FileIO(path)


def _with_content(entry: Entry, opened: Callable[[], IO[bytes]]) -> Entry:
    kind = stat.S_IFMT(entry.mode or 0)  # none in a zip that was made where there are no modes
    if entry.is_directory or kind not in (0, stat.S_IFREG):
        return entry  # of a FIFO nothing would ever come
    try:
        return _read(entry, opened)
    except PermissionError:  # a rule says that of the file's mode, and the rest can still be looked at
        return entry


def _read(entry: Entry, opened: Callable[[], IO[bytes]]) -> Entry:
    with opened() as file:
        head = file.read(len(elf.MAGIC))
        if head == elf.MAGIC:
            return entry._replace(elf=elf.parse(io.BytesIO(head + file.read())))
        if head.startswith(SHEBANG) or _says_what_is_needed(entry):
            return entry._replace(text=head + file.read())
    return entry


def _says_what_is_needed(entry: Entry) -> bool:
    if "/" not in entry.name and (entry.name in LISTS or entry.name.endswith(LISTS_SUFFIX)):
        return True
    is_own = not any(part in OF_OTHERS for part in entry.name.split("/"))
    return is_own and entry.name.endswith(SOURCES) and entry.size <= SOURCE_BYTES
