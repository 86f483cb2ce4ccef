"""ELF files of a few hundred bytes that ask for what a test wants, and do nothing."""

from __future__ import annotations

import struct

MACHINES = {"x86_64": 62, "arm64": 183}
EXECUTABLE, SHARED = 2, 3
HEADER, PROGRAM_HEADER, SECTION_HEADER = 64, 56, 64
STRTAB, VERNEED = 3, 0x6FFFFFFE
PT_INTERP = 3


def program(machine: str = "x86_64", *, interpreter: str = "", glibc: str = "") -> bytes:
    """An executable; ``glibc`` is like ``2.34``."""
    return _elf(machine, EXECUTABLE, interpreter, glibc)


def library(machine: str = "x86_64", *, glibc: str = "") -> bytes:
    """A shared library or extension module."""
    return _elf(machine, SHARED, "", glibc)


def _elf(machine: str, kind: int, interpreter: str, glibc: str) -> bytes:
    strings = b"\0libc.so.6\0" + f"GLIBC_{glibc}".encode() + b"\0"
    needed = struct.pack("<HHLLL", 1, 1, 1, 16, 0) + struct.pack("<LHHLL", 0, 0, 2, strings.index(b"GLIBC"), 0)
    names = b"\0.dynstr\0.gnu.version_r\0.shstrtab\0"
    path = interpreter.encode() + b"\0"
    contents = [path, strings, needed, names]
    places, offset = [], HEADER + PROGRAM_HEADER
    for content in contents:
        places.append(offset)
        offset += len(content)
    sections = [
        _section(),
        _section(names.index(b".dynstr"), STRTAB, places[1], len(strings)),
        _section(names.index(b".gnu"), VERNEED, places[2], len(needed), link=1, info=1) if glibc else _section(),
        _section(names.index(b".shstrtab"), STRTAB, places[3], len(names)),
    ]
    programs = 1 if interpreter else 0
    header = struct.pack(
        "<16sHHLQQQLHHHHHH",
        *(b"\x7fELF\2\1\1", kind, MACHINES[machine], 1, 0, HEADER, offset, 0),
        *(HEADER, PROGRAM_HEADER, programs, SECTION_HEADER, len(sections), 3),
    )
    segment = struct.pack("<LLQQQQQQ", PT_INTERP, 4, places[0], places[0], 0, len(path), len(path), 1)
    return header + segment + b"".join(contents) + b"".join(sections)


def _section(name: int = 0, kind: int = 0, offset: int = 0, size: int = 0, link: int = 0, info: int = 0) -> bytes:
    return struct.pack("<LLQQQQLLQQ", name, kind, 0, 0, offset, size, link, info, 1, 0)
