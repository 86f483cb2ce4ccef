"""Where an app listens, and who listens where it should, as the kernel knows it (sock_diag(7), proc_net(5))."""

from __future__ import annotations

import posix

from ..c_modules import socket
from .processes import all_pids, is_of_app, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .processes import Environment

_LISTEN = b"0A"  # the state in /proc/net/tcp (include/net/tcp_states.h)
# include/uapi/linux/netlink.h, sock_diag.h, inet_diag.h
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR, _NLMSG_DONE = 4, 20, 2, 3
_DUMP = _SOCK_DIAG_BY_FAMILY | 0x301 << 16  # NLM_F_REQUEST, NLM_F_DUMP
_DUMP_SIZE = 72  # struct nlmsghdr and struct inet_diag_req_v2
_INODE = slice(84, 88)  # of struct nlmsghdr and struct inet_diag_msg
_ONE_SECOND = b"\1" + bytes(15)  # struct timeval; both of Lambda's architectures put the low byte first
_EVERY = ("0.0.0.0", "::")


def described(group: int) -> str:
    """A sentence about the ports of a process group: "It listens on 127.0.0.1:3000." """
    addresses = addresses_of(group)
    if not addresses:
        return "It listens on no TCP port."
    return f"It listens on {', '.join(addresses)}."


def addresses_of(group: int) -> list[str]:
    """``host:port`` of each TCP socket on which a process of the group listens, sorted."""
    owned = {inode for pid in all_pids() if _is_member(pid, group) for inode in _sockets_of(pid)}
    return sorted({_address(address) for inode, address in _listening() if inode in owned})


def stranger_at(port: int, leader: int, environment: Environment) -> str:
    """Who listens on the port and does not belong to the app that ``leader`` leads: its name and pid.

    "" when the app listens there too, and when it is not known who does.
    """
    held = set(_sockets_of(leader))
    inodes = set()
    for inode in listeners(port):
        if inode in held:
            return ""
        inodes.add(inode)
    if not inodes:
        return ""
    stranger = ""
    for pid in all_pids():
        if inodes.isdisjoint(_sockets_of(pid)):
            continue
        is_the_apps = is_of_app(pid, leader, environment)
        if is_the_apps is not False:
            return ""
        name = read(f"/proc/{pid}/comm").decode("ascii", "replace").strip()
        stranger = f"{name if name.isprintable() else 'a process'} (pid {pid})"
    return stranger


def listeners(port: int) -> Iterator[bytes]:
    """The inode of each socket that listens on the port, of whatever address."""
    try:
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from _asked_of_kernel(family, port)
    except OSError:  # a kernel without it, or a sandbox; the tables take milliseconds on a large machine
        ending = b":%04X" % port
        yield from (inode for inode, address in _listening() if address.endswith(ending))


def _asked_of_kernel(family: int, port: int) -> Iterator[bytes]:
    """Raises ``OSError`` when the kernel does not list sockets."""
    words = (_DUMP_SIZE, _DUMP, 0, 0, family | socket.IPPROTO_TCP << 8, 1 << int(_LISTEN, 16))
    request = b"".join(word.to_bytes(4, "little") for word in words) + port.to_bytes(2, "big")
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
    try:
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _ONE_SECOND)
        kernel.send(request.ljust(_DUMP_SIZE, b"\0"))
        while True:
            messages = kernel.recv(65536)
            while messages:
                kind = int.from_bytes(messages[4:6], "little")
                if kind == _NLMSG_ERROR:
                    raise OSError("the kernel does not list sockets")
                if kind == _NLMSG_DONE:
                    return
                yield b"%d" % int.from_bytes(messages[_INODE], "little")
                messages = messages[int.from_bytes(messages[:4], "little") :]
    finally:
        kernel.close()


def _listening() -> Iterator[tuple[bytes, bytes]]:
    """Inode and address of every listening socket that this process can see."""
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        for line in read(table).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                yield fields[9], fields[1]


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


def _sockets_of(pid: int) -> Iterator[bytes]:
    """The inodes of the sockets that the process has open."""
    try:
        descriptors = posix.listdir(f"/proc/{pid}/fd")
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = posix.readlink(f"/proc/{pid}/fd/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[8:-1].encode()


def _is_member(pid: int, group: int) -> bool:
    try:
        return posix.getpgid(pid) == group
    except OSError:
        return False
