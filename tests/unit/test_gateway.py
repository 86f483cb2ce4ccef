"""The gateway as pure functions: raw bytes become the Function URL event, a payload becomes the response.

What other sources do otherwise is in test_gateway_sources.py.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import h11
import pytest

from local import sources
from local.gateway.wire import RefusedRequest, read_request, response_bytes
from local.sources.reply import from_reply
from local.sources.values import Answer, Arrival, ClientRequest, Front, Refused
from runtime.invocation import PAYLOAD_LIMIT
from runtime.messages import HttpResponse, header_values

AWS = Front(region="eu-north-1")
ARRIVAL = Arrival("203.0.113.9", 1783711146.671, "d16a6b55-dea9-4b23-8499-eb85c3d2d904")  # 10 Jul 2026 19:19:06 UTC
FUNCTION_URL = sources.SOURCES["function-url"]


def received(raw: bytes, sent: list[bytes] | None = None, step: int = 65536) -> ClientRequest | None:
    """The first request in ``raw``, which arrives in pieces of ``step`` bytes."""
    pieces = [raw[start : start + step] for start in range(0, len(raw), step)]
    replies = [] if sent is None else sent
    return read_request(h11.Connection(h11.SERVER), lambda: pieces.pop(0) if pieces else b"", replies.append)


def event_of(raw: bytes, front: Front = AWS) -> dict[str, Any]:
    request = received(raw)
    assert request is not None
    return FUNCTION_URL.to_event(request, front, ARRIVAL)


def get(target: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: h", *lines, b"", b""])


def post(body: bytes, *lines: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"POST / HTTP/1.1", b"Host: h", length, *lines, b"", b""]) + body


PATHS = {
    "percent-encoding stays": (b"/a%2Fb%20c", "/a%2Fb%20c", "/a/b c"),
    "encoded twice is decoded once": (b"/a%252Fb", "/a%252Fb", "/a%2Fb"),
    "dot segments stay": (b"/a/../b/./c", "/a/../b/./c", "/a/../b/./c"),
    "double slashes stay": (b"//a//b", "//a//b", "//a//b"),
    "a malformed escape stays": (b"/100%", "/100%", "/100%"),
    "a colon is no scheme": (b"/x://y", "/x://y", "/x://y"),
    "absolute form loses scheme and authority": (b"http://h/p", "/p", "/p"),
    "absolute form without a path is the root": (b"http://h", "/", "/"),
    "utf-8": (b"/caf%C3%A9", "/caf%C3%A9", "/café"),
}


@pytest.mark.parametrize(("target", "raw_path", "decoded"), PATHS.values(), ids=PATHS)
def test_path(target: bytes, raw_path: str, decoded: str) -> None:
    event = event_of(get(target))
    assert (event["rawPath"], event["requestContext"]["http"]["path"]) == (raw_path, decoded)


QUERIES: dict[str, tuple[bytes, str, dict[str, str] | None]] = {
    "none: no parameters": (b"/", "", None),
    "empty: no parameters": (b"/?", "", None),
    "repeats are joined": (b"/?a=1&a=2&b=3", "a=1&a=2&b=3", {"a": "1,2", "b": "3"}),
    "plus is a space": (b"/?a=b+c%2B", "a=b+c%2B", {"a": "b c+"}),
    "a flag has an empty value": (b"/?c", "c", {"c": ""}),
    "a second question mark belongs to the query": (b"/?a=?&b", "a=?&b", {"a": "?", "b": ""}),
    "a malformed escape stays": (b"/?a=%zz", "a=%zz", {"a": "%zz"}),
    "bytes that are no utf-8": (b"/?a=%FF", "a=%FF", {"a": "\ufffd"}),
    "absolute form without a path": (b"http://h?a=1", "a=1", {"a": "1"}),
}


@pytest.mark.parametrize(("target", "raw", "parameters"), QUERIES.values(), ids=QUERIES)
def test_query(target: bytes, raw: str, parameters: dict[str, str] | None) -> None:
    event = event_of(get(target))
    assert (event["rawQueryString"], event.get("queryStringParameters")) == (raw, parameters)


HEADERS: dict[str, tuple[tuple[bytes, ...], dict[str, str | None]]] = {
    "names in lower case": ((b"X-Some-Name: V",), {"x-some-name": "V"}),
    "repeats are joined by a comma alone": ((b"Accept: a", b"accept: b, c"), {"accept": "a,b, c"}),
    "values are utf-8": ((b"X-City: Z\xc3\xbcrich",), {"x-city": "Zürich"}),
    "latin-1 is not utf-8": ((b"X-City: Z\xfcrich",), {"x-city": "Z\ufffdrich"}),
    "an empty value is kept": ((b"X-Empty:",), {"x-empty": ""}),
    "hop-by-hop names stay behind": (
        (b"Connection: keep-alive", b"Keep-Alive: 5", b"TE: trailers", b"Upgrade: websocket"),
        dict.fromkeys(("connection", "keep-alive", "te", "upgrade")),
    ),
    "names that Connection lists are kept": (
        (b"Connection: authorization", b"Authorization: x"),
        {"authorization": "x"},
    ),
    "the front end's names cannot be forged": (
        (b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: gopher"),
        {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"},
    ),
}


@pytest.mark.parametrize(("lines", "expected"), HEADERS.values(), ids=HEADERS)
def test_headers(lines: tuple[bytes, ...], expected: dict[str, str | None]) -> None:
    headers = event_of(get(b"/", *lines))["headers"]
    assert {name: headers.get(name) for name in expected} == expected


def test_a_front_without_tls_says_so() -> None:
    headers = event_of(get(b"/"), Front(scheme="http", port=3000))["headers"]
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "3000")
    assert not [name for name in headers if name.startswith("x-amzn-tls")]


COOKIES: dict[str, tuple[tuple[bytes, ...], list[str] | None, str | None]] = {
    "none: no key": ((), None, None),
    "split and trimmed": ((b"Cookie: a=1;b=2 ;  c=3",), ["a=1", "b=2", "c=3"], "a=1;b=2 ;  c=3"),
    "several lines": ((b"Cookie: a=1", b"Cookie: b=2"), ["a=1", "b=2"], "a=1; b=2"),
    "odd values stay": ((b'Cookie: a="x y"; =z; w',), ['a="x y"', "=z", "w"], 'a="x y"; =z; w'),
}


@pytest.mark.parametrize(("lines", "cookies", "field"), COOKIES.values(), ids=COOKIES)
def test_cookies_are_in_the_list_and_in_the_header(
    lines: tuple[bytes, ...], cookies: list[str] | None, field: str | None
) -> None:
    event = event_of(get(b"/", *lines))
    assert (event.get("cookies"), event["headers"].get("cookie")) == (cookies, field)


BODIES: dict[str, tuple[bytes, tuple[bytes, ...], bool]] = {
    "text": ("é".encode(), (b"Content-Type: text/plain",), False),
    "json with charset": (b"{}", (b"Content-Type: application/json; charset=utf-8",), False),
    "a structured suffix": (b"{}", (b"Content-Type: application/problem+json",), False),
    "xml": (b"<a/>", (b"Content-Type: Application/XML",), False),
    "a form travels as base64": (b"a=1", (b"Content-Type: application/x-www-form-urlencoded",), True),
    "every byte value": (bytes(range(256)), (b"Content-Type: application/octet-stream",), True),
    "no type": (b"x", (), True),
    "text that is no utf-8": (b"\xff", (b"Content-Type: text/plain; charset=latin-1",), True),
    "compressed text": (b"x", (b"Content-Type: text/plain", b"Content-Encoding: gzip"), True),
}


@pytest.mark.parametrize(("body", "lines", "is_base64"), BODIES.values(), ids=BODIES)
def test_body(body: bytes, lines: tuple[bytes, ...], is_base64: bool) -> None:
    event = event_of(post(body, *lines))
    sent = base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"].encode()
    assert (sent, event["isBase64Encoded"]) == (body, is_base64)


def test_no_body_no_key() -> None:
    event = event_of(get(b"/"))
    assert "body" not in event
    assert event["isBase64Encoded"] is False


CHUNKED = (
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("step", [1, 7, 65536])
def test_a_chunked_upload_arrives_whole_with_its_length(step: int) -> None:
    request = received(CHUNKED, step=step)
    assert request is not None
    event = FUNCTION_URL.to_event(request, AWS, ARRIVAL)
    assert event["body"] == "abcdefg"
    assert event["headers"]["content-length"] == "7"
    assert "transfer-encoding" not in event["headers"]


def test_continue_is_sent_to_a_client_that_waits_for_it() -> None:
    sent: list[bytes] = []
    head, body = post(b"abc", b"Expect: 100-continue").split(b"\r\n\r\n")
    pieces = [head + b"\r\n\r\n", body]
    request = read_request(h11.Connection(h11.SERVER), lambda: pieces.pop(0), sent.append)
    assert request is not None
    assert request.body == b"abc"
    assert b"".join(sent).startswith(b"HTTP/1.1 100 ")


def test_a_connection_that_ends_between_requests_has_no_next_one() -> None:
    assert received(b"") is None


def test_too_large_a_body_is_refused_before_it_comes() -> None:
    sent: list[bytes] = []
    head = post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: %d" % (PAYLOAD_LIMIT + 1))
    with pytest.raises(RefusedRequest):
        received(head, sent)
    assert sent == []


def test_too_large_a_chunked_body_is_refused_as_soon_as_it_is_too_large() -> None:
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with pytest.raises(RefusedRequest):
        received(CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + chunk * 7)


def test_an_event_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    def event(size: int) -> bytes:
        return sources.encode({"body": "x" * (size - len('{"body":""}'))})

    assert len(event(PAYLOAD_LIMIT)) == PAYLOAD_LIMIT
    with pytest.raises(Refused, match="Lambda takes"):
        event(PAYLOAD_LIMIT + 1)


REQUEST = ClientRequest("GET", "/", [("Host", "h")])


def answered(payload: object, status: int = 200) -> Answer:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return from_reply(FUNCTION_URL, REQUEST, AWS, status, raw)


RESPONSES: dict[str, tuple[object, HttpResponse]] = {
    "status, headers, text": (
        {"statusCode": 404, "headers": {"Content-Type": "text/html", "X-Number": 7}, "body": "é"},
        HttpResponse(
            404, "Not Found", [("content-type", "text/html"), ("x-number", "7"), ("content-length", "2")], "é".encode()
        ),
    ),
    "cookies become Set-Cookie fields": (
        {"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"]},
        HttpResponse(200, "OK", [("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("content-length", "0")], b""),
    ),
    "base64 by flag": (
        {"statusCode": 200, "headers": {"content-type": "x/y"}, "body": "AP8=", "isBase64Encoded": True},
        HttpResponse(200, "OK", [("content-type", "x/y"), ("content-length", "2")], b"\0\xff"),
    ),
    "a body without type is called json": (
        {"statusCode": 200, "body": "<p>"},
        HttpResponse(200, "OK", [("content-type", "application/json"), ("content-length", "3")], b"<p>"),
    ),
    "content-length is counted, hop-by-hop is dropped": (
        {
            "statusCode": 200,
            "headers": {
                "content-type": "x/y",
                "Content-Length": "9",
                "Connection": "x",
                "Transfer-Encoding": "chunked",
            },
            "body": "ab",
        },
        HttpResponse(200, "OK", [("content-type", "x/y"), ("content-length", "2")], b"ab"),
    ),
    "204 has no body and no length": (
        {"statusCode": 204, "headers": {"x-a": "b"}, "body": "ignored"},
        HttpResponse(204, "No Content", [("x-a", "b")], b""),
    ),
    "304 keeps its fields": (
        {"statusCode": 304, "headers": {"etag": '"x"'}, "body": ""},
        HttpResponse(304, "Not Modified", [("etag", '"x"')], b""),
    ),
    "a status as text": ({"statusCode": "201"}, HttpResponse(201, "Created", [("content-length", "0")], b"")),
    "an unregistered status": ({"statusCode": 299}, HttpResponse(299, "", [("content-length", "0")], b"")),
    "null for everything optional": (
        {"statusCode": 200, "headers": None, "cookies": None, "body": None, "isBase64Encoded": None},
        HttpResponse(200, "OK", [("content-length", "0")], b""),
    ),
    "inferred: an object without statusCode": (
        b'{"message": "hi"}',
        HttpResponse(200, "OK", [("content-type", "application/json"), ("content-length", "17")], b'{"message": "hi"}'),
    ),
    "inferred: a string": (
        b'"Hello"',
        HttpResponse(200, "OK", [("content-type", "application/json"), ("content-length", "7")], b'"Hello"'),
    ),
}


@pytest.mark.parametrize(("payload", "expected"), RESPONSES.values(), ids=RESPONSES)
def test_response(payload: object, expected: HttpResponse) -> None:
    assert answered(payload) == Answer(expected)


MALFORMED: dict[str, object] = {
    "not json": b"<html>",
    "nothing": b"",
    "status out of range": {"statusCode": 99},
    "an interim status is no answer": {"statusCode": 100},
    "status true": {"statusCode": True},
    "status null": {"statusCode": None},
    "headers a list": {"statusCode": 200, "headers": []},
    "a header with two values": {"statusCode": 200, "headers": {"vary": ["a", "b"]}},
    "a header name with a space": {"statusCode": 200, "headers": {"a b": "c"}},
    "a header value with a line end": {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: c"}},
    "a cookie with a line end": {"statusCode": 200, "cookies": ["a=b\nx: y"]},
    "cookies a string": {"statusCode": 200, "cookies": "a=b"},
    "body an object": {"statusCode": 200, "body": {}},
    "base64 that is none": {"statusCode": 200, "body": "%%%", "isBase64Encoded": True},
}


@pytest.mark.parametrize("payload", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_502_and_explained_to_the_developer(payload: object) -> None:
    answer = answered(payload)
    assert (answer.response.status, answer.response.body) == (502, b"Internal Server Error")
    assert answer.problem


FAULTS: dict[str, tuple[bytes, int, int, tuple[str, ...]]] = {
    "function error": (
        b'{"errorType":"Function.Oops","errorMessage":"no","stackTrace":["  File \\"a\\"\\n    x\\n"]}',
        200,
        502,
        ("Function.Oops: no", '  File "a"', "    x"),
    ),
    "init error": (
        b'{"errorType":"Runtime.AppExited","errorMessage":"gone"}',
        502,
        502,
        ("Runtime.AppExited: gone",),
    ),
    "timeout": (b"Task timed out after 3.00 seconds", 200, 502, ("Task timed out after 3.00 seconds",)),
    "too large an answer": (
        b'{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"too large"}',
        200,
        502,
        ("Function.ResponseSizeTooLarge: too large",),
    ),
}


@pytest.mark.parametrize(("payload", "status", "expected", "problem"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_a_status_for_the_client_and_words_for_the_developer(
    payload: bytes, status: int, expected: int, problem: tuple[str, ...]
) -> None:
    answer = answered(payload, status)
    assert (answer.response.status, answer.problem) == (expected, problem)
    assert b"Oops" not in answer.response.body


def test_a_start_that_failed_silently_points_to_the_output() -> None:
    answer = answered(b"", 502)
    assert answer.response.status == 502
    assert "output" in answer.problem[0]


def test_an_answer_with_a_status_is_no_error_though_it_has_the_keys_of_one() -> None:
    payload = {"statusCode": 200, "body": "x", "errorType": "a", "errorMessage": "b"}
    assert answered(payload).response.status == 200


def on_the_wire(raw: bytes, response: HttpResponse) -> bytes:
    http = h11.Connection(h11.SERVER)
    pieces = [raw]
    assert read_request(http, lambda: pieces.pop(0), lambda data: None) is not None
    return response_bytes(http, response)


def test_the_response_on_the_wire_has_each_cookie_in_its_own_line_and_a_date() -> None:
    response = answered({"statusCode": 200, "cookies": ["a=1", "b=2"], "body": "x"}).response
    head, _, body = on_the_wire(get(b"/"), response).partition(b"\r\n\r\n")
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.receive_data(head + b"\r\n\r\n" + body)
    parsed = client.next_event()
    assert isinstance(parsed, h11.Response)
    lines = [(name.decode(), value.decode()) for name, value in parsed.headers]
    assert header_values(lines, "set-cookie") == ["a=1", "b=2"]
    assert header_values(lines, "content-length") == ["1"]
    assert len(header_values(lines, "date")) == 1
    assert body == b"x"


@pytest.mark.parametrize("status", [204, 304])
def test_nothing_follows_the_head_of_a_response_that_has_no_body(status: int) -> None:
    raw = on_the_wire(get(b"/"), answered({"statusCode": status, "body": "x"}).response)
    assert raw.endswith(b"\r\n\r\n")
    assert b"content-length" not in raw.lower()
    assert b"transfer-encoding" not in raw.lower()
