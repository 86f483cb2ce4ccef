"""WSGI and ASGI apps as handlers (``module:callable``): the real ``./bootstrap`` runs those of ``tests/handlers_web``.

What holds for both interfaces is tested with both: the apps ``raw_wsgi`` and ``raw_asgi`` do the same under the same
paths.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.config import Config
from runtime.errors import InitFault
from runtime.python.callable_mode import interface_of
from tests.events import function_url, rest_api
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.gate import Gate
from tests.fakes.inspection import wait_asleep
from tests.fakes.process import CHECKOUT, free_port
from tests.fakes.runtime_api import WAIT_SECONDS
from tests.fakes.wire import RecordedRequest, Reply, Wire

APPS = CHECKOUT / "tests" / "handlers_web"
DATA = CHECKOUT / "tests" / "data" / "events"
SEPARATOR = b"\0" * 8
PIECE = 65536
RAW = ("raw_wsgi:app", "raw_asgi:app")
STREAMED = {"FAIRLEAD_INVOKE_MODE": "response_stream"}
SQS = {"Records": [{"messageId": "m-1", "eventSource": "aws:sqs", "body": "{}"}]}


@pytest.fixture
def gate() -> Iterator[Gate]:
    opened = Gate()
    yield opened
    opened.close()


Start = Callable[..., BootstrapProcess]


@pytest.fixture
def start(api: FakeRuntimeApi, gate: Gate) -> Start:
    """Starts ``bootstrap`` with an app of ``tests/handlers_web``; keyword arguments are environment variables."""

    def start_app(handler: str, **environment: str | None) -> BootstrapProcess:
        variables = {
            "LAMBDA_TASK_ROOT": str(APPS),
            "PYTHONPATH": sysconfig.get_paths()["purelib"],
            "GATE": str(gate.port),
            **environment,
        }
        return start_bootstrap(api, handler=handler, environment=variables)

    return start_app


Ask = Callable[..., Answer]


@pytest.fixture
def ask(api: FakeRuntimeApi) -> Ask:
    """One request through a Function URL: what the invocation was answered with."""

    def ask(target: str, method: str = "GET", body: str | None = None, **event: Any) -> Answer:
        return api.wait_answer(api.add_event(function_url(method, target, body), **event))

    return ask


def text_of(answer: Answer) -> str:
    """The body that the client gets, of a buffered answer."""
    body: str = answer.document["body"]
    return base64.b64decode(body).decode() if answer.document["isBase64Encoded"] else body


def json_of(answer: Answer) -> Any:
    assert answer.document["statusCode"] == 200, answer.document
    return json.loads(text_of(answer))


def split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The prelude and the body of a streamed answer."""
    prelude, separator, body = answer.body.partition(SEPARATOR)
    assert separator
    return json.loads(prelude), body


def error_trailers(answer: Answer) -> tuple[str, dict[str, Any]]:
    """Type and document of a stream that failed."""
    trailers = dict(answer.request.trailers)
    error_type = trailers.pop("Lambda-Runtime-Function-Error-Type")
    return error_type, json.loads(base64.b64decode(trailers.pop("Lambda-Runtime-Function-Error-Body")))


def answer_under_way(api: FakeRuntimeApi, part: bytes) -> RecordedRequest:
    """The response that is being received, once ``part`` of it is there."""
    limit = time.monotonic() + WAIT_SECONDS
    while True:
        found = [request for request in api.of_kind("response") if part in request.received]
        if found:
            return found[-1]
        assert time.monotonic() < limit, f"waited for {part!r}"
        time.sleep(0.005)


# ---- the same as with a server in between ---------------------------------------------------------------------------

EVENTS = sorted(path for path in DATA.glob("*/*.json") if "." not in path.stem)


@pytest.fixture(scope="module")
def payloads() -> dict[str, list[tuple[str, bytes]]]:
    """What each of the three ways answers each event with."""
    ways = {"process": app("echo.py"), "asgi": "echo_asgi:app", "wsgi": "echo_wsgi:app"}
    found = {}
    port = free_port()  # the same for all: it is in the Host of what no client has sent
    for way, what in ways.items():
        with FakeRuntimeApi() as api:
            chosen = {"command": what} if way == "process" else {"handler": what}
            environment = {"LAMBDA_TASK_ROOT": str(APPS), "FAIRLEAD_PORT": str(port)}
            start_bootstrap(api, environment=environment, **chosen)
            ids = [
                api.add_event(path.read_bytes(), request_id=f"id-{number}", deadline_ms=4_000_000_000_000)
                for number, path in enumerate(EVENTS)
            ]
            answers = [api.wait_answer(request_id, timeout=60) for request_id in ids]
            found[way] = [(answer.kind, answer.body) for answer in answers]
    return found


def case_name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("number", range(len(EVENTS)), ids=map(case_name, EVENTS))
def test_an_event_is_answered_as_with_a_server(payloads: dict[str, list[tuple[str, bytes]]], number: int) -> None:
    process = payloads["process"][number]
    assert payloads["asgi"][number] == process
    assert as_wsgi_has_it(payloads["wsgi"][number]) == as_wsgi_has_it(process)


