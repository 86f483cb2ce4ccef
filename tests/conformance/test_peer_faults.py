"""What the AWS Lambda Web Adapter 1.0 gets wrong, fault by fault: here it does not happen. Black box, real process.

An id begins with the group of the fault (the headings of docs/coming-from-lambda-web-adapter.md). Most are rows of two
tables: ``REQUESTS`` (an event, and what the app has to see of it) and ``ANSWERS`` (the bytes that the app sends, and
what has to become of them). Rules that have whole tables elsewhere (tests/data/events, test_app_faults.py) are one row
here.
"""

from __future__ import annotations

import base64
import copy
import gzip
import json
import os
import random
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from tests.events import function_url, rest_api
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import free_port
from tests.fakes.wire import Reply, Wire

Start = Callable[..., BootstrapProcess]
Event = dict[str, Any]
LIMIT = 6_291_556
CRLF = "\r\n"
GONE: list[str] = []  # the values of a field that must not arrive


# ---- events ---------------------------------------------------------------------------------------------------------


def changed(event: Event, changes: Mapping[str, Any]) -> Event:
    """A copy in which each member that a dotted path names has that value; ``...`` removes it."""
    event = copy.deepcopy(event)
    for path, value in changes.items():
        *parents, name = path.split("/")
        place = event
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is ...:
            place.pop(name, None)
        else:
            place[name] = value
    return event


def url(**changes: Any) -> Event:
    """An event of a Function URL. ``__`` in a keyword descends, as in ``requestContext__stage``."""
    return changed(function_url("GET", "/p"), _paths(changes))


def http_api(**changes: Any) -> Event:
    """The same of an HTTP API, payload 2.0."""
    domain = "abcdefghij.execute-api.eu-central-1.amazonaws.com"
    return changed(function_url("GET", "/p"), {"requestContext/domainName": domain, **_paths(changes)})


def rest(**changes: Any) -> Event:
    """An event of a REST API."""
    return changed(rest_api("GET", "/p"), _paths(changes))


def alb(**changes: Any) -> Event:
    """An event of a load balancer, multi-value headers off."""
    arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/t/1"
    event = {
        "requestContext": {"elb": {"targetGroupArn": arn}},
        "httpMethod": "GET",
        "path": "/p",
        "headers": {"host": "shop.example", "x-forwarded-for": "198.51.100.7"},
        "queryStringParameters": {},
        "body": "",
        "isBase64Encoded": False,
    }
    return changed(event, _paths(changes))


def alb_multi(**changes: Any) -> Event:
    """The same with multi-value headers on."""
    fields = {"host": ["shop.example"], "x-forwarded-for": ["198.51.100.7"]}
    event = changed(alb(), {"headers": ..., "queryStringParameters": ..., "multiValueHeaders": fields})
    return changed({**event, "multiValueQueryStringParameters": {}}, _paths(changes))


def _paths(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "/"): value for name, value in changes.items()}


def with_fields(event: Event, fields: Mapping[str, Any], **changes: Any) -> Event:
    """``event`` with further header fields."""
    known = "headers" if "headers" in event else "multiValueHeaders"
    return changed({**event, known: {**event[known], **fields}}, _paths(changes))


def posting(event: Event, body: str, is_base64: bool = False, **fields: Any) -> Event:
    """``event`` as a POST with that body, and further fields; ``_`` in their names is ``-``."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    event = with_fields(event, named, body=body, isBase64Encoded=is_base64)
    if "httpMethod" in event:
        return {**event, "httpMethod": "POST"}
    return changed(event, {"requestContext/http/method": "POST"})


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# ---- processes ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echoing() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process for everything that a client can send: that it survives is what this is about."""
    with FakeRuntimeApi() as fake:
        yield fake, start_bootstrap(fake, command=app("echo.py"))


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process for everything that an app can answer."""
    with FakeRuntimeApi() as fake:
        yield fake, start_bootstrap(fake, command=app("verbatim.py"))


@pytest.fixture(scope="module")
def failing() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process for the ways in which an app can fail."""
    with FakeRuntimeApi() as fake:
        yield fake, start_bootstrap(fake, command=app("faults.py"))


def answer_to(api: FakeRuntimeApi, event: object, deadline_s: float = 30, **more: Any) -> Answer:
    return api.wait_answer(api.add_event(event, deadline_s=deadline_s, **more))


