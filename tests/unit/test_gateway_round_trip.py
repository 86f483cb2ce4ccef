"""A raw request -> the gateway's event -> the runtime's request: the same request, but for what the source loses.

Both sides were written apart from each other, from what AWS documents and was seen to send. A loss is stated here as
data, and in terms of the client's request: what is not stated must arrive byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode

import h11
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.gateway.wire import read_request
from local.sources import SOURCES
from local.sources.values import Arrival, Front
from runtime.events import EventOptions, detect
from runtime.invocation import Invocation
from runtime.messages import HttpRequest

ARRIVAL = Arrival("203.0.113.9", 1783711146.671, "d16a6b55-dea9-4b23-8499-eb85c3d2d904")
FRONT = Front(binary_media_types=("*/*",))  # without them, a REST API spoils what is no text
ADDED = {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id", "content-length"}
ADDED |= {"x-amzn-tls-version", "x-amzn-tls-cipher-suite"}

Values = dict[str, list[str]]


class Sent(NamedTuple):
    """A request in parts. ``cookies`` are the Cookie lines, ``query`` is None without a question mark."""

    method: str
    path: str
    query: str | None
    fields: tuple[tuple[str, str], ...]
    cookies: tuple[str, ...]
    body: bytes


def raw_path(path: str) -> str:
    """Byte for byte, but for a percent sign that begins no escape: the runtime mends it."""
    return re.sub("%(?![0-9A-Fa-f]{2})", "%25", path)


def decoded_path(path: str) -> str:
    """Decoded once, cut at a question mark that comes out of it, and encoded again."""
    return quote(unquote(path).partition("?")[0], safe="!$&'()*+,;=:@/") or "/"


def raw_query(query: str) -> str:
    return query


def _grouped(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Equal names next to each other, at the place of the first: a map has no other order."""
    names = list(dict.fromkeys(name for name, _ in pairs))
    return [pair for name in names for pair in pairs if pair[0] == name]


def _raw_pairs(query: str) -> list[tuple[str, str]]:
    return [(name, value) for piece in query.split("&") if piece for name, _, value in [piece.partition("=")]]


def _spelled(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={value}" for name, value in pairs)


def split_query(query: str) -> str:
    """Grouped by name, a flag with its equals sign; spelled as before."""
    return _spelled(_grouped(_raw_pairs(query)))


def split_query_with_last_values(query: str) -> str:
    return _spelled(list(dict(_raw_pairs(query)).items()))


def decoded_query(query: str) -> str:
    """Grouped by name, decoded and spelled anew; what was no UTF-8 is replaced."""
    return urlencode(_grouped(parse_qsl(query, keep_blank_values=True)), quote_via=quote, safe="")


def sorted_decoded_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True), key=lambda pair: pair[0])
    return urlencode(pairs, quote_via=quote, safe="")


def all_values(values: list[str]) -> list[str]:
    return values


def joined_values(values: list[str]) -> list[str]:
    return [",".join(values)]


def last_value(values: list[str]) -> list[str]:
    return values[-1:]


def one_cookie_line(cookies: tuple[str, ...]) -> str:
    return "; ".join(cookies)


def trimmed_cookies(cookies: tuple[str, ...]) -> str:
    return "; ".join(cookie.strip() for line in cookies for cookie in line.split(";"))


def last_cookie_line(cookies: tuple[str, ...]) -> str:
    return cookies[-1]


class Losses(NamedTuple):
    """What becomes of each part on its way through one source. The method and the body are never touched."""

    path: Callable[[str], str]
    query: Callable[[str], str]
    repeated_fields: Callable[[list[str]], list[str]]
    cookies: Callable[[tuple[str, ...]], str]


LOSSES = {
    "function-url": Losses(raw_path, raw_query, joined_values, trimmed_cookies),
    "http-api": Losses(decoded_path, raw_query, joined_values, trimmed_cookies),
    "http-api-1": Losses(decoded_path, decoded_query, all_values, one_cookie_line),
    "rest": Losses(raw_path, sorted_decoded_query, all_values, one_cookie_line),
    "alb": Losses(raw_path, split_query_with_last_values, last_value, last_cookie_line),
    "alb-multi": Losses(raw_path, split_query, all_values, one_cookie_line),
    "lattice": Losses(raw_path, split_query, all_values, one_cookie_line),
}

