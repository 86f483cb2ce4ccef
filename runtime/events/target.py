"""The request target (RFC 9112 section 3.2): three encoders, because each source has decoded something else already.

Rules of this file: an encoder is chosen by source, never by looking at the content (``%2F`` means two things in a
decoded and in an encoded path); and nothing passes through a URL parser, which would resolve ``..`` and join ``//``.
"""

from __future__ import annotations

from ..json_codec import utf8
from .fields import items, mapping, text

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PATH_CHARACTERS = _UNRESERVED + b"!$&'()*+,;=:@/"  # RFC 3986 section 3.3: pchar, and the slash
_VISIBLE = bytes(range(0x21, 0x7F))
_HEX = frozenset("0123456789abcdefABCDEF")


class _Escapes(dict[int, str]):
    """Percent-encoding of every byte that is not ``kept``, as a table for ``str.translate`` that fills itself."""

    def __init__(self, kept: bytes) -> None:
        super().__init__()
        self.kept = kept

    def __missing__(self, byte: int) -> str:
        self[byte] = chr(byte) if byte in self.kept else f"%{byte:02X}"
        return self[byte]

    def apply(self, value: str) -> str:
        raw = utf8(value)
        if not raw.translate(None, self.kept):  # nearly always: nothing to escape, hence ASCII
            return value
        return raw.decode("latin-1").translate(self)


_DECODED_PATH = _Escapes(_PATH_CHARACTERS)
_DECODED_QUERY = _Escapes(_UNRESERVED)
# Only what would break the request line: white space, controls, non-ASCII and the delimiters of the parts.
_RAW_PATH = _Escapes(_VISIBLE.translate(None, b"#?"))
_RAW_QUERY = _Escapes(_VISIBLE.translate(None, b"#"))


def encode_path(decoded: object) -> str:
    """The path of a source that has percent-decoded it (HTTP API): ``%``, ``?`` and ``#`` in it are data."""
    return _DECODED_PATH.apply(text(decoded))


def raw_path(path: object) -> str:
    """The path of a source that leaves it as the client sent it (REST API, Function URL, ALB): byte for byte."""
    if (
        isinstance(path, str)
        and "%" not in path
        and path.isascii()
        and not path.encode().translate(None, _RAW_PATH.kept)
    ):
        return path
    escaped = _RAW_PATH.apply(text(path))
    return _mend_percent(escaped) if "%" in escaped else escaped


def raw_query(query: object) -> str:
    """A query string as the client sent it, malformed ``%`` included: servers read it, and signatures cover it."""
    return "" if query == "" else _RAW_QUERY.apply(text(query))


def encode_query(multi: object, single: object) -> str:
    """The query of a source that has decoded names and values (REST API), in the order of its map.

    A ``+`` for a space was decoded before we saw it, so one left is data. How keys interleaved is lost upstream.
    """
    return _joined(multi, single, _DECODED_QUERY)


def raw_query_map(multi: object, single: object) -> str:
    """The query of a source that has split it and decoded nothing (ALB)."""
    return _joined(multi, single, _RAW_QUERY)


def origin_form(path: str, query: str) -> str:
    """The target of ``path`` and ``query``, both encoded. ``http://evil/x`` as a path becomes ``/http://evil/x``."""
    rooted = path if path.startswith("/") else "/" + path
    return f"{rooted}?{query}" if query else rooted


def without_base_path(target: str, base_path: str) -> str | None:
    """``target`` (in origin-form) as it is below ``base_path``, or None when it is not below it.

    Whole segments, once: ``/api`` is in front of ``/api/x`` and not of ``/apis``, and leaves ``/api`` of ``/api/api``.
    """
    if not target.startswith(base_path):
        return None
    rest = target[len(base_path) :]
    if rest.startswith("/"):
        return rest
    return "/" + rest if rest == "" or rest.startswith("?") else None


def percent_decoded(path: str) -> str:
    """``path`` with every well-formed ``%XX`` decoded, as UTF-8."""
    return octets_of(path).decode("utf-8", "replace")


def octets_of(path: str) -> bytes:
    """``path`` with every well-formed ``%XX`` decoded."""
    if "%" not in path:
        return utf8(path)
    head, *rest = path.split("%")
    decoded = bytearray(utf8(head))
    for part in rest:
        is_escape = _is_hex_pair(part[:2])
        decoded += bytes((int(part[:2], 16),)) if is_escape else b"%"
        decoded += utf8(part[2:] if is_escape else part)
    return bytes(decoded)


def _mend_percent(path: str) -> str:
    """A ``%`` that begins no escape can only come from an emulator that has decoded the path: it is data."""
    head, *rest = path.split("%")
    return head + "".join([("%" if _is_hex_pair(part[:2]) else "%25") + part for part in rest])


def _is_hex_pair(pair: str) -> bool:
    return len(pair) == 2 and _HEX.issuperset(pair)


def _joined(multi: object, single: object, escapes: _Escapes) -> str:
    lists, singles = mapping(multi), mapping(single)
    chosen = {key: singles.get(key) if values in (None, [], "") else values for key, values in lists.items()}
    chosen |= {key: value for key, value in singles.items() if key not in lists}
    pairs = [(key, value) for key, values in chosen.items() for value in items(values)]
    return "&".join([f"{escapes.apply(key)}={escapes.apply(text(value))}" for key, value in pairs])
