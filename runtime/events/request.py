"""Event -> request: what holds for every HTTP source, once its own module has found the parts."""

from __future__ import annotations

from ..c_modules import socket
from ..errors import BadRequest
from ..json_codec import utf8
from ..messages import HttpRequest, header, header_values, is_token
from ..standard import standard_library
from ..values import NamedTuple
from .binary import LargeBody, decode
from .context import context_lines
from .fields import TRACE_ID, clean, is_safe, text, without_aliases
from .target import without_base_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..invocation import Invocation
    from .context import EventOptions
    from .fields import Line

_COMMON_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
# RFC 9110 section 8.6: no Content-Length for an empty body where the method does not anticipate one.
_BODILESS_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"))
_PREFIX = "x-forwarded-prefix"
_AUTHORIZATION = "authorization"
_REWRITTEN = frozenset(("host", "cookie", TRACE_ID))


class Parts(NamedTuple):
    """What one HTTP source says in its own way, before the rules that hold for all of them."""

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
    if not "".join(known).replace("-", "").isalnum():  # nearly always true: names are letters, digits and hyphens
        lines = without_aliases(lines)
    if len(known) != len(lines):  # some names come twice, or were removed; of Host the first counts
        known = dict(reversed(lines))
        cookies = cookies or header_values(lines, "cookie")
    # Exactly one host, unchecked: scanners send ``${x}``, and what to make of it is the app's business.
    host = known.get("host") or clean(request_context.get("domainName")) or options.host
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
    headers += as_sent  # after the context: a line about that comes right after the host (warnings.py)
    return HttpRequest(method, target, headers, body)


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
    """What the front end should have added. API Gateway and Function URLs speak nothing but HTTPS on port 443."""
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
    return [
        cookie.strip(" ") if isinstance(cookie, str) and cookie.isascii() and cookie.isprintable() else clean(cookie)
        for cookie in cookies
        if cookie is not None
    ]
