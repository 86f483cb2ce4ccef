"""Limits of the sources, and what is said about an exchange that comes near one: ``EventFormat.warnings``."""

from __future__ import annotations

import json

import pytest

from runtime.events import FORMATS, EventOptions, api_gateway, detect, event_of
from runtime.events.fields import LEFT_OUT, LONGEST_VALUE
from runtime.invocation import PAYLOAD_LIMIT, Invocation
from runtime.messages import HttpRequest, HttpResponse, header_values

BY_NAME = {candidate.name: candidate for candidate in FORMATS}
ASKED = HttpRequest("GET", "/", [("host", "app.example")])
MIB = 1024 * 1024
PAYLOAD_LIMITS = {"alb": MIB, "alb-multi": MIB, "lattice-1": 6 * MIB, "lattice-2": 6 * MIB}


@pytest.mark.parametrize("name", BY_NAME)
def test_payload_limit_is_the_sources_own_or_lambdas(name: str) -> None:
    assert BY_NAME[name].payload_limit == PAYLOAD_LIMITS.get(name, 6_291_556)
    assert BY_NAME[name].payload_limit <= PAYLOAD_LIMIT


def warned(name: str, response: HttpResponse) -> list[str]:
    return list(BY_NAME[name].warnings({}, ASKED, response, BY_NAME[name].to_payload(response, {})))


@pytest.mark.parametrize("name", BY_NAME)
def test_an_everyday_answer_is_not_commented_on(name: str) -> None:
    headers = [("content-type", "application/json"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("vary", "accept")]
    for body in (b"", b"{}", json.dumps('"' * 25_000).encode(), json.dumps({"statusCode": 500}).encode()):
        for status in (200, 204, 304):
            if BY_NAME[name].is_http or status != 304:
                assert warned(name, HttpResponse(status, "", headers, body)) == []


API_GATEWAY = ["http-api-2", "http-api-1", "rest-api"]
ONE_LARGE = [("x-a", "x" * (9_728 - 7))]


@pytest.mark.parametrize("name", API_GATEWAY)
@pytest.mark.parametrize(
    ("extra", "is_too_large"),
    [
        pytest.param([], False, id="9728-bytes"),
        pytest.param([("b", "")], True, id="one-field-more"),
        pytest.param([("content-length", "1" * 5000)], False, id="dropped-fields-do-not-count"),
        pytest.param([("x-a", "")], True, id="repeated-fields-are-joined"),
    ],
)
def test_header_size_is_counted_as_it_is_on_the_wire(name: str, extra: list, is_too_large: bool) -> None:
    response = HttpResponse(200, "", [*ONE_LARGE, *extra], b"")
    assert bool(warned(name, response)) is is_too_large


@pytest.mark.parametrize("name", API_GATEWAY)
@pytest.mark.parametrize("status", [200, 204, 304, 404])
@pytest.mark.parametrize("body", [b"", b"x" * 100, bytes(range(256)) * 200, b'"\x01' * 20_000], ids=len)
def test_large_headers_are_found_whatever_the_body(name: str, status: int, body: bytes) -> None:
    """The first look is at the payload's size less the body's; no body may hide the header from it."""
    headers = [("content-type", "text/plain"), *(("set-cookie", f"c{number}=1") for number in range(600))]
    assert api_gateway.header_size(HttpResponse(200, "", headers)) > 9_728
    assert len(warned(name, HttpResponse(status, "", headers, body))) == 1


def test_non_ascii_values_count_in_bytes() -> None:
    assert api_gateway.header_size(HttpResponse(200, "", [("a", "é")], b"")) == len("a: é\r\n".encode())


def test_cookies_beyond_the_spellings_of_their_name_are_warned_about() -> None:
    cookies = [("set-cookie", f"c{number}=1") for number in range(513)]
    assert warned("alb", HttpResponse(200, "", cookies[:512], b"")) == []
    assert warned("alb", HttpResponse(200, "", [*cookies[:512], ("x-a", "1")], b"")) == []
    assert warned("alb", HttpResponse(200, "", [("x-a", "1")] * 600, b"")) == []
    assert warned("alb", HttpResponse(200, "", cookies, b"")) == [
        "the answer has 513 cookies, only the first 512 were sent"
    ]
    assert warned("alb-multi", HttpResponse(200, "", cookies, b"")) == []


CLIENT_HEADER = 10_240  # what API Gateway lets through
NODE_HEADER = 16_384  # what Node reads in all, by default
GUNICORN_LINE = 8_190


def largest_context() -> dict[str, object]:
    context: dict[str, object] = {"domainName": "api.example", "filler": ""}
    context["filler"] = "x" * (LONGEST_VALUE - len(json.dumps(context, separators=(",", ":"))))
    return context


def test_context_headers_fit_what_servers_take_with_the_largest_header_of_a_client() -> None:
    event = {
        "httpMethod": "GET",
        "path": "/",
        "headers": {"host": "api.example", "cookie": "x" * (CLIENT_HEADER - len("GET / HTTP/1.1api.example"))},
        "requestContext": largest_context(),
    }
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:a87bd80c:0"
    arn = "arn:aws:lambda:ap-southeast-2:123456789012:function:" + "f" * 64 + ":" + "a" * 32
    invocation = Invocation("8476a536-e9f4-11e8-9739-2dfe598c3fcd", b"", 1795255940000, arn, trace)
    request = detect(event).to_request(event, invocation, EventOptions())
    assert [len(value) for value in header_values(request.headers, "x-amzn-request-context")] == [LONGEST_VALUE]
    assert sum(len(name) + len(value) for name, value in request.headers) + len("GET / HTTP/1.1") < NODE_HEADER
    ours = [line for line in request.headers if line[0].startswith("x-amzn-")]
    assert max(len(f"{name}: {value}\r\n") for name, value in ours) <= GUNICORN_LINE


def test_a_request_context_that_is_too_long_by_its_escapes_alone_is_passed_on_whole() -> None:
    size = LONGEST_VALUE // 6
    payload = rb'{"httpMethod":"GET","path":"/","requestContext":{"identity":{"userAgent":"%b"}}}' % (rb"\u0041" * size)
    event = event_of(payload)
    request = detect(event).to_request(event, Invocation("the-id", payload), EventOptions())
    told = header_values(request.headers, "x-amzn-request-context")
    assert told == [json.dumps({"identity": {"userAgent": "A" * size}}, separators=(",", ":"))]
    assert header_values(request.headers, LEFT_OUT[0]) == []


LONG_JSON = json.dumps({"custom": {"a": "é" * 1_500}}, ensure_ascii=False)
LEFT_OUT_OF_INVOCATIONS = [
    # Lambda takes 3,583 bytes of client context from an invoker, which escapes can triple.
    pytest.param({"client_context": LONG_JSON}, "x-amzn-lambda-context.client_context", [], id="client-context"),
    pytest.param({"client_context": '{"a":' * 5000}, None, [], id="no-json"),
    pytest.param(
        {"cognito_identity": json.dumps({"cognitoIdentityId": "i" * 5_000})},
        "x-amzn-lambda-context",
        ["the invocation's context is larger"],
        id="identity",
    ),
]


@pytest.mark.parametrize("event", [{"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod"}}, {"a": 1}])
@pytest.mark.parametrize(("chosen", "marker", "warned"), LEFT_OUT_OF_INVOCATIONS)
def test_what_makes_the_lambda_context_too_large_is_left_out_of_it(
    event: dict[str, object], chosen: dict[str, str], marker: str | None, warned: list[str]
) -> None:
    request = detect(event).to_request(event, Invocation("the-id", b"", **chosen), EventOptions())
    told = header_values(request.headers, "x-amzn-lambda-context")
    assert len(told) == (marker != "x-amzn-lambda-context")
    for value in told:
        assert (json.loads(value)["request_id"], json.loads(value)["client_context"]) == ("the-id", None)
    assert header_values(request.headers, LEFT_OUT[0]) == [marker] * (marker is not None)
    assert len(header_values(request.headers, "x-amzn-request-context")) == 1
    warnings_of = detect(event).warnings(event, request, HttpResponse(200, "", []), b"null")
    assert [text[: len(begin)] for text, begin in zip(warnings_of, warned, strict=True)] == warned


