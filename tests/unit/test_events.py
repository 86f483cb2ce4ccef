"""runtime/events: one case per rule, as files; and properties that hold for every event and every answer.

A case is ``tests/data/events/<format>/<rule>.json``, an event. Beside it lies what it becomes:

``<rule>.http``           the request; in place of the body, ``<payload>`` stands for the event's own bytes
``<rule>.body``           the body in base64, where it is no plain text
``<rule>.fault.json``     instead of a request: the ``InvocationFault``; ``message`` is how its message begins
``<rule>.options.json``   ``options`` of the translation (context headers are off unless asked for), ``invocation``, and
                          the ``warnings`` that the request deserves

``<rule>.response.json`` needs no event of that name. It holds the app's ``response`` (``body`` or ``body_base64``), the
``event`` where that matters, and ``payload`` (a JSON value), ``payload_text`` (exact) or ``fault``; also ``warnings``.
Adding a case adds files and no code.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import BadRequest, InvocationFault
from runtime.events import (
    FORMATS,
    EnvironmentConfig,
    EventFormat,
    EventOptions,
    balancers,
    detect,
    fields,
    padding_for,
    response,
    trigger,
)
from runtime.invocation import Invocation
from runtime.json_codec import loads
from runtime.messages import HttpRequest, HttpResponse, header_values

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "events"
BY_NAME = {candidate.name: candidate for candidate in FORMATS}
# A WebSocket API's client waits for a status too, but its events go to the app as a trigger's do.
POSTED = [candidate for candidate in FORMATS if candidate.to_request is trigger.to_request]
HTTP_FORMATS = [candidate for candidate in FORMATS if candidate not in POSTED]
REQUEST_ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
STRIPPED = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
OURS = {"x-amzn-request-context", "x-amzn-lambda-context", "x-amz-tenant-id"}
OURS |= {"x-fairlead-event-source", "x-fairlead-left-out"}

ASKED = HttpRequest("GET", "/", [("host", "app.example")])

FILES = sorted(DATA.glob("*/*"))
EVENTS = [path for path in FILES if path.suffix == ".json" and "." not in path.stem]
RESPONSES = [path for path in FILES if path.name.endswith(".response.json")]


def case_name(path: Path) -> str:
    return f"{path.parent.name}/{path.name.partition('.')[0]}"


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.partition(".")[0] + suffix)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


def options_of(path: Path) -> EventOptions:
    chosen = {"context_headers": False, **read_json(beside(path, ".options.json")).get("options", {})}
    return EventOptions(**{**chosen, "environment": EnvironmentConfig(**chosen.get("environment", {}))})


def invocation_of(path: Path) -> Invocation:
    given = read_json(beside(path, ".options.json")).get("invocation", {})
    return Invocation(**{"request_id": REQUEST_ID, "payload": path.read_bytes(), **given})


def translate(path: Path) -> HttpRequest:
    event = loads(path.read_bytes())
    return detect(event).to_request(event, invocation_of(path), options_of(path))


def head_of(request: HttpRequest) -> str:
    return f"{request.method} {request.target} HTTP/1.1\n" + "".join(f"{k}: {v}\n" for k, v in request.headers) + "\n"


def expected_body(path: Path, text: str) -> bytes:
    if text == "<payload>\n":
        return path.read_bytes()
    if beside(path, ".body").exists():
        return base64.b64decode(beside(path, ".body").read_text())
    return text.removesuffix("\n").encode()


@pytest.mark.parametrize("path", EVENTS, ids=case_name)
def test_event_is_of_the_format_that_its_folder_names(path: Path) -> None:
    assert detect(loads(path.read_bytes())).name == path.parent.name


@pytest.mark.parametrize("path", [path for path in EVENTS if beside(path, ".http").exists()], ids=case_name)
def test_event_becomes_the_request_beside_it(path: Path) -> None:
    head, blank, body = beside(path, ".http").read_bytes().decode().partition("\n\n")
    request = translate(path)
    assert head_of(request) == head + blank
    assert request.body == expected_body(path, body)
    check_request(request)
    event = loads(path.read_bytes())
    warnings = detect(event).warnings(event, request, HttpResponse(200, "OK", []), b"null")
    assert list(warnings) == read_json(beside(path, ".options.json")).get("warnings", [])


@pytest.mark.parametrize("path", [path for path in EVENTS if beside(path, ".fault.json").exists()], ids=case_name)
def test_event_is_refused_as_the_file_beside_it_says(path: Path) -> None:
    expected = read_json(beside(path, ".fault.json"))
    with pytest.raises(BadRequest) as refusal:
        translate(path)
    assert refusal.value.error_type == expected["error_type"]
    assert refusal.value.message.startswith(expected["message"])


@pytest.mark.parametrize("path", RESPONSES, ids=case_name)
def test_response_becomes_the_payload(path: Path) -> None:
    case = read_json(path)
    event_format, event = BY_NAME[path.parent.name], case.get("event")
    answer = response_of(case["response"])
    if "fault" in case:
        with pytest.raises(InvocationFault) as fault:
            event_format.to_payload(answer, event)
        assert {"error_type": fault.value.error_type, "message": fault.value.message} == case["fault"]
        return
    payload = event_format.to_payload(answer, event)
    if "payload_text" in case:
        assert payload.decode() == case["payload_text"]
    else:
        assert json.loads(payload) == case["payload"]
    assert list(event_format.warnings(event, ASKED, answer, payload)) == case.get("warnings", [])


def response_of(case: dict[str, Any]) -> HttpResponse:
    body = base64.b64decode(case["body_base64"]) if "body_base64" in case else case.get("body", "").encode()
    return HttpResponse(case["status"], case["reason"], [(name, value) for name, value in case["headers"]], body)


def test_every_file_belongs_to_a_case() -> None:
    for path in FILES:
        assert path.parent.name in BY_NAME, f"{path} lies in a folder that is no format"
        kind = path.name.partition(".")[2]
        if kind in ("http", "body", "fault.json", "options.json"):
            assert beside(path, ".json") in EVENTS, f"{path} has no event"
        else:
            assert kind in ("json", "response.json"), f"{path} is of no known kind"
    for path in EVENTS:
        outcomes = beside(path, ".http").exists() + beside(path, ".fault.json").exists()
        assert outcomes == 1, f"{path} needs a request or a fault beside it"


def test_the_trigger_is_last_and_takes_everything() -> None:
    assert FORMATS[-1].name == "trigger"
    assert detect({}) is FORMATS[-1]
    assert [candidate.name for candidate in FORMATS if candidate.is_http] == [
        *("alb-multi", "alb", "websocket", "function-url", "http-api-2", "lattice-2", "http-api-1", "rest-api"),
        "lattice-1",
    ]


# What no file can hold well.


def test_context_that_is_nested_too_deeply_is_left_out() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    event = {"httpMethod": "GET", "path": "/", "requestContext": deep, "headers": {"x-deep": deep}}
    invocation = Invocation(REQUEST_ID, b"")
    request = detect(event).to_request(event, invocation, EventOptions())
    check_request(request)
    assert header_values(request.headers, "x-amzn-request-context") == []
    assert len(header_values(request.headers, "x-amzn-lambda-context")) == 1


def test_cookies_beyond_the_512_spellings_are_cut() -> None:
    cookies = [f"c{number}={number}" for number in range(600)]
    spelled = balancers.spelled_apart(cookies)
    assert list(spelled.values()) == cookies[:512]
    assert {name.lower() for name in spelled} == {"set-cookie"}


def test_what_is_remembered_of_names_and_types_is_bounded() -> None:
    """Clients choose both; an environment lives for hours."""
    for number in range(5000):
        fields.lines_of({f"x-{number}": "1", "x" * 100 + str(number): "1"})
        response.text_of([("content-type", f"text/x{number}")], b"a")
    assert len(fields._REQUEST_NAMES) <= 1024
    assert all(len(name) <= 64 for name in fields._REQUEST_NAMES)
    assert len(response._TEXT_TYPES) <= 256
    assert fields.lines_of({"X-New-Name": "1", "Transfer-Encoding": "chunked"}) == [("x-new-name", "1")]


field_values = st.none() | st.integers() | st.text(" \t\r\n\0\x7f\x1c\u00a0\u2028\u00e9\ud800ab/;=", max_size=6)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    st.dictionaries(
        st.sampled_from(["a", "B", "x-c", "connection", "no token"]),
        st.text(" \tab/;=", max_size=6) | field_values | st.lists(field_values, max_size=3),
    )
)
def test_the_values_of_a_map_are_cleaned_together_as_one_by_one(values: dict[str, Any]) -> None:
    expected = [
        (spelled.lower(), fields.clean(item))
        for spelled, value in values.items()
        if spelled in ("a", "B", "x-c")
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]
    assert fields.lines_of(values) == fields.merged_lines(values, {}) == expected


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("", ""),
        (" \ta b\t ", "a b"),
        ("a\r\nb: c\0", "a  b: c"),
        ("\x1ca\x7f", "\x1ca\x7f"),
        ("\u00a0\u00e9 ", "\u00a0\u00e9"),
        ("\t\ud800", "\ufffd"),
    ],
)
def test_a_value_loses_what_ends_a_line_and_the_blanks_around_it(value: str, cleaned: str) -> None:
    assert fields.lines_of({"a": value}) == fields.lines_of({"a": [value]}) == [("a", cleaned)]


def test_the_lambda_context_is_compact_json_in_ascii() -> None:
    names = ('f"\u00e9', "128", "$LATEST", "/aws/lambda/f", "2026/11/21/[1]a")
    invoker = ('{"custom": {"a": "\u00e9"}}', '{"cognitoIdentityId": "x"}', "tenant")
    full = Invocation("id\u00e9", b"", 1795255940000, 'arn:"', "Root=1", *invoker)
    expected = {
        "request_id": "id\u00e9",
        "deadline": 1795255940000,
        "invoked_function_arn": 'arn:"',
        "xray_trace_id": "Root=1",
        "client_context": {"custom": {"a": "\u00e9"}},
        "identity": {"identityId": "x", "identityPoolId": None},
        "tenant_id": "tenant",
        "env_config": {
            "function_name": 'f"\u00e9',
            "memory": 128,
            "version": "$LATEST",
            "log_stream": "2026/11/21/[1]a",
            "log_group": "/aws/lambda/f",
        },
    }
    empty = full._replace(trace_id="", client_context="", cognito_identity="", tenant_id="")
    nothing = dict.fromkeys(("xray_trace_id", "client_context", "identity", "tenant_id"))
    for invocation, value in ((full, expected), (empty, expected | nothing)):
        spelled = fields.lambda_context(invocation, EnvironmentConfig(*names))
        assert spelled == json.dumps(value, separators=(",", ":"))


def test_large_bodies_are_carried_whole() -> None:
    body = bytes(range(256)) * 4096
    event = {"httpMethod": "POST", "path": "/", "body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    request = detect(event).to_request(event, Invocation(REQUEST_ID, b""), EventOptions())
    assert request.body == body
    for candidate in HTTP_FORMATS:
        payload = json.loads(candidate.to_payload(HttpResponse(200, "OK", [], body), event))
        assert base64.b64decode(payload["body"]) == body


def test_start_up_imports_are_built_in_or_ours() -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import runtime.events; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    costly = {"os", "re", "json", "socket", "enum", "typing", "collections", "functools", "dataclasses", "urllib"}
    assert costly.isdisjoint(done.stdout.split())


# Properties.

EXAMPLES = settings(derandomize=True, deadline=None, max_examples=250)
any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
hostile_text = st.sampled_from(
    ["", "a\r\nb: c", "\0", "\x7f", " ", "%", "%zz", "é", "\ud800", "//", "?", "#", "chunked", "a b", "=", "&", "😀"]
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    scalars | any_text | hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text | hostile_text, inner, max_size=4),
    max_leaves=8,
)
KEYS = [
    *("httpMethod", "path", "rawPath", "rawQueryString", "headers", "multiValueHeaders", "queryStringParameters"),
    *("multiValueQueryStringParameters", "cookies", "body", "isBase64Encoded", "requestContext", "version", "Records"),
]
event_like = st.dictionaries(st.sampled_from(KEYS), values)
invocations = st.builds(
    Invocation,
    request_id=any_text,
    payload=st.binary(max_size=20),
    trace_id=any_text | hostile_text,
    tenant_id=any_text | hostile_text,
    function_arn=any_text,
    client_context=any_text | values.map(json.dumps),
    cognito_identity=any_text | values.map(json.dumps),
)
REAL = [loads(path.read_bytes()) for path in EVENTS if path.stem.startswith(("complete", "console", "health"))]
HTTP_EVENTS = [event for event in REAL if detect(event) in HTTP_FORMATS]


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A real HTTP event in which some fields, at any depth, hold something else or are gone."""
    event = json.loads(json.dumps(draw(st.sampled_from(HTTP_EVENTS))))
    for _ in range(draw(st.integers(1, 4))):
        node = event
        while True:
            key = draw(st.sampled_from(sorted(node)))
            if isinstance(node[key], dict) and node[key] and draw(st.booleans()):
                node = node[key]
                continue
            break
        if draw(st.booleans()):
            node[key] = draw(values)
        else:
            node[draw(any_text | hostile_text)] = node.pop(key)
        if not event:
            break
    return event