class Seen(NamedTuple):
    """A request as the echo app got it, bytes as latin-1."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]


def seen(document: Event) -> Seen:
    echoed = json.loads(document["body"])
    fields = [(name, value) for name, value in echoed["headers"]]
    return Seen(echoed["method"], echoed["target"], fields, base64.b64decode(echoed["body"]))


def as_sent(text: str) -> str:
    """Text as the echo app shows it: its UTF-8 bytes as latin-1."""
    return text.encode().decode("latin-1")


# ---- B1 to B6 and B8: what the app gets ------------------------------------------------------------------------------


class Request(NamedTuple):
    """An event, and what the app has to see of it."""

    event: Event
    target: str | None = "/p"  # None: any
    method: str | None = None
    fields: Mapping[str, list[str]] = {}
    body: bytes = b""


LATTICE_1 = {"raw_path": "/p", "method": "GET", "headers": {"host": "x"}, "body": "", "is_base64_encoded": False}
LATTICE_2 = {
    "version": "2.0",
    "path": "/p",
    "method": "GET",
    "headers": {"host": ["x"]},
    "requestContext": {"serviceNetworkArn": "arn:aws:vpc-lattice:eu-west-1:123456789012:servicenetwork/sn-0"},
}
HTTP_THOUGH_ODD = {
    "v2-jwt-claim-is-a-number": url(requestContext__authorizer={"jwt": {"claims": {"iat": 1}, "scopes": None}}),
    "v2-jwt-claim-is-a-bool": url(requestContext__authorizer={"jwt": {"claims": {"admin": True}}}),
    "v2-authorizer-lambda-is-a-string": url(requestContext__authorizer={"lambda": "text"}),
    "v2-time-is-a-string": url(requestContext__timeEpoch="1795262400000"),
    "v2-base64-flag-is-null": url(isBase64Encoded=None),
    "v2-header-is-null": with_fields(url(), {"x-null": None}),
    "v2-header-is-a-number": with_fields(url(), {"x-number": 7}),
    "v2-query-value-is-a-number": url(queryStringParameters={"n": 7}),
    "v2-header-name-with-a-blank": with_fields(url(), {"x y": "z"}),
    "v2-header-value-with-a-line-feed": with_fields(url(), {"x-lines": "a\nb"}),
    "v2-everything-null": url(
        body=None, cookies=None, headers=None, queryStringParameters=None, stageVariables=None, rawQueryString=None
    ),
    "v2-without-version": url(version=...),
    "v1-request-context-empty": rest(requestContext={}),
    "v1-request-context-missing": rest(requestContext=...),
    "v1-time-missing": rest(requestContext__requestTimeEpoch=...),
    "v1-time-is-a-string": rest(requestContext__requestTimeEpoch="now"),
    "v1-identity-null": rest(requestContext__identity=None),
    "v1-authorizer-is-a-string": rest(requestContext__authorizer="text"),
    "v1-stage-variable-is-a-number": rest(stageVariables={"n": 7}),
    "v1-headers-null": rest(headers=None, multiValueHeaders=None),
    "v1-method-and-path-only": {"httpMethod": "GET", "path": "/p"},
    "alb-maps-null": alb(headers=None, queryStringParameters=None),
    "lattice-1": LATTICE_1,
    "lattice-2": LATTICE_2,
}
HOSTS = [
    *("a b", "a%20b", "a:b", "h:99999", "1.2.3.4.5", "256.256.256.256", "xn--a", "[::1", "a|b", "a<b", "a^b"),
    *("${x}", "{{x}}", "${jndi:ldap://203.0.113.9/a}", "a\\b", "@", "http://a/", "é", "..", "a" * 9000),
]
PROTOCOLS = ["https,http", "https, https", "ht tp", "1://", "", "${x}", "é"]
HOP_BY_HOP = {
    "connection": "keep-alive, x-kept",
    "keep-alive": "timeout=5",
    "proxy-connection": "keep-alive",
    "te": "trailers",
    "trailer": "x-sum",
    "upgrade": "h2c",
    "expect": "weird",
    "proxy": "http://203.0.113.9",
}
# What only the runtime may say, as a client would try it.
FORGED = {
    "x-amz-tenant-id": "forged",
    "X-Amz-Tenant-Id": "forged",
    "x_amz_tenant_id": "forged",
    "x-amzn-request-context": '{"authorizer":"forged"}',
    "x-amzn-lambda-context": '{"forged":1}',
    "x-fairlead-event-source": "aws:sqs",
}
QUERY = {"b": ["2", "1"], "a": ["x y"], "c": [""], "10": ["n"], "B": ["upper"]}

REQUESTS = {
    **{f"B1-{name}": Request(event) for name, event in HTTP_THOUGH_ODD.items()},
    "B1-v1-body-is-a-number": Request(rest(httpMethod="POST", body=7), body=b"7"),
    # The request line
    "B2-method-of-webdav": Request(url(requestContext__http__method="PROPFIND"), method="PROPFIND"),
    "B2-method-in-lower-case": Request(url(requestContext__http__method="get"), method="get"),
    "B2-dot-segments-stay": Request(url(rawPath="/a/../b/./c//d/%2e%2e/e"), "/a/../b/./c//d/%2e%2e/e"),
    "B2-backslash-stays": Request(url(rawPath="/a\\b"), "/a\\b"),
    "B2-line-feed-is-not-deleted": Request(url(rawPath="/a\nb"), "/a%0Ab"),
    "B2-encoded-and-odd-characters-stay": Request(url(rawPath="/%2F%41;a=b|^[]'(x)"), "/%2F%41;a=b|^[]'(x)"),
    "B2-space-and-non-ascii": Request(url(rawPath="/ü b"), "/%C3%BC%20b"),
    "B2-stage-stays": Request(http_api(rawPath="/stg/p", requestContext__stage="stg"), "/stg/p"),
    "B2-question-mark-does-not-leak-into-the-query": Request(http_api(rawPath="/a?b#c"), "/a%3Fb%23c"),
    "B2-path-that-looks-like-a-port": Request(url(rawPath=":99999"), "/:99999"),
    # The query
    "B3-raw-query-stays": Request(url(rawQueryString="b=2&a=%20+x&&a&c=&%5B%5D=1'"), "/p?b=2&a=%20+x&&a&c=&%5B%5D=1'"),
    "B3-raw-space-in-query": Request(url(rawQueryString="q=a b"), "/p?q=a%20b"),
    "B3-quotes-and-angles-in-query": Request(url(rawQueryString='q="<x>"'), '/p?q="<x>"'),
    "B3-hash-does-not-cut-the-query": Request(url(rawQueryString="q=a#b&c=d"), "/p?q=a%23b&c=d"),
    "B3-v1-order-is-kept": Request(
        rest(multiValueQueryStringParameters=QUERY, queryStringParameters=None),
        "/p?b=2&b=1&a=x%20y&c=&10=n&B=upper",
    ),
    "B3-v1-values-are-encoded-once": Request(
        rest(multiValueQueryStringParameters={"q": ["a b+c%20d"]}), "/p?q=a%20b%2Bc%2520d"
    ),
    "B3-alb-values-stay-encoded": Request(
        alb(queryStringParameters={"a": "%26%2B%2520", "latin": "%E9", "z": "[]"}), "/p?a=%26%2B%2520&latin=%E9&z=[]"
    ),
    "B3-no-question-mark-for-an-empty-query": Request(url(rawQueryString="")),
    # Fields
    "B4-host-from-the-context": Request(
        url(headers={}), fields={"host": [function_url("GET", "/")["headers"]["host"]]}
    ),
    "B4-forwarded-is-added-where-it-is-known": Request(
        url(headers={"host": "x"}),
        fields={"x-forwarded-for": ["198.51.100.7"], "x-forwarded-proto": ["https"], "x-forwarded-port": ["443"]},
    ),
    "B4-forwarded-is-not-invented": Request(alb(headers={"host": "x"}), fields={"x-forwarded-proto": GONE}),
    "B4-tenant-and-context-of-a-client-are-removed": Request(
        with_fields(url(), FORGED),
        fields={"x-amz-tenant-id": GONE, "x_amz_tenant_id": GONE, "x-fairlead-event-source": GONE},
    ),
    "B4-v1-two-values-are-two-lines": Request(
        with_fields(rest(), {"X-Dup": "two"}, multiValueHeaders={"X-Dup": ["one", "two"], "Host": ["x"]}),
        fields={"x-dup": ["one", "two"]},
    ),
    "B4-alb-two-values-are-two-lines": Request(
        with_fields(alb_multi(), {"x-dup": ["one", "two"]}), fields={"x-dup": ["one", "two"]}
    ),
    "B4-cookies-are-joined-with-a-space": Request(url(cookies=["a=1", "b=2"]), fields={"cookie": ["a=1; b=2"]}),
    "B4-get-without-body-has-no-length": Request(url(), fields={"content-length": GONE, "transfer-encoding": GONE}),
    "B4-hop-by-hop-fields-are-removed": Request(
        with_fields(url(), {**HOP_BY_HOP, "x-kept": "1"}),
        fields={**dict.fromkeys(HOP_BY_HOP, GONE), "x-kept": ["1"]},
    ),
    "B4-transfer-encoding-is-removed": Request(
        posting(url(), "abc", transfer_encoding="chunked"),
        fields={"transfer-encoding": GONE, "content-length": ["3"]},
        body=b"abc",
    ),
    "B4-length-that-is-too-large": Request(
        posting(url(), "abc", content_length="999"), fields={"content-length": ["3"]}, body=b"abc"
    ),
    "B4-length-that-is-too-small": Request(
        posting(url(), "abcdef", content_length="2"), fields={"content-length": ["6"]}, body=b"abcdef"
    ),
    "B4-length-of-nonsense": Request(
        posting(url(), "abc", content_length="-1, x"), fields={"content-length": ["3"]}, body=b"abc"
    ),
    # What ends the peer's process
    **{
        f"B6-host-{host[:20]}": Request(with_fields(alb(), {"host": host}), fields={"host": [as_sent(host)]})
        for host in HOSTS
    },
    **{
        f"B6-forwarded-proto-{text}": Request(
            with_fields(url(), {"x-forwarded-proto": text}), fields={"x-forwarded-proto": [as_sent(text)]}
        )
        for text in PROTOCOLS
    },
    "B6-control-bytes-in-a-header": Request(
        with_fields(url(), {"x-bytes": "a\r\nb\0c\x7f"}), fields={"x-bytes": ["a  b c\x7f"]}
    ),
    "B6-half-a-surrogate": Request(with_fields(url(), {"x-half": "\ud800"}), fields={"x-half": [as_sent("�")]}),
    # Bodies
    "B8-body-of-every-byte": Request(posting(url(), encoded(bytes(range(256))), True), body=bytes(range(256))),
    "B8-base64-without-padding": Request(posting(url(), "YQ", True), body=b"a"),
    "B8-text-of-every-line-end": Request(posting(url(), "a\r\nb\nc\rü"), body="a\r\nb\nc\rü".encode()),
    "B8-body-of-4-mb": Request(posting(url(), "x" * 4_000_000), body=b"x" * 4_000_000),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_app_sees_the_request(echoing: tuple[FakeRuntimeApi, BootstrapProcess], name: str) -> None:
    api, _ = echoing
    wanted = REQUESTS[name]
    document = answer_to(api, wanted.event).document
    assert document["statusCode"] == 200
    got = seen(document)
    assert wanted.target is None or got.target == wanted.target
    assert wanted.method is None or got.method == wanted.method
    assert {field: got.values(field) for field in wanted.fields} == dict(wanted.fields)
    assert len(got.values("host")) == 1
    assert got.body == wanted.body


# A client is told what is wrong with its request, and the app is not asked.
REFUSED = {
    "B1-method-with-a-blank": url(requestContext__http__method="G T"),
    "B1-method-empty": rest(httpMethod=""),
    "B6-base64-of-nonsense": posting(url(), "%%%", True),
    "B6-base64-with-a-foreign-character": posting(url(), "YWJj!", True),
    "B6-base64-of-impossible-length": posting(url(), "YWJjZ", True),
    "B6-base64-through-a-load-balancer": posting(alb(), "not base64 at all", True),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_cannot_be_one_is_answered_400(
    echoing: tuple[FakeRuntimeApi, BootstrapProcess], name: str
) -> None:
    api, _ = echoing
    document = answer_to(api, REFUSED[name]).document
    assert document["statusCode"] == 400
    assert "Runtime.BadRequest" in document["body"]


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"nonsense"], ids=lambda p: f"B1-not-json-{p!r}")
def test_a_payload_that_is_not_json_has_an_error_of_a_name(
    echoing: tuple[FakeRuntimeApi, BootstrapProcess], payload: bytes
) -> None:
    api, _ = echoing
    answer = answer_to(api, payload)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.UnmarshalError")


@pytest.mark.parametrize(
    "event",
    [{}, "text", {"Records": []}, {"requestContext": {"connectionId": "c", "eventType": "MESSAGE"}, "body": "x"}],
    ids=["B1-empty-object", "B1-string", "B1-queue", "B1-websocket"],
)
def test_what_is_no_request_goes_to_the_events_path(
    echoing: tuple[FakeRuntimeApi, BootstrapProcess], event: object
) -> None:
    api, _ = echoing
    payload = json.dumps(event).encode()
    document = answer_to(api, payload).document
    got = seen(document if "statusCode" in document else {"body": json.dumps(document)})
    assert (got.method, got.target, got.body) == ("POST", "/events", payload)


# ---- B4: what the app is told about the invocation


class Told(NamedTuple):
    """Changes of the event's context and the invocation's headers, and what is told of them."""

    context: Event
    headers: dict[str, str]
    name: str
    holds: Callable[[list[str]], bool]


def _context_holds(key: str, value: object) -> Callable[[list[str]], bool]:
    def holds(values: list[str]) -> bool:
        (text,) = values
        return text.isascii() and text.isprintable() and json.loads(text)[key] == value

    return holds


REQUEST_CONTEXT, LAMBDA_CONTEXT = "x-amzn-request-context", "x-amzn-lambda-context"
TOLD = {
    "B4-unknown-members-are-kept": Told(
        {"new": {"a": [1, None]}}, {}, REQUEST_CONTEXT, _context_holds("new", {"a": [1, None]})
    ),
    "B4-context-is-ascii": Told({"who": "José"}, {}, REQUEST_CONTEXT, _context_holds("who", "José")),
    "B4-del-in-the-context": Told({"who": "a\x7fb\nc\0"}, {}, REQUEST_CONTEXT, _context_holds("who", "a\x7fb\nc\0")),
    "B4-large-context-is-left-out": Told({"claims": "x" * 20_000}, {}, REQUEST_CONTEXT, lambda values: values == []),
    "B4-large-context-is-announced": Told(
        {"claims": "x" * 20_000}, {}, "x-fairlead-left-out", lambda values: values == [REQUEST_CONTEXT]
    ),
    "B4-tenant-of-the-invocation": Told(
        {}, {"Lambda-Runtime-Aws-Tenant-Id": "blue"}, "x-amz-tenant-id", lambda values: values == ["blue"]
    ),
    "B6-client-context-of-any-shape": Told(
        {},
        {"Lambda-Runtime-Client-Context": '{"custom":{"a":1}}'},
        LAMBDA_CONTEXT,
        _context_holds("client_context", {"custom": {"a": 1}}),
    ),
    "B6-client-context-that-is-no-json": Told(
        {}, {"Lambda-Runtime-Client-Context": "{nonsense"}, LAMBDA_CONTEXT, lambda values: len(values) == 1
    ),
}


@pytest.mark.parametrize("name", TOLD)
def test_the_app_is_told_about_the_invocation(echoing: tuple[FakeRuntimeApi, BootstrapProcess], name: str) -> None:
    api, _ = echoing
    context, headers, field, holds = TOLD[name]
    base = url()
    event = {**base, "requestContext": {**base["requestContext"], **context}}
    got = seen(answer_to(api, with_fields(event, FORGED), headers=headers).document)
    assert holds(got.values(field)), got.values(field)
    assert "forged" not in str(got.fields)


def test_a_long_user_agent_does_not_hide_the_authorizer(echoing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = echoing
    base, agent = url(), "a" * 4_700
    http = {**base["requestContext"]["http"], "userAgent": agent}
    context = {**base["requestContext"], "http": http, "authorizer": {"iam": {"userId": "AIDA"}}}
    event = {**base, "headers": {**base["headers"], "user-agent": agent}, "requestContext": context}
    got = seen(answer_to(api, json.dumps(event).encode()).document)
    (told,) = got.values(REQUEST_CONTEXT)
    assert json.loads(told)["authorizer"] == {"iam": {"userId": "AIDA"}}
    assert got.values("user-agent") == [agent]


def test_a_request_whose_authorizer_does_not_fit_is_refused(
    echoing: tuple[FakeRuntimeApi, BootstrapProcess],
) -> None:
    api, _ = echoing
    base = url()
    context = {**base["requestContext"], "authorizer": {"jwt": {"claims": {"name": "é" * 2_000}}}}
    document = answer_to(api, json.dumps({**base, "requestContext": context}).encode()).document
    assert document["statusCode"] == 431
    assert "Runtime.ContextTooLarge" in document["body"]


@pytest.mark.parametrize("deadline", [None, "", "soon", "-1", "9" * 30], ids=lambda d: f"B6-deadline-{d!s:.8}")
def test_a_deadline_that_is_none_ends_nothing(
    echoing: tuple[FakeRuntimeApi, BootstrapProcess], deadline: str | None
) -> None:
    api, _ = echoing
    headers = {"Lambda-Runtime-Deadline-Ms": deadline}
    assert api.wait_answer(api.add_event(url(), headers=headers)).document["statusCode"] == 200


def test_b6_all_of_this_was_one_process(echoing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, process = echoing
    assert answer_to(api, url()).document["statusCode"] == 200
    assert not process.has_exited()
    assert "Runtime.Internal" not in process.output
    assert "Traceback" not in process.output


@pytest.mark.parametrize("status", [400, 403, 410, 500, 503], ids=lambda s: f"B6-next-answers-{s}")
def test_a_refused_next_ends_the_process_with_a_sentence(api: FakeRuntimeApi, start: Start, status: int) -> None:
    """There is nothing left to do for it; the peer aborts without saying why."""
    process = start("echo.py")
    api.add_next(Reply(status, b'{"errorMessage":"no","errorType":"InternalError"}'))
    assert process.wait() == 1
    assert f"the Runtime API answered next with status {status}" in process.stderr
    assert process.app_pids == []


# ---- B5


BASE_PATHS = {
    ("/orders", "/orders/1"): "/1",
    ("/orders", "/orders"): "/",
    ("/orders", "/orders/orders/1"): "/orders/1",
    ("/orders", "/orders-archive/1"): "/orders-archive/1",
    ("/orders", "/elsewhere"): "/elsewhere",
    ("/orders/", "/orders"): "/",
    ("/orders/", "/orders/1"): "/1",
    ("/", "//x"): "//x",
}


@pytest.fixture(scope="module")
def by_base_path() -> Iterator[dict[str, FakeRuntimeApi]]:
    """A process for each setting."""
    settings = {base for base, _ in BASE_PATHS}
    apis = {base: FakeRuntimeApi() for base in settings}
    try:
        for base, fake in apis.items():
            start_bootstrap(fake, command=app("echo.py"), environment={"AWS_LWA_REMOVE_BASE_PATH": base})
        yield apis
    finally:
        for fake in apis.values():
            fake.__exit__(None)


@pytest.mark.parametrize(("base", "path"), BASE_PATHS, ids=lambda text: f"B5{text}")
def test_a_base_path_is_removed_once_and_in_whole_segments(
    by_base_path: dict[str, FakeRuntimeApi], base: str, path: str
) -> None:
    got = seen(answer_to(by_base_path[base], url(rawPath=path)).document)
    assert got.target == BASE_PATHS[base, path]
    was_removed = got.target != path
    assert got.values("x-forwarded-prefix") == ([base.rstrip("/")] if was_removed else [])


# ---- A and B7: settings that the peer takes for something else, and starts that it waits for


REFUSED_SETTINGS = {
    "A-port-that-is-no-number": {"AWS_LWA_PORT": "http", "FAIRLEAD_PORT": None},
    "A-port-out-of-range": {"PORT": "70000", "FAIRLEAD_PORT": None},
    "A-readiness-path-without-a-slash": {"AWS_LWA_READINESS_CHECK_PATH": "health"},
    "A-readiness-protocol-https": {"AWS_LWA_READINESS_CHECK_PROTOCOL": "https"},
    "A-async-init-1": {"AWS_LWA_ASYNC_INIT": "1"},
    "A-compression-yes": {"AWS_LWA_ENABLE_COMPRESSION": "yes"},
    "A-invoke-mode-streaming": {"AWS_LWA_INVOKE_MODE": "streaming"},
    "A-pass-through-path-without-a-slash": {"AWS_LWA_PASS_THROUGH_PATH": "events"},
    "A-error-status-of-words": {"AWS_LWA_ERROR_STATUS_CODES": "500,abc"},
    "A-authorization-source-that-is-no-name": {"AWS_LWA_AUTHORIZATION_SOURCE": "x auth"},
    "A-misspelt-name": {"AWS_LWA_READYNESS_CHECK_PATH": "/"},
    "B5-base-path-without-a-slash": {"AWS_LWA_REMOVE_BASE_PATH": "orders"},
    "B7-healthy-status-of-words": {"AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "abc"},
    "B7-healthy-status-the-wrong-way-round": {"AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "399-200"},
}


@pytest.mark.parametrize("name", REFUSED_SETTINGS)
def test_a_value_that_is_not_allowed_is_an_error_that_names_it(api: FakeRuntimeApi, start: Start, name: str) -> None:
    settings = REFUSED_SETTINGS[name]
    process = start("echo.py", **settings)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.InvalidConfig"
    assert next(iter(settings)) in document["errorMessage"]
    assert process.wait() == 1


def test_a_the_settings_of_the_peer_are_understood(api: FakeRuntimeApi, start: Start) -> None:
    """All of them at once, the way its documentation spells them."""
    settings = {
        "AWS_LWA_HOST": "127.0.0.1",
        "AWS_LWA_READINESS_CHECK_PATH": "/health",
        "AWS_LWA_READINESS_CHECK_PROTOCOL": "HTTP",
        "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "200-399, 404",
        "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": "30",
        "AWS_LWA_ASYNC_INIT": "True",
        "AWS_LWA_REMOVE_BASE_PATH": "/v1",
        "AWS_LWA_PASS_THROUGH_PATH": "/custom",
        "AWS_LWA_ENABLE_COMPRESSION": "false",
        "AWS_LWA_INVOKE_MODE": "BUFFERED",
        "AWS_LWA_AUTHORIZATION_SOURCE": "X-Auth",
        "AWS_LWA_ERROR_STATUS_CODES": "500-599",
        "AWS_LWA_LAMBDA_RUNTIME_API_PROXY": f"http://{api.address}",
        "AWS_LWA_POOL_IDLE_TIMEOUT_SECONDS": "2.5",
    }
    start("echo.py", **settings)
    got = seen(answer_to(api, with_fields(url(rawPath="/v1/x"), {"x-auth": "Bearer 1", "authorization": "2"})).document)
    assert (got.target, got.values("authorization"), got.values("x-auth")) == ("/x", ["Bearer 1"], [])
    assert seen({"body": answer_to(api, b"[]").body}).target == "/custom"


def test_a_authorization_source_that_is_missing_leaves_the_field_and_says_nothing(
    api: FakeRuntimeApi, start: Start
) -> None:
    process = start("echo.py", AWS_LWA_AUTHORIZATION_SOURCE="x-auth")
    got = seen(answer_to(api, with_fields(url(), {"authorization": "kept"})).document)
    assert got.values("authorization") == ["kept"]
    api.wait_idle()
    assert "WARN" not in process.stderr


NEVER_READY = {
    "B7-answers-503": ({"UNREADY_STATUS_COUNT": "1000000"}, "status 503"),
    "B7-listens-elsewhere": ({"LISTEN_OTHER_PORT": str(free_port())}, "nothing listens at"),
    "B7-accepts-and-is-silent": ({"FAIRLEAD_READINESS_CHECK_PATH": "/silence"}, "did not answer"),
}


@pytest.mark.parametrize("name", NEVER_READY)
def test_an_app_that_is_never_ready_is_an_init_error_that_says_why(
    api: FakeRuntimeApi, start: Start, name: str
) -> None:
    environment, words = NEVER_READY[name]
    process = start("faults.py", AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS="3", **environment)
    document = json.loads(api.wait_init_error().body)
    assert (document["errorType"], process.wait()) == ("Runtime.AppNotReady", 1)
    assert words in document["errorMessage"]


def test_b7_an_app_that_exits_is_not_waited_for(api: FakeRuntimeApi, start: Start) -> None:
    process = start("faults.py", EXIT_AT_ONCE_MS="0", EXIT_CODE="3")
    document = json.loads(api.wait_init_error().body)
    assert (document["errorType"], process.wait()) == ("Runtime.AppExited", 1)
    assert "cannot open the database" in document["errorMessage"]


def test_b7_a_stalled_first_connection_does_not_block_the_second(api: FakeRuntimeApi, start: Start) -> None:
    start("faults.py", ACCEPT_BUT_SILENT_FIRST="1")
    assert answer_to(api, url()).document["statusCode"] == 200


# ---- B8: what the client gets


def raw(*fields: str, body: bytes = b"", status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer of the app, field lines as they are given."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", *fields, f"content-length: {size}", "", ""]
    return CRLF.join(lines).encode("latin-1") + body


class Given(NamedTuple):
    """The bytes that the app sends, and what the payload then has. A value that can be called judges by itself."""

    raw: bytes
    payload: Mapping[str, Any]
    event: Event = url()
    body: bytes | None = None  # decoded, when that is easier to say


COOKIES = ("set-cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "set-cookie: b=2", "set-cookie: c=3")
COOKIE_VALUES = [line.removeprefix("set-cookie: ") for line in COOKIES]
REPEATED = ("vary: accept", "vary: origin", "link: <a>; rel=x", "link: <b>; rel=y")
APART = {"vary": ["accept", "origin"], "link": ["<a>; rel=x", "<b>; rel=y"]}
JOINED = {"vary": "accept, origin", "link": "<a>; rel=x, <b>; rel=y"}
HOP = ("connection: close, x-a", "keep-alive: timeout=5", "trailer: x-sum", "upgrade: h2c", "proxy-connection: close")
PNG = b"\x89PNG\r\n\x1a\n\0\xff"
TEXT_TYPES = [
    *("application/json", "Application/JSON", "application/problem+json", "application/x-ndjson", "text/html"),
    *("application/graphql", "application/x-www-form-urlencoded", "application/x-javascript", "application/toml"),
    *("application/yaml", "image/svg+xml", "text/plain; charset=UTF-8"),
]


def ending(suffix: str) -> Callable[[object], bool]:
    return lambda value: str(value).endswith(suffix)


def only(*names: str) -> Callable[[object], bool]:
    """Judges a map: it has these fields and no other."""
    return lambda fields: isinstance(fields, dict) and set(fields) == set(names)


ANSWERS = {
    "B8-url-cookies": Given(raw(*COOKIES), {"cookies": COOKIE_VALUES}),
    "B8-rest-cookies": Given(raw(*COOKIES), {"multiValueHeaders": {"set-cookie": COOKIE_VALUES}}, rest()),
    "B8-alb-multi-cookies": Given(raw(*COOKIES), {"multiValueHeaders": {"set-cookie": COOKIE_VALUES}}, alb_multi()),
    "B8-alb-cookies": Given(
        raw(*COOKIES), {"headers": lambda fields: sorted(fields.values()) == sorted(COOKIE_VALUES)}, alb()
    ),
    "B8-url-repeated-fields": Given(raw(*REPEATED), {"headers": JOINED}),
    "B8-alb-repeated-fields": Given(raw(*REPEATED), {"headers": JOINED}, alb()),
    "B8-rest-repeated-fields": Given(raw(*REPEATED), {"multiValueHeaders": APART}, rest()),
    "B8-alb-multi-repeated-fields": Given(raw(*REPEATED), {"multiValueHeaders": APART}, alb_multi()),
    "B8-hop-by-hop-fields-are-removed": Given(raw(*HOP, "x-a: 1"), {"headers": {"x-a": "1"}}),
    "B8-length-is-not-passed-on": Given(
        raw("content-type: text/plain; charset=utf-16le", body="né".encode("utf-16le")),
        {"headers": only("content-type"), "isBase64Encoded": True},
        body="né".encode("utf-16le"),
    ),
    **{
        f"B8-text-{media_type}": Given(
            raw(f"content-type: {media_type}", body=b'{"a":1}'), {"body": '{"a":1}', "isBase64Encoded": False}
        )
        for media_type in TEXT_TYPES
    },
    "B8-identity-coding-is-text": Given(
        raw("content-type: text/plain", "content-encoding: identity", body=b"abc"), {"isBase64Encoded": False}
    ),
    "B8-latin-1-byte-in-plain-text": Given(
        raw("content-type: text/plain", body=b"caf\xe9"), {"isBase64Encoded": True}, body=b"caf\xe9"
    ),
    "B8-image-without-a-type": Given(raw(body=PNG), {"isBase64Encoded": True}, body=PNG),
    "B8-declared-latin-1": Given(
        raw("content-type: text/plain; charset=iso-8859-1", body=b"caf\xe9"),
        {"isBase64Encoded": True, "headers": {"content-type": "text/plain; charset=iso-8859-1"}},
        body=b"caf\xe9",
    ),
    "B8-byte-order-mark-is-kept": Given(
        raw("content-type: text/plain", body=b"\xef\xbb\xbfa"), {"body": "\ufeffa", "isBase64Encoded": False}
    ),
    "B8-cookie-with-a-latin-1-byte": Given(raw("set-cookie: name=é"), {"cookies": ["name=é"]}),
    "B6-latin-1-byte-in-a-field": Given(
        raw('content-disposition: attachment; filename="é.pdf"'),
        {"headers": {"content-disposition": 'attachment; filename="é.pdf"'}},
    ),
    "B8-204-has-neither-body-nor-length": Given(
        b"HTTP/1.1 204 No Content\r\n\r\n", {"statusCode": 204, "body": "", "headers": {}}
    ),
    "B8-304-has-no-length": Given(
        raw("etag: x", status="304 Not Modified", length=100), {"statusCode": 304, "body": "", "headers": {"etag": "x"}}
    ),
    "B8-head-of-an-image": Given(
        raw("content-type: image/png", length=5000),
        {"statusCode": 200, "body": "", "headers": only("content-type")},
        url(requestContext__http__method="HEAD"),
    ),
    "B8-interim-answers-are-passed-over": Given(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + raw(body=b"ok"),
        {"statusCode": 200, "body": "ok", "headers": {}},
    ),
    "B8-a-redirect-is-the-clients": Given(
        raw("location: /x", status="301 Moved Permanently"), {"statusCode": 301, "headers": {"location": "/x"}}
    ),
    "B8-no-field-makes-bytes-text": Given(
        raw("content-type: image/png", "x-lambda-http-content-encoding: text", body=PNG),
        {"isBase64Encoded": True, "headers": only("content-type", "x-lambda-http-content-encoding")},
        body=PNG,
    ),
    "B2-connect-is-no-tunnel": Given(raw(body=b"ok"), {"statusCode": 502}, url(requestContext__http__method="CONNECT")),
    "B8-101-is-no-answer": Given(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", {"statusCode": 502}),
    **{
        f"B8-status-{number}-is-none": Given(raw(status=f"{number} X"), {"statusCode": 502})
        for number in ("999", "99", "1000", "abc")
    },
    "B8-two-lengths-are-refused": Given(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", {"statusCode": 502}
    ),
    "B8-length-and-chunks-are-refused": Given(
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        {"statusCode": 502},
    ),
    "B8-chunks-with-trailers": Given(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n", {"body": "ok"}
    ),
    "B8-150-fields": Given(
        raw(*(f"x-{number}: 1" for number in range(150))), {"headers": lambda fields: len(fields) == 150}
    ),
    "B8-500-kb-of-fields": Given(
        raw(*(f"x-{number}: {'v' * 1000}" for number in range(500))), {"headers": lambda fields: len(fields) == 500}
    ),
    "B8-more-than-the-limit": Given(
        raw("content-type: text/plain", body=b"x" * 6_300_000),
        {"statusCode": 502, "body": lambda text: "Function.ResponseSizeTooLarge" in text and str(LIMIT) in text},
    ),
}


def told_to_answer(event: Event, data: bytes, **fields: str) -> Event:
    """``event`` as one that makes the app answer with ``data``."""
    if len(data) < 4000:
        return with_fields(
            event, {"x-verbatim": _as(event, encoded(data)), **{n: _as(event, v) for n, v in fields.items()}}
        )
    return posting(event, encoded(data), True)


def _as(event: Event, value: str) -> str | list[str]:
    """The value as this event holds those of fields."""
    return value if "headers" in event else [value]


def holds(wanted: Any, value: object) -> bool:
    return bool(wanted(value)) if callable(wanted) else wanted == value


@pytest.mark.parametrize("name", ANSWERS)
def test_the_client_gets_the_answer(answering: tuple[FakeRuntimeApi, BootstrapProcess], name: str) -> None:
    api, process = answering
    given = ANSWERS[name]
    event = told_to_answer(given.event, given.raw)
    if "multiValueHeaders" in given.event and "headers" in given.event:  # of a REST API the map of lists is the whole
        event["multiValueHeaders"] = {n: [v] for n, v in event["headers"].items()}
    payload = answer_to(api, event).document
    wrong = {key: payload.get(key) for key, wanted in given.payload.items() if not holds(wanted, payload.get(key))}
    assert not wrong, payload
    if given.body is not None:
        assert base64.b64decode(payload["body"]) == given.body
    assert answer_to(api, url()).document["body"] == "ok"
    assert not process.has_exited()


@pytest.mark.parametrize(
    "body", [b"\1" * 2_000_000, b'"a",' * 1_150_000], ids=["B8-control-bytes-that-grow", "B8-quotes-that-grow"]
)
def test_text_that_only_fits_as_base64_is_sent_as_that(
    answering: tuple[FakeRuntimeApi, BootstrapProcess], body: bytes
) -> None:
    """As JSON a control byte takes six bytes, and a quotation mark two; as base64 every byte takes four thirds."""
    api, _ = answering
    payload = answer_to(api, told_to_answer(url(), raw("content-type: text/plain", body=body))).document
    assert (payload["statusCode"], payload["isBase64Encoded"]) == (200, True)
    assert base64.b64decode(payload["body"]) == body


def test_b8_an_early_answer_to_a_large_upload_is_not_lost(failing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = failing
    event = posting(url(rawPath="/early-413"), encoded(bytes(4_500_000)), True)
    assert answer_to(api, event).document["statusCode"] == 413


# ---- B9: an app that fails


class Failure(NamedTuple):
    """What an HTTP client sees, and the name that it has in the log and for every other event."""

    status: int
    error_type: str
    deadline_s: float = 30


FAILURES = {
    "B9-close": ("/close-before", Failure(502, "Runtime.AppConnectionLost")),
    "B9-reset": ("/reset-before", Failure(502, "Runtime.AppConnectionLost")),
    "B6-close-in-the-body": ("/truncated", Failure(502, "Runtime.AppConnectionLost")),
    "B6-close-in-a-chunk": ("/truncated-chunked", Failure(502, "Runtime.AppConnectionLost")),
    "B6-reset-in-the-body": ("/reset-middle", Failure(502, "Runtime.AppConnectionLost")),
    "B9-no-http": ("/garbage", Failure(502, "Runtime.AppBadResponse")),
    "B9-exit": ("/die", Failure(502, "Runtime.AppExited")),
    "B9-hang": ("/silence", Failure(504, "Runtime.AppTimeout", deadline_s=2)),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_app_that_fails_has_an_answer_with_a_name(
    failing: tuple[FakeRuntimeApi, BootstrapProcess], name: str
) -> None:
    api, process = failing
    path, (status, error_type, deadline_s) = FAILURES[name]
    document = answer_to(api, url(rawPath=path), deadline_s).document
    assert document["statusCode"] == status
    assert error_type in document["body"]
    answer = answer_to(api, {"fault": path}, deadline_s)
    assert (answer.kind, answer.document["errorType"]) == ("error", error_type)
    assert answer_to(api, b"[1]").body == b"[1]"
    assert not process.has_exited()


def test_b9_an_app_that_refuses_connections(api: FakeRuntimeApi, start: Start) -> None:
    start("faults.py", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="1")
    assert answer_to(api, url(rawPath="/refuse")).document["statusCode"] == 200
    document = answer_to(api, url()).document
    assert (document["statusCode"], "Runtime.AppUnreachable" in document["body"]) == (502, True)
    assert answer_to(api, url()).document["statusCode"] == 200


@pytest.mark.parametrize("end", ["close", "reset"], ids=["B9-idle-closed", "B9-idle-reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_was_closed_while_idle_costs_nothing(
    answering: tuple[FakeRuntimeApi, BootstrapProcess], end: str, method: str
) -> None:
    api, _ = answering
    event = told_to_answer(url(), raw(body=b"first"), **{"x-then": end})
    assert answer_to(api, event).document["body"] == "first"
    assert answer_to(api, changed(url(), {"requestContext/http/method": method})).document["body"] == "ok"


def test_b9_a_reset_that_races_with_the_request_is_retried_for_a_get_and_never_for_a_post(
    answering: tuple[FakeRuntimeApi, BootstrapProcess],
) -> None:
    """The server closes just when the next request comes: a request that may have been processed is not sent again."""
    api, process = answering
    for method, status, times in (("GET", 200, "2"), ("POST", 502, "1"), ("PUT", 200, "2"), ("PATCH", 502, "1")):
        assert answer_to(api, url()).document["body"] == "ok"  # there is a connection to be reused
        fields = {"x-reset-if-reused": "1", "x-tag": method}
        event = changed(with_fields(url(), fields), {"requestContext/http/method": method})
        assert answer_to(api, event).document["statusCode"] == status
        counting = with_fields(url(rawPath="/count"), {"x-tag": method})
        assert answer_to(api, counting).document["body"] == times
    assert "Runtime.AppConnectionLost" in process.stderr


def test_b9_500_of_an_http_event_is_an_answer_unless_it_is_configured_to_be_a_failure(
    api: FakeRuntimeApi, start: Start
) -> None:
    start("verbatim.py", AWS_LWA_ERROR_STATUS_CODES="500-599")
    body = b'{"errorType":"OutOfStock","errorMessage":"none left"}'
    answer = answer_to(api, told_to_answer(url(), raw(body=body, status="503 X")))
    assert answer.kind == "error"
    assert answer.document["errorType"] == "Function.OutOfStock"
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == "Function.OutOfStock"
    assert "none left" in answer.document["errorMessage"]
    assert answer_to(api, told_to_answer(url(), raw(status="404 X"))).document["statusCode"] == 404


# ---- B10: events that are no HTTP requests


QUEUE = {"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "x"}]}
REPORT = b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'
JSON_TYPE, BYTES_TYPE = "content-type: application/json", "content-type: application/octet-stream"


class Outcome(NamedTuple):
    """What the app answers an event from a queue with, and what the invocation's result is."""

    raw: bytes
    result: bytes | str  # bytes: the payload; text: the error's type
    event: Event = QUEUE