def as_wsgi_has_it(answer: tuple[str, bytes]) -> tuple[str, Any]:
    """The answer of an echo, with fields as a WSGI app sees them."""
    kind, payload = answer
    document = json.loads(payload)
    if not isinstance(document, dict):
        return kind, document
    if isinstance(document.get("headers"), dict | list) and "target" in document:
        return kind, _joined(document)
    if isinstance(document.get("body"), str) and document["body"].startswith("{"):
        document["body"] = _joined(json.loads(document["body"]))
    return kind, document


def _joined(seen: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, str] = {}
    lines = seen["headers"].items() if isinstance(seen["headers"], dict) else seen["headers"]
    for name, value in lines:
        name = name.replace("_", "-")
        fields[name] = f"{fields[name]},{value}" if name in fields else value
    return {**seen, "headers": fields}


# ---- what an app is told --------------------------------------------------------------------------------------------


def test_the_environ_is_complete(start: Start, ask: Ask, api: FakeRuntimeApi) -> None:
    start("raw_wsgi:app", FAIRLEAD_REMOVE_BASE_PATH="/api", FAIRLEAD_CONTEXT_HEADERS="false")
    event = function_url("POST", "/api/environment/a%2Fb%C3%A9?q=1&q=%C3%A9", "text")
    event["headers"] = {
        "host": "shop.example:8443",
        "content-type": "text/plain",
        "x-forwarded-for": "203.0.113.1, 198.51.100.7",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
        "x-name": "é",
        "x_name": "somebody else's",
        "proxy": "http://evil",
    }
    event["cookies"] = []
    request_id = api.add_event(event)
    environ = json_of(api.wait_answer(request_id))
    assert environ.pop("aws.event") == str(event)
    assert environ.pop("aws.context").startswith("LambdaContext(")
    assert environ == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/api",
        "PATH_INFO": "/environment/a/b" + "é".encode().decode("latin-1"),
        "QUERY_STRING": "q=1&q=%C3%A9",
        "REQUEST_URI": "/api/environment/a%2Fb%C3%A9?q=1&q=%C3%A9",
        "RAW_URI": "/api/environment/a%2Fb%C3%A9?q=1&q=%C3%A9",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "4",
        "REMOTE_ADDR": "198.51.100.7",
        "SERVER_NAME": "shop.example",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "fairlead",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTP_HOST": "shop.example:8443",
        "HTTP_X_FORWARDED_FOR": "203.0.113.1, 198.51.100.7",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_PORT": "443",
        "HTTP_X_FORWARDED_PREFIX": "/api",
        "HTTP_X_NAME": "é".encode().decode("latin-1"),
        "HTTP_X_AMZN_TRACE_ID": environ["HTTP_X_AMZN_TRACE_ID"],
        "wsgi.version": [1, 0],
        "wsgi.url_scheme": "https",
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "request": request_id,
    }


def test_the_scope_is_complete(start: Start, api: FakeRuntimeApi) -> None:
    start("raw_asgi:app", FAIRLEAD_REMOVE_BASE_PATH="/api", FAIRLEAD_CONTEXT_HEADERS="false")
    event = function_url("POST", "/api/x", "text")
    event["rawPath"] = "/scope/a%2Fb%C3%A9"
    event["headers"] = {"host": "[2001:db8::1]", "x-name": "é", "x-forwarded-proto": "https"}
    event["cookies"] = []
    request_id = api.add_event(event)
    scope = json_of(api.wait_answer(request_id))
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https",
        "path": "/scope/a/bé",
        "raw_path": "/scope/a%2Fb%C3%A9",
        "query_string": "",
        "root_path": "",
        "headers": scope["headers"],
        "client": ["198.51.100.7", 0],
        "server": ["[2001:db8::1]", 443],
        "extensions": {},
        "aws.event": event,
        "aws.context": request_id,
    }
    assert ["x-name", "é".encode().decode("latin-1")] in scope["headers"]
    assert ["content-length", "4"] in scope["headers"]


CLIENTS = {
    "load balancer": ({"headers": {"x-forwarded-for": "1.2.3.4, 198.51.100.9"}}, "198.51.100.9"),
    "load balancer that adds ports": ({"headers": {"x-forwarded-for": "198.51.100.9:4711"}}, "198.51.100.9"),
    "IPv6": ({"headers": {"x-forwarded-for": "2001:db8::7"}}, "2001:db8::7"),
    "IPv6 with a port": ({"headers": {"x-forwarded-for": "[2001:db8::7]:4711"}}, "2001:db8::7"),
    "nobody": ({"headers": {}}, "127.0.0.1"),
    "text": ({"headers": {"x-forwarded-for": "unknown"}}, "127.0.0.1"),
    "REST API": ({"requestContext": {"identity": {"sourceIp": "198.51.100.10"}}}, "198.51.100.10"),
    "console": ({"requestContext": {"identity": {"sourceIp": "test-invoke-source-ip"}}}, "127.0.0.1"),
}


