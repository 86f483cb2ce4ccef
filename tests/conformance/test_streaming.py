"""Web mode with ``FAIRLEAD_INVOKE_MODE=response_stream``, on the wire: prelude, pieces as they come, trailers.

What is proved about time is proved by order: the app writes its next piece only when the test has seen the last one.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.events import function_url, rest_api
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.runtime_api import WAIT_SECONDS
from tests.fakes.wire import RecordedRequest, Reply, Wire

SEPARATOR = b"\0" * 8
PIECE = bytes(range(256)) * 256
INTEGRATION_RESPONSE = "application/vnd.awslambda.http-integration-response"


@pytest.fixture(params=[1, 3], ids=["one at a time", "three at a time"])
def concurrency(request) -> Iterator[int]:
    """Each rule holds for a process that waits for one thing at a time, and for one in which three pollers wait."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:1])  # which decides how many processes the pollers have
    yield request.param
    os.sched_setaffinity(0, cores)


@pytest.fixture
def api(concurrency: int) -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi(concurrency=concurrency) as fake:
        yield fake


@pytest.fixture
def process(api: FakeRuntimeApi, concurrency: int) -> BootstrapProcess:
    environment = {"AWS_LWA_INVOKE_MODE": "response_stream", "AWS_LAMBDA_MAX_CONCURRENCY": str(concurrency)}
    return start_bootstrap(api, command=app("piecewise.py"), environment=environment)


def get(api: FakeRuntimeApi, path: str, **more: Any) -> str:
    return api.add_event(function_url("GET", path), **more)


def direct(process: BootstrapProcess, method: str, path: str) -> bytes:
    """The body of an answer of the app to the test itself."""
    with socket.create_connection(("127.0.0.1", process.port), WAIT_SECONDS) as client:
        client.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
        )
        received = b""
        while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < _length(received):
            received += client.recv(65536)
    return received.partition(b"\r\n\r\n")[2]


def _length(received: bytes) -> int:
    return int(received.partition(b"content-length: ")[2].split(b"\r\n")[0])


def release(process: BootstrapProcess) -> None:
    direct(process, "POST", "/release")