def folded(name: str) -> str:
    """The name as a server has it that keeps letters and digits alone."""
    return re.sub("[^a-z0-9]", "-", name.lower())


def check_request(request: HttpRequest) -> None:
    """What every request has to be, whatever it was made from: exactly one reading, and nothing forged."""
    assert request.method
    assert TOKEN.issuperset(request.method.lower())
    assert request.target.startswith("/")
    assert request.target.isascii()
    assert request.target.isprintable()
    assert not {" ", "#"} & set(request.target)
    for name, value in request.headers:
        assert name
        assert TOKEN.issuperset(name)
        assert not {"\r", "\n", "\0"} & set(value)
        assert value.encode().strip(b" \t") == value.encode()
        if name in OURS:
            assert value.isascii()
            assert value.isprintable()
    names = [name for name, _ in request.headers]
    assert STRIPPED.isdisjoint(names)
    assert not {name for name in names if folded(name) != name and folded(name) in OURS}
    assert names.count("host") == 1
    for name in ("cookie", "content-length", "x-amzn-trace-id", *OURS):
        assert names.count(name) <= 1
    lengths = header_values(request.headers, "content-length")
    assert lengths == [str(len(request.body))] if request.body else lengths in ([], ["0"])
    for name in ("x-amzn-request-context", "x-amzn-lambda-context"):
        for value in header_values(request.headers, name):
            assert isinstance(json.loads(value), dict | None)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A name of ours, written so that some server may take it for that."""
    name = draw(st.sampled_from(sorted({*OURS, "x-fairlead-request-id", "lambda-runtime-trace-id"})))
    characters = [draw(st.sampled_from("!#$%&'*+.^_`|~-")) if one == "-" else one for one in name]
    return "".join(one.upper() if draw(st.booleans()) else one for one in characters)


@pytest.mark.parametrize("candidate", HTTP_FORMATS, ids=lambda candidate: candidate.name)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(spelled=spellings())
def test_no_spelling_of_a_name_of_ours_comes_from_a_client(candidate: EventFormat, spelled: str) -> None:
    path = next(path for path in EVENTS if path.parent.name == candidate.name and beside(path, ".http").exists())
    event = json.loads(path.read_text())
    for fields_of_event in ({"headers": {spelled: "forged"}}, {"multiValueHeaders": {spelled: ["forged"]}}):
        request = candidate.to_request({**event, **fields_of_event}, Invocation(REQUEST_ID, b""), EventOptions())
        assert "forged" not in [value for _, value in request.headers]


@pytest.mark.parametrize(
    ("status", "fields", "method", "padding"),
    [
        (302, [], "GET", b"\n"),
        (404, [("content-type", "text/html")], "POST", b"\n"),
        (200, [], "HEAD", b""),
        *[(status, [], "GET", b"") for status in (204, 205, 304)],
        (200, [("content-encoding", "gzip")], "GET", b""),
    ],
)
def test_one_byte_may_be_the_body_of_some_answers(
    status: int, fields: list[tuple[str, str]], method: str, padding: bytes
) -> None:
    assert padding_for(HttpResponse(status, "", fields), method) == padding


def translate_or_refuse(candidate: EventFormat, event: object, invocation: Invocation) -> None:
    try:
        request = candidate.to_request(event, invocation, EventOptions())
    except BadRequest:
        return
    check_request(request)
    is_null = header_values(request.headers, "x-amzn-request-context") == ["null"]
    assert is_null == (candidate in POSTED)  # an app may take null for "no client sent this"


@EXAMPLES
@given(values, invocations)
def test_any_value_is_translated_or_refused(event: object, invocation: Invocation) -> None:
    translate_or_refuse(detect(event), event, invocation)


@EXAMPLES
@given(event_like, invocations)
def test_any_object_is_translated_or_refused_by_every_format(event: dict[str, Any], invocation: Invocation) -> None:
    detect(event)
    for candidate in FORMATS:
        translate_or_refuse(candidate, event, invocation)


@EXAMPLES
@given(mutated(), invocations)
def test_any_mutation_of_a_real_event_is_translated_or_refused(event: Any, invocation: Invocation) -> None:
    translate_or_refuse(detect(event), event, invocation)


names = any_text | st.sampled_from(["content-type", "set-cookie", "vary", "content-encoding", "connection", "X-A"])
types = st.sampled_from(
    ["text/html", "text/plain; charset=latin-1", "image/png", "application/json", "identity", "gzip"]
)
responses = st.builds(
    HttpResponse,
    status=st.integers(-1, 1200),
    reason=any_text,
    headers=st.lists(st.tuples(names, any_text | hostile_text | types), max_size=8),
    body=st.binary(max_size=40) | any_text.map(lambda text: text.encode("utf-8", "replace")),
)


@EXAMPLES
@given(responses)
def test_any_response_becomes_a_payload_that_loses_nothing_of_the_body(answer: HttpResponse) -> None:
    for candidate in HTTP_FORMATS:
        payload = json.loads(candidate.to_payload(answer, {}))
        assert 100 <= payload["statusCode"] <= 599
        body = payload["body"]
        sent = base64.b64decode(body, validate=True) if payload["isBase64Encoded"] else body.encode()
        assert sent == (b"" if answer.status in (204, 304) else answer.body)
        for name, value in payload.get("headers", payload.get("multiValueHeaders")).items():
            assert TOKEN.issuperset(name.lower())
            assert name.lower() not in STRIPPED - {"expect"}
            assert not {"\r", "\n", "\0"} & set("".join(value))


def result_for_trigger(answer: HttpResponse, event: object) -> bytes | str:
    """The payload, or the error's type."""
    try:
        return trigger.to_payload(answer, event)
    except InvocationFault as fault:
        return fault.error_type