def test_the_client_is_who_the_front_end_has_seen(start: Start, api: FakeRuntimeApi) -> None:
    start("raw_asgi:app")
    for name, (changes, expected) in CLIENTS.items():
        event = {"httpMethod": "GET", "path": "/scope", "requestContext": {"elb": {}}, "body": "", **changes}
        assert (name, json_of(api.wait_answer(api.add_event(event)))["client"][0]) == (name, expected)


@pytest.mark.parametrize("handler", RAW)
def test_a_trigger_is_posted_to_the_app(start: Start, api: FakeRuntimeApi, handler: str) -> None:
    start(handler)
    assert api.wait_answer(api.add_event(SQS)).document == {"seen": SQS, "same": True}


@pytest.mark.parametrize("handler", RAW)
def test_an_exception_fails_a_trigger(start: Start, api: FakeRuntimeApi, handler: str) -> None:
    process = start(handler)
    answer = api.wait_answer(api.add_event({**SQS, "fails": True}))
    assert (answer.kind, answer.document["errorType"], answer.document["errorMessage"]) == (
        "error",
        "Broken",
        "a trigger",
    )
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == "Function.Broken"
    stack = "".join(answer.document["stackTrace"])
    assert 'raise Broken("a trigger")' in stack
    assert f"{CHECKOUT}/runtime" not in stack
    assert "/asyncio/" not in stack
    assert process.output.count("Broken: a trigger") == 1


# ---- what an app answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", RAW)
def test_an_answer_becomes_the_payload(start: Start, ask: Ask, handler: str) -> None:
    start(handler)
    answer = ask("/ok")
    assert (answer.document["statusCode"], answer.document["headers"]) == (200, {"content-type": "text/plain"})
    assert text_of(answer) == "ok there"
    document = ask("/headers").document
    assert document["statusCode"] == 201
    assert document["cookies"] == ["a=1", "b=2"]
    assert document["headers"] == {"x-utf-8": "é", "x-latin": "é", "content-type": "text/plain"}
    assert text_of(ask("/ok", "HEAD")) == ""
    assert (ask("/no-content").document["statusCode"], text_of(ask("/no-content"))) == (204, "")


@pytest.mark.parametrize("handler", RAW)
def test_an_answer_is_streamed(start: Start, api: FakeRuntimeApi, gate: Gate, handler: str) -> None:
    start(handler, **STREAMED)
    request_id = api.add_event(function_url("GET", "/pieces/3"))
    for number in range(3):
        gate.release()
        request = answer_under_way(api, b"piece %d\n" % number)
        assert b"piece %d\n" % (number + 1) not in request.received
    answer = api.wait_answer(request_id)
    assert split(answer) == (
        {"statusCode": 200, "headers": {"content-type": "text/event-stream"}},
        b"piece 0\npiece 1\npiece 2\n",
    )
    assert answer.request.trailers == []
    gate.expect("closed")


@pytest.mark.parametrize("handler", RAW)
def test_answers_of_every_kind_are_streamed(start: Start, ask: Ask, handler: str) -> None:
    start(handler, **STREAMED)
    assert split(ask("/ok"))[1] == b"ok there"
    assert split(ask("/ok", "HEAD"))[1] == b""
    prelude, body = split(ask("/no-content"))
    assert (prelude["statusCode"], body) == (204, b"")
    assert split(ask("/headers"))[0]["cookies"] == ["a=1", "b=2"]
    assert len(split(ask("/bulk/20"))[1]) == 20 * PIECE


@pytest.mark.parametrize("handler", RAW)
def test_a_source_that_cannot_stream_is_answered_buffered(start: Start, api: FakeRuntimeApi, handler: str) -> None:
    start(handler, **STREAMED)
    event = {"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/ok", "headers": {}, "body": ""}
    assert api.wait_answer(api.add_event(event)).document["body"] == "ok there"
    assert api.wait_answer(api.add_event(SQS)).document["seen"] == SQS


def test_write_and_a_late_start_response(start: Start, ask: Ask) -> None:
    start("raw_wsgi:app")
    assert text_of(ask("/write")) == "written first then returned"
    assert text_of(ask("/late-start")) == "late"
    error_page = ask("/exc-info")
    assert (error_page.document["statusCode"], text_of(error_page)) == (500, "the error page")


def test_write_and_a_late_start_response_streamed(start: Start, ask: Ask) -> None:
    start("raw_wsgi:app", **STREAMED)
    assert split(ask("/write"))[1] == b"written first then returned"
    assert split(ask("/late-start"))[1] == b"late"
    assert split(ask("/exc-info"))[0]["statusCode"] == 500
    answer = ask("/exc-info/late")
    assert split(answer)[1] == b"sent "
    assert error_trailers(answer)[1]["errorMessage"] == "behind the page"


