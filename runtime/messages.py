"""HTTP messages as values (RFC 9110), and the rules for their parts. Nothing of sockets, wire format or Lambda."""

from __future__ import annotations

from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[str, str]]
    """Field lines in order, repeated names kept apart. Names are lower-case."""


class HttpRequest(NamedTuple):
    """A request on its way to the app. ``target`` is in origin-form and ASCII; ``body`` is as the client sent it."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""


class HttpResponse(NamedTuple):
    """An answer. ``reason`` may be empty; ``body`` has its transfer coding removed, its content coding kept."""

    status: int
    reason: str
    headers: Headers
    body: bytes = b""


# Media types that are text beside text/*: the subtypes of application/, and the endings of any subtype.
TEXT_APPLICATION_TYPES = frozenset(
    (
        "json",
        "javascript",
        "x-javascript",
        "ecmascript",
        "xml",
        "yaml",
        "x-yaml",
        "toml",
        "graphql",
        "x-ndjson",
        "x-www-form-urlencoded",
    )
)
TEXT_SUFFIXES = ("+json", "+xml", "+yaml")

_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_token(name: str) -> bool:
    """Whether ``name`` is a token (RFC 9110 section 5.6.2), as field names and methods have to be."""
    return name != "" and _TOKEN.issuperset(name)


def breaks_lines(text: str) -> bool:
    """Whether ``text`` contains CR, LF or NUL, which no field may (RFC 9110 section 5.5).

    Nearly always it does not; so join several texts, and look at each only when this is true.
    """
    return "\n" in text or "\r" in text or "\0" in text


def is_field_value(value: object) -> bool:
    """Whether ``value`` is text that every server takes for a field's value: no control characters but the tab.

    RFC 9110 section 5.5; Go's servers, of which the Runtime API is one, refuse the whole request otherwise.
    """
    if not isinstance(value, str):
        return False
    return value.isprintable() or not any(map(_is_refused, value))


def _is_refused(character: str) -> bool:
    return (character < " " and character != "\t") or character == "\x7f" or "\ud800" <= character <= "\udfff"


def header(headers: Headers, name: str) -> str | None:
    """The first value of the field ``name`` (lower-case), or None."""
    for candidate, value in headers:
        if candidate == name:
            return value
    return None


def header_values(headers: Headers, name: str) -> list[str]:
    """Every value of the field ``name`` (lower-case), in order."""
    return [value for candidate, value in headers if candidate == name]
