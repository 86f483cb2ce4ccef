"""Decides by the host of a request whether a server on this machine takes it.

A web page may send requests to any address, this machine's included. A page of a foreign site gives itself away by
``Origin``; one whose domain was pointed at this machine after it had loaded (DNS rebinding) counts as the server's own
site to the browser, and gives itself away by ``Host`` alone.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

# RFC 3986 section 3.2.2, less what no host on a network is called: no user, no escapes, no sub-delimiters.
AUTHORITY = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?")
EVERY_ADDRESS = ("", "0.0.0.0", "::")


class Authority(NamedTuple):
    """Host and port of an address; ``name`` in lower case, an IPv6 address without its brackets."""

    name: str
    port: int | None = None

    @property
    def in_url(self) -> str:
        """The name as it is written in a URL."""
        return f"[{self.name}]" if ":" in self.name else self.name

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The name as an IP address; None when it is none."""
        try:
            return ip_address(self.name)
        except ValueError:
            return None


def parse_authority(text: str) -> Authority | None:
    """Parse the value of a Host field. None when it is malformed."""
    match = AUTHORITY.fullmatch(text)
    if not match:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and port > 65535:
        return None
    found = Authority(match["name"].strip("[]").lower().removesuffix("."), port)
    is_bracketed = match["name"].startswith("[")
    return found if found.name and is_bracketed == isinstance(found.address, IPv6Address) else None


def is_loopback(host: Authority) -> bool:
    """Whether the name can mean nothing but this machine (RFC 6761 section 6.3, RFC 1122 section 3.2.1.3)."""
    if host.address:
        return host.address.is_loopback
    return host.name == "localhost" or host.name.endswith(".localhost")


class Hosts:
    """The names of a server that listens at the address or name ``listening``.

    ``also`` are more names, each for itself; one that begins with a dot is for all below it.
    """

    def __init__(self, listening: str, also: Iterable[str] = ()) -> None:
        self._is_everywhere = listening in EVERY_ADDRESS
        own = {listening.strip("[]").lower(), *(name.lower() for name in also)}
        if self._is_everywhere:
            machine = socket.gethostname().lower()
            own |= {machine, f"{machine}.local"}
        self._names = own - set(EVERY_ADDRESS)
        self._below = tuple(name for name in self._names if name.startswith("."))

    @property
    def names(self) -> list[str]:
        """The names that were given, sorted."""
        return sorted(self._names)

    def admit(self, host: Authority) -> bool:
        """Whether a request for ``host`` is for this server. A literal address is: nobody can point it elsewhere."""
        if is_loopback(host) or host.name in self._names:
            return True
        if host.address:
            return self._is_everywhere
        return host.name.endswith(self._below) if self._below else False
