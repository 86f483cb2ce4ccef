"""A directory as a zip whose bytes depend on names, contents and modes only.

Run as a program by toolchain.py: ``archive.py TARGET TREE EPOCH LIBDEFLATE [BASE]``. It must not import the rest of
this package, and nothing but the standard library.

The zip is written here and not by `zipfile`, which can neither be given another compressor nor take over what another
zip holds already compressed. The format: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import os
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

Deflate = Callable[[bytes], bytes]

LOCAL_HEADER = struct.Struct("<4s5H3L2H")
CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
VERSION = 20  # 2.0: the first with deflate
UNIX = 3 << 8  # the system whose modes the entries carry
UTF8_NAME = 0x800
DEFLATED, STORED = 8, 0
LIBDEFLATE_BEST = 12


class Entry(NamedTuple):
    """One file as a zip holds it; ``mode`` is stat's."""

    name: str
    mode: int
    crc: int
    size: int
    method: int
    data: bytes


def write(target: Path, tree: Path, epoch: int, deflate: Deflate, base: Path | None = None) -> None:
    """Pack ``tree`` into ``target``; what the zip ``base`` holds already is taken over as it is, compressed.

    Entries are in order of name. ``epoch`` is the time of each, in Unix seconds (from 1980).
    """
    known = {(entry.name, entry.crc, entry.size): entry for entry in _entries(base)} if base else {}
    paths = {path.relative_to(tree).as_posix(): path for path in tree.rglob("*") if not path.is_dir()}
    with ThreadPoolExecutor() as threads:  # the compressors let go of the interpreter's lock
        entries = threads.map(lambda name: _packed(name, paths[name], deflate, known), sorted(paths))
        draft = target.with_name(f".{target.name}.draft")
        draft.write_bytes(b"".join(_zip(list(entries), time.gmtime(epoch)[:6])))
    os.replace(draft, target)


def _packed(name: str, path: Path, deflate: Deflate, known: Mapping[tuple[str, int, int], Entry]) -> Entry:
    content, mode = path.read_bytes(), path.stat().st_mode
    crc = zlib.crc32(content)
    same = known.get((name, crc, len(content)))
    if same:
        return same._replace(mode=mode)
    packed = deflate(content)
    if len(packed) < len(content):
        return Entry(name, mode, crc, len(content), DEFLATED, packed)
    return Entry(name, mode, crc, len(content), STORED, content)


def _entries(path: Path) -> Iterator[Entry]:
    """The entries of the zip ``path``, which this module has written."""
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            start = info.header_offset + LOCAL_HEADER.size + len(info.filename.encode())
            data = whole[start : start + info.compress_size]
            yield Entry(info.filename, info.external_attr >> 16, info.CRC, info.file_size, info.compress_type, data)


def _zip(entries: list[Entry], when: tuple[int, ...]) -> Iterator[bytes]:
    year, month, day, hour, minute, second = when
    moment = (hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day)
    directory, offset = [], 0
    for entry in entries:
        name = entry.name.encode()
        flags = 0 if name.isascii() else UTF8_NAME
        sizes = (entry.crc, len(entry.data), entry.size)
        local = LOCAL_HEADER.pack(b"PK\3\4", VERSION, flags, entry.method, *moment, *sizes, len(name), 0)
        made = (UNIX | VERSION, VERSION, flags, entry.method, *moment, *sizes, len(name), 0, 0, 0, 0)
        directory.append(CENTRAL_HEADER.pack(b"PK\1\2", *made, entry.mode << 16, offset) + name)
        offset += len(local) + len(name) + len(entry.data)
        yield local + name + entry.data
    listing = b"".join(directory)
    yield listing
    yield END.pack(b"PK\5\6", 0, 0, len(entries), len(entries), len(listing), offset, 0)


def zlib_deflate(content: bytes) -> bytes:
    """The raw deflate stream that zlib makes of ``content`` at its best."""
    return zlib.compress(content, 9, -15)


def libdeflate(library: str) -> Deflate:
    """A compressor of the shared library ``library``: 3.5 % smaller than zlib's best, in the same format."""
    from ctypes import CDLL, c_char_p, c_int, c_size_t, c_void_p, create_string_buffer

    functions = CDLL(library)
    functions.libdeflate_alloc_compressor.restype = c_void_p
    functions.libdeflate_alloc_compressor.argtypes = [c_int]
    functions.libdeflate_free_compressor.argtypes = [c_void_p]
    functions.libdeflate_deflate_compress.restype = c_size_t
    functions.libdeflate_deflate_compress.argtypes = [c_void_p, c_char_p, c_size_t, c_void_p, c_size_t]

    def deflate(content: bytes) -> bytes:
        compressor = functions.libdeflate_alloc_compressor(LIBDEFLATE_BEST)
        room = create_string_buffer(len(content) + 64)
        size = functions.libdeflate_deflate_compress(compressor, content, len(content), room, len(room))
        functions.libdeflate_free_compressor(compressor)
        # 0: it does not fit, so the content cannot be compressed. It is returned as it is, and stored.
        return room.raw[:size] if size else content

    return deflate


if __name__ == "__main__":
    target, tree, epoch, library, *base = sys.argv[1:]
    write(Path(target), Path(tree), int(epoch), libdeflate(library) if library else zlib_deflate, *map(Path, base))
