"""What keeps a file from being executed, in words. Looked at when it could not be: for the message, and only then."""

from __future__ import annotations

import posix

S_IFMT, S_IFREG, S_IFDIR = 0o170000, 0o100000, 0o040000  # inode(7)
HEAD_SIZE = 4096
# elf(5): the field e_machine, and the header of a program that names its loader.
MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64"}
PT_INTERP = 3


def obstacle(path: str) -> str:
    """Why ``path`` cannot be executed on this machine, as a clause; "" when nothing is seen that speaks against it."""
    try:
        mode = posix.stat(path).st_mode
    except (OSError, ValueError) as error:
        return f"{path}: {getattr(error, 'strerror', '') or error}"
    if mode & S_IFMT != S_IFREG:
        return f"{path} is {'a folder' if mode & S_IFMT == S_IFDIR else 'not a file'}"
    if not posix.access(path, posix.X_OK):
        return f"{path} is not executable (chmod +x it)"
    head = _head(path)
    reason = ""
    if head.startswith(b"#!"):
        reason = _of_script(head)
    elif head.startswith(b"\x7fELF"):
        reason = _of_program(head)
    return f"{path} {reason}" if reason else ""


def is_script(path: str) -> bool:
    """Whether the file is a text, which shells run by themselves if it has no ``#!``."""
    head = _head(path)
    return bool(head) and not head.startswith(b"\x7fELF") and b"\0" not in head


def _head(path: str) -> bytes:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return posix.read(descriptor, HEAD_SIZE)
    except OSError:
        return b""
    finally:
        posix.close(descriptor)


def _of_script(head: bytes) -> str:
    line = head[2:].partition(b"\n")[0]
    interpreter = line.split(maxsplit=1)[0].decode("utf-8", "replace") if line.strip() else ""
    if line.endswith(b"\r"):
        return "has lines that end with CR LF: save it with LF alone"
    if not interpreter or _is_there(interpreter):
        return ""
    return f"is run by {interpreter}, which is not there"


def _of_program(head: bytes) -> str:
    number = int.from_bytes(head[18:20], "little")
    machine, ours = MACHINES.get(number, f"machine {number}"), posix.uname().machine
    if machine != ours:
        return f"is built for {machine}, and this function runs on {ours}"
    loader = _loader(head).decode("utf-8", "replace")
    return f"needs {loader}, which is not there" if loader and not _is_there(loader) else ""


def _loader(head: bytes) -> bytes:
    """The path of the program's loader, of a 64-bit ELF file; empty when it has none, or not in ``head``."""
    first, size, count = (int.from_bytes(head[at:end], "little") for at, end in ((32, 40), (54, 56), (56, 58)))
    for at in range(first, first + size * count, size or 1):
        entry = head[at : at + size]
        if int.from_bytes(entry[:4], "little") == PT_INTERP:
            begin, length = int.from_bytes(entry[8:16], "little"), int.from_bytes(entry[32:40], "little")
            return head[begin : begin + length].rstrip(b"\0")
    return b""


def _is_there(path: str) -> bool:
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return False
    return True