PATH_PIECES = (
    "/",
    "//",
    "a",
    "B",
    "%2F",
    "%2f",
    "%20",
    "%25",
    "%3F",
    "%23",
    "%C3%A9",
    "%FF",
    "..",
    ".",
    "+",
    "%",
    "%zz",
)
PATH_PIECES += ("&", "=", ":", "@", "~", "!", "*", "'", "(", ";", "$")
QUERY_PIECES = ("a", "b", "a", "=", "=", "&", "&", "+", "%20", "%2B", "%3D", "%26", "%C3%A9", "%FF", "%", "?", "/", ";")
NAMES = ("X-One", "x-one", "X-Two", "Accept", "accept-language", "authorization", "User-Agent", "_under")
TYPES = ("text/plain", "application/json", "application/octet-stream", "image/png", "text/html; charset=utf-8")
VALUE = st.text(st.sampled_from("abcXYZ019 ,;=\"'()/é€\t"), max_size=12).map(lambda text: text.strip(" \t"))
COOKIE = st.lists(st.sampled_from(("a=1", "b=x y", 'c="q"', "d", "e==")), min_size=1, max_size=3)


@st.composite
def requests(draw: st.DrawFn) -> Sent:
    fields = draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUE), max_size=5))
    content_type = draw(st.none() | st.sampled_from(TYPES))
    return Sent(
        draw(st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "M-SEARCH", "get"))),
        "/" + "".join(draw(st.lists(st.sampled_from(PATH_PIECES), max_size=8))),
        draw(st.none() | st.lists(st.sampled_from(QUERY_PIECES), max_size=10).map("".join)),
        (*fields, *([("Content-Type", content_type)] if content_type else [])),
        tuple(map("; ".join, draw(st.lists(COOKIE, max_size=2)))),
        draw(st.binary(max_size=40) | st.text(max_size=10).map(str.encode)),
    )


def on_the_wire(sent: Sent) -> bytes:
    target = sent.path if sent.query is None else f"{sent.path}?{sent.query}"
    lines = [f"{sent.method} {target} HTTP/1.1", "Host: app.example.com", "Connection: keep-alive"]
    lines += [f"{name}: {value}" for name, value in sent.fields]
    lines += [f"Cookie: {cookie}" for cookie in sent.cookies]
    lines += [f"Content-Length: {len(sent.body)}"] if sent.body else []
    return "\r\n".join([*lines, "", ""]).encode() + sent.body


def through(source: str, raw: bytes) -> HttpRequest:
    """What the app gets of ``raw``: gateway and runtime, one after the other."""
    pieces = [raw]
    request = read_request(h11.Connection(h11.SERVER), lambda: pieces.pop(0), lambda data: None, SOURCES[source])
    assert request is not None
    payload = orjson.dumps(SOURCES[source].to_event(request, FRONT, ARRIVAL))
    event = orjson.loads(payload)
    return detect(event).to_request(event, Invocation("id", payload), EventOptions(context_headers=False))


def values_of(lines: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Values:
    values: Values = {}
    for name, value in lines:
        values.setdefault(name.lower(), []).append(value)
    return values


def expected(sent: Sent, losses: Losses) -> tuple[str, str, Values, bytes]:
    path, query = losses.path(sent.path), losses.query(sent.query or "")
    fields = {name: losses.repeated_fields(values) for name, values in values_of(sent.fields).items()}
    fields["host"] = ["app.example.com"]
    if sent.cookies:
        fields["cookie"] = [losses.cookies(sent.cookies)]
    return sent.method, f"{path}?{query}" if query else path, fields, sent.body


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=100, deadline=None, derandomize=True)
@given(sent=requests())
def test_a_request_arrives_as_it_was_but_for_the_losses_of_its_source(source: str, sent: Sent) -> None:
    arrived = through(source, on_the_wire(sent))
    fields = values_of([line for line in arrived.headers if line[0] not in ADDED])
    seen = (arrived.method, arrived.target, fields, arrived.body)
    assert seen == expected(sent, LOSSES[source])


def test_each_source_states_its_losses() -> None:
    assert LOSSES.keys() == SOURCES.keys()
