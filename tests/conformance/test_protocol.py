"""The Runtime API's protocol, black box: the real ``./bootstrap`` and app against a scripted API.

Each test is one rule, with its number in the project's list of conformance cases. The payloads are triggers, so what
the app answers is the response as it stands: ``faults.py`` answers ``POST /events`` with the event, or does the fault
that the event names. That nothing breaks the protocol's general rules (framing, order, one answer per invocation, no
pipelining) is checked for every test by the fake itself, see ``FakeRuntimeApi``.
"""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64decode
from collections.abc import Callable
from urllib.parse import unquote

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, Reply, Wire, app, start_bootstrap
from tests.fakes.inspection import sockets_to, time_limits_of, wait_asleep, wait_receiving
from tests.fakes.process import CHECKOUT
from tests.fakes.runtime_api import FUNCTION_ARN, PAYLOAD_LIMIT, TRACE_ID

Start = Callable[..., BootstrapProcess]

INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
FAILING = {"fault": "/status/500"}
HANDLERS = {"LAMBDA_TASK_ROOT": str(CHECKOUT / "tests" / "handlers")}


def error_log(process: BootstrapProcess) -> list[str]:
    """The runtime's own lines of level ERROR."""
    return [line for line in process.stderr.splitlines() if line.startswith("[ERROR]")]


def kinds(api: FakeRuntimeApi) -> list[str]:
    """What was asked of the API, in order, without the extension's part."""
    named = {id(request): kind for kind in ("next", "response", "error", "init_error") for request in api.of_kind(kind)}
    return [named[id(request)] for request in api.requests if id(request) in named]


