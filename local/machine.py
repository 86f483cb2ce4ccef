"""The architecture of this machine, in Lambda's words and in Debian's."""

from __future__ import annotations

import platform
from pathlib import Path

from .failures import LocalFailure

LAMBDA_NAMES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
DEBIAN_NAMES = {"x86_64": "amd64", "arm64": "arm64"}
# What the dynamic loader and the directory of libraries are called.
LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "arm64": "lib/ld-linux-aarch64.so.1"}
TRIPLETS = {"x86_64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
# The field e_machine of an ELF header (elf(5)): little-endian on both.
ELF_MACHINES = {b"\x3e\x00": "x86_64", b"\xb7\x00": "arm64"}
PROGRAMS = ("fairlead/bin/python3", "bootstrap")


def architecture() -> str:
    """``x86_64`` or ``arm64``, as Lambda spells them."""
    if platform.system() != "Linux":
        raise LocalFailure(
            "the local tools need Linux (namespaces, the emulator's binary); elsewhere use a Linux virtual machine"
        )
    machine = platform.machine()
    if machine not in LAMBDA_NAMES:
        raise LocalFailure(f"Lambda runs on x86_64 and arm64; this machine is {machine}")
    return LAMBDA_NAMES[machine]


def architecture_of(layer: Path) -> str:
    """The architecture of an unpacked layer's programs; this machine's when it has only scripts."""
    for program in PROGRAMS:
        if (layer / program).is_file():
            with (layer / program).open("rb") as file:
                header = file.read(20)
            if header.startswith(b"\x7fELF"):
                return ELF_MACHINES.get(header[18:20], architecture())
    return architecture()
