"""Every source's event and every source's reading of the answer, as pure functions.

``tests/data/gateway/<source>/<case>.http`` is a request, ``<case>.event.json`` beside it the event that it becomes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest

from local.gateway.wire import RefusedRequest, read_request
from local.sources import SOURCES, check_body, check_head
from local.sources.reply import from_reply
from local.sources.values import Answer, Arrival, ClientRequest, Front, Refused
from runtime.events import detect
from runtime.invocation import PAYLOAD_LIMIT

DATA = Path(__file__).parents[1] / "data" / "gateway"
ARRIVAL = Arrival("203.0.113.9", 1783711146.671, "d16a6b55-dea9-4b23-8499-eb85c3d2d904")  # 10 Jul 2026 19:19:06 UTC
AWS = Front(region="eu-north-1")
FORMATS = {"rest": "rest-api", "http-api": "http-api-2", "lattice": "lattice-2"}  # where the runtime says otherwise
API_GATEWAY = ("http-api", "http-api-1", "rest")
ALL = tuple(SOURCES)


def received(raw: bytes, source: str) -> ClientRequest:
    pieces = [raw]
    request = read_request(
        h11.Connection(h11.SERVER, 65536),
        lambda: pieces.pop(0) if pieces else b"",
        lambda data: None,
        SOURCES[source],
    )
    assert request is not None
    return request


def event_of(source: str, raw: bytes, front: Front = AWS) -> dict[str, Any]:
    return SOURCES[source].to_event(received(raw, source), front, ARRIVAL)


def get(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def post(body: bytes, *lines: str) -> bytes:
    length = f"Content-Length: {len(body)}"
    return "\r\n".join(["POST / HTTP/1.1", "Host: h", length, *lines, "", ""]).encode() + body


REQUESTS = sorted(DATA.glob("*/*.http"))


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_request_becomes_the_event_beside_it(path: Path) -> None:
    head, _, body = path.read_bytes().partition(b"\n\n")
    event = event_of(path.parent.name, head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + body)
    assert event == json.loads(path.with_suffix(".event.json").read_text())


@pytest.mark.parametrize("source", ALL)
def test_each_source_has_its_cases(source: str) -> None:
    assert {path.stem for path in REQUESTS if path.parent.name == source} >= {"bare-get", "complete-post"}


@pytest.mark.parametrize("source", ALL)
def test_the_runtime_recognises_the_event(source: str) -> None:
    assert detect(event_of(source, get("/"))).name == FORMATS.get(source, source)


ENCODED = "/a%2Fb%20c/%252F/..//%23/%3Fx%3D1/y"
DECODED = "/a/b c/%2F/..//#/"  # once, and what follows a decoded question mark is gone


@pytest.mark.parametrize("source", ALL)
def test_path_is_decoded_where_the_service_decodes_it(source: str) -> None:
    event = event_of(source, get(ENCODED))
    assert event.get("rawPath", event.get("path")) == (DECODED if source.startswith("http-api") else ENCODED)


# source, stage that was asked for, path to the app, path in the context
STAGES: dict[str, tuple[str, str, str, str]] = {
    "http-api: a named stage is a prefix": ("http-api", "dev", "/dev/x", "/dev/x"),
    "http-api: the default stage is none": ("http-api", "", "/x", "/x"),
    "http-api: nor is it when it is named": ("http-api", "$default", "/x", "/x"),
    "http-api-1: a named stage is a prefix": ("http-api-1", "dev", "/dev/x", "/dev/x"),
    "rest: the stage is in the context alone": ("rest", "dev", "/x", "/dev/x"),
    "rest: there is always one": ("rest", "", "/x", "/prod/x"),
}


@pytest.mark.parametrize(("source", "stage", "path", "context_path"), STAGES.values(), ids=STAGES)
def test_stage(source: str, stage: str, path: str, context_path: str) -> None:
    event = event_of(source, get("/x"), AWS._replace(stage=stage))
    context = event["requestContext"]
    assert event.get("rawPath", event.get("path")) == path
    assert context.get("path", context.get("http", {}).get("path")) == context_path
    assert context["stage"] == (stage or ("prod" if source == "rest" else "$default"))


PROXIES: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "the root has a resource of its own": ("/", "/", None),
    "escapes stay": ("/a%2Fb/c", "/{proxy+}", {"proxy": "a%2Fb/c"}),
    "one trailing slash is off": ("/a/b/", "/{proxy+}", {"proxy": "a/b"}),
}


@pytest.mark.parametrize(("target", "resource", "parameters"), PROXIES.values(), ids=PROXIES)
def test_rest_path_parameters(target: str, resource: str, parameters: dict[str, str] | None) -> None:
    event = event_of("rest", get(target))
    assert (event["resource"], event["pathParameters"]) == (resource, parameters)


def test_rest_keeps_the_spelling_of_names_but_for_those_that_its_edge_spells() -> None:
    lines = ("x-One: 1", "X-ONE: 2", "aUTHORIZATION: a", "user-agent: b", "content-type: c")
    assert list(event_of("rest", get("/", *lines))["multiValueHeaders"])[:5] == [
        *("Host", "x-One", "Authorization", "User-Agent", "content-type")
    ]


@pytest.mark.parametrize("source", ["http-api", "http-api-1", "alb", "alb-multi", "lattice", "function-url"])
def test_other_sources_lower_all_names(source: str) -> None:
    event = event_of(source, get("/", "X-Some-Name: v"))
    assert "x-some-name" in event.get("multiValueHeaders", event.get("headers"))


@pytest.mark.parametrize("source", ALL)
def test_hop_by_hop_fields_stay_behind(source: str) -> None:
    raw = get("/", "Connection: keep-alive", "Keep-Alive: 5", "TE: trailers", "Proxy-Connection: x", "X-Stays: yes")
    event = event_of(source, raw)
    names = {name.lower() for key in ("headers", "multiValueHeaders") for name in event.get(key) or {}}
    assert names.isdisjoint({"connection", "keep-alive", "te", "proxy-connection"})
    assert "x-stays" in names


@pytest.mark.parametrize("source", ["http-api", "rest", "http-api-1", "alb", "alb-multi", "lattice"])
def test_a_clients_forwarded_for_stays_to_the_left(source: str) -> None:
    event = event_of(source, get("/", "x-forwarded-for: 1.2.3.4", "x-forwarded-proto: gopher"))
    headers = {name.lower(): value for name, value in (event.get("multiValueHeaders") or event["headers"]).items()}
    assert headers["x-forwarded-for"] in ("1.2.3.4, 203.0.113.9", ["1.2.3.4, 203.0.113.9"])
    assert "gopher" not in str(headers.get("x-forwarded-proto"))


def test_http_api_has_cookies_in_the_list_alone() -> None:
    event = event_of("http-api", get("/", "Cookie: a=1; b=2"))
    assert event["cookies"] == ["a=1", "b=2"]
    assert "cookie" not in event["headers"]
    assert "cookies" not in event_of("http-api", get("/"))


ANY_TYPE = ("*/*",)
FORM = "application/x-www-form-urlencoded"
# source, binary media types, Content-Type and more, body, whether it travels as base64
BODIES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], bytes, bool]] = {
    "http-api: a form is base64": ("http-api", (), (f"Content-Type: {FORM}",), b"a=1", True),
    "http-api: json is text": ("http-api", (), ("Content-Type: application/json",), b"{}", False),
    "http-api-1: no type is base64": ("http-api-1", (), (), b"x", True),
    "rest: everything is text": ("rest", (), (f"Content-Type: {FORM}",), b"a=1", False),
    "rest: but what is named": ("rest", ("image/png",), ("Content-Type: image/png",), b"\x89", True),
    "rest: by kind": ("rest", ("image/*",), ("Content-Type: image/png",), b"\x89", True),
    "rest: with */* all": ("rest", ANY_TYPE, ("Content-Type: text/plain",), b"x", True),
    "rest: with */* what has no type too": ("rest", ANY_TYPE, (), b"x", True),
    "rest: case and parameters do not count": (
        *("rest", ("application/PDF",), ("Content-Type: Application/pdf; a=b",)),
        *(b"%PDF", True),
    ),
    "alb: javascript is text": ("alb", (), ("Content-Type: application/javascript",), b"x", False),
    "alb: problem+json is not": ("alb", (), ("Content-Type: application/problem+json",), b"{}", True),
    "alb: text that is encoded is not": (
        *("alb", (), ("Content-Type: text/plain", "Content-Encoding: gzip")),
        *(b"x", True),
    ),
    "alb-multi: octets are not": ("alb-multi", (), ("Content-Type: application/octet-stream",), b"x", True),
    "lattice: text that is no utf-8 is not": ("lattice", (), ("Content-Type: text/plain",), b"\xff", True),
    "lattice: xml is text": ("lattice", (), ("Content-Type: application/xml",), b"<a/>", False),
}


@pytest.mark.parametrize(("source", "binary", "lines", "body", "is_base64"), BODIES.values(), ids=BODIES)
def test_body(source: str, binary: tuple[str, ...], lines: tuple[str, ...], body: bytes, is_base64: bool) -> None:
    event = event_of(source, post(body, *lines), AWS._replace(binary_media_types=binary))
    assert bool(event.get("isBase64Encoded")) is is_base64
    assert (base64.b64decode(event["body"]) if is_base64 else event["body"].encode()) == body


EMPTY = {
    "function-url": "absent",
    "http-api": "absent",
    "lattice": "absent",
    "http-api-1": None,
    "rest": None,
    "alb": "",
    "alb-multi": "",
}


@pytest.mark.parametrize("source", ALL)
def test_no_body(source: str) -> None:
    event = event_of(source, get("/"))
    assert event.get("body", "absent") == EMPTY[source]
    assert not event.get("isBase64Encoded")


def test_rest_spoils_what_is_no_text_and_says_so() -> None:
    raw = post(b"\xff\xfe", "Content-Type: image/png")
    assert event_of("rest", raw)["body"] == "\ufffd\ufffd"
    (words,) = SOURCES["rest"].warnings(received(raw, "rest"), AWS)
    assert "--binary-media-types" in words
    assert SOURCES["rest"].warnings(received(raw, "rest"), AWS._replace(binary_media_types=ANY_TYPE)) == ()


class Refusal(NamedTuple):
    source: str
    raw: bytes
    status: int


def head_of(size: int) -> bytes:
    """A request whose request line and header values have ``size`` bytes."""
    return get("/", "X-Long: " + "x" * (size - len("GET / HTTP/1.1") - len("h")))


def announced(size: int) -> bytes:
    return f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n".encode()


TEN_MB, ONE_MB = 10 * 1024 * 1024, 1024 * 1024
REFUSALS = {
    **{f"{source}: more than 10,240 bytes of head": Refusal(source, head_of(10_241), 431) for source in API_GATEWAY},
    **{f"{source}: more than 10 MB": Refusal(source, announced(TEN_MB + 1), 413) for source in API_GATEWAY},
    "alb: more than 1 MB": Refusal("alb", announced(ONE_MB + 1), 413),
    "alb-multi: more than 1 MB": Refusal("alb-multi", announced(ONE_MB + 1), 413),
    "lattice: more than 6 MB": Refusal("lattice", announced(6 * ONE_MB + 1), 413),
    "function-url: more than a payload": Refusal("function-url", announced(PAYLOAD_LIMIT + 1), 413),
    "alb: an upgrade": Refusal("alb", get("/", "Connection: Upgrade", "Upgrade: websocket"), 400),
    "alb-multi: an upgrade": Refusal("alb-multi", get("/", "Connection: Upgrade", "Upgrade: websocket"), 400),
}


@pytest.mark.parametrize(("source", "raw", "status"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_source_refuses_by_itself(source: str, raw: bytes, status: int) -> None:
    with pytest.raises(RefusedRequest) as refused:
        received(raw, source)
    assert refused.value.status == status


@pytest.mark.parametrize("source", API_GATEWAY)
def test_a_head_of_exactly_the_limit_passes(source: str) -> None:
    check_head(SOURCES[source], received(head_of(10_240), source))


@pytest.mark.parametrize("source", ["function-url", "alb", "alb-multi", "lattice"])
def test_a_long_head_is_nobody_elses_problem(source: str) -> None:
    check_head(SOURCES[source], received(head_of(30_000), source))


@pytest.mark.parametrize("source", ALL)
def test_a_body_of_exactly_the_limit_passes(source: str) -> None:
    limit = SOURCES[source].limits.request_body
    check_body(SOURCES[source], limit)
    with pytest.raises(Refused):
        check_body(SOURCES[source], limit + 1)


def answered(source: str, payload: object, *lines: str, front: Front = AWS) -> Answer:
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return from_reply(SOURCES[source], received(get("/", *lines), source), front, 200, raw)


class Reply(NamedTuple):
    """A payload of one source and what the client gets."""

    source: str
    payload: object
    status: int
    headers: dict[str, list[str]]
    body: bytes
    lines: tuple[str, ...] = ()  # of the request
    binary: tuple[str, ...] = ()
    words: str = ""  # to the developer


REMAPPED = {"www-authenticate": "Basic", "server": "x", "date": "y"}
MULTI = {"Content-Type": ["text/html"], "Set-Cookie": ["a=1", "b=2"]}
REPLIES = {
    "http-api: cookies": Reply(
        "http-api", {"statusCode": 200, "cookies": ["a=1", "b=2"]}, 200, {"set-cookie": ["a=1", "b=2"]}, b""
    ),
    "http-api: inferred without statusCode": Reply(
        "http-api", {"message": "hi"}, 200, {"content-type": ["application/json"]}, b'{"message": "hi"}'
    ),
    "http-api: a body without type is called text": Reply(
        "http-api", {"statusCode": 200, "body": "x"}, 200, {"content-type": ["text/plain;charset=UTF-8"]}, b"x"
    ),
    "http-api: base64 by flag": Reply(
        *("http-api", {"statusCode": 200, "headers": {"content-type": "x/y"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["x/y"]}, b"\0\xff"),
    ),
    "http-api-1: both maps": Reply(
        *("http-api-1", {"statusCode": 200, "headers": {"x-a": "1"}, "multiValueHeaders": MULTI, "body": "x"}),
        *(200, {"content-type": ["text/html"], "set-cookie": ["a=1", "b=2"], "x-a": ["1"]}, b"x"),
    ),
    "http-api-1: an unknown key is nothing": Reply("http-api-1", {"statusCode": 204, "cookies": []}, 204, {}, b""),
    "http-api-1: base64 by flag": Reply(
        *(
            "http-api-1",
            {"statusCode": 200, "headers": {"content-type": "x/y"}, "body": "AP8=", "isBase64Encoded": True},
        ),
        *(200, {"content-type": ["x/y"]}, b"\0\xff"),
    ),
    "rest: both maps, the same pair once": Reply(
        *(
            "rest",
            {"statusCode": 201, "headers": {"content-type": "text/html", "x-a": "1"}, "multiValueHeaders": MULTI},
        ),
        *(201, {"content-type": ["text/html"], "set-cookie": ["a=1", "b=2"], "x-a": ["1"]}, b""),
    ),
    "rest: no key is required": Reply("rest", {}, 200, {}, b""),
    "rest: a body without type is called json": Reply(
        "rest", {"body": "<p>"}, 200, {"content-type": ["application/json"]}, b"<p>"
    ),
    "rest: a header may be true": Reply("rest", {"headers": {"x-a": True}}, 200, {"x-a": ["true"]}, b""),
    "rest: some names are remapped": Reply(
        *("rest", {"statusCode": 401, "headers": {"WWW-Authenticate": "Basic", "Server": "x", "Date": "y"}}),
        *(401, {f"x-amzn-remapped-{name}": [value] for name, value in REMAPPED.items()}, b""),
    ),
    "rest: base64 without a binary type stays base64": Reply(
        *("rest", {"headers": {"content-type": "image/png"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["image/png"]}, b"AP8=", ("Accept: image/png",)),
        words="the client gets base64 text",
    ),
    "rest: base64 with one is decoded": Reply(
        *("rest", {"headers": {"content-type": "image/png"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["image/png"]}, b"\0\xff", ("Accept: image/png",), ("image/png",)),
    ),
    "rest: only the first Accept type counts": Reply(
        *("rest", {"headers": {"content-type": "image/png"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["image/png"]}, b"AP8=", ("Accept: text/html, image/png",), ("image/png",)),
        words="text/html",
    ),
    "rest: with */* a browser gets bytes": Reply(
        *("rest", {"headers": {"content-type": "image/png"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["image/png"]}, b"\0\xff", ("Accept: text/html,*/*;q=0.8",), ANY_TYPE),
    ),
    "alb: one map": Reply(
        *("alb", {"statusCode": 200, "headers": {"content-type": "text/html", "Set-Cookie": "a", "set-cookie": "b"}}),
        *(200, {"content-type": ["text/html"], "set-cookie": ["a", "b"]}, b""),
    ),
    "alb: the other map vanishes": Reply(
        *("alb", {"statusCode": 200, "multiValueHeaders": MULTI, "body": "x"}),
        *(200, {"content-type": ["application/octet-stream"]}, b"x"),
        words="multiValueHeaders is ignored",
    ),
    "alb-multi: lists": Reply(
        *("alb-multi", {"statusCode": 200, "multiValueHeaders": MULTI, "body": "x"}),
        *(200, {"content-type": ["text/html"], "set-cookie": ["a=1", "b=2"]}, b"x"),
    ),
    "alb-multi: the other map vanishes": Reply(
        *("alb-multi", {"statusCode": 200, "headers": {"content-type": "text/html"}, "body": "x"}),
        *(200, {"content-type": ["application/octet-stream"]}, b"x"),
        words="headers is ignored",
    ),
    "alb: base64 by flag": Reply(
        *("alb", {"statusCode": 200, "headers": {"content-type": "x/y"}, "body": "AP8=", "isBase64Encoded": True}),
        *(200, {"content-type": ["x/y"]}, b"\0\xff"),
    ),
    "lattice: a list of values, other keys ignored": Reply(
        *("lattice", {"statusCode": 200, "headers": {"Set-Cookie": ["a", "b"]}, "cookies": ["a", "b"]}),
        *(200, {"set-cookie": ["a", "b"]}, b""),
    ),
    "lattice: cookies spelled apart": Reply(
        *("lattice", {"statusCode": 200, "headers": {"set-cookie": "a", "Set-cookie": "b"}}),
        *(200, {"set-cookie": ["a", "b"]}, b""),
    ),
}


@pytest.mark.parametrize("case", REPLIES.values(), ids=REPLIES)
def test_reply(case: Reply) -> None:
    answer = answered(case.source, case.payload, *case.lines, front=AWS._replace(binary_media_types=case.binary))
    sent: dict[str, list[str]] = {}
    for name, value in answer.response.headers:
        sent.setdefault(name, []).append(value)
    length = {} if case.status == 204 else {"content-length": [str(len(case.body))]}
    assert (answer.response.status, sent, answer.response.body) == (case.status, case.headers | length, case.body)
    assert case.words in " ".join(answer.problem)
    assert bool(case.words) is bool(answer.problem)


@pytest.mark.parametrize("source", ["alb", "alb-multi"])
def test_alb_takes_the_reason_from_the_description(source: str) -> None:
    described = answered(source, {"statusCode": 404, "statusDescription": "404 Nothing here"})
    assert (described.response.status, described.response.reason) == (404, "Nothing here")
    assert answered(source, {"statusCode": 404}).response.reason == "Not Found"


@pytest.mark.parametrize("source", ALL)
def test_hop_by_hop_fields_and_the_length_of_an_answer_are_the_front_ends(source: str) -> None:
    fields = {"Connection": "x", "Transfer-Encoding": "chunked", "Content-Length": "99", "content-type": "a/b"}
    is_multi = source in ("alb-multi",)
    headers = {name: [value] for name, value in fields.items()} if is_multi else fields
    payload = {"statusCode": 200, "multiValueHeaders" if is_multi else "headers": headers, "body": "ab"}
    assert sorted(answered(source, payload).response.headers) == [("content-length", "2"), ("content-type", "a/b")]


MALFORMED: dict[str, tuple[str, object]] = {
    "rest: an unknown key": ("rest", {"statusCode": 200, "body": "x", "cookies": []}),
    "rest: a number in a header": ("rest", {"statusCode": 200, "headers": {"x-a": 7}}),
    "rest: a body that is an object": ("rest", {"statusCode": 200, "body": {}}),
    "rest: a status in words": ("rest", {"statusCode": "ok"}),
    "rest: a string": ("rest", "hi"),
    "rest: an error": ("rest", {"errorType": "Function.Oops", "errorMessage": "no"}),
    "rest: values that are no list": ("rest", {"multiValueHeaders": {"a": "b"}}),
    "http-api-1: no status": ("http-api-1", {"body": "x"}),
    "http-api-1: a list": ("http-api-1", []),
    "http-api: a list in a header": ("http-api", {"statusCode": 200, "headers": {"a": ["b"]}}),
    "alb: no status": ("alb", {"body": "x"}),
    "alb: a number in a header": ("alb", {"statusCode": 200, "headers": {"x-a": 7}}),
    "alb: a list in a header": ("alb", {"statusCode": 200, "headers": {"x-a": ["b"]}}),
    "alb-multi: one value": ("alb-multi", {"statusCode": 200, "multiValueHeaders": {"x-a": "b"}}),
    "alb-multi: a null value": ("alb-multi", {"statusCode": 200, "multiValueHeaders": {"x-a": [None]}}),
    "lattice: no status": ("lattice", {"headers": {}}),
    "alb: base64 that is none": ("alb", {"statusCode": 200, "body": "%%%", "isBase64Encoded": True}),
    "not json": ("alb-multi", b"<html>"),
    "a header with a line end": ("http-api-1", {"statusCode": 200, "headers": {"a": "b\r\nc: d"}}),
}
PAGES = {
    "function-url": ("text/plain; charset=utf-8", b"Internal Server Error"),
    "http-api": ("application/json", b'{"message":"Internal Server Error"}'),
    "http-api-1": ("application/json", b'{"message":"Internal Server Error"}'),
    "rest": ("application/json", b'{"message": "Internal server error"}'),
    "alb": ("text/html", b"<h1>502 Bad Gateway</h1>"),
    "alb-multi": ("text/html", b"<h1>502 Bad Gateway</h1>"),
    "lattice": ("text/plain; charset=utf-8", b"Bad Gateway"),
}


@pytest.mark.parametrize(("source", "payload"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_502_in_the_sources_own_words(source: str, payload: object) -> None:
    answer = answered(source, payload)
    content_type, body = PAGES[source]
    assert answer.response.status == 502
    assert ("content-type", content_type) in answer.response.headers
    assert body in answer.response.body
    assert answer.problem


@pytest.mark.parametrize("source", ALL)
def test_a_timeout_of_the_function_is_an_error_of_the_function(source: str) -> None:
    answer = answered(source, b"Task timed out after 3.00 seconds")
    assert (answer.response.status, answer.problem) == (502, ("Task timed out after 3.00 seconds",))


@pytest.mark.parametrize("source", API_GATEWAY)
def test_api_gateway_gives_up_with_504(source: str) -> None:
    assert SOURCES[source].patience_s == (29 if source == "rest" else 30)
    assert b"Endpoint request timed out" in SOURCES[source].own_page(504).body


@pytest.mark.parametrize(("source", "limit"), [("alb", ONE_MB), ("alb-multi", ONE_MB), ("lattice", 6 * ONE_MB)])
def test_an_answer_larger_than_the_source_takes_is_502(source: str, limit: int) -> None:
    def payload(size: int) -> bytes:
        frame = b'{"statusCode":200,"body":"%s"}'
        return frame % (b"x" * (size - len(frame) + 2))

    assert len(payload(limit)) == limit
    assert answered(source, payload(limit)).response.status == 200
    too_large = answered(source, payload(limit + 1))
    assert too_large.response.status == 502
    assert "too large" in too_large.problem[0]


@pytest.mark.parametrize("source", API_GATEWAY)
def test_an_answer_with_more_than_10240_bytes_of_header_values_is_502(source: str) -> None:
    def status(size: int) -> int:
        return answered(source, {"statusCode": 200, "headers": {"x-a": "x" * (size - 1)}}).response.status  # and the 0

    assert (status(10_240), status(10_241)) == (200, 502)
