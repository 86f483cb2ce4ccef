"""Drawing examples: hostile events, hostile Runtime API fields, hostile answers of the app."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from .examples import AppAnswer, End, Example, Expected

EVENT_FILES = sorted(
    path
    for path in (Path(__file__).parents[1] / "data" / "events").glob("*/*.json")
    if not path.name.endswith((".response.json", ".options.json", ".fault.json"))
)
SMUGGLED = "\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: smuggled\r\n\r\n"
TEXTS = (
    *("", " ", "\t", "\r", "\n", "\0", "\r\n", "\x0b\x0c", "\x7f", "\x85", "\u2028", "\ud800", "\udfff\ud800"),
    *("a b", "a\r\nx-injected: 1", "a\nx-injected: 1", SMUGGLED, " HTTP/1.1\r\nx: y", "é", "😀", "\\", '"', "chunked"),
    *("/", "//evil.example", "http://evil.example/x", "/../..", "*", "?", "#", "%", "%zz", "%0d%0a", "%2F", "+", "&="),
    *(
        "0",
        "-1",
        "5",
        "999",
        "1e999",
        "true",
        "null",
        "keep-alive",
        "close",
        "100-continue",
        "${jndi:ldap://x}",
        "{{x}}",
    ),
    *(
        "1.2.3.4",
        "::1",
        "a=b; c=d",
        "=",
        ":",
        "a" * 400,
        "%%%",
        "AAA=",
        "GET",
        "HEAD",
        "CONNECT",
        "G T",
        "get",
        "TRACE",
    ),
)
NAMES = (
    *("host", "Host", "HOST", "content-length", "Content-Length ", "Content_Length", "transfer-encoding", "connection"),
    *(
        "Transfer_Encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "proxy",
        "keep-alive",
        "cookie",
        "Cookie",
        "set-cookie",
    ),
    *("x-amzn-trace-id", "X_Amzn_Trace_Id", "x-amzn-lambda-context", "x-amzn-request-context", "x-amz-tenant-id"),
    *(
        "x.amzn.request.context",
        "X!Amz~Tenant.Id",
        "x.fairlead.request.id",
        "content.length",
        "x_forwarded.for",
        "x.ok",
    ),
    *("x-fairlead-event-source", "X_Fairlead_x", "x-forwarded-for", "x-forwarded-proto", "forwarded", "user-agent"),
    *("", " ", "a b", "a:b", "x\r\ny: z", "é", "\0", "x-ok", "content-type", "accept", "authorization", "x-Ok"),
)

texts = st.sampled_from(TEXTS) | st.text(max_size=30)
names = st.sampled_from(NAMES) | st.text(max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


def _one_of(*values: Any) -> st.SearchStrategy[Any]:
    """As ``sampled_from``, which however writes all of them into every message."""
    return st.integers(0, len(values) - 1).map(lambda at: values[at])


def _rarely(usual: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly ``usual``: an event that is odd everywhere gets nowhere."""
    return st.integers(0, 7).flatmap(lambda die: odd if die == 0 else usual)


# ---- events ---------------------------------------------------------------------------------------------------------

header_maps = st.dictionaries(names, _rarely(texts, json_values), max_size=6)
header_lists = st.dictionaries(names, _rarely(st.lists(texts, max_size=3), json_values), max_size=6)
methods = st.sampled_from(["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"])
paths = st.builds("/{}".format, texts) | texts
# Above 16 KiB a body is sent while answers are looked for; 3 MB is more than the sockets' buffers take.
large_texts = st.integers(1, 40).map(lambda n: "0123456789abcdef\n" * n * 300)
huge_texts = _one_of("0123456789abcdef\n" * 180_000)
bodies = _rarely(
    st.none() | texts | st.text(max_size=300),
    json_values | large_texts | large_texts | _rarely(large_texts, huge_texts),
)


@st.composite
def _body(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(bodies)
    if isinstance(body, str) and draw(st.booleans()):
        encoded = base64.b64encode(body.encode("utf-8", "surrogatepass")).decode()
        return {"body": draw(_rarely(st.just(encoded), texts)), "isBase64Encoded": True}
    return {"body": body, "isBase64Encoded": draw(_rarely(st.just(False), json_values))}


@st.composite
def _function_url(draw: st.DrawFn) -> dict[str, Any]:
    path = draw(paths)
    http = {"method": draw(_rarely(methods, texts)), "path": path, "sourceIp": draw(_rarely(st.just("1.2.3.4"), texts))}
    domain = draw(_rarely(st.sampled_from(["x.lambda-url.eu-west-1.on.aws", "x.execute-api.eu-west-1.aws"]), texts))
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": draw(_rarely(texts, json_values)),
        "headers": draw(header_maps),
        "cookies": draw(_rarely(st.lists(texts, max_size=3), json_values)),
        "requestContext": {"domainName": domain, "http": http, "authorizer": draw(json_values)},
        **draw(_body()),
    }