@EXAMPLES
@given(responses, values)
def test_any_response_to_a_trigger_is_json_or_a_fault(answer: HttpResponse, event: object) -> None:
    result = result_for_trigger(answer, event)
    if not 200 <= answer.status <= 299:
        assert result == f"Function.Status{answer.status}"
    elif result == "Function.AnswerNotJson":
        with pytest.raises(ValueError, match=r"\S"):
            loads(answer.body)
    else:
        assert isinstance(result, bytes)
        loads(result)
        BY_NAME["trigger"].warnings(event, ASKED, answer, result)


@EXAMPLES
@given(responses, values)
def test_any_response_to_a_websocket_is_an_answer(answer: HttpResponse, event: object) -> None:
    payload = json.loads(trigger.websocket_to_payload(answer, event))
    assert 100 <= payload["statusCode"] <= 599
    body = payload.get("body", "")
    assert (base64.b64decode(body) if payload.get("isBase64Encoded") else body.encode()) == answer.body


@EXAMPLES
@given(responses, values)
def test_warnings_never_raise(answer: HttpResponse, event: object) -> None:
    for candidate in FORMATS:
        if not candidate.is_http:
            continue
        for warning in candidate.warnings(event, ASKED, answer, candidate.to_payload(answer, event)):
            assert warning.isprintable()
