"""Event -> request: what holds for every HTTP source, once its own module has found the parts."""

from __future__ import annotations

from ..errors import BadRequest
from ..json_codec import utf8
from ..messages import HttpRequest, header, header_values, is_token
from ..standard import socket, standard_library
from ..values import NamedTuple
from .binary import LargeBody, decode
from .fields import (
    LAMBDA_CONTEXT,
    LEFT_OUT_FIELD,
    LONGEST_VALUE,
    REQUEST_CONTEXT,
    TRACE_ID,
    clean,
    context_lines,
    is_safe,
    items,
    mapping,
    text,
    without_aliases,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpResponse
    from .fields import EventOptions, Line

_COMMON_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# RFC 9110 section 8.6: no Content-Length for an empty body where the method does not anticipate one.
_BODILESS_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"))
_PREFIX = "x-forwarded-prefix"
_AUTHORIZATION = "authorization"
_USUAL_IN_NAMES = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_REWRITTEN = frozenset(("host", "cookie", TRACE_ID))


class Parts(NamedTuple):
    """The parts of a request that each HTTP source spells in its own way."""

    method: object
    target: str
    lines: list[Line]
    cookies: Sequence[str] = ()  # where the source keeps them outside the header fields
    source_ip: object = None  # of the client; None where the source never names it


def assemble(parts: Parts, event: dict[str, Any], invocation: Invocation, options: EventOptions) -> HttpRequest:
    """The request that ``event`` stands for. ``BadRequest`` when its method or its body cannot be sent."""
    if options.base_path or options.authorization_source:
        parts = _adapted(parts, options)
    method, target, lines, cookies, source_ip = parts
    if not (isinstance(method, str) and method in _COMMON_METHODS):
        method = _method(method)
    body = b"" if event.get("body") in (None, "") else _body(event)
    request_context = event.get("requestContext")
    if not isinstance(request_context, dict):
        request_context = {}
    known = dict(lines)
    host = known.get("host")
    if len(known) != len(lines):  # some names come twice: of Host the first line counts, of Cookie all
        host = header(lines, "host")
        cookies = cookies or header_values(lines, "cookie")
    if "".join(known).encode().translate(None, _USUAL_IN_NAMES):  # a name has another character: rarely
        lines = without_aliases(lines)  # which leaves host and cookies alone
    # Exactly one host, unchecked: scanners send ``${x}``, and what to make of it is the app's business.
    host = host or clean(request_context.get("domainName")) or options.host
    headers = [("host", host)]
    as_sent: list[Line] = []
    if options.builds_url:
        target = _with_plain_path(target)
        headers, as_sent = _checked_host(host, request_context, options)
    headers += context_lines(request_context, invocation, options)
    headers += [line for line in lines if line[0] not in _REWRITTEN]
    # One line (RFC 6265 section 5.4), pairs untouched. Several empty ones are none, however joined.
    cookie = "; ".join(filter(None, cookies)) if cookies else known.get("cookie", "")
    if cookie.strip("; "):
        headers.append(("cookie", cookie))
    if "x-forwarded-for" not in known or "x-forwarded-proto" not in known or "x-forwarded-port" not in known:
        headers += _forwarded_lines(source_ip, known)
    if is_safe(invocation.trace_id):
        headers.append((TRACE_ID, invocation.trace_id))
    elif TRACE_ID in known:
        headers.append((TRACE_ID, known[TRACE_ID]))
    if body or method not in _BODILESS_METHODS:
        headers.append(("content-length", str(len(body))))
    headers += as_sent  # after the context: a line about that comes right after the host (request_warnings)
    return HttpRequest._make((method, target, headers, body))  # as the constructor, in half the instructions


def _adapted(parts: Parts, options: EventOptions) -> Parts:
    """The parts with what the options move about."""
    target, lines = parts.target, parts.lines
    base_path = options.base_path.rstrip("/")
    if base_path:
        below = without_base_path(target, base_path)
        lines = [line for line in lines if line[0] != _PREFIX]
        if below is not None:
            # What frameworks put in front of the links they make; there is no standard, but one name for it.
            target, lines = below, [*lines, (_PREFIX, base_path)]
    source = options.authorization_source
    credentials = header(lines, source) if source else None
    if credentials is not None:
        lines = [line for line in lines if line[0] not in (source, _AUTHORIZATION)] + [(_AUTHORIZATION, credentials)]
    return parts._replace(target=target, lines=lines)


def _method(value: object) -> str:
    method = text(value)
    if method in _COMMON_METHODS or is_token(method):
        return method
    if not method:
        raise BadRequest("the event names no HTTP method")
    raise BadRequest(f"the event's HTTP method {method[:40]!r} is not a token (RFC 9110 section 9.1)")


def _checked_host(sent: str, request_context: dict[str, Any], options: EventOptions) -> tuple[list[Line], list[Line]]:
    """A host that fits into a URL, and apart from it what the client sent if that does not."""
    with standard_library:
        from .hosts import host_lines  # only for apps that make a URL of it

    lines = host_lines(sent, (clean(request_context.get("domainName")), options.host))
    return lines[:1], lines[1:]


def _with_plain_path(target: str) -> str:
    """The target with no backslash in its path: URL parsers take one for a slash."""
    path, mark, query = target.partition("?")
    return path.replace("\\", "%5C") + mark + query


def _forwarded_lines(source_ip: object, known: dict[str, str]) -> list[Line]:
    """The fields that the front end should have added. API Gateway and Function URLs speak HTTPS on port 443 alone."""
    if not isinstance(source_ip, str) or not _is_ip_address(source_ip):
        return []  # the console's test button sends the words "test-invoke-source-ip"
    lines = (("x-forwarded-for", source_ip), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443"))
    return [line for line in lines if line[0] not in known]


def _is_ip_address(address: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
            continue
        return True
    return False


def _body(event: dict[str, Any]) -> bytes:
    body = event["body"]
    is_base64 = event.get("isBase64Encoded") in (True, "true")
    if isinstance(body, LargeBody):
        return body.octets if is_base64 else bytes(body.text)
    return _decoded(body) if is_base64 else utf8(text(body))


def _decoded(body: object) -> bytes:
    """Strict base64 in which only padding may be missing: anything laxer hands the app bytes that nobody sent."""
    if not isinstance(body, str):
        raise BadRequest("the event's body is marked as base64 but is not a string")
    try:
        return decode(body)
    except ValueError as error:  # binascii.Error, or not ASCII
        raise BadRequest(f"the event's body is not valid base64: {error}") from None


def cookies_of(value: object) -> list[str]:
    """The cookies of an event that lists them apart."""
    cookies = value if isinstance(value, list) else [value]
    return [clean(cookie) for cookie in cookies if cookie is not None]


def request_warnings(_event: object, request: HttpRequest, _response: HttpResponse, _payload: bytes) -> Sequence[str]:
    """Returns a sentence when a context header was left out for its size, for the app's author.

    Nearly always there is nothing to say. What a client did wrong (a header name that is dropped, a part of the context
    that it made long) is not warned about: anybody could fill the log.
    """
    second = request.headers[1:2]  # it comes right after the host, or not at all
    if not second or second[0][0] != LEFT_OUT_FIELD:
        return ()
    left_out = second[0][1].split(", ")
    return [
        f"the {named} context is larger than the {LONGEST_VALUE} bytes that fit into a header field safely; the app got"
        f" {LEFT_OUT_FIELD}: {name} instead"
        for named, name in (("request", REQUEST_CONTEXT), ("invocation's", LAMBDA_CONTEXT))
        if name in left_out
    ]


# ---- the request target (RFC 9112 section 3.2) ----------------------------------------------------------------------
#
# Several encoders, because each source has decoded something else already. Two rules: an encoder is chosen by source,
# never by looking at the content (``%2F`` means two things in a decoded and in an encoded path); and nothing passes
# through a URL parser, which would resolve ``..`` and join ``//``.

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
        if value.isascii() and value.isalnum():  # a word or a number, for which no table is built
            return value
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
    return _joined(multi, single, _DECODED_QUERY) if multi or single else ""


def raw_query_map(multi: object, single: object) -> str:
    """The query of a source that has split it and decoded nothing (ALB)."""
    return _joined(multi, single, _RAW_QUERY) if multi or single else ""


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
    chosen = lists
    if not (all(lists.values()) and lists.keys() >= singles.keys()):  # rarely: the maps differ
        chosen = {key: singles.get(key) if values in (None, [], "") else values for key, values in lists.items()}
        chosen |= {key: value for key, value in singles.items() if key not in lists}
    pairs = [(key, value) for key, values in chosen.items() for value in items(values)]
    return "&".join([f"{escapes.apply(key)}={escapes.apply(text(value))}" for key, value in pairs])