@st.composite
def _rest(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "version": draw(st.sampled_from(["1.0", "", "2.0"])),
        "httpMethod": draw(_rarely(methods, texts)),
        "path": draw(paths),
        "headers": draw(header_maps),
        "multiValueHeaders": draw(st.none() | header_lists),
        "queryStringParameters": draw(st.none() | header_maps),
        "multiValueQueryStringParameters": draw(st.none() | header_lists),
        "requestContext": {"identity": {"sourceIp": draw(texts)}, "stage": draw(json_values)},
        **draw(_body()),
    }


@st.composite
def _alb(draw: st.DrawFn) -> dict[str, Any]:
    event = draw(_rest())
    event["requestContext"] = {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:..."}}
    for key in draw(st.sets(st.sampled_from(["headers", "multiValueHeaders", "queryStringParameters", "path"]))):
        del event[key]
    return event


@st.composite
def _changed_event(draw: st.DrawFn) -> Any:
    """A real event, changed in a few places."""
    event = json.loads(draw(_one_of(*EVENT_FILES)).read_bytes())
    for _ in range(draw(st.integers(0, 4))):
        _change(draw, event)
    return event


def _change(draw: st.DrawFn, event: Any) -> None:
    node = event
    while isinstance(node, dict | list) and node:
        key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 3)) == 0:
            if draw(st.integers(0, 3)) == 0:
                del node[key]
            else:
                node[key] = draw(texts | json_values)
            return
        node = node[key]
    if isinstance(node, dict):
        node[draw(names)] = draw(texts | json_values)


EVENT_PIECES = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\",
    b"\\ud800",
    b"\0",
    b"\xff",
    b"NaN",
    b"1e999",
    b"9" * 5000,
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    """What an invocation brings: mostly HTTP events, also any JSON, and bytes that are no JSON."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:
        return draw(mutated(draw(_one_of(*EVENT_FILES)).read_bytes(), EVENT_PIECES))
    if kind == 2:
        return _dumped(draw, draw(json_values))
    if kind == 3:
        depth = draw(st.sampled_from([10, 900, 5000, 50_000]))
        return b'{"httpMethod":"GET","path":"/","headers":{},"requestContext":' + b"[" * depth + b"]" * depth + b"}"
    if kind < 7:
        return _dumped(draw, draw(_changed_event()))
    return _dumped(draw, draw(_function_url() | _rest() | _alb()))


def _dumped(draw: st.DrawFn, value: Any) -> bytes:
    # Lone surrogates have to be escaped, or are no UTF-8: both happen.
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode("utf-8", draw(st.sampled_from(ENCODING_ERRORS)))


ENCODING_ERRORS = ("replace", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn, data: bytes, pieces: tuple[bytes, ...]) -> bytes:
    """``data`` with a few bytes inserted, removed, overwritten or repeated."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        kind = draw(st.integers(0, 4))
        new = draw(st.sampled_from(pieces) | st.binary(min_size=1, max_size=4))
        if kind == 0:
            data = data[:at] + new + data[at:]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + new + data[at + len(new) :]
        elif kind == 3:
            data = data[: at + length] + data[at:]
        else:
            data = data[:at]
    return data


# ---- the Runtime API's fields ---------------------------------------------------------------------------------------

# Whatever a field line can hold; bytes as latin-1.
field_values = (
    st.sampled_from([text for text in TEXTS if text.isascii() and "\n" not in text])
    | st.text(st.characters(max_codepoint=255, exclude_characters="\n"), max_size=40)
    | st.text(max_size=20).map(lambda text: text.replace("\n", ""))
).map(lambda text: text.encode("utf-8", "replace").decode("latin-1") if not _is_latin(text) else text)
contexts = field_values | json_values.map(json.dumps) | _one_of('{"a":' * 3000 + "1" + "}" * 3000, "[" * 60_000)
nonces = st.text("0123456789abcdef-", min_size=1, max_size=40)
FIELDS: dict[str, st.SearchStrategy[str]] = {
    "Lambda-Runtime-Trace-Id": field_values,
    "Lambda-Runtime-Aws-Tenant-Id": field_values,
    "Lambda-Runtime-Client-Context": contexts,
    "Lambda-Runtime-Cognito-Identity": contexts,
    "Lambda-Runtime-Invoked-Function-Arn": field_values,
    "Lambda-Runtime-Invocation-Id": nonces,
}


