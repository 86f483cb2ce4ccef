"""What holds whatever the event and whatever the answer. Each check raises AssertionError."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runtime.connection import IDEMPOTENT
from runtime.events import EventFormat, detect, trigger
from runtime.json_codec import loads
from tests.fakes import Answer

from .app_side import AppRequest
from .examples import Example, Expected

ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][A-Za-z0-9]+")
TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9a-z]+")
# Faults that are told before anything is sent to the app, and those that may be.
BEFORE_THE_APP = {"Runtime.UnmarshalError", "Runtime.BadRequest", "Runtime.ContextTooLarge"}
TOO_LATE = {"Runtime.AppTimeout", "Runtime.AppNotReady"}
NOT_FOR_THE_APP = {
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "proxy",
}
AT_MOST_ONCE = {
    "host",
    "content-length",
    "cookie",
    "x-amzn-request-context",
    "x-amzn-lambda-context",
    "x-amz-tenant-id",
    "x-amzn-trace-id",
    "x-fairlead-event-source",
}
ONLY_OF_TRIGGERS = "x-fairlead-event-source"
# What each source reads of an answer: the header maps, and what else may be there.
PAYLOAD_KEYS = {
    "function-url": ("headers", {"cookies"}),
    "http-api-2": ("headers", {"cookies"}),
    "http-api-1": ("multiValueHeaders", set()),
    "rest-api": ("multiValueHeaders", set()),
    "alb": ("headers", {"statusDescription"}),
    "alb-multi": ("multiValueHeaders", {"statusDescription"}),
    "lattice-1": ("headers", {"statusDescription", "cookies"}),
    "lattice-2": ("headers", {"statusDescription", "cookies"}),
}


def check_outcome(
    example: Example,
    request_id: str,
    answer: Answer,
    requests: Sequence[AppRequest],
    problems: Sequence[str],
    fields: Mapping[str, str],
) -> None:
    """Judge an invocation by what was posted for it and by what reached the app."""
    assert not problems, problems
    assert answer.status == 202
    assert answer.request.header("Lambda-Runtime-Invocation-Id") == fields.get("Lambda-Runtime-Invocation-Id")
    event_format = _format_of(example.payload)
    fault = _check_answer(event_format, request_id, answer)
    _check_requests(example, event_format, requests, fault)
    if example.answer.expected and not fault and requests:
        _check_expected(example.answer.expected, event_format, answer, requests[-1])


def check_sentinel(
    is_http: bool, body: bytes, answer: Answer, requests: Sequence[AppRequest], problems: Sequence[str]
) -> None:
    """The invocation after it: one request, one answer, its own."""
    assert not problems, problems
    # A request of the invocation before may be late, if that one was given up; it is not this one's.
    ours = [request for request in requests if request.body == body]
    assert len(ours) == 1, f"the next event reached the app {len(ours)} times"
    assert len(requests) <= 2, f"{len(requests)} requests came with the next event"
    check_request(ours[0])
    assert answer.kind == "response", f"the next event failed: {answer.body!r}"
    if is_http:
        document = answer.document
        assert (document["statusCode"], document["body"]) == (200, body.decode()), f"the next event got {document}"
    else:
        assert answer.body == body, f"the next event got {answer.body[:500]!r}"


def _format_of(payload: bytes) -> EventFormat | None:
    try:
        return detect(loads(payload))
    except ValueError:
        return None


def _check_answer(event_format: EventFormat | None, request_id: str, answer: Answer) -> str:
    """The name of the fault that the invocation was answered with; "" for an answer of the app."""
    if answer.kind == "error":
        assert event_format is None or not event_format.is_http, f"an HTTP client got an invocation error {answer}"
        return _check_error(event_format, request_id, answer)
    assert event_format is not None, "an event that is not JSON was answered"
    document = json.loads(answer.body, parse_constant=_refuse)
    answer.body.decode()  # json.loads takes UTF-16 too
    if not event_format.is_http:
        return ""
    if event_format.name == "websocket":
        assert type(document["statusCode"]) is int
    else:
        _check_shape(event_format.name, document)
    return _fault_shown(document, request_id)


def _check_error(event_format: EventFormat | None, request_id: str, answer: Answer) -> str:
    error_type = answer.request.header("Lambda-Runtime-Function-Error-Type") or ""
    assert ERROR_TYPE.fullmatch(error_type), f"error type {error_type!r}"
    assert error_type != "Runtime.Internal", f"a fault in Fairlead: {answer.document}"
    assert answer.document["errorType"] == error_type
    assert answer.document["requestId"] == request_id
    assert (error_type == "Runtime.UnmarshalError") == (event_format is None)
    return error_type


def _check_shape(name: str, document: dict[str, Any]) -> None:
    header_map, more = PAYLOAD_KEYS[name]
    assert {"statusCode", header_map, "body", "isBase64Encoded"} <= document.keys(), f"{name}: keys {list(document)}"
    assert document.keys() <= {"statusCode", header_map, "body", "isBase64Encoded"} | more, f"keys {list(document)}"
    assert type(document["statusCode"]) is int
    assert 200 <= document["statusCode"] <= 599
    assert type(document["isBase64Encoded"]) is bool
    assert type(document["body"]) is str
    if document["isBase64Encoded"]:
        base64.b64decode(document["body"], validate=True)
    assert re.fullmatch(r"\d{3} [ -~]+", document.get("statusDescription", "200 OK"))
    lines = [(name, value) for name, value in document[header_map].items()]
    if header_map == "multiValueHeaders":
        assert all(isinstance(values, list) and values for _, values in lines)
        lines = [(name, value) for name, values in lines for value in values]
    lines += [("set-cookie", cookie) for cookie in document.get("cookies", ())]
    for name, value in lines:
        is_cookie = header_map == "headers" and name.lower() == "set-cookie"  # ALB: spelled apart
        assert TOKEN.fullmatch(name) or is_cookie, f"header name {name!r}"
        assert type(value) is str
        assert not re.search(r"[\r\n\0]", value), f"header value {value!r}"
        assert name not in {"connection", "transfer-encoding", "content-length"}, f"header {name}"


def _fault_shown(document: dict[str, Any], request_id: str) -> str:
    """The fault of ours that the client sees, or "": nobody else ends a body with the id of the invocation."""
    body = document.get("body")
    if not isinstance(body, str) or not body.endswith(f"\nRequest id: {request_id}\n"):
        return ""
    match = re.match(r"(400|431|502|504) [A-Z][A-Za-z ]+\n(.+?): ", body)
    assert match, f"a fault was shown as {document}"
    assert int(match[1]) == document["statusCode"]
    assert ERROR_TYPE.fullmatch(match[2]), f"error type {match[2]!r}"
    assert match[2] != "Runtime.Internal"
    return match[2]


def _check_requests(
    example: Example, event_format: EventFormat | None, requests: Sequence[AppRequest], fault: str
) -> None:
    if fault in BEFORE_THE_APP:
        assert not requests, f"{fault}, and the app was asked all the same"
    elif fault not in TOO_LATE:
        assert requests, f"the app was not asked, and the answer is {fault or 'not a fault'}"
    if len(requests) > 1:
        _check_sent_again(example, requests)
    is_handed_on = event_format is not None and event_format.to_request is trigger.to_request
    for request in requests:
        check_request(request)
        names = {name for name, _ in request.headers}
        assert (ONLY_OF_TRIGGERS in names) == is_handed_on
        if request.is_complete and is_handed_on:
            assert (request.method, request.target) == ("POST", "/events")
            assert request.body == example.payload


def _check_sent_again(example: Example, requests: Sequence[AppRequest]) -> None:
    """Twice is right for one thing only: an idempotent request whose connection ended without a byte."""
    first, second = requests
    assert first.raw_head == second.raw_head, f"two different requests: {first} {second}"
    assert first.method in IDEMPOTENT, f"{first.method} was sent twice"
    assert second.is_first
    assert not any(example.answer.pieces), "a request was sent again although an answer had begun"


def check_request(request: AppRequest, is_from_a_hook: bool = False) -> None:
    """What h11 does not look at. ``is_from_a_hook``: whose names are spelled as it likes."""
    head = request.raw_head
    lines = head.split(b"\r\n")
    assert head.count(b"\r") == head.count(b"\n") == len(lines) - 1, f"bare CR or LF: {head!r}"
    assert b"\0" not in head
    assert re.fullmatch(rb"[!-~]+ /[!-~]* HTTP/1\.1", lines[0]), f"request line {lines[0]!r}"
    assert not re.search(rb"#", lines[0].split(b" ")[1])
    head.decode()  # values are UTF-8
    written = [line.partition(b":")[0].decode() for line in lines[1:-2]]
    assert len(written) == len(head.split(b"\r\n")) - 3
    if is_from_a_hook:
        return
    for name in written:
        assert TOKEN.fullmatch(name), f"field name {name!r}"
        assert re.sub("[^a-z0-9]", "-", name) not in AT_MOST_ONCE - {name}, f"{name} may pass for one of ours"
    assert "host" in written
    assert NOT_FOR_THE_APP.isdisjoint(written), f"hop-by-hop fields in {written}"
    for name in AT_MOST_ONCE:
        assert written.count(name) <= 1, f"{name} came {written.count(name)} times"


def _check_expected(expected: Expected, event_format: EventFormat | None, answer: Answer, request: AppRequest) -> None:
    """An answer that is good HTTP is the client's, whole."""
    status, body = expected
    if request.method == "HEAD":
        body = b""
    assert event_format
    if not event_format.is_http:
        if _format_of(body) is not None:
            assert answer.body == body, f"the app's JSON {body!r} became {answer.body!r}"
        return
    if event_format.name == "websocket":
        return  # an app may answer with the payload itself
    document = answer.document
    assert document["statusCode"] == status, f"status {status} became {document['statusCode']}"
    received = document["body"].encode()
    if document["isBase64Encoded"]:
        received = base64.b64decode(received)
    assert received == body, f"the body {body!r} became {received!r}"


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in an answer")