def test_01_one_event_is_one_next_one_response_and_the_next_next(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({"some": "event"})
    start()
    answer = api.wait_answer(request_id)
    api.wait_idle()
    assert json.loads(answer.body) == {"some": "event"}
    assert answer.request.target == f"/2018-06-01/runtime/invocation/{request_id}/response"
    assert kinds(api) == ["next", "response", "next"]


def test_02_a_thousand_events_are_answered_in_order_on_one_connection(api: FakeRuntimeApi, start: Start) -> None:
    ids = [api.add_event({"number": number}) for number in range(1000)]
    start()
    api.wait_idle(timeout=60)
    assert [unquote(request.target.split("/")[4]) for request in api.posts] == ids
    assert [json.loads(request.body)["number"] for request in api.posts] == list(range(1000))
    assert len({request.connection for request in (*api.nexts, *api.posts)}) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_03_an_idle_connection_that_was_closed_is_replaced(api: FakeRuntimeApi, start: Start, end: str) -> None:
    ids = [api.add_event({"number": number}) for number in range(3)]
    api.script("response", Reply(wire=Wire(end=end)), Reply(wire=Wire(end=end)))  # type: ignore[arg-type]
    start()
    api.wait_idle()
    assert [json.loads(api.wait_answer(request_id).body)["number"] for request_id in ids] == [0, 1, 2]
    assert kinds(api) == ["next", "response"] * 3 + ["next"]


def test_03_a_connection_that_was_closed_with_the_event_is_replaced_for_the_post(
    api: FakeRuntimeApi, start: Start
) -> None:
    """It is known to be dead before anything is sent: so the answer is not lost, and not sent twice."""
    request_id = api.add_event({"number": 1}, wire=Wire(end="close"))
    start()
    assert api.wait_answer(request_id).request.connection != api.nexts[0].connection
    api.wait_idle()
    assert kinds(api) == ["next", "response", "next"]


@pytest.mark.parametrize("end", ["close", "reset"])
def test_03_a_next_lost_before_any_byte_of_its_answer_is_sent_again_once(
    api: FakeRuntimeApi, start: Start, end: str
) -> None:
    first = api.add_event({"number": 1})
    api.add_next(Reply(200, wire=Wire(end=end, end_at=0)))  # type: ignore[arg-type]
    second = api.add_event({"number": 2})
    start()
    api.wait_answer(second)
    api.wait_idle()
    assert api.wait_answer(first).body == b'{"number": 1}'
    assert kinds(api) == ["next", "response", "next", "next", "response", "next"]


@pytest.mark.parametrize("at", [1, 100, -3], ids=["first-byte", "head", "body"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_03_a_next_whose_answer_breaks_off_ends_the_runtime(
    api: FakeRuntimeApi, start: Start, end: str, at: int
) -> None:
    """Sent again it would be answered with another event, and this one would be lost without a word."""
    api.add_event({"number": 1})
    api.add_event({"number": 2}, wire=Wire(end=end, end_at=at))  # type: ignore[arg-type]
    process = start()
    assert process.wait() == 1
    assert kinds(api) == ["next", "response", "next"]
    assert len(error_log(process)) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
def test_03_a_post_is_never_sent_twice(api: FakeRuntimeApi, start: Start, end: str) -> None:
    """Its answer is lost: whether the platform has taken it cannot be known, and a second one may hit another event."""
    api.add_event({"number": 1})
    api.script("response", Reply(wire=Wire(end=end, end_at=0)))  # type: ignore[arg-type]
    process = start()
    assert process.wait() == 1
    assert kinds(api) == ["next", "response"]
    assert len(error_log(process)) == 1


def test_04_next_may_take_for_ever(api: FakeRuntimeApi, start: Start) -> None:
    """Between invocations the environment is frozen, for hours. Not waited for here: what the process sleeps in while
    next is held has no time limit, neither the system call nor the socket. Then the event comes and is served."""
    process = start()
    api.wait_idle()
    (connection,) = {request.connection for request in api.nexts}
    port = int(api.address.rpartition(":")[2])
    try:
        limits = [limit for sock in sockets_to(process.pid, port) for limit in time_limits_of(sock)]
        is_receiving = wait_receiving(process.pid)
    except PermissionError as error:
        pytest.skip(f"another process may not be looked into here: {error}")
    assert limits == []
    assert is_receiving, "it waits in a system call that may have a time limit of its own"
    request_id = api.add_event({"late": True})
    assert api.wait_answer(request_id).request.connection == connection


def test_05_the_invocation_id_is_echoed_once_on_response_and_error(api: FakeRuntimeApi, start: Start) -> None:
    good = api.add_event({}, headers={INVOCATION_ID: "nonce-1"})
    bad = api.add_event(FAILING, headers={INVOCATION_ID: "nonce-2"})
    start()
    assert (api.wait_answer(good).kind, api.wait_answer(bad).kind) == ("response", "error")
    assert api.wait_answer(good).request.header(INVOCATION_ID) == "nonce-1"
    assert api.wait_answer(bad).request.header(INVOCATION_ID) == "nonce-2"


def test_05_an_init_error_has_no_invocation_id(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command="exit 3")
    assert api.wait_init_error().header_values(INVOCATION_ID) == []
    assert process.wait() != 0


@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_06_without_an_invocation_id_none_is_sent(api: FakeRuntimeApi, start: Start, value: str | None) -> None:
    # Managed Instances send some headers empty: that means absent.
    ids = [api.add_event(payload, headers={INVOCATION_ID: value}) for payload in ({}, FAILING)]
    start()
    for request_id in ids:
        assert api.wait_answer(request_id).request.header_values(INVOCATION_ID) == []


@pytest.mark.parametrize("spelling", [str, str.lower, str.upper, str.swapcase])
def test_07_header_names_may_be_spelled_in_any_case(
    api: FakeRuntimeApi, start: Start, spelling: Callable[[str], str]
) -> None:
    request_id = api.add_event(
        {},
        deadline_ms=4_102_444_800_000,
        headers={
            "Lambda-Runtime-Client-Context": '{"custom":{"a":"b"}}',
            "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
            "Lambda-Runtime-Aws-Tenant-Id": "tenant",
        },
        spelling=spelling,
    )
    start("echo.py")
    seen = dict(api.wait_answer(request_id).document["headers"])
    context = json.loads(seen["x-amzn-lambda-context"])
    assert context["request_id"] == request_id
    assert context["deadline"] == 4_102_444_800_000
    assert context["invoked_function_arn"] == FUNCTION_ARN
    assert context["xray_trace_id"] == seen["x-amzn-trace-id"] == TRACE_ID
    assert context["client_context"] == {"custom": {"a": "b"}}
    assert set(context["identity"].values()) == {"id", "pool"}
    assert context["tenant_id"] == seen["x-amz-tenant-id"] == "tenant"


@pytest.mark.parametrize("status", [204, 400, 403, 404, 410, 500, 503])
def test_08_next_not_200_exits_with_a_message(api: FakeRuntimeApi, start: Start, status: int) -> None:
    api.add_next(Reply(status, b'{"errorMessage":"the reason","errorType":"Some.Type"}'))
    process = start()
    assert process.wait() == 1
    assert kinds(api) == ["next"]
    (line,) = error_log(process)
    assert str(status) in line
    assert "the reason" in line or status == 204


@pytest.mark.parametrize("value", [None, ""], ids=["absent", "empty"])
def test_09_next_without_a_request_id_exits_naming_the_header(
    api: FakeRuntimeApi, start: Start, value: str | None
) -> None:
    api.add_event({}, headers={"Lambda-Runtime-Aws-Request-Id": value})
    process = start()
    assert process.wait() == 1
    assert kinds(api) == ["next"]
    (line,) = error_log(process)
    assert "Lambda-Runtime-Aws-Request-Id" in line


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"not json"], ids=["empty", "cut", "not UTF-8", "text"])
def test_10_a_payload_that_is_no_json_is_an_unmarshal_error_and_the_loop_goes_on(
    api: FakeRuntimeApi, start: Start, body: bytes
) -> None:
    bad, good = api.add_event(body), api.add_event({})
    start()
    answer = api.wait_answer(bad)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.UnmarshalError")
    assert answer.document["requestId"] == bad
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == "Runtime.UnmarshalError"
    assert api.wait_answer(good).kind == "response"


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_11_any_2xx_accepts_a_response(api: FakeRuntimeApi, start: Start, status: int) -> None:
    api.script("response", Reply(status))
    ids = [api.add_event({}), api.add_event({})]
    process = start()
    assert [api.wait_answer(request_id).status for request_id in ids] == [status, 202]
    assert error_log(process) == []


def test_12_a_response_refused_as_too_large_is_logged_and_survived(api: FakeRuntimeApi, start: Start) -> None:
    """The platform has told the caller already, so an error post would come too late."""
    refusal = b'{"errorMessage":"Exceeded maximum allowed payload size.","errorType":"RequestEntityTooLarge"}'
    api.script("response", Reply(413, refusal))
    payload = b'{"padding": "' + b"x" * 4321 + b'"}'
    refused, served = api.add_event(payload), api.add_event({})
    process = start()
    assert api.wait_answer(served).status == 202
    api.wait_idle()
    assert kinds(api) == ["next", "response"] * 2 + ["next"]
    (line,) = error_log(process)
    assert str(len(payload)) in line
    assert str(PAYLOAD_LIMIT) in line
    assert refused in line
    assert not process.has_exited()


STALE = {400: "InvalidRequestID", 403: "InvalidStateTransition", 410: "InvokeTimeout"}


@pytest.mark.parametrize("payload", [{}, FAILING], ids=["response", "error"])
@pytest.mark.parametrize("status", [400, 403, 410])
def test_13_and_14_a_post_that_nobody_wants_any_more_is_logged_and_survived(
    api: FakeRuntimeApi, start: Start, status: int, payload: dict[str, str]
) -> None:
    kind = "error" if payload else "response"
    api.script(kind, Reply(status, json.dumps({"errorMessage": "stale", "errorType": STALE[status]}).encode()))
    refused, served = api.add_event(payload), api.add_event({})
    process = start()
    assert (api.wait_answer(refused).kind, api.wait_answer(served).kind) == (kind, "response")
    api.wait_idle()
    assert kinds(api) == ["next", kind, "next", "response", "next"]
    lines = [line for line in error_log(process) if STALE[status] in line]
    assert len(lines) == 1
    assert str(status) in lines[0]
    assert refused in lines[0]
    assert not process.has_exited()


@pytest.mark.parametrize("payload", [{}, FAILING], ids=["response", "error"])
@pytest.mark.parametrize("status", [500, 503])
def test_15_a_post_answered_with_500_exits(
    api: FakeRuntimeApi, start: Start, status: int, payload: dict[str, str]
) -> None:
    kind = "error" if payload else "response"
    api.script(kind, Reply(status, b'{"errorMessage":"broken","errorType":"InternalServerError"}'))
    api.add_event(payload)
    process = start()
    assert process.wait() == 1
    assert kinds(api) == ["next", kind]
    assert f"{status}" in error_log(process)[-1]
    assert "broken" in error_log(process)[-1]


HOSTILE_IDS = {
    "reserved characters": ("a b/../x?y#z", "a%20b%2F..%2Fx%3Fy%23z"),
    "percent": ("100%25", "100%2525"),
    "dots": ("..", ".."),
}


@pytest.mark.parametrize(("request_id", "segment"), HOSTILE_IDS.values(), ids=HOSTILE_IDS)
def test_16_a_request_id_is_one_percent_encoded_path_segment(
    api: FakeRuntimeApi, start: Start, request_id: str, segment: str
) -> None:
    api.add_event({}, request_id=request_id)
    start()
    assert api.wait_answer(request_id).request.target == f"/2018-06-01/runtime/invocation/{segment}/response"


def test_17_proxy_variables_do_not_concern_the_runtime_api(api: FakeRuntimeApi, start: Start) -> None:
    request_id = api.add_event({})
    with socket.socket() as black_hole:
        black_hole.bind(("127.0.0.1", 0))
        black_hole.listen(0)  # takes connections and says nothing
        proxy = f"http://127.0.0.1:{black_hole.getsockname()[1]}"
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
        start(**dict.fromkeys((*names, *map(str.lower, names)), proxy))
        assert api.wait_answer(request_id).kind == "response"
        black_hole.setblocking(False)
        with pytest.raises(BlockingIOError):
            black_hole.accept()


def test_18_every_call_has_a_user_agent_of_one_token(api: FakeRuntimeApi, start: Start) -> None:
    api.add_event({})
    failed = api.add_event(FAILING)
    start()
    api.wait_answer(failed)
    api.wait_idle()
    agents = {f"{request.method} {request.target}": request.header("User-Agent") for request in api.requests}
    assert all(agents.values()), agents
    (agent,) = set(agents.values())
    assert agent is not None
    name, slash, version = agent.partition("/")
    assert (name, slash) == ("fairlead", "/")
    assert version
    assert " " not in agent


def test_18_an_init_error_has_it_too(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command="exit 3")
    agent = api.wait_init_error().header("User-Agent")
    assert agent is not None
    assert agent.startswith("fairlead/")
    assert process.wait() != 0


def test_19_a_response_of_exactly_the_limit_is_sent_whole_with_its_length(api: FakeRuntimeApi, start: Start) -> None:
    payload = b'"' + b"x" * (PAYLOAD_LIMIT - 2) + b'"'
    request_id = api.add_event(payload)
    start()
    answer = api.wait_answer(request_id)
    assert (answer.kind, answer.status) == ("response", 202)
    assert answer.body == payload
    assert answer.request.header("Content-Length") == str(PAYLOAD_LIMIT)
    assert answer.request.header_values("Transfer-Encoding") == []
    assert answer.request.header_values("Expect") == []


def test_19_a_response_over_the_limit_is_reported_and_not_sent(api: FakeRuntimeApi, start: Start) -> None:
    too_large, served = api.add_event({"fault": f"/large-json/{PAYLOAD_LIMIT + 1}"}), api.add_event({})
    start()
    answer = api.wait_answer(too_large)
    assert (answer.kind, answer.document["errorType"]) == ("error", "Function.ResponseSizeTooLarge")
    assert str(PAYLOAD_LIMIT) in answer.document["errorMessage"]
    assert api.wait_answer(served).kind == "response"


WIRES = {
    "chunked": Wire(chunk_size=100_000),
    "one-byte-chunks": Wire(chunk_size=1),
    "one-byte-per-send": Wire(send_size=1),
    "one-byte-chunks-one-byte-per-send": Wire(chunk_size=1, send_size=1),
    "head-and-body-apart": Wire(send_size=400),
}


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_20_an_event_is_understood_however_it_is_written(api: FakeRuntimeApi, start: Start, wire: Wire) -> None:
    payload = json.dumps({"text": "é" * 300}, ensure_ascii=False).encode()
    ids = [api.add_event(payload, wire=wire), api.add_event({"plain": True})]  # the second: nothing was left over
    start()
    assert [api.wait_answer(request_id).body for request_id in ids] == [payload, b'{"plain": true}']


@pytest.mark.parametrize("size", [1_000_000, PAYLOAD_LIMIT - 2])
def test_20_a_large_chunked_event_is_understood(api: FakeRuntimeApi, start: Start, size: int) -> None:
    payload = b'"' + b"x" * size + b'"'
    request_id = api.add_event(payload, wire=Wire(chunk_size=65_536))
    start()
    assert api.wait_answer(request_id).body == payload


@pytest.mark.parametrize("at", [1, 20, -300, -1])
def test_20_an_event_may_stop_on_its_way(api: FakeRuntimeApi, start: Start, at: int) -> None:
    gate = threading.Event()
    request_id = api.add_event(b'"' + b"x" * 500 + b'"', wire=Wire(gate=gate, gate_at=at))
    process = start()
    api.wait_next()
    wait_asleep(process.pid)
    gate.set()
    assert len(api.wait_answer(request_id).body) == 502


def test_a_trigger_reaches_the_app_byte_for_byte(api: FakeRuntimeApi, start: Start) -> None:
    payload = b' { "a": 1.0, "a": 1e2, "\\u00e9": "\xc3\xa9" } '
    request_id = api.add_event(payload)
    start("echo.py")
    received = api.wait_answer(request_id).document
    assert (received["method"], received["target"]) == ("POST", "/events")
    assert b64decode(received["body"]) == payload


DEADLINES = {"absent": None, "empty": "", "zero": "0", "text": "soon", "negative": "-1", "huge": "9" * 30}


@pytest.mark.parametrize("deadline", DEADLINES.values(), ids=DEADLINES)
def test_an_odd_deadline_counts_as_none(api: FakeRuntimeApi, start: Start, deadline: str | None) -> None:
    request_id = api.add_event({"some": "event"}, headers={"Lambda-Runtime-Deadline-Ms": deadline})
    start()
    assert api.wait_answer(request_id).body == b'{"some": "event"}'


NEXT_FIELDS = (
    "Lambda-Runtime-Deadline-Ms",
    "Lambda-Runtime-Invoked-Function-Arn",
    "Lambda-Runtime-Trace-Id",
    "Lambda-Runtime-Client-Context",
    "Lambda-Runtime-Cognito-Identity",
    "Lambda-Runtime-Aws-Tenant-Id",
    INVOCATION_ID,
)
BREAKS = (
    "a\rb",
    "a\0b",
    "a\nb",
    "\r\0",
    '{"a":\r"b"}',
    '{\n  "custom": {}\n}',
    "a\nLambda-Runtime-Aws-Request-Id: another",
)


@pytest.mark.parametrize("mode", ["app", "handler"])
def test_a_line_break_in_a_field_of_next_costs_one_invocation_at_most(
    api: FakeRuntimeApi, start: Start, mode: str
) -> None:
    """RFC 9110 section 5.5: a recipient may put a space for each of CR, LF and NUL.

    A bare LF ends the line: what follows must not replace a field that came before, which the request id does.
    """
    process = start() if mode == "app" else start_bootstrap(api, handler="results.echo", environment=HANDLERS)
    for name in NEXT_FIELDS:
        for value in BREAKS:
            answer = api.wait_answer(api.add_event({"a": 1}, headers={name: value}))
            if answer.kind == "error":
                assert answer.document["errorType"] in ("Runtime.LambdaContextUnmarshalError", "Runtime.UnmarshalError")
    assert api.wait_answer(api.add_event({"a": 1})).document == {"a": 1}
    assert not process.has_exited()


def test_a_line_break_in_a_field_of_next_becomes_a_space(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, command=app("echo.py"))
    fields = {"Lambda-Runtime-Aws-Tenant-Id": "a\rb\0c", INVOCATION_ID: "1\r2"}
    answer = api.wait_answer(api.add_event({"Records": []}, headers=fields))
    assert ["x-amz-tenant-id", "a b c"] in answer.document["headers"]
    assert answer.request.header(INVOCATION_ID) == "1 2"
