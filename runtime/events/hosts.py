"""Which hosts can stand in a URL as they are, for apps that make a URL of the Host field (the host of ``index.fetch``).

A URL parser ends the host at ``/``, ``?``, ``#`` or ``\\``, and takes what is before an ``@`` for a user's name. So a
host that holds one of these moves the path, and with it what the app believes that the client has asked for.
"""

from __future__ import annotations

from ..standard import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fields import Line

# Holds the Host field as the client sent it, where another one stands in its place.
HOST_AS_SENT = "x-fairlead-host-as-sent"
_LONGEST = 253 + len(":65535")  # RFC 1035 section 2.3.4, and a port
_MARKS = str.maketrans("", "", "-_.")
_HIGHEST_PORT = 65535


def host_lines(sent: str, fallbacks: tuple[str, ...]) -> list[Line]:
    """The Host line, and a line with what the client sent when that is no host of a URL.

    The first of ``fallbacks`` that is one stands in its place.
    """
    if is_url_host(sent):
        return [("host", sent)]
    line = ("host", next(filter(is_url_host, fallbacks), "localhost"))
    return [line, (HOST_AS_SENT, sent)] if sent else [line]


def is_url_host(text: str) -> bool:
    """Whether ``text`` is a name or an address, with a port or without, that every URL parser reads as such."""
    if len(text) > _LONGEST or not text.isascii():
        return False
    if text.startswith("["):
        address, bracket, port = text[1:].partition("]")
        is_host = bool(bracket) and _is_address(socket.AF_INET6, address)
        return is_host and (not port or (port.startswith(":") and _is_port(port[1:])))
    host, colon, port = text.partition(":")
    return _is_name(host) and (not colon or _is_port(port))


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    if not host.translate(_MARKS).isalnum() or not all(labels):
        return False
    if "xn--" in host.lower():  # what is after it may be no Punycode; the host program tries it
        return False
    # A name whose last label looks like a number is an address (https://url.spec.whatwg.org/#host-parsing).
    return not labels[-1][0].isdigit() or _is_address(socket.AF_INET, host)


def _is_address(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True


def _is_port(digits: str) -> bool:
    return digits.isdigit() and len(digits) <= len(str(_HIGHEST_PORT)) and int(digits) <= _HIGHEST_PORT