def test_receive_tells_that_it_is_over(start: Start, ask: Ask, gate: Gate) -> None:
    start("raw_asgi:app")
    assert json_of(ask("/messages", "POST", "text")) == {
        "type": "http.request",
        "body": "text",
        "more_body": False,
        "was_over": False,
    }
    for word in ("http.disconnect", "http.disconnect", "BrokenPipeError"):
        gate.expect(word)


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_several_tasks_may_send(start: Start, ask: Ask, mode: str) -> None:
    start("raw_asgi:app", FAIRLEAD_INVOKE_MODE=mode)
    answer = ask("/together")
    assert (split(answer)[1].decode() if mode == "response_stream" else text_of(answer)) == "01234."


# ---- what goes wrong ------------------------------------------------------------------------------------------------

# path: error type in the log, and whether the fault is the app's interface's
FAULTS = {
    "/raises-before": "Broken",
    "/raises-after-head": "Broken",
    "/raises-in-body": "Broken",
    "/no-start": ("Runtime.AppBadResponse", "RuntimeError"),
    "/bad-status": "ValueError",
    "/twice": "RuntimeError",
    "/text-body": ("Runtime.AppBadResponse", "TypeError"),
    "/short": "Runtime.AppBadResponse",
}


@pytest.mark.parametrize("handler", RAW)
def test_a_fault_is_a_502_and_the_app_goes_on(start: Start, ask: Ask, handler: str) -> None:
    process = start(handler)
    for path, types in FAULTS.items():
        error_type = types if isinstance(types, str) else types[handler == "raw_asgi:app"]
        answer = ask(path)
        assert (path, answer.kind, answer.document["statusCode"]) == (path, "response", 502)
        named = error_type if error_type.startswith("Runtime.") else f"Function.{error_type}"
        assert named in text_of(answer)
        assert "in the body" not in text_of(answer)
        assert f"{error_type}: " in process.output
        assert text_of(ask("/ok")) == "ok there"


@pytest.mark.parametrize("handler", RAW)
def test_a_fault_before_the_first_octets_is_a_502_of_a_stream_too(start: Start, ask: Ask, handler: str) -> None:
    start(handler, **STREAMED)
    for path in ("/raises-before", "/raises-after-head", "/no-start", "/bad-status"):
        answer = ask(path)
        assert (path, split(answer)[0]["statusCode"], answer.request.trailers) == (path, 502, [])


@pytest.mark.parametrize("handler", RAW)
def test_a_fault_after_them_is_told_in_trailers(start: Start, ask: Ask, gate: Gate, handler: str) -> None:
    process = start(handler, **STREAMED)
    answer = ask("/raises-in-body")
    error_type, document = error_trailers(answer)
    assert (split(answer)[1], error_type, document["errorType"]) == (b"sent ", "Function.Broken", "Broken")
    gate.expect("closed")
    assert split(ask("/ok"))[1] == b"ok there"
    assert process.output.count("Broken: in the body") == 1


@pytest.mark.parametrize("handler", RAW)
@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_what_fails_after_the_answer_is_logged(start: Start, ask: Ask, handler: str, mode: str) -> None:
    process = start(handler, FAIRLEAD_INVOKE_MODE=mode)
    assert b"whole" in ask("/raises-at-close").body
    assert b"ok there" in ask("/ok").body
    assert process.output.count("Broken: at the end") == 1


@pytest.mark.parametrize("handler", RAW)
def test_faults_are_errors_if_the_function_is_told_so(start: Start, ask: Ask, handler: str) -> None:
    start(handler, FAIRLEAD_APP_FAULTS="error")
    answer = ask("/raises-before")
    assert (answer.kind, answer.document["errorType"]) == ("error", "Broken")


@pytest.mark.parametrize("handler", RAW)
def test_an_answer_that_is_too_large_is_given_up(start: Start, ask: Ask, gate: Gate, handler: str) -> None:
    start(handler)
    answer = ask("/large")
    assert answer.document["statusCode"] == 502
    assert "Function.ResponseSizeTooLarge" in text_of(answer)
    gate.expect("closed")
    assert text_of(ask("/ok")) == "ok there"


@pytest.mark.parametrize("handler", RAW)
def test_an_app_that_ends_the_process_is_obeyed(start: Start, ask: Ask, handler: str) -> None:
    process = start(handler)
    answer = ask("/exits")
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.ExitError")
    assert process.wait() == 3


@pytest.mark.parametrize("handler", RAW)
def test_an_app_that_ends_the_process_in_a_stream_is_obeyed(start: Start, ask: Ask, handler: str) -> None:
    process = start(handler, **STREAMED)
    assert error_trailers(ask("/exits/late"))[0] == "Runtime.ExitError"
    assert process.wait() == 3


SOON_S = 2  # a deadline that leaves the app time to begin, on any machine