OUTCOMES = {
    **{
        f"B10-status-{status}-fails": Outcome(
            raw(JSON_TYPE, body=b'{"ok":true}', status=f"{status} X"), f"Function.Status{status}"
        )
        for status in (301, 302, 400, 401, 403, 404, 413, 429, 500, 502, 503)
    },
    "B10-500-with-text-fails": Outcome(
        raw("content-type: text/html", body=b"<h1>", status="500 X"), "Function.Status500"
    ),
    "B10-500-with-nothing-fails": Outcome(raw(status="500 X"), "Function.Status500"),
    "B10-a-name-of-the-apps-choice": Outcome(
        raw(JSON_TYPE, body=b'{"errorType":"OrderNotFound"}', status="422 X"), "Function.OrderNotFound"
    ),
    "B10-batch-report-goes-back": Outcome(raw(JSON_TYPE, body=REPORT), REPORT),
    "B10-json-of-any-type-counts": Outcome(raw(BYTES_TYPE, body=REPORT), REPORT),
    "B10-json-without-a-type-counts": Outcome(raw(body=REPORT), REPORT),
    "B10-json-is-not-written-anew": Outcome(
        raw(JSON_TYPE, body=b'{ "n" : 1.10, "n" : 2 }'), b'{ "n" : 1.10, "n" : 2 }'
    ),
    "B10-text-is-no-report": Outcome(raw("content-type: text/plain", body=b"OK"), "Function.AnswerNotJson"),
    "B10-half-a-report-is-none": Outcome(raw(JSON_TYPE, body=REPORT[:-2]), "Function.AnswerNotJson"),
    "B10-nothing-is-null": Outcome(raw(status="204 X"), b"null"),
    "B10-text-of-a-direct-invoke": Outcome(raw("content-type: text/plain", body=b"OK"), b'"OK"', {"direct": 1}),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_only_2xx_is_success(answering: tuple[FakeRuntimeApi, BootstrapProcess], name: str) -> None:
    api, _ = answering
    sent, result, event = OUTCOMES[name]
    answer = answer_to(api, {**event, "verbatim": encoded(sent)})
    if isinstance(result, bytes):
        assert (answer.kind, answer.body) == ("response", result)
    else:
        assert (answer.kind, answer.document["errorType"]) == ("error", result)


def test_b10_a_client_cannot_pass_for_a_queue(echoing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    """Anybody can post to /events of a function that has a URL; what only Lambda sends can be told from that."""
    api, _ = echoing
    event = posting(url(rawPath="/events"), json.dumps(QUEUE), x_fairlead_event_source="aws:sqs")
    got = seen(answer_to(api, with_fields(event, {"x-amzn-request-context": "null"})).document)
    assert (got.target, got.values("x-fairlead-event-source")) == ("/events", [])
    assert got.values(REQUEST_CONTEXT) != ["null"]
    got = seen({"body": answer_to(api, QUEUE).body})
    assert (got.values("x-fairlead-event-source"), got.values(REQUEST_CONTEXT)) == (["aws:sqs"], ["null"])


# ---- B11: streamed answers


SEPARATOR = b"\0" * 8
ERROR_TYPE, ERROR_BODY = "Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body"


@pytest.fixture(scope="module")
def streaming() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process that streams."""
    with FakeRuntimeApi() as fake:
        environment = {"AWS_LWA_INVOKE_MODE": "response_stream"}
        yield fake, start_bootstrap(fake, command=app("verbatim.py"), environment=environment)


class Streamed(NamedTuple):
    """The bytes that the app sends; the prelude, the body, and the type of the error in the trailers."""

    raw: bytes
    prelude: Mapping[str, Any] | None
    body: bytes
    error_type: str = ""
    then: str = "keep"


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"
TEXT_HEAD = {"statusCode": 200, "headers": {"content-type": "text/plain"}}
STREAMS = {
    "B11-repeated-fields-are-joined": Streamed(raw(*REPEATED), {"statusCode": 200, "headers": JOINED}, b""),
    "B11-a-latin-1-byte-in-a-field-is-kept": Streamed(
        raw("x-name: é"), {"statusCode": 200, "headers": {"x-name": "é"}}, b""
    ),
    "B11-no-type-is-invented-and-no-length-kept": Streamed(raw(body=b"ok"), {"statusCode": 200, "headers": {}}, b"ok"),
    "B11-204": Streamed(b"HTTP/1.1 204 X\r\n\r\n", {"statusCode": 204, "headers": {}}, b""),
    "B11-cookies": Streamed(raw(*COOKIES), {"statusCode": 200, "headers": {}, "cookies": COOKIE_VALUES}, b""),
    "B11-trailers-of-the-app-are-not-the-body": Streamed(CHUNKED + b"0\r\nx-sum: 1\r\n\r\n", TEXT_HEAD, b"some"),
    "B11-connection-closed-in-the-middle": Streamed(
        CHUNKED + b"9\r\nhalf", TEXT_HEAD, b"somehalf", "Runtime.AppConnectionLost", "close"
    ),
    "B11-connection-reset-in-the-middle": Streamed(CHUNKED, TEXT_HEAD, b"some", "Runtime.AppConnectionLost", "reset"),
    "B11-length-not-reached": Streamed(
        raw("content-type: text/plain", body=b"some", length=9),
        TEXT_HEAD,
        b"some",
        "Runtime.AppConnectionLost",
        "close",
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_has_the_whole_answer_or_an_error_in_its_trailers(
    streaming: tuple[FakeRuntimeApi, BootstrapProcess], name: str
) -> None:
    api, process = streaming
    sent = STREAMS[name]
    answer = answer_to(api, told_to_answer(url(), sent.raw, **{"x-then": sent.then}))
    prelude, separator, body = answer.body.partition(SEPARATOR)
    assert separator
    assert json.loads(prelude) == sent.prelude
    assert body == sent.body
    trailers = dict(answer.request.trailers)
    assert trailers.get(ERROR_TYPE, "") == sent.error_type
    if sent.error_type:
        assert json.loads(base64.b64decode(trailers[ERROR_BODY]))["errorType"] == sent.error_type
    assert answer_to(api, url()).body.endswith(SEPARATOR + b"ok")
    assert not process.has_exited()


@pytest.mark.parametrize(
    ("event", "result"),
    [(QUEUE, REPORT), ({"direct": 1}, REPORT)],
    ids=["B11-batch-report-has-no-prelude", "B11-direct-invoke-has-no-prelude"],
)
def test_what_is_no_request_is_never_streamed(
    streaming: tuple[FakeRuntimeApi, BootstrapProcess], event: Event, result: bytes
) -> None:
    api, _ = streaming
    answer = answer_to(api, {**event, "verbatim": encoded(raw(body=result))})
    assert answer.body == result
    assert answer.request.header("Lambda-Runtime-Function-Response-Mode") is None


def test_b11_a_client_that_goes_away_costs_nothing_but_its_answer(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command=app("piecewise.py"), environment={"AWS_LWA_INVOKE_MODE": "response_stream"})
    api.script("response", Reply(read=100_000, wire=Wire(end="reset", end_at=0)))
    api.add_event(url(rawPath="/bulk/1000"))
    assert answer_to(api, url()).body.endswith(SEPARATOR + b'"ok"')
    assert not process.has_exited()
    api.take_violations()  # the fake counts the broken answer as none


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_b11_the_invocation_id_is_sent_back(api: FakeRuntimeApi, start: Start, mode: str) -> None:
    start("faults.py", AWS_LWA_INVOKE_MODE=mode)
    headers = {"Lambda-Runtime-Invocation-Id": "nonce"}
    for event in (url(), {"fault": "/status/500"}):
        answer = answer_to(api, event, headers=headers)
        assert answer.request.header_values("Lambda-Runtime-Invocation-Id") == ["nonce"]


# ---- B12: compression


@pytest.fixture(scope="module")
def compressing() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process that compresses."""
    with FakeRuntimeApi() as fake:
        environment = {"AWS_LWA_ENABLE_COMPRESSION": "true"}
        yield fake, start_bootstrap(fake, command=app("verbatim.py"), environment=environment)


class Compressed(NamedTuple):
    """Fields of the app's answer of 3000 bytes, and what the answer then has."""

    fields: tuple[str, ...]
    is_compressed: bool
    headers: Mapping[str, str] = {}
    accepts: str = "gzip"
    body: bytes = b"compress me! " * 231


PLAIN = "content-type: text/plain"
COMPRESSIONS = {
    "B12-gzip": Compressed((PLAIN,), True, {"vary": "Accept-Encoding", "content-encoding": "gzip"}),
    "B12-vary-is-added-to-that-of-the-app": Compressed(
        (PLAIN, "vary: origin"), True, {"vary": "origin, Accept-Encoding"}
    ),
    "B12-vary-also-where-it-was-not-compressed": Compressed((PLAIN,), False, {"vary": "Accept-Encoding"}, "identity"),
    "B12-a-strong-etag-becomes-weak": Compressed((PLAIN, 'etag: "v1"'), True, {"etag": 'W/"v1"'}),
    "B12-no-transform-is-obeyed": Compressed((PLAIN, "cache-control: no-transform"), False),
    "B12-bytes-of-no-type-are-not-compressed": Compressed(("content-type: application/octet-stream",), False),
    "B12-svg-is-compressed": Compressed(("content-type: image/svg+xml",), True),
    "B12-other-images-are-not": Compressed(("content-type: image/png",), False),
    "B12-grpc-is-not": Compressed(("content-type: application/grpc",), False),
    "B12-encoded-is-not": Compressed((PLAIN, "content-encoding: br"), False),
    "B12-ranges-are-not": Compressed((PLAIN, "content-range: bytes 0-2999/9999"), False),
    "B12-small-is-not": Compressed((PLAIN,), False, body=b"x" * 40),
    "B12-what-would-grow-is-not": Compressed((PLAIN,), False, body=base64.b64encode(random.Random(1).randbytes(900))),
    "B12-zstd": Compressed((PLAIN,), True, {"content-encoding": "zstd"}, "gzip, br, zstd"),
}


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compression_keeps_the_meaning_of_the_answer(
    compressing: tuple[FakeRuntimeApi, BootstrapProcess], name: str
) -> None:
    api, process = compressing
    case = COMPRESSIONS[name]
    event = told_to_answer(url(), raw(*case.fields, body=case.body), accept_encoding=case.accepts)
    event = with_fields(event, {"accept-encoding": case.accepts})
    document = answer_to(api, event).document
    headers = document["headers"]
    if case.headers.get("content-encoding") == "zstd" and headers.get("content-encoding") != "zstd":
        pytest.skip("this machine has no libzstd.so.1")
    assert {name: headers.get(name) for name in case.headers} == dict(case.headers)
    given = dict(line.split(": ", 1) for line in case.fields).get("content-encoding")
    assert (headers.get("content-encoding", given) != given) == case.is_compressed
    body = base64.b64decode(document["body"]) if document["isBase64Encoded"] else document["body"].encode()
    if not case.is_compressed:
        assert body == case.body
    elif headers["content-encoding"] == "gzip":
        assert gzip.decompress(body) == case.body


def test_b12_other_events_are_not_compressed(compressing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = compressing
    large = json.dumps(["x" * 5000]).encode()
    assert answer_to(api, {**QUEUE, "verbatim": encoded(raw(JSON_TYPE, body=large))}).body == large


def test_b12_a_streamed_answer_is_compressed_too(api: FakeRuntimeApi, start: Start) -> None:
    start("faults.py", AWS_LWA_ENABLE_COMPRESSION="true", AWS_LWA_INVOKE_MODE="response_stream")
    event = with_fields(url(rawPath="/large/20000"), {"accept-encoding": "gzip"})
    prelude, _, body = answer_to(api, event).body.partition(SEPARATOR)
    assert json.loads(prelude)["headers"]["content-encoding"] == "gzip"
    assert gzip.decompress(body) == b"a" * 20_000


# ---- B13 and B14


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["B13-sigterm", "B13-sigint"])
def test_the_app_is_told_of_the_end_and_may_finish(api: FakeRuntimeApi, start: Start, number: int) -> None:
    process = start("recorder.py", RECORD_DIRECTORY="/nowhere", GOODBYE_MS="100")
    api.wait_idle()
    os.kill(process.pid, number)
    assert process.wait() == 0
    assert "goodbye" in process.stderr
    assert process.app_pids == []


def test_b14_one_bad_request_ends_no_other(start: Start) -> None:
    """Three requests are in the app when one comes that ends the peer's process: each is answered."""
    with FakeRuntimeApi(concurrency=5) as api:
        process = start_bootstrap(api, command=app("faults.py"), environment={"AWS_LAMBDA_MAX_CONCURRENCY": "5"})
        waiting = [api.add_event(url(rawPath="/meet/4")) for _ in range(3)]
        bad = [
            api.add_event(event)
            for event in (
                with_fields(alb(), {"host": "${jndi:ldap://x}"}),
                posting(url(), "%%%", True),
                url(rawQueryString='q="a b"'),
                url(rawPath="/truncated"),
            )
        ]
        assert [api.wait_answer(request_id).document["statusCode"] for request_id in bad] == [200, 400, 200, 502]
        waiting.append(api.add_event(url(rawPath="/meet/4")))
        assert [api.wait_answer(request_id).document["statusCode"] for request_id in waiting] == [200] * 4
        assert "a poller" not in process.stderr


def test_b14_a_poller_whose_next_fails_waits_before_it_tries_again(start: Start) -> None:
    with FakeRuntimeApi(concurrency=2) as api:
        process = start_bootstrap(api, command=app("faults.py"), environment={"AWS_LAMBDA_MAX_CONCURRENCY": "2"})
        for _ in range(2):
            api.add_next(Reply(500, b"{}"))
        assert answer_to(api, url()).document["statusCode"] == 200
        process.wait_output("trying again in 0.1 s")
        assert len(api.nexts) < 20


def test_b14_the_trace_of_the_invocation_reaches_the_app(echoing: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = echoing
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
    event = with_fields(url(), {"x-amzn-trace-id": "Root=1-00000000-000000000000000000000000"})
    got = seen(answer_to(api, event, headers={"Lambda-Runtime-Trace-Id": trace}).document)
    assert got.values("x-amzn-trace-id") == [trace]


# ---- B15: what an emulator, or the platform, does to its runtimes; with the real one: tests/integration


def test_b15_an_emulator_that_goes_away_is_named_as_the_reason(api: FakeRuntimeApi, start: Start) -> None:
    """The peer says that it could not register its extension, hours after it has."""
    process = start("echo.py")
    api.wait_registered()
    for _ in range(2):  # one that was lost before any answer is asked for once more
        api.add_next(Reply(wire=Wire(end="reset", end_at=0)))
    assert process.wait() == 1
    assert "no invocation could be had from the Runtime API" in process.stderr
    assert process.app_pids == []


def test_b15_an_app_on_the_emulators_port_is_told_so(api: FakeRuntimeApi, start: Start) -> None:
    """The emulator listens on 8080, which is every app's default, and answers every GET below 500."""
    with FakeRuntimeApi() as emulator:
        process = start("echo.py", FAIRLEAD_PORT=emulator.address.rpartition(":")[2])
        document = json.loads(api.wait_init_error().body)
        assert (document["errorType"], process.wait()) == ("Runtime.PortInUse", 1)
        assert emulator.address.rpartition(":")[2] in document["errorMessage"]
