"""Request -> event: what the sources have in common. Nothing is decoded here that a source would leave alone."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from runtime.messages import header

from .values import Arrival, ClientRequest, Front, Lines

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# RFC 9110 section 7.6.1, and what belongs to one connection only: no front end passes it on, in either direction.
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("expect", "http2-settings"),
}
FORWARDED_FOR = "x-forwarded-for"
# Set by the front end. What a client sends under these names is replaced.
PLATFORM_OWNED = {
    *(FORWARDED_FOR, "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"),
    *("x-amzn-tls-version", "x-amzn-tls-cipher-suite"),
}
TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|javascript|yaml|graphql|([^;]*\+(json|xml|yaml)))")
BALANCED_TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|javascript)")


def origin_form(target: str) -> str:
    """``target`` as a front end passes it on. RFC 9112 section 3.2.2: a server must accept the absolute form too."""
    for host in absolute_authority(target):
        target = target.partition("://")[2][len(host) :]
    return target if target.startswith("/") else "/" + target


def absolute_authority(target: str) -> tuple[str, ...]:
    """The host of a target in absolute form, alone; nothing for one in another form."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return ()
    end = min((position for mark in "/?" if (position := rest.find(mark)) >= 0), default=len(rest))
    return (rest[:end],)


def path_and_query(request: ClientRequest) -> tuple[str, str]:
    """Both as they were sent; the query without its question mark."""
    path, _, query = origin_form(request.target).partition("?")
    return path, query


def end_to_end(request: ClientRequest) -> list[tuple[str, str]]:
    """The client's lines that go into an event, without those that the front end writes itself."""
    lines = [
        (name, value)
        for name, value in request.lines
        if name.lower() not in HOP_BY_HOP and name.lower() not in PLATFORM_OWNED
    ]
    if header(request.headers, "transfer-encoding"):  # the body was read to its end, so its length is known now
        lines = [line for line in lines if line[0].lower() != "content-length"]
        lines.append(("content-length", str(len(request.body))))
    return lines


def forwarded(request: ClientRequest, front: Front, arrival: Arrival, *, is_appending: bool) -> list[tuple[str, str]]:
    """The lines that every front end adds.

    ``is_appending``: whether a client's own X-Forwarded-For stays, to the left of the address that is known.
    """
    told = [value for name, value in request.headers if name == FORWARDED_FOR and is_appending]
    return [
        ("X-Forwarded-For", ", ".join([*told, arrival.client_ip])),
        ("X-Forwarded-Port", str(front.port)),
        ("X-Forwarded-Proto", front.scheme),
        ("X-Amzn-Trace-Id", _trace_id(arrival)),
    ]


def _trace_id(arrival: Arrival) -> str:
    return f"Root=1-{int(arrival.now):08x}-{hashlib.sha256(arrival.request_id.encode()).hexdigest()[:24]}"


def lower(lines: Lines) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in lines]


def joined(lines: Lines) -> dict[str, str]:
    """One value per name, of names in lower case."""
    fields: dict[str, str] = {}
    for name, value in lines:
        # A list cannot be told from a value with commas afterwards; cookies have a separator of their own.
        separator = "; " if name == "cookie" else ","
        fields[name] = fields[name] + separator + value if name in fields else value
    return fields


def listed(lines: Lines) -> dict[str, list[str]]:
    """All values per name, under the first spelling of it."""
    fields: dict[str, list[str]] = {}
    spellings: dict[str, str] = {}
    for name, value in lines:
        fields.setdefault(spellings.setdefault(name.lower(), name), []).append(value)
    return fields


def last(lists: dict[str, list[str]]) -> dict[str, str]:
    """The last value of each name."""
    return {name: values[-1] for name, values in lists.items()}


def decoded_pairs(query: str) -> list[tuple[str, str]]:
    """Names and values, ``+`` for a space included; a flag has an empty value."""
    return parse_qsl(query, keep_blank_values=True)


def raw_lists(query: str) -> dict[str, list[str]]:
    """All values per name, both as they were sent."""
    pairs = [piece.partition("=") for piece in query.split("&") if piece]
    lists: dict[str, list[str]] = {}
    for name, _, value in pairs:
        lists.setdefault(name, []).append(value)
    return lists


def clf_time(now: float) -> str:
    """``now``, epoch seconds, as API Gateway writes it."""
    # Not strftime: its month names follow the locale.
    moment = time.gmtime(now)
    return f"{moment.tm_mday:02}/{MONTHS[moment.tm_mon - 1]}/{moment.tm_year}:{time.strftime('%H:%M:%S', moment)} +0000"


def short_request_id(arrival: Arrival) -> str:
    """An id in the form of API Gateway's, ``ATfSmjLgPHcESJw=``."""
    return base64.urlsafe_b64encode(hashlib.sha256(arrival.request_id.encode()).digest()[:11]).decode()


def media_type(request: ClientRequest, name: str = "content-type") -> str:
    """The first media type of the field ``name``, without parameters."""
    return (header(request.headers, name) or "").partition(",")[0].partition(";")[0].strip().lower()


def is_text(request: ClientRequest) -> bool:
    """Whether a Function URL and an HTTP API hand the body over as text. A form travels as base64, as in AWS."""
    return _is_plain(request, TEXT_TYPE)


def is_balanced_text(request: ClientRequest) -> bool:
    """Whether a load balancer and VPC Lattice hand the body over as text."""
    return _is_plain(request, BALANCED_TEXT_TYPE)


def _is_plain(request: ClientRequest, types: re.Pattern[str]) -> bool:
    return not header(request.headers, "content-encoding") and types.fullmatch(media_type(request)) is not None


def body_of(request: ClientRequest, is_text: Callable[[ClientRequest], bool]) -> dict[str, Any]:
    """``body`` and ``isBase64Encoded``: text where ``is_text`` says so and it is UTF-8."""
    if is_text(request):
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass
    return base64_body(request)


def base64_body(request: ClientRequest) -> dict[str, Any]:
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}