def eventually(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit, f"waited for {what}"
        time.sleep(0.005)


def answer_under_way(api: FakeRuntimeApi, part: bytes) -> RecordedRequest:
    """The response that is being received, once ``part`` of it is there."""

    def found() -> list[RecordedRequest]:
        return [request for request in api.of_kind("response") if part in request.received]

    eventually(lambda: bool(found()), f"{part!r} in a response")
    return found()[-1]


def split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The prelude and the body."""
    prelude, separator, body = answer.body.partition(SEPARATOR)
    assert separator
    return json.loads(prelude), body


def test_the_answer_is_a_prelude_eight_nuls_and_the_body(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    answer = api.wait_answer(get(api, "/bulk/3", headers={"Lambda-Runtime-Invocation-Id": "nonce"}))
    prelude, body = split(answer)
    assert prelude == {
        "statusCode": 200,
        "headers": {"content-type": "text/event-stream", "vary": "accept, origin"},
        "cookies": ["a=1", "b=2; Path=/"],
    }
    assert body == PIECE * 3
    assert answer.request.trailers == []


def test_the_head_announces_mode_chunks_and_trailers(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    request = api.wait_answer(get(api, "/bulk/1", headers={"Lambda-Runtime-Invocation-Id": "nonce"})).request
    assert request.header("Lambda-Runtime-Function-Response-Mode") == "streaming"
    assert request.header("Transfer-Encoding") == "chunked"
    assert request.header("Content-Type") == INTEGRATION_RESPONSE
    assert request.header("Trailer") == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    assert request.header_values("Lambda-Runtime-Invocation-Id") == ["nonce"]
    assert request.header_values("Content-Length") == []


def test_each_event_is_sent_before_the_app_writes_the_next(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    request_id = get(api, "/events-stream/3")
    request = answer_under_way(api, SEPARATOR)  # before there is anything of the body
    for number in range(3):
        assert b"data: %d" % number not in request.received
        release(process)
        answer_under_way(api, b"data: %d\n\n" % number)
    assert split(api.wait_answer(request_id))[1] == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_many_streams_use_one_connection(api: FakeRuntimeApi, process: BootstrapProcess, concurrency: int) -> None:
    for _ in range(5):
        api.wait_answer(get(api, "/bulk/1"))
    assert len({request.connection for request in api.of_kind("next", "response")}) <= concurrency


def test_a_rest_api_is_streamed_too(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    prelude, body = split(api.wait_answer(api.add_event(rest_api("GET", "/bulk/1"))))
    assert (prelude["statusCode"], body) == (200, PIECE)


def without_domain(event: dict[str, Any]) -> dict[str, Any]:
    """The event as an HTTP API sends it."""
    return {**event, "requestContext": {**event["requestContext"], "domainName": "api.example.com"}}


CANNOT_STREAM = {
    "http-api": without_domain(function_url("GET", "/hello")),
    "alb": {"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/hello", "headers": {}, "body": ""},
    "trigger": {"Records": []},
}


@pytest.mark.parametrize("event", CANNOT_STREAM.values(), ids=CANNOT_STREAM)
def test_a_source_that_cannot_stream_is_answered_buffered(
    api: FakeRuntimeApi, process: BootstrapProcess, event: dict[str, Any]
) -> None:
    answer = api.wait_answer(api.add_event(event))
    assert answer.request.header("Lambda-Runtime-Function-Response-Mode") is None
    assert SEPARATOR not in answer.body
    assert answer.document == "ok" or answer.document["body"] == '"ok"'


def test_a_body_that_ends_with_the_connection_is_whole(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    answer = api.wait_answer(get(api, "/until-close/4"))
    assert split(answer)[1] == PIECE * 4
    assert answer.request.trailers == []


def test_an_answer_to_head_has_no_body(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, command=app("faults.py"), environment={"FAIRLEAD_INVOKE_MODE": "response_stream"})
    prelude, body = split(api.wait_answer(api.add_event(function_url("HEAD", "/"))))
    assert (prelude["statusCode"], body) == (200, b"")
    prelude, body = split(api.wait_answer(get(api, "/no-content")))
    assert (prelude["statusCode"], body) == (204, b"")


@pytest.mark.parametrize(
    ("pads", "method", "path", "body"),
    [
        ("false", "GET", "/status/302", b""),
        ("true", "GET", "/status/302", b"\n"),
        ("true", "GET", "/status/200", b"\n"),
        ("true", "GET", "/bytes/0", b"\n"),
        ("true", "POST", "/status/500", b"\n"),
        ("true", "GET", "/", b"hello"),
        ("true", "HEAD", "/status/200", b""),
        ("true", "GET", "/status/204", b""),
        ("true", "GET", "/status/205", b""),
        ("true", "GET", "/status/304", b""),
    ],
)
def test_an_empty_body_is_one_byte_where_that_is_wished_and_allowed(
    api: FakeRuntimeApi, pads: str, method: str, path: str, body: bytes
) -> None:
    environment = {"FAIRLEAD_INVOKE_MODE": "response_stream", "FAIRLEAD_PAD_EMPTY_STREAMS": pads}
    start_bootstrap(api, command=app("streaming.py"), environment=environment)
    answer = api.wait_answer(api.add_event(function_url(method, path)))
    assert split(answer)[1] == body
    assert answer.request.trailers == []


def test_a_body_that_breaks_off_before_its_first_byte_is_not_made_whole(api: FakeRuntimeApi) -> None:
    environment = {"FAIRLEAD_INVOKE_MODE": "response_stream", "FAIRLEAD_PAD_EMPTY_STREAMS": "true"}
    start_bootstrap(api, command=app("faults.py"), environment=environment)
    answer = api.wait_answer(get(api, "/truncated"))
    assert answer.request.trailers


def test_a_fault_before_the_head_is_a_proper_answer(api: FakeRuntimeApi) -> None:
    """The client of a streaming URL gets its 502 too, which without a prelude would be the body of a 200."""
    start_bootstrap(api, command=app("faults.py"), environment={"FAIRLEAD_INVOKE_MODE": "response_stream"})
    answer = api.wait_answer(get(api, "/close-before"))
    prelude, body = split(answer)
    assert prelude["statusCode"] == 502
    assert b"Runtime.AppConnectionLost" in body
    assert answer.request.trailers == []


def error_trailers(answer: Answer) -> tuple[str, dict[str, Any]]:
    """Type and document of a stream that failed."""
    trailers = dict(answer.request.trailers)
    error_type = trailers.pop("Lambda-Runtime-Function-Error-Type")
    document = json.loads(base64.b64decode(trailers.pop("Lambda-Runtime-Function-Error-Body")))
    assert not trailers
    return error_type, document


@pytest.mark.parametrize(
    ("path", "error_type"),
    [("/breaks-off", "Runtime.AppConnectionLost"), ("/malformed", "Runtime.AppBadResponse")],
)
def test_a_failure_in_the_middle_is_told_in_trailers(
    api: FakeRuntimeApi, process: BootstrapProcess, path: str, error_type: str
) -> None:
    request_id = get(api, path)
    answer_under_way(api, b"data: 0")
    release(process)
    answer = api.wait_answer(request_id)
    found, document = error_trailers(answer)
    assert found == document["errorType"] == error_type
    assert document["requestId"] == request_id
    body = split(answer)[1]
    assert body.startswith(b"data: 0\n\n")
    assert b"Runtime." not in body
    assert split(api.wait_answer(get(api, "/bulk/1")))[1] == PIECE
    assert error_type in process.stderr


def test_an_app_that_dies_in_the_middle_is_started_again(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    request_id = get(api, "/quiet")
    answer_under_way(api, b"data: 0")
    for pid in process.app_pids:
        if os.getpgid(pid) != process.pid:  # pollers are in the group of the bootstrap
            os.kill(pid, signal.SIGKILL)
    error_type, document = error_trailers(api.wait_answer(request_id))
    assert error_type == "Runtime.AppExited"
    assert "was killed by SIGKILL" in document["errorMessage"]
    assert split(api.wait_answer(get(api, "/bulk/1")))[1] == PIECE


def test_a_stream_that_takes_too_long_ends_before_the_function_does(
    api: FakeRuntimeApi, process: BootstrapProcess
) -> None:
    api.wait_idle()
    request_id = get(api, "/quiet", deadline_s=2.5)
    error_type, document = error_trailers(api.wait_answer(request_id))
    assert error_type == "Runtime.AppTimeout"
    assert "/quiet" in document["errorMessage"]


def test_a_client_that_goes_away_while_the_app_is_quiet_is_noticed(
    api: FakeRuntimeApi, process: BootstrapProcess
) -> None:
    """The app learns it by its connection, and the process serves the next invocation."""
    api.wait_idle()
    api.script("response", Reply(read=1, wire=Wire(end="reset", end_at=0)))
    get(api, "/quiet")
    eventually(lambda: json.loads(direct(process, "GET", "/count"))["gone"] == 1, "an app that has noticed")
    assert split(api.wait_answer(get(api, "/bulk/1")))[1] == PIECE
    assert "a streamed answer ended after" in process.stderr
    api.take_violations()  # the fake takes the broken answer for none


def test_a_client_that_goes_away_in_a_flood_is_noticed(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    api.wait_idle()
    api.script("response", Reply(read=100_000, wire=Wire(end="reset", end_at=0)))
    get(api, "/bulk/10000")
    eventually(lambda: json.loads(direct(process, "GET", "/count"))["gone"] == 1, "an app that has noticed")
    assert split(api.wait_answer(get(api, "/bulk/1")))[1] == PIECE
    assert json.loads(direct(process, "GET", "/count"))["written"] == len(PIECE)
    api.take_violations()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def memory_kb(pid: int, field: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0])


def test_a_client_that_does_not_read_holds_the_app_back(
    api: FakeRuntimeApi, process: BootstrapProcess, gate: threading.Event
) -> None:
    api.script("response", Reply(read=100_000, wire=Wire(gate=gate, end="reset", end_at=0)))
    get(api, "/bulk/10000")
    answer_under_way(api, SEPARATOR)
    written = -1
    while written < (written := json.loads(direct(process, "GET", "/count"))["written"]):
        time.sleep(0.2)  # the kernel's buffers fill up; then nothing goes on, however long one looks
    assert written < 40_000_000
    assert memory_kb(process.pid, "VmHWM") < 40_000


def test_a_long_stream_takes_no_more_memory_than_a_short_one(api: FakeRuntimeApi, process: BootstrapProcess) -> None:
    api.wait_answer(get(api, "/bulk/4"))
    before = memory_kb(process.pid, "VmHWM")
    answer = api.wait_answer(get(api, "/bulk/320"))
    assert len(split(answer)[1]) == 20 * 1024 * 1024
    assert memory_kb(process.pid, "VmHWM") - before < 1024


def test_a_stream_that_the_platform_refuses_is_logged_and_survived(
    api: FakeRuntimeApi, process: BootstrapProcess
) -> None:
    api.script("response", Reply(413, b'{"errorMessage":"too much"}'))
    api.wait_answer(get(api, "/bulk/2"))
    assert split(api.wait_answer(get(api, "/bulk/1")))[1] == PIECE  # by another poller, if there are several
    process.wait_output("status 413")
