"""Handlers in JavaScript and TypeScript, under each runtime of our layers: ``index.fetch`` and ``index.handler``."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.events import function_url
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.wire import Reply, Wire

from .conftest import javascript_environment

MODULES = Path(__file__).parents[1] / "javascript"
SEPARATOR = b"\0" * 8
Start = Callable[..., BootstrapProcess]


@pytest.fixture
def start(api: FakeRuntimeApi, engine: Path) -> Start:
    def started(handler: str, **environment: str) -> BootstrapProcess:
        given = {**javascript_environment(engine, MODULES), **environment}
        return start_bootstrap(api, handler=handler, environment=given)

    return started


def ask(api: FakeRuntimeApi, event: dict[str, Any]) -> Answer:
    return api.wait_answer(api.add_event(event), timeout=30)


def test_a_fetch_module_sees_the_whole_request(api: FakeRuntimeApi, start: Start) -> None:
    start("web.fetch")
    octets = bytes(range(256))
    event = function_url("POST", "/p%20a/th?q=1&q=a%26b&q=", base64.b64encode(octets).decode(), is_base64=True)
    event["headers"].update({"x-repeated": "one, two", "x-forwarded-proto": "https"})
    event["cookies"] = ["s=1", "t=2"]
    document = ask(api, event).document
    seen = json.loads(document["body"])
    assert seen["url"] == f"https://{event['headers']['host']}/p%20a/th?q=1&q=a%26b&q="
    assert seen["query"] == ["1", "a&b", ""]
    assert seen["cookie"] == "s=1; t=2"
    assert seen["repeated"] == "one, two"
    assert bytes(seen["octets"]) == octets
    assert document["cookies"] == ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"]


def test_a_fetch_module_streams(api: FakeRuntimeApi, start: Start) -> None:
    start("web.fetch", FAIRLEAD_INVOKE_MODE="response_stream")
    body = ask(api, function_url("GET", "/stream")).body.partition(SEPARATOR)[2]
    assert body == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"


@pytest.mark.parametrize(
    ("path", "words"),
    [("/throw", "out of reach"), ("/nothing", "fetch must give a Response, and gave undefined")],
)
def test_a_fetch_that_fails_is_a_500_and_explained_in_the_log(
    api: FakeRuntimeApi, start: Start, path: str, words: str
) -> None:
    process = start("web.fetch")
    assert ask(api, function_url("GET", path)).document["statusCode"] == 500
    process.wait_output(words)
    assert ask(api, function_url("GET", "/")).document["statusCode"] == 200


# What the client gets for what a module does, and what the log says of it.
ANSWERS = {
    "GET /": (200, ""),
    "HEAD /endless": (200, ""),
    "QUERY /": (200, ""),
    "TRACE /": (501, ""),
    "GET /status-204": (204, ""),
    "GET /status-205": (205, ""),
    "GET /status-304": (304, ""),
    "GET /redirect": (302, ""),
    "GET /wrong-length": (200, ""),
    "GET /own-framing": (200, ""),
    "GET /sub-class": (200, ""),
    "GET /later": (200, ""),
    "GET /later-redirect": (303, ""),
    "GET /later-throws": (200, "in the background"),
    "GET /error-response": (500, "gave Response.error()"),
    "GET /switching": (500, ""),  # Node cannot make such a Response at all
    "GET /used-up": (500, "has been read already"),
    "GET /plain-object": (500, "must give a Response, and gave object"),
    "GET /null": (500, "must give a Response, and gave null"),
    "GET /throws-null": (500, "null"),
    "GET /deno-upgrade": (500, ""),
    "GET /bun-upgrade": (200, ""),
    "GET /breaks": (502, "Runtime.AppConnectionLost"),
    "GET /rejected": (500, "Unhandled Promise Rejection"),
    "GET /rejected-beside": (200, "Unhandled Promise Rejection"),
    "GET /thrown": (500, "Uncaught Exception"),
    "GET /thrown-in-stream": (502, "thrown by a timer"),
    "GET /exits": (502, "the app exited with status 3"),
}
BODIES = {"/": "fine", "/wrong-length": "abc", "/own-framing": "abc", "/sub-class": "sub", "/later": "ok"}


def test_whatever_a_module_gives_the_client_gets_an_answer_and_the_log_the_reason(
    api: FakeRuntimeApi, start: Start
) -> None:
    """After each comes a request that was not to blame: it is served, by the next process where there has to be one."""
    process = start("answers.fetch")
    found, at = {}, 0
    for name in ANSWERS:
        method, path = name.split()
        document = ask(api, function_url(method, path)).document
        found[name] = document["statusCode"]
        if path in BODIES and method == "GET":
            assert (document["body"], document["isBase64Encoded"]) == (BODIES[path], False), name
            assert document["headers"]["content-type"].startswith("text/plain"), name
        assert ask(api, function_url("GET", "/")).document["body"] == "fine", name
        process.wait_output(ANSWERS[name][1])
        output = process.output
        assert ANSWERS[name][1] in output[at:], name
        at = len(output)
    assert found == {name: status for name, (status, _) in ANSWERS.items()}


def test_a_rejection_costs_no_answer_that_streams(api: FakeRuntimeApi, start: Start) -> None:
    process = start("answers.fetch", FAIRLEAD_INVOKE_MODE="response_stream")
    for path, text in {"/rejected-beside": b"answered", "/": b"fine"}.items():
        assert ask(api, function_url("GET", path)).body.partition(SEPARATOR)[2] == text
    process.wait_output("the app exited with status 128")


def test_a_lambda_handler_gets_the_event_and_its_context(api: FakeRuntimeApi, start: Start) -> None:
    start("events.handler")
    event = function_url("GET", "/")
    result = ask(api, event).document
    assert result["event"] == event
    assert result["id"] == api.of_kind("response")[0].target.split("/")[-2]
    assert result["arn"].startswith("arn:aws:lambda:")
    assert 0 < result["left"] <= 60_000


def test_a_lambda_handler_that_throws_fails_the_invocation(api: FakeRuntimeApi, start: Start) -> None:
    process = start("events.handler")
    answer = ask(api, {"fail": True})
    assert (answer.kind, answer.document["errorType"]) == ("error", "TypeError")
    assert answer.document["errorMessage"] == "no such thing"
    assert any("events.mjs" in line for line in answer.document["trace"])
    process.wait_output("no such thing")
    assert ask(api, {"x": 1}).document["event"] == {"x": 1}


def test_a_handler_with_a_callback_is_waited_for(api: FakeRuntimeApi, start: Start) -> None:
    start("events.callback")
    assert ask(api, {"x": 1}).document == {"x": 1}
    assert ask(api, {"fail": True}).document["errorMessage"] == "called back"


def test_a_handler_that_gives_nothing_is_answered_with_null(api: FakeRuntimeApi, start: Start) -> None:
    start("events.nothing")
    assert ask(api, {}).body == b"null"


@pytest.mark.parametrize(
    ("handler", "error_type", "words"),
    [
        ("events.missing", "HandlerNotFound", "has no function missing: it needs `export function missing(event"),
        ("events.notAFunction", "HandlerNotFound", "has no function notAFunction"),
        ("events.fetch", "HandlerNotFound", "has no function fetch: it needs `export default { fetch(request)"),
        ("broken.handler", "ImportModuleError", "no-such-file.mjs"),
    ],
)
def test_a_module_that_cannot_be_used_is_an_init_error_with_its_own_name_and_the_reason(
    api: FakeRuntimeApi, start: Start, handler: str, error_type: str, words: str
) -> None:
    start(handler)
    request = api.wait_init_error(timeout=30)
    document = json.loads(request.body)
    assert document["errorType"] == request.header("Lambda-Runtime-Function-Error-Type") == f"Runtime.{error_type}"
    assert words in document["errorMessage"]


# What a client sends as Host, and the host that the module sees in its URL; "" stands for the function's own domain.
HOSTS = {
    "shop.example": "shop.example",
    "SHOP.example:8443": "shop.example:8443",
    "xn--bcher-kva.example": "xn--bcher-kva.example",
    "127.0.0.1:81": "127.0.0.1:81",
    "[::1]:81": "[::1]:81",
    "app.example/admin?": "",
    "app.example/admin": "",
    "app.example\\admin": "",
    "app.example?x=1": "",
    "app.example#": "",
    "app.example /admin": "",
    "app.example\t/admin": "",
    "user@app.example": "",
    "user:secret@app.example": "",
    "app.example:80/admin": "",
    "app.example:99999": "",
    "app.example:x": "",
    "http://app.example/admin": "",
    "//app.example": "",
    "a..b": "",
    "999.1.1.1": "",
    "[::1": "",
    "xn--a.example": None,
    "${jndi}": "",
    "%2fadmin": "",
    "b\xfccher.example": "",
    "a,b": "",
}


def test_no_host_field_changes_the_path_or_the_query_that_a_module_sees(api: FakeRuntimeApi, start: Start) -> None:
    start("web.fetch")
    for sent, host in HOSTS.items():
        event = function_url("GET", "/public//a%2Fb?q=1&q=/admin%3F")
        own = event["requestContext"]["domainName"]
        event["headers"].update({"host": sent, "x-forwarded-proto": "https"})
        seen = json.loads(ask(api, event).document["body"])
        scheme, _, rest = seen["url"].partition("://")
        found, slash, target = rest.partition("/")
        assert (scheme, slash + target) == ("https", "/public//a%2Fb?q=1&q=/admin%3F"), sent
        assert found in ((own, sent) if host is None else (host or own,)), sent
        assert seen["host"] == sent.encode().decode("latin-1"), sent


@pytest.mark.parametrize("path", ["//evil.example/x", "/a\\b", "/@evil.example/", "/:80/x"])
def test_no_path_becomes_the_host(api: FakeRuntimeApi, start: Start, path: str) -> None:
    start("web.fetch")
    event = function_url("GET", path)
    seen = json.loads(ask(api, event).document["body"])
    assert seen["url"].partition("://")[2] == event["headers"]["host"] + path.replace("\\", "%5C")


def test_a_module_learns_that_the_client_has_gone(api: FakeRuntimeApi, start: Start) -> None:
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    process = start("web.fetch", FAIRLEAD_INVOKE_MODE="response_stream")
    api.add_event(function_url("GET", "/endless"))
    process.wait_output("the client has gone")
    api.take_violations()  # the fake takes the broken answer for none


def test_who_asks_for_a_web_socket_is_named_in_the_log(api: FakeRuntimeApi, start: Start) -> None:
    process = start("web.fetch")
    event = function_url("GET", "/")
    event["headers"].update({"upgrade": "websocket", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="})
    assert ask(api, event).document["statusCode"] == 200
    process.wait_output("no front end of Lambda opens one")


def test_what_is_beside_fetch_and_is_not_called_is_named_in_the_log(
    api: FakeRuntimeApi, start: Start, tmp_path: Path
) -> None:
    source = 'export default { routes: { "/a": new Response("a") }, fetch: () => new Response("b") };'
    (tmp_path / "index.mjs").write_text(source)
    process = start("index.fetch", LAMBDA_TASK_ROOT=str(tmp_path))
    assert ask(api, function_url("GET", "/a")).document["body"] == "b"
    process.wait_output("`routes` is not served")


def test_sigterm_ends_it(api: FakeRuntimeApi, start: Start) -> None:
    process = start("web.fetch")
    ask(api, function_url("GET", "/"))
    process.terminate()
    assert process.wait() == 0