def test_no_request_is_so_large_that_the_caller_of_a_rest_api_with_iam_is_left_out() -> None:
    identity = {"userAgent": "\u00e9" * 250, "caller": "AIDA", "userArn": "arn:aws:iam::123456789012:user/" + "u" * 800}
    context = {"identity": identity, "path": "/" + "\u00e9" * 250, "stage": "prod" * 400}
    event = {"httpMethod": "GET", "path": "/", "requestContext": context}
    request = detect(event).to_request(event, Invocation("1", b""), EventOptions())
    (told,) = header_values(request.headers, "x-amzn-request-context")
    assert json.loads(told)["identity"] == {**identity, "userAgent": None}


@pytest.mark.parametrize("client", [0, 1_000, 4_700, 10_000])
@pytest.mark.parametrize("members", [("http", "userAgent"), ("http", "path"), ("identity", "userAgent"), ("path",)])
def test_no_request_is_so_large_that_the_authorizer_is_left_out(client: int, members: tuple[str, ...]) -> None:
    authorizer = {"principalId": "ada", "claims": {"sub": "ada", "groups": "g" * 3_000}}
    context: dict[str, object] = {"authorizer": authorizer, "stage": "prod"}
    inner = context
    for member in members[:-1]:
        inner[member] = inner = {}
    inner[members[-1]] = "é" * client
    event = {"httpMethod": "GET", "path": "/", "headers": {"user-agent": "x" * client}, "requestContext": context}
    request = detect(event).to_request(event, Invocation("1", b""), EventOptions())
    (told,) = header_values(request.headers, "x-amzn-request-context")
    assert json.loads(told)["authorizer"] == authorizer
    assert len(told) <= 8_000