@pytest.mark.parametrize("path", ["/sleeps", "/sleeps/stubborn"])
def test_a_late_wsgi_app_is_a_504_and_the_end_of_the_process(
    start: Start, ask: Ask, api: FakeRuntimeApi, path: str
) -> None:
    process = start("raw_wsgi:app")
    api.wait_idle()
    answer = ask(path, deadline_s=SOON_S)
    assert answer.document["statusCode"] == 504
    assert process.wait() == 1
    assert f"Runtime.AppTimeout: the app did not answer GET {path} in time" in process.output


def test_a_late_wsgi_stream_ends_with_trailers(start: Start, ask: Ask, api: FakeRuntimeApi) -> None:
    process = start("raw_wsgi:app", **STREAMED)
    api.wait_idle()
    answer = ask("/sleeps/late", deadline_s=SOON_S)
    assert (split(answer)[1], error_trailers(answer)[0]) == (b"sent ", "Runtime.AppTimeout")
    assert process.wait() == 1


def test_a_late_asgi_app_is_a_504_and_goes_on(start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate) -> None:
    process = start("raw_asgi:app")
    api.wait_idle()
    assert ask("/sleeps", deadline_s=SOON_S).document["statusCode"] == 504
    gate.expect("closed")
    assert text_of(ask("/ok")) == "ok there"
    assert "Runtime.AppTimeout: the app did not answer GET /sleeps in time" in process.output


def test_a_late_asgi_stream_ends_with_trailers(start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate) -> None:
    start("raw_asgi:app", **STREAMED)
    api.wait_idle()
    answer = ask("/sleeps/late", deadline_s=SOON_S)
    assert (split(answer)[1], error_trailers(answer)[0]) == (b"sent ", "Runtime.AppTimeout")
    gate.expect("closed")
    assert split(ask("/ok"))[1] == b"ok there"


def test_an_asgi_app_that_blocks_its_loop_is_a_504_and_the_end(start: Start, ask: Ask, api: FakeRuntimeApi) -> None:
    process = start("raw_asgi:app")
    api.wait_idle()
    assert ask("/blocks", deadline_s=SOON_S).document["statusCode"] == 504
    assert process.wait() == 1


def test_without_time_the_app_is_not_asked(start: Start, ask: Ask) -> None:
    start("raw_wsgi:app")
    answer = ask("/ok", deadline_ms=int(time.time() * 1000))
    assert answer.document["statusCode"] == 504
    assert "Runtime.AppTimeout" in text_of(answer)
    assert text_of(ask("/ok")) == "ok there"


# ---- streams that nobody reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", RAW)
def test_a_client_that_goes_closes_the_answer(
    start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate, handler: str
) -> None:
    start(handler, **STREAMED)
    api.wait_idle()
    api.script("response", Reply(read=100_000, wire=Wire(end="reset", end_at=0)))
    api.add_event(function_url("GET", "/bulk/10000"))
    if handler == "raw_wsgi:app":
        gate.expect("closed")
    assert split(ask("/ok"))[1] == b"ok there"
    api.take_violations()


@pytest.mark.parametrize(("path", "words"), [("/quiet", ["http.disconnect", "closed"]), ("/quiet/deaf", ["closed"])])
def test_an_asgi_app_learns_that_its_client_has_gone(
    start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate, path: str, words: list[str]
) -> None:
    process = start("raw_asgi:app", **STREAMED)
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    api.add_event(function_url("GET", path))
    for word in words:
        gate.expect(word)
    assert split(ask("/ok"))[1] == b"ok there"
    assert "[ERROR]" not in process.output
    api.take_violations()