def _is_latin(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


@st.composite
def fields(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    """Some of the fields that come with an invocation."""
    chosen = draw(st.sets(st.sampled_from(sorted(FIELDS)), max_size=4))
    return tuple((name, draw(FIELDS[name])) for name in sorted(chosen))


# Far away, past, and no number at all. The second of these kinds costs a start of the app.
deadlines = st.sampled_from(("", "0", "-1", "x", "1e9", "9" * 18, "9" * 400, "1 2", "\xb2")) | st.sampled_from(
    ("9" * 13, "9" * 17, 2**31 + 60_000, 2**31 + 60_000, -5000)
)

# ---- answers --------------------------------------------------------------------------------------------------------

ANSWER_PIECES = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n"),
    *(b"\r\ncontent-length: 5", b"\r\ncontent-length: 99999999", b"\r\ncontent-length: 0", b"\r\ncontent-length: +1"),
    *(b"\r\ntransfer-encoding: chunked", b"\r\ntransfer-encoding: gzip, chunked", b"\r\nconnection: close", b"\r\n x"),
    *(b"\r\nset-cookie: a=b", b"\r\nx : y", b"\r\nx", b"HTTP/2 200\r\n", b"HTTP/1.1 99999 x\r\n", b"\xff"),
)
POISON = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"poison"'
TYPES = (
    *("application/json", "text/plain", "text/html; charset=utf-8", "text/plain; charset=iso-8859-1", "image/png", ""),
    *("application/octet-stream", "application/problem+json", "multipart/form-data; boundary=x", "x", ";;;", "text/"),
)
response_lines = st.sampled_from(
    [
        *(f"content-type: {kind}" for kind in TYPES),
        *(
            "content-encoding: gzip",
            "content-encoding: identity",
            "set-cookie: a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        ),
        *("Set-Cookie: c", "vary: a", "Vary: b", "connection: close", "Connection: Keep-Alive", "upgrade: h2c", "x-a:"),
        *("te: x", "trailer: x", "no colon", "bad name: x", "x-folded: a\r\n  b", "server:\tx\t", "x-b : c", "date: x"),
    ]
) | st.builds(
    "x-{}: {}".format,
    st.text("abcDEF-_0", max_size=8),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30),
)
small_bodies = (
    st.binary(max_size=200)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.integers(1, 60).map(lambda n: b"0123456789abcdef" * 64 * n)
    | _one_of(b"", POISON, b"null", b'{"batchItemFailures":[]}', b"[" * 50_000)
)
# About and beyond what a load balancer takes, and what Lambda does.
large_bodies = _one_of(*(b"0123456789abcdef" * 64 * kilobytes for kilobytes in (400, 1023, 1100, 6200)))
response_bodies = _rarely(small_bodies, _rarely(small_bodies, large_bodies))
statuses = st.sampled_from([200, 200, 200, 200, 201, 204, 206, 301, 304, 404, 500, 503]) | st.integers(200, 599)


@st.composite
def good_answers(draw: st.DrawFn) -> AppAnswer:
    """An answer that has one reading, in any of the framings, and what a client has to make of it."""
    status, body = draw(statuses), draw(response_bodies)
    framing = draw(st.sampled_from(["length", "length", "chunked", "close", "length of 1.0", "close of 1.0"]))
    if status in (204, 304):
        body, framing = b"", "none"
    lines = [f"HTTP/1.{'0' if framing.endswith('1.0') else '1'} {status} {draw(st.sampled_from(['OK', '', 'é x']))}"]
    lines += draw(st.lists(response_lines, max_size=5))
    if len(lines) > 1 and lines[1][0] in " \t":
        del lines[1]
    coded = body
    if framing.startswith("length"):
        lines.insert(draw(st.integers(1, len(lines))), f"Content-Length: {len(body)}")
    elif framing == "chunked":
        lines.insert(draw(st.integers(1, len(lines))), "transfer-encoding: Chunked")
        coded = draw(_chunks(body))
    interim = b"".join(draw(st.lists(st.sampled_from(INTERIM), max_size=2)))
    whole = interim + "\r\n".join([*lines, "", ""]).encode("latin-1") + coded
    end: End = (
        "close" if framing.startswith("close") else draw(st.sampled_from(["keep", "keep", "keep", "close", "reset"]))
    )
    if draw(st.integers(0, 40)) == 0 and end == "keep":
        end = "die"
    pieces = draw(_pieces(whole))
    if not framing.startswith("close") and draw(st.integers(0, 5)) == 0:
        pieces = draw(st.sampled_from([(*pieces, POISON), (*pieces[:-1], pieces[-1] + POISON), (*pieces, b"\r\n")]))
    # What a reset overtakes is lost, and that is nobody's fault.
    is_certain = end != "reset" or len(whole) < 8000
    return AppAnswer(pieces, end, draw(st.integers(0, 15)) == 0, Expected(status, body) if is_certain else None)


INTERIM = (
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\ncontent-length: 5\r\n\r\n",
    b"HTTP/1.1 199\r\n\r\n",
)


@st.composite
def _chunks(draw: st.DrawFn, body: bytes) -> bytes:
    coded = b""
    at = 0
    while at < len(body):
        size = draw(st.integers(1, max(1, len(body))))
        piece = body[at : at + size]
        size_line = draw(st.sampled_from([b"%x", b"%X", b"00%x", b"%x;extension=1"])) % len(piece)
        coded += size_line + b"\r\n" + piece + b"\r\n"
        at += size
    return coded + draw(
        st.sampled_from([b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nx-trailer: 1\r\ncontent-length: 9\r\n\r\n"])
    )


@st.composite
def _pieces(draw: st.DrawFn, data: bytes) -> tuple[bytes, ...]:
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return tuple(data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True))


ends: st.SearchStrategy[End] = st.sampled_from(("close", "close", "close", "close", "reset", "reset", "die"))


@st.composite
def bad_answers(draw: st.DrawFn) -> AppAnswer:
    """Bytes, at random or a good answer with faults in it. Ended by the app, or it would be waited for."""
    if draw(st.integers(0, 3)) == 0:
        data = draw(st.sampled_from([b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n"])) + draw(st.binary(max_size=200))
    else:
        data = draw(mutated(b"".join(draw(good_answers()).pieces), ANSWER_PIECES))
    return AppAnswer(draw(_pieces(data)), draw(ends), draw(st.integers(0, 15)) == 0)


# ---- both -----------------------------------------------------------------------------------------------------------

PLAIN_PAYLOADS = tuple(
    json.dumps(event).encode()
    for event in (
        {"anything": 1},
        {"Records": [{"eventSource": "aws:sqs"}]},
        {"httpMethod": "GET", "path": "/"},
        {"httpMethod": "HEAD", "path": "/"},
        {"httpMethod": "POST", "path": "/", "version": "1.0", "body": "x"},
        {"httpMethod": "GET", "path": "/", "headers": {}, "requestContext": {"elb": {}}},
        {
            "httpMethod": "PUT",
            "path": "/",
            "multiValueHeaders": {},
            "requestContext": {"elb": {}},
            "body": "x" * 30_000,
        },
        {"rawPath": "/", "requestContext": {"http": {"method": "GET"}, "domainName": "x.lambda-url.y.on.aws"}},
        {"rawPath": "/", "requestContext": {"http": {"method": "POST"}}, "body": "x"},
    )
)
PLAIN_ANSWER = AppAnswer((b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",), "keep", False, Expected(200, b"{}"))


def hostile_events() -> st.SearchStrategy[Example]:
    """Any event with any fields, to an app that answers well."""
    deadline = _rarely(st.just(30_000), deadlines)
    return st.builds(_example, payloads(), st.just(PLAIN_ANSWER), fields(), deadline)


def hostile_answers() -> st.SearchStrategy[Example]:
    """Ordinary events to an app that answers anything. One in many never ends its answer."""
    plain = _one_of(*PLAIN_PAYLOADS)
    answers = st.builds(_example, plain, good_answers() | bad_answers(), st.just(()), st.just(30_000))
    endless = bad_answers().map(lambda answer: answer._replace(end="keep"))
    return _rarely(answers, st.builds(_example, plain, endless, st.just(()), st.just(60)))


def everything() -> st.SearchStrategy[Example]:
    """Both at once."""
    deadline = _rarely(st.just(30_000), deadlines)
    return st.builds(_example, payloads(), good_answers() | bad_answers(), fields(), deadline)


def _example(payload: bytes, answer: AppAnswer, fields: tuple[tuple[str, str], ...], deadline: int | str) -> Example:
    return Example(payload, answer, fields, deadline)


KINDS: dict[str, Callable[[], st.SearchStrategy[Example]]] = {
    "hostile-events": hostile_events,
    "hostile-answers": hostile_answers,
    "everything": everything,
}
