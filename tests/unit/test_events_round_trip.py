"""A request that goes through a source and back comes out as it went in, except for what the source itself loses.

``tests/fakes/event_sources.py`` says for each source what that is. Bytes of a request -> event -> ``to_request``.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.events import FORMATS, EventOptions, detect
from runtime.invocation import Invocation
from runtime.json_codec import loads
from runtime.messages import HttpRequest
from tests.fakes.event_sources import ADDED, SOURCES, exactly_grouped, parse

# RFC 9110 section 7.6.1 and the fields that are for the front end alone: the app sees none of them.
NOT_FOR_THE_APP = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("expect", "proxy", "content-length"),
}
FROM_THE_PLATFORM = {*ADDED, "x-amzn-trace-id", "x-amzn-tls-version", "x-amzn-tls-cipher-suite"}
BODILESS = {"GET", "HEAD", "OPTIONS", "DELETE"}

escapes = st.sampled_from(
    ["%2F", "%2f", "%25", "%20", "%3F", "%23", "%26", "%3D", "%2B", "%00", "%FF", "%C3%A9", "%252F"]
)
path_text = st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="%?#")
query_text = st.characters(codec="ascii", min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")
words = st.sampled_from(
    ["/", "//", "..", "/../", "a", "+", "&", "=", "&&", "a=1", "a=2", "b", ";", "'", '"', "[]", "|"]
)
paths = st.lists(path_text | escapes | st.sampled_from(["/", "//", "/../", "+", ":", "@"]), max_size=8).map(
    lambda parts: "/" + "".join(parts)
)
queries = st.lists(query_text | escapes | words | st.sampled_from(["%", "%zz"]), max_size=8).map("".join)
names = st.sampled_from(
    ["X-A", "x-a", "X-B", "Accept", "If-None-Match", "Cookie", "cookie", "TE", "Connection", "Upgrade", "Expect", "x_c"]
)
values = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
cookies = st.sampled_from(["a=1", "a=1; b=2", "b=2;c=3", 'd="x,y"', "e=%20", "", "f=é"])
types = st.sampled_from(["text/plain", "application/json", "image/png", "application/x-www-form-urlencoded", ""])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of a well-formed HTTP/1.1 request."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "get"]))
    query = draw(queries)
    body = draw(st.binary(max_size=20) | st.text(max_size=10).map(lambda text: text.encode("utf-8", "replace")))
    lines = [("Host", draw(st.sampled_from(["app.example", "app.example:8080", "${x}", "[::1]"])))]
    chosen = draw(st.lists(names, max_size=8))
    lines += [(name, draw(cookies if name.lower() == "cookie" else values)) for name in chosen]
    media_type = draw(types)
    if media_type:
        lines.append(("Content-Type", media_type))
    if body:
        lines.append(("Content-Length", str(len(body))))
    target = draw(paths) + (f"?{query}" if query else "")
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    return head.encode() + body


def seen_by_the_app(request: HttpRequest) -> dict[str, list[str]]:
    lines = [line for line in request.headers if line[0] not in FROM_THE_PLATFORM]
    return exactly_grouped(lines)


def what_is_left(name: str, request: HttpRequest) -> dict[str, list[str]]:
    """The fields that the app should see of ``request``."""
    source = SOURCES[name]
    lines = [(field.lower(), value) for field, value in request.headers]
    groups = exactly_grouped([line for line in lines if line[0] not in NOT_FOR_THE_APP])
    left = {field: source.cookies(v) if field == "cookie" else source.lines(v) for field, v in groups.items()}
    if left.get("cookie") == [""]:
        del left["cookie"]
    if request.body or request.method not in BODILESS:
        left["content-length"] = [str(len(request.body))]
    return left


@pytest.mark.parametrize("name", SOURCES)
@settings(derandomize=True, deadline=None, max_examples=250)
@given(raw=requests())
def test_only_what_the_source_loses_is_lost(name: str, raw: bytes) -> None:
    sent = parse(raw)
    event = loads(json.dumps(SOURCES[name].to_event(sent)).encode())
    event_format = detect(event)
    assert event_format.name == name
    received = event_format.to_request(event, Invocation("1", b""), EventOptions(context_headers=False))
    path, _, query = sent.target.partition("?")
    left = SOURCES[name].query(query)
    assert received.method == sent.method
    assert received.target == SOURCES[name].path(path) + (f"?{left}" if left else "")
    assert received.body == sent.body
    fields = seen_by_the_app(received)
    assert fields == what_is_left(name, sent)


def test_every_format_that_stands_for_a_request_is_tried() -> None:
    assert set(SOURCES) == {candidate.name for candidate in FORMATS if candidate.is_http} - {"websocket"}
