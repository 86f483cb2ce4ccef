"""Where an app listens, as the kernel knows it: for the message to somebody whose app listens somewhere else."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTEN = b"0A"  # the state in /proc/net/tcp (include/net/tcp_states.h)
_EVERY = ("0.0.0.0", "::")


def described(group: int) -> str:
    """A sentence about the ports of a process group: "It listens on 127.0.0.1:3000." """
    addresses = addresses_of(group)
    if not addresses:
        return "It listens on no TCP port."
    return f"It listens on {', '.join(addresses)}."


def addresses_of(group: int) -> list[str]:
    """``host:port`` of each TCP socket on which a process of the group listens, sorted."""
    owned = set(_sockets_of(group))
    found = {address for inode, address in _listening() if inode in owned}
    return sorted(found)


def _listening() -> Iterator[tuple[bytes, str]]:
    """Inode and address of every listening socket that this process can see."""
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                yield fields[9], _address(fields[1])


def _address(field: bytes) -> str:
    """``0100007F:0BB8`` as 127.0.0.1:3000. Words of four octets, the last one first on every machine of Lambda's."""
    digits, _, port = field.decode().partition(":")
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    octets = b"".join(words)
    host = ".".join(map(str, octets)) if len(octets) == 4 else _ipv6(octets)
    number = int(port, 16)
    return f"port {number} of every address" if host in _EVERY else f"{host}:{number}"


def _ipv6(octets: bytes) -> str:
    if not any(octets[:15]):
        return "::1" if octets[15] == 1 else "::"
    return "[" + ":".join(octets[at : at + 2].hex() for at in range(0, 16, 2)) + "]"


def _sockets_of(group: int) -> Iterator[bytes]:
    """The inodes of the sockets that processes of the group have open."""
    for name in posix.listdir("/proc"):
        if not name.isdigit() or not _is_member(name, group):
            continue
        try:
            descriptors = posix.listdir(f"/proc/{name}/fd")
        except OSError:
            continue
        for descriptor in descriptors:
            try:
                target = posix.readlink(f"/proc/{name}/fd/{descriptor}")
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[8:-1].encode()


def _is_member(pid: str, group: int) -> bool:
    try:
        return posix.getpgid(int(pid)) == group
    except OSError:
        return False


def _read(path: str) -> bytes:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return b""
    pieces = []
    try:
        while piece := posix.read(descriptor, 65536):
            pieces.append(piece)
    finally:
        posix.close(descriptor)
    return b"".join(pieces)