def memory_kb(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


@pytest.mark.parametrize("handler", RAW)
def test_a_client_that_does_not_read_holds_the_app_back(
    start: Start, ask: Ask, api: FakeRuntimeApi, handler: str
) -> None:
    process = start(handler, **STREAMED)
    held = threading.Event()
    api.script("response", Reply(read=100_000, wire=Wire(gate=held, end="reset", end_at=0)))
    api.add_event(function_url("GET", "/bulk/10000"))
    answer_under_way(api, SEPARATOR)
    before = -1
    while before != (before := memory_kb(process.pid, "VmRSS")):
        wait_asleep(process.pid)
        time.sleep(0.2)  # the kernel's buffers fill up; then nothing goes on, however long one looks
    assert before < 48_000
    held.set()
    assert split(ask("/ok"))[1] == b"ok there"
    api.take_violations()


@pytest.mark.parametrize("handler", RAW)
def test_a_stream_of_20_mb_takes_less_memory_than_two_pieces(start: Start, ask: Ask, handler: str) -> None:
    process = start(handler, **STREAMED)
    ask("/bulk/4")
    before = memory_kb(process.pid, "VmHWM")
    assert len(split(ask("/bulk/320"))[1]) == 320 * PIECE
    assert memory_kb(process.pid, "VmHWM") - before < 2 * PIECE // 1024


# ---- the event loop and the lifespan --------------------------------------------------------------------------------


def test_what_an_app_does_after_its_answer_is_waited_for(
    start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate
) -> None:
    """The client has the answer, and the next invocation waits."""
    start("raw_asgi:app")
    assert text_of(ask("/after")) == "answered"
    asked = len(api.nexts)
    request_id = api.add_event(function_url("GET", "/was-done"))
    gate.release()
    gate.expect("done")
    assert json_of(api.wait_answer(request_id)) == ["after"]
    assert asked == 1


def test_what_it_does_beyond_the_deadline_goes_on_with_the_next(
    start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate
) -> None:
    process = start("raw_asgi:app")
    api.wait_idle()
    assert text_of(ask("/after", deadline_s=SOON_S)) == "answered"
    api.wait_idle()
    process.wait_output("the app still works on an answer that is sent; it goes on with the next invocation")
    gate.release()
    assert text_of(ask("/ok")) == "ok there"
    request_id = api.add_event(function_url("GET", "/after"))  # the loop runs until this one is let go as well
    gate.release()
    assert text_of(api.wait_answer(request_id)) == "answered"
    gate.expect("done")
    gate.expect("done")


def test_a_task_that_nobody_waits_for_goes_on_with_the_next(start: Start, ask: Ask) -> None:
    start("raw_asgi:app")
    assert text_of(ask("/spawns")) == "answered"
    assert json_of(ask("/was-done")) == ["task"]


def test_the_lifespan_spans_the_process(start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate) -> None:
    process = start("lifespans:good")
    for _ in range(2):
        assert json_of(ask("/")) == {"database": "open", "own": True}
    api.wait_idle()
    process.terminate()
    gate.expect("ended")
    assert process.wait() == 0


def test_a_start_that_fails_is_an_init_error(start: Start, api: FakeRuntimeApi) -> None:
    process = start("lifespans:fails")
    error = api.wait_init_error()
    assert error.header("Lambda-Runtime-Function-Error-Type") == "Runtime.LifespanFailed"
    assert json.loads(error.body)["errorMessage"] == "the app's start failed: no database"
    assert process.wait() == 1


def test_a_start_that_ends_the_process_is_an_init_error(start: Start, api: FakeRuntimeApi) -> None:
    process = start("lifespans:exits")
    assert json.loads(api.wait_init_error().body)["errorMessage"] == "the app ended the process with sys.exit(4)"
    assert process.wait() == 4


ENDS = {"ends_badly": "ValueError('the end is bad')", "does_not_end": "it took longer than 0.2 s"}


@pytest.mark.parametrize("name", ENDS)
def test_an_end_that_fails_is_logged(start: Start, api: FakeRuntimeApi, name: str) -> None:
    process = start(f"lifespans:{name}", FAIRLEAD_SHUTDOWN_GRACE_MS="200")
    api.wait_idle()
    process.terminate()
    assert process.wait() == 0
    assert f"the app's end failed: {ENDS[name]}" in process.output


# ---- frameworks -----------------------------------------------------------------------------------------------------


def test_the_server_keeps_to_pep_3333(start: Start, ask: Ask) -> None:
    process = start("validated:app", FAIRLEAD_INTERFACE="wsgi")  # the check hides how the app is called
    assert text_of(ask("/a/b?c=d", "POST", "body")) == "checked body"
    assert text_of(ask("/")) == "checked "
    assert "to the log" in process.output


def test_the_server_keeps_to_pep_3333_when_it_streams(start: Start, ask: Ask) -> None:
    start("validated:app", FAIRLEAD_INTERFACE="wsgi", **STREAMED)
    assert split(ask("/a/b?c=d", "POST", "body"))[1] == b"checked body"


def test_a_flask_app(start: Start, ask: Ask, api: FakeRuntimeApi) -> None:
    process = start("flask_app:app", FAIRLEAD_REMOVE_BASE_PATH="/shop")
    host = function_url("GET", "/")["headers"]["host"]
    assert text_of(ask("/shop/")) == "hello"
    assert json_of(ask("/shop/seen/a%2Fb/%C3%A9?x=1&x=2")) == {
        "path": "/seen/a/b/é",
        "rest": "a/b/é",
        "root": "/shop",
        "url": f"https://{host}/shop/seen/a/b/é?x=1&x=2",
        "args": {"x": ["1", "2"]},
        "form": {},
        "cookies": {"session": "0a1b2c3d4e5f", "theme": "dark"},
        "client": "198.51.100.7",
        "secure": True,
        "link": f"https://{host}/shop/",
        "event": "2.0",
    }
    event = function_url("POST", "/seen/form", "a=1&b=%C3%A9")
    event["headers"]["content-type"] = "application/x-www-form-urlencoded"
    assert json_of(api.wait_answer(api.add_event(event)))["form"] == {"a": "1", "b": "é"}
    login = ask("/login").document
    assert (login["statusCode"], login["headers"]["location"]) == (302, "/")
    assert login["cookies"] == ["session=abc; HttpOnly; Path=/", "theme=dark; Path=/"]
    assert text_of(ask("/stream")) == "line 0\nline 1\nline 2\n"
    assert base64.b64decode(ask("/binary").document["body"]) == bytes(range(256))
    assert ask("/boom").document["statusCode"] == 500
    assert "ValueError: boom" in process.output
    assert ask("/nowhere").document["statusCode"] == 404
    assert api.wait_answer(api.add_event(SQS)).document == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert api.wait_answer(api.add_event(rest_api("GET", "/shop/"))).document["body"] == "hello"


def test_a_fastapi_app(start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate) -> None:
    process = start("fastapi_app:app", FAIRLEAD_REMOVE_BASE_PATH="/shop")
    host = function_url("GET", "/")["headers"]["host"]
    assert json_of(ask("/shop/")) == "open"
    assert json_of(ask("/shop/seen/a%2Fb/%C3%A9?x=1&x=2")) == {
        "path": "/shop/seen/a/b/é",
        "rest": "a/b/é",
        "root": "/shop",
        "url": f"https://{host}/shop/seen/a/b/é?x=1&x=2",
        "args": [["x", "1"], ["x", "2"]],
        "cookies": {"session": "0a1b2c3d4e5f", "theme": "dark"},
        "client": "198.51.100.7",
        "link": f"https://{host}/shop/",
        "event": "2.0",
    }
    event = function_url("POST", "/items", '{"name": "é"}')
    event["headers"]["content-type"] = "application/json"
    assert json_of(api.wait_answer(api.add_event(event))) == {"name": "é", "price": 1.5}
    assert ask("/items", "POST", "{}").document["statusCode"] == 422
    assert ask("/login").document["cookies"] == [
        "session=abc; HttpOnly; Path=/; SameSite=lax",
        "theme=dark; Path=/; SameSite=lax",
    ]
    assert text_of(ask("/stream")) == "line 0\nline 1\nline 2\n"
    assert ask("/boom").document["statusCode"] == 500
    process.wait_output("ValueError: boom")
    assert api.wait_answer(api.add_event(SQS)).document == {"batchItemFailures": [{"itemIdentifier": "m-1"}]}
    assert json_of(ask("/later")) == "answered"
    gate.release()
    gate.expect("worked")
    api.wait_idle()
    process.terminate()
    gate.expect("ended")
    assert process.wait() == 0


def test_a_fastapi_app_streams(start: Start, ask: Ask, api: FakeRuntimeApi, gate: Gate) -> None:
    process = start("fastapi_app:app", **STREAMED)
    assert split(ask("/stream"))[1] == b"line 0\nline 1\nline 2\n"
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    api.add_event(function_url("GET", "/quiet"))
    gate.expect("waits")
    gate.expect("closed")
    assert split(ask("/stream"))[1] == b"line 0\nline 1\nline 2\n"
    assert "[ERROR]" not in process.output
    api.take_violations()


PAGE = (CHECKOUT / "docs" / "wsgi-asgi.md").read_text()
EXAMPLES = re.findall(r"```python\n# main\.py, handler (\S+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("handler", "source"), EXAMPLES, ids=["flask", "fastapi"])
def test_an_example_of_the_page_runs(start: Start, ask: Ask, tmp_path: Path, handler: str, source: str) -> None:
    (tmp_path / "main.py").write_text(source)
    start(handler, LAMBDA_TASK_ROOT=str(tmp_path))
    assert text_of(ask("/")).strip('"') == "Hello"


@pytest.mark.parametrize("handler", RAW)
def test_several_pollers_have_an_app_each(gate: Gate, handler: str) -> None:
    """Lambda Managed Instances. What the apps tell the test is in nobody's way: the first poller alone is heard."""
    with FakeRuntimeApi(concurrency=2) as api:
        environment = {"LAMBDA_TASK_ROOT": str(APPS), "GATE": str(gate.port), "AWS_LAMBDA_MAX_CONCURRENCY": "2"}
        start_bootstrap(api, handler=handler, environment=environment)
        api.wait_next(2)
        ids = [api.add_event(function_url("GET", "/ok")) for _ in range(10)]
        assert [text_of(api.wait_answer(request_id)) for request_id in ids] == ["ok there"] * 10


# ---- what is put around an app --------------------------------------------------------------------------------------


@pytest.mark.parametrize("handler", RAW)
def test_compression_statuses_and_the_request_log_work_as_for_a_server(start: Start, ask: Ask, handler: str) -> None:
    process = start(
        handler,
        FAIRLEAD_ENABLE_COMPRESSION="true",
        FAIRLEAD_ERROR_STATUS_CODES="500-599",
        FAIRLEAD_REQUEST_LOG="true",
    )
    answer = ask("/compressible").document
    assert answer["headers"]["content-encoding"] in ("gzip", "br", "zstd")
    if answer["headers"]["content-encoding"] == "gzip":
        assert gzip.decompress(base64.b64decode(answer["body"])) == b"again and again " * 1000
    failed = ask("/fails")
    assert (failed.kind, failed.document["errorType"]) == ("error", "Function.Status503")
    process.wait_output('"path":"/fails"')
    assert '"path":"/compressible","status":200' in process.output


@pytest.mark.parametrize("handler", RAW)
def test_hooks_are_around_an_app(start: Start, ask: Ask, tmp_path: Path, handler: str) -> None:
    for path in APPS.glob("*.py"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "fairlead_hooks.py").write_text(
        "def on_request(request):\n"
        "    return request._replace(target='/ok')\n"
        "def on_response(request, response):\n"
        "    return response._replace(headers=[*response.headers, ('x-hook', 'was here')])\n"
    )
    start(handler, LAMBDA_TASK_ROOT=str(tmp_path))
    answer = ask("/nowhere")
    assert (text_of(answer), answer.document["headers"]["x-hook"]) == ("ok there", "was here")


# ---- which app ------------------------------------------------------------------------------------------------------


def test_the_attribute_may_be_dotted(start: Start, ask: Ask) -> None:
    start("echo_wsgi:Namespace.inner.app")
    assert json_of(ask("/x"))["target"] == "/x"


MISTAKES = {
    "echo_wsgi:missing": ("Runtime.HandlerNotFound", "Handler 'missing' missing on module 'echo_wsgi'"),
    "echo_wsgi:Namespace.outer": ("Runtime.HandlerNotFound", "Handler 'Namespace.outer' missing"),
    "echo_wsgi:number": ("Runtime.HandlerNotFound", "'number' on module 'echo_wsgi' is not callable: it is int"),
    "nowhere:app": ("Runtime.ImportModuleError", "Unable to import module 'nowhere'"),
    "echo_wsgi:Namespace": ("Runtime.InvalidConfig", "whether echo_wsgi:Namespace is an ASGI or a WSGI app"),
}


@pytest.mark.parametrize("handler", MISTAKES)
def test_a_handler_that_is_none_is_an_init_error(start: Start, api: FakeRuntimeApi, handler: str) -> None:
    process = start(handler)
    document = json.loads(api.wait_init_error().body)
    error_type, message = MISTAKES[handler]
    assert document["errorType"] == error_type
    assert message in document["errorMessage"]
    assert process.wait() == 1


def test_the_setting_decides(start: Start, ask: Ask) -> None:
    process = start("raw_asgi:app", FAIRLEAD_INTERFACE="wsgi")
    assert ask("/ok").document["statusCode"] == 502
    assert "TypeError" in process.output


def test_a_wsgi_app_does_not_pay_for_asyncio(start: Start, ask: Ask) -> None:
    start("raw_wsgi:app", PYTHONPATH=None)
    loaded = set(json_of(ask("/modules")))
    assert "_asyncio" in loaded  # by gate.py; with anything else the list would be shorter
    assert not {name for name in loaded if name.split(".")[-1] in ("handover", "asgi", "lifespan", "app_process")}


def wsgi_function(environ: object, start_response: object) -> None:
    """An app."""


async def asgi_function(scope: object, receive: object, send: object) -> None:
    """An app."""


def asgi_wrapped(*arguments: object) -> None:
    """What a decorator leaves."""


class Wsgi:
    def __call__(self, environ: object, start_response: object) -> None:
        """An app."""

    def method(self, environ: object, start_response: object) -> None:
        """Another."""


class Asgi:
    async def __call__(self, scope: object, receive: object, send: object) -> None:
        """An app."""

    def plain(self, scope: object, receive: object, send: object) -> None:
        """Returns an awaitable, which cannot be seen."""


class WsgiClass:
    def __init__(self, environ: object, start_response: object) -> None:
        """An app whose instance is the iterable."""


class AsgiClass:
    def __init__(self, scope: object, receive: object, send: object) -> None:
        """An app whose instance is awaited."""


INTERFACES = {
    "wsgi function": (wsgi_function, "wsgi"),
    "wsgi object": (Wsgi(), "wsgi"),
    "wsgi method": (Wsgi().method, "wsgi"),
    "wsgi class": (WsgiClass, "wsgi"),
    "asgi function": (asgi_function, "asgi"),
    "asgi object": (Asgi(), "asgi"),
    "asgi method": (Asgi().plain, "asgi"),
    "asgi class": (AsgiClass, "asgi"),
    "partial": (functools.partial(asgi_function), "asgi"),
    "wrapped": (functools.wraps(asgi_function)(asgi_wrapped), "asgi"),
    "not to be told": (lambda *arguments: None, None),
    "three without a name": (lambda one: None, None),
    "of a C type": (dict, None),
}


@pytest.mark.parametrize("name", INTERFACES)
def test_the_interface_is_found_out(name: str) -> None:
    application, interface = INTERFACES[name]
    config = Config.from_env({"_HANDLER": "module:app"})
    if interface:
        assert interface_of(application, config) == interface
    else:
        with pytest.raises(InitFault, match="whether module:app is an ASGI or a WSGI app cannot be told"):
            interface_of(application, config)
