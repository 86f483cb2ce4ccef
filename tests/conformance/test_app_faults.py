"""What becomes of an invocation when the app misbehaves, and of the next one: black box, real process, one table.

An HTTP client sees an HTTP status; an event that is no HTTP request fails, so that nothing counts as processed that
was not. After each fault the same process serves the next event, and serves it with its own answer.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.inspection import wait_hung_up

DEADLINE_S = 2.0  # of the cases in which the app never answers: time for the request to reach it, on any machine
LIMIT = 6_291_556


def function_url(path: str, method: str = "GET", body: str | None = None, **more: Any) -> bytes:
    event = {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "abc.lambda-url.eu-west-1.on.aws"},
        "requestContext": {
            "domainName": "abc.lambda-url.eu-west-1.on.aws",
            "http": {"method": method, "path": path, "sourceIp": "203.0.113.9"},
        },
        "isBase64Encoded": False,
        **({"body": body} if body is not None else {}),
        **more,
    }
    return json.dumps(event).encode()


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeRuntimeApi, BootstrapProcess]]:
    """One process for all cases that it must survive: that is what they are about."""
    with FakeRuntimeApi() as fake:
        yield fake, start_bootstrap(fake, command=app("faults.py"))


_numbers = iter(range(1_000_000))


def invoke(api: FakeRuntimeApi, payload: bytes, deadline_s: float = 30, **more: Any) -> Answer:
    request_id = f"fault-{next(_numbers)}"
    api.add_event(payload, request_id=request_id, deadline_s=deadline_s, **more)
    return api.wait_answer(request_id)


class Fault(NamedTuple):
    status: int
    error_type: str
    is_silent: bool = False


UNREACHABLE = "Runtime.AppUnreachable"
LOST = "Runtime.AppConnectionLost"
BAD = "Runtime.AppBadResponse"
FAULTS = {
    "/close-before": Fault(502, LOST),
    "/reset-before": Fault(502, LOST),
    "/reset-in-head": Fault(502, LOST),
    "/reset-middle": Fault(502, LOST),
    "/reset-in-body": Fault(502, LOST),
    "/truncated": Fault(502, LOST),
    "/truncated-chunked": Fault(502, LOST),
    "/garbage": Fault(502, BAD),
    "/bad-chunk-size": Fault(502, BAD),
    "/both-lengths": Fault(502, BAD),
    "/conflicting-lengths": Fault(502, BAD),
    "/switching-protocols": Fault(502, BAD),
    "/die": Fault(502, "Runtime.AppExited"),
    "/end-in-body/kill": Fault(502, "Runtime.AppExited"),
    "/end-in-body/1": Fault(502, "Runtime.AppExited"),
    "/end-before-body/kill": Fault(502, "Runtime.AppExited"),
    "/end-before-body/1": Fault(502, "Runtime.AppExited"),
    "/silence": Fault(504, "Runtime.AppTimeout", is_silent=True),
    "/large/7000000": Fault(502, "Function.ResponseSizeTooLarge"),
}


@pytest.mark.parametrize("path", FAULTS)
def test_an_http_client_sees_a_status(shared: tuple[FakeRuntimeApi, BootstrapProcess], path: str) -> None:
    api, process = shared
    fault = FAULTS[path]
    answer = invoke(api, function_url(path), DEADLINE_S if fault.is_silent else 30)
    assert answer.kind == "response"
    document = answer.document
    assert (document["statusCode"], document["isBase64Encoded"]) == (fault.status, False)
    assert document["body"].startswith(f"{fault.status} ")
    assert fault.error_type in document["body"]
    assert fault.error_type in process.output
    assert_next_is_served(api)


@pytest.mark.parametrize("path", FAULTS)
def test_another_event_fails(shared: tuple[FakeRuntimeApi, BootstrapProcess], path: str) -> None:
    api, _ = shared
    fault = FAULTS[path]
    answer = invoke(api, json.dumps({"fault": path}).encode(), DEADLINE_S if fault.is_silent else 30)
    assert answer.kind == "error"
    assert answer.document["errorType"] == fault.error_type
    assert answer.request.header("Lambda-Runtime-Function-Error-Type") == fault.error_type
    assert_next_is_served(api)


def assert_next_is_served(api: FakeRuntimeApi) -> None:
    body = f'{{"mark":{next(_numbers)}}}'.encode()
    assert invoke(api, body).body == body


def test_app_faults_can_be_invocation_errors(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, command=app("faults.py"), environment={"FAIRLEAD_APP_FAULTS": "error"})
    assert invoke(api, function_url("/garbage")).document["errorType"] == BAD
    # What is the client's doing stays an answer to the client.
    bad = function_url("/", "POST", "!!!", isBase64Encoded=True)
    assert invoke(api, bad).document["statusCode"] == 400


def test_a_dead_app_is_started_again_and_its_successor_serves(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, command=app("faults.py"))
    first = invoke(api, function_url("/pid")).document["body"]
    assert invoke(api, function_url("/die")).document["statusCode"] == 502
    second = invoke(api, function_url("/pid")).document["body"]
    assert first != second


def test_an_app_that_answers_and_exits_has_answered(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command=app("faults.py"))
    assert invoke(api, function_url("/die-after")).document["body"] == '"ok"'
    api.wait_idle()
    wait_hung_up(process.port)  # one that dies with the next request in hand has lost that: it may have been processed
    assert_next_is_served(api)


GOOD = {
    "/chunked": '"ok"',
    "/chunked-trailers": '"ok"',
    "/close-delimited": '"ok"',
    "/close-after": '"ok"',
    "/reset-after": '"ok"',
    "/http10": '"ok"',
    "/early-hints": '"ok"',
    "/leftover": '"ok"',
    "/folded-header": '"ok"',
    "/slow-drip": "1" * 20,
    "/headers/200": '"ok"',
    "/header-100k": '"ok"',
    "/large/6000000": "a" * 6_000_000,
}


@pytest.mark.parametrize("path", GOOD)
def test_an_unusual_answer_arrives_whole(shared: tuple[FakeRuntimeApi, BootstrapProcess], path: str) -> None:
    api, _ = shared
    document = invoke(api, function_url(path)).document
    assert (document["statusCode"], document["body"]) == (200, GOOD[path])
    assert_next_is_served(api)


@pytest.mark.parametrize("status", [201, 204, 301, 304, 404, 418, 500, 503, 599])
def test_the_apps_own_status_is_the_clients(shared: tuple[FakeRuntimeApi, BootstrapProcess], status: int) -> None:
    api, _ = shared
    document = invoke(api, function_url(f"/status/{status}")).document
    assert document["statusCode"] == status
    assert_next_is_served(api)


@pytest.mark.parametrize("status", [199, 301, 404, 500, 503])
def test_a_status_that_is_not_2xx_fails_another_event(
    shared: tuple[FakeRuntimeApi, BootstrapProcess], status: int
) -> None:
    """3xx too: a redirect to the login page must not acknowledge messages."""
    api, _ = shared
    answer = invoke(api, json.dumps({"fault": f"/status/{status}"}).encode(), DEADLINE_S if status < 200 else 30)
    assert answer.kind == "error"
    expected = "Runtime.AppTimeout" if status < 200 else f"Function.Status{status}"
    assert answer.document["errorType"] == expected


def queue_event(path: str) -> bytes:
    return json.dumps({"Records": [{"eventSource": "aws:sqs"}], "fault": path}).encode()


@pytest.mark.parametrize("path", ["/text-latin1", "/half-json"])
def test_an_answer_that_a_queue_cannot_read_fails(shared: tuple[FakeRuntimeApi, BootstrapProcess], path: str) -> None:
    """As ``null`` it would acknowledge the batch, those that the other half reports as failed among it."""
    api, process = shared
    answer = invoke(api, queue_event(path))
    assert (answer.kind, answer.document["errorType"]) == ("error", "Function.AnswerNotJson")
    process.wait_output("an event from aws:sqs with")


def test_an_answer_that_nobody_reads_is_null_with_a_warning(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, process = shared
    event = {"Records": [{"eventSource": "aws:s3"}], "fault": "/text-latin1"}
    assert invoke(api, json.dumps(event).encode()).body == b"null"
    process.wait_output("an event from aws:s3 with 4 bytes that are not JSON")


# How the command that starts the app ends with it: itself, a moment later, not at all.
WRAPPERS = {
    "by itself": "exec {}",
    "under a shell": "{}; exit $?",
    "under a shell that starts it again": "while :; do {}; done",
}


@pytest.mark.parametrize("concurrency", ["1", "2"], ids=["one at a time", "pollers"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_app_that_is_killed_in_an_answer_without_a_length_acknowledges_nothing(
    wrapper: str, concurrency: str
) -> None:
    """The connection ends as it does when the answer is complete."""
    command = WRAPPERS[wrapper].format(app("faults.py").removeprefix("exec "))
    with FakeRuntimeApi(concurrency=int(concurrency)) as api:
        start_bootstrap(api, command=command, environment={"AWS_LAMBDA_MAX_CONCURRENCY": concurrency})
        if wrapper == "under a shell that starts it again":
            assert invoke(api, queue_event("/end-in-body/kill")).kind == "error"
            return
        for path in ("/end-in-body/kill", "/end-before-body/kill"):
            answer = invoke(api, queue_event(path))
            # Under a shell the end of the app may be seen before that of the shell.
            expected = {"Runtime.AppExited", LOST} if wrapper == "under a shell" else {"Runtime.AppExited"}
            assert answer.document["errorType"] in expected
            assert invoke(api, function_url(path)).document["statusCode"] == 502
            assert invoke(api, queue_event("/close-delimited")).body == b'"ok"'


def test_a_stream_that_ends_with_its_app_has_trailers_that_say_so() -> None:
    with FakeRuntimeApi() as api:
        start_bootstrap(api, command=app("faults.py"), environment={"FAIRLEAD_INVOKE_MODE": "response_stream"})
        for path in ("/end-in-body/kill", "/end-in-body/3", "/reset-in-body"):
            answer = invoke(api, function_url(path))
            trailers = dict(answer.request.trailers)
            if b'"statusCode":502' not in answer.body:  # not all of it came together with the head
                expected = LOST if "reset" in path else "Runtime.AppExited"
                assert trailers["Lambda-Runtime-Function-Error-Type"] == expected
            complete = invoke(api, function_url("/close-delimited"))
            assert complete.body.endswith(b'"ok"')
            assert not complete.request.trailers


def test_an_answer_that_the_end_of_the_environment_cuts_off_is_none() -> None:
    """An app that is told to end may end with status 0 in the middle of an answer."""
    command = f"trap 'exit 0' TERM; {app('faults.py').removeprefix('exec ')} & wait"
    with FakeRuntimeApi() as api:
        process = start_bootstrap(api, command=command)
        api.add_event(function_url("/half-body"))
        process.wait_output("half of it is sent")
        process.terminate()
        assert process.wait() == 0
        assert all(b'"statusCode":502' in post.body for post in api.posts)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_an_app_that_ends_with_its_answer_and_status_0_has_answered(wrapper: str) -> None:
    command = WRAPPERS[wrapper].format(app("faults.py").removeprefix("exec "))
    with FakeRuntimeApi() as api:
        start_bootstrap(api, command=command)
        assert invoke(api, queue_event("/end-with-body/0")).body == b'"ok"'


def test_a_body_with_204_is_not_the_next_answer(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = shared
    document = invoke(api, function_url("/body-with-204")).document
    assert (document["statusCode"], document["body"]) == (204, "")
    assert_next_is_served(api)


def test_bytes_after_an_answer_are_worth_a_warning(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command=app("faults.py"))
    for _ in range(3):
        assert invoke(api, function_url("/leftover")).document["body"] == '"ok"'
        assert_next_is_served(api)
    process.wait_output("bytes that belong to no answer")
    assert process.output.count("bytes that belong to no answer") == 1


LATE_BODIES = [
    ("HEAD", "/late-body/200"),
    ("HEAD", "/late-body/404"),
    ("HEAD", "/late-chunked-body/200"),
    ("HEAD", "/late-unannounced-body/200"),
    ("GET", "/late-body/204"),
    ("DELETE", "/late-unannounced-body/204"),
    ("GET", "/late-chunked-body/204"),
    ("GET", "/late-body/304"),
    ("GET", "/late-unannounced-body/304"),
    ("GET", "/interim-body"),
]


@pytest.mark.parametrize("mode", ["buffered", "response_stream"])
def test_a_body_that_must_not_be_there_and_comes_a_moment_later_is_not_the_next_answer(mode: str) -> None:
    """Back to back, so that the next request goes out while it is still to come."""
    with FakeRuntimeApi() as api:
        start_bootstrap(api, command=app("faults.py"), environment={"FAIRLEAD_INVOKE_MODE": mode})
        api.wait_idle()
        paths = [request for method, path in LATE_BODIES for request in 5 * [(method, path), ("GET", "/state")]]
        asked = [(api.add_event(function_url(path, method)), path) for method, path in paths]
        for request_id, path in asked:
            answer = api.wait_answer(request_id)
            assert answer.kind == "response"
            assert path != "/state" or b"ok" in answer.body
            assert path == "/interim-body" or b"poison" not in answer.body


def test_a_latin_1_byte_in_a_header_is_kept_as_text(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = shared
    document = invoke(api, function_url("/latin1-header")).document
    assert document["headers"]["content-disposition"] == 'attachment; filename="café.txt"'


def test_binary_and_declared_charsets_are_kept_to_the_byte(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = shared
    for path, expected in {"/binary": bytes(range(256)), "/text-latin1": b"caf\xe9"}.items():
        document = invoke(api, function_url(path)).document
        assert document["isBase64Encoded"]
        assert base64.b64decode(document["body"]) == expected


def test_an_early_answer_to_a_large_upload_is_the_clients(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = shared
    upload = base64.b64encode(bytes(4_500_000)).decode()
    document = invoke(api, function_url("/early-413", "POST", upload, isBase64Encoded=True)).document
    assert (document["statusCode"], document["body"]) == (413, '"too large"')
    assert_next_is_served(api)


@pytest.mark.parametrize("payload", [b"", b"{", b"nonsense", b'{"a":1}x', b"\xff\xfe", b'{"a":NaN}'])
def test_an_event_that_is_not_json_fails(shared: tuple[FakeRuntimeApi, BootstrapProcess], payload: bytes) -> None:
    api, _ = shared
    answer = invoke(api, payload)
    assert answer.kind == "error"
    assert answer.document["errorType"] == "Runtime.UnmarshalError"
    assert_next_is_served(api)


HOSTILE = {
    "broken-base64": (function_url("/", "POST", "%%%", isBase64Encoded=True), 400),
    "method-that-is-none": (function_url("/", "G T"), 400),
    "null-maps": (function_url("/", headers=None, cookies=None, queryStringParameters=None, body=None), 200),
    "odd-types": (function_url("/", headers={"a": 1, "b": None, "c": ["x"], "d": {}, "e": True}, cookies="no"), 200),
    "header-injection": (function_url("/", headers={"x": "a\r\nSet-Admin: 1", "y\r\nz": "1", "n": "a\0b"}), 200),
    "lone-surrogate": (function_url("/", "POST", "\ud800", headers={"x": "\udfff"}), 200),
    **{
        f"host {host}": (function_url("/", headers={"host": host}), 200)
        for host in ("a b", "${x}", "1.2.3.4.5", "a:b", "h:99999", "[::1", "", "${jndi:ldap://x}", "{{x}}")
    },
    "forwarded-proto": (function_url("/", headers={"x-forwarded-proto": "https,http"}), 200),
    "wrong-content-length": (function_url("/", "POST", "abc", headers={"content-length": "999"}), 200),
    "raw-blank-in-query": (function_url("/", rawQueryString='q=a b"<>#x'), 200),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_answered(shared: tuple[FakeRuntimeApi, BootstrapProcess], name: str) -> None:
    api, _ = shared
    payload, status = HOSTILE[name]
    answer = invoke(api, payload)
    assert (answer.kind, answer.document["statusCode"]) == ("response", status)
    assert_next_is_served(api)


def test_the_process_survived_all_of_this(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, process = shared
    assert_next_is_served(api)
    assert not process.has_exited()
    assert "Runtime.Internal" not in process.output


def test_an_answer_of_exactly_the_limit_is_posted_and_one_byte_more_is_not(api: FakeRuntimeApi) -> None:
    start_bootstrap(api, command=app("faults.py"))
    empty = len(invoke(api, function_url("/large/0")).body)
    fits = LIMIT - empty
    assert len(invoke(api, function_url(f"/large/{fits}")).body) == LIMIT
    assert invoke(api, function_url(f"/large/{fits + 1}")).document["statusCode"] == 502


def test_a_load_balancers_answer_has_its_own_limit(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    """1 MiB: the load balancer would answer 502 by itself, and nobody would know why."""
    api, process = shared
    event = {"requestContext": {"elb": {}}, "httpMethod": "GET", "path": "/large/1100000", "headers": {}}
    document = invoke(api, json.dumps(event).encode()).document
    assert (document["statusCode"], document["statusDescription"]) == (502, "502 Bad Gateway")
    process.wait_output("more than the limit of 1048576 bytes")


def test_headers_that_api_gateway_would_refuse_are_warned_of(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, process = shared
    event = {"httpMethod": "GET", "path": "/header-100k"}
    assert invoke(api, json.dumps(event).encode()).document["statusCode"] == 200
    process.wait_output("[WARN]")


def test_settings_of_the_translation_reach_it(api: FakeRuntimeApi) -> None:
    settings = {"FAIRLEAD_REMOVE_BASE_PATH": "/api", "AWS_LWA_AUTHORIZATION_SOURCE": "X-Auth"}
    start_bootstrap(api, command=app("echo.py"), environment=settings)
    event = function_url("/api/items", headers={"x-auth": "Bearer 1", "authorization": "AWS4"})
    received = json.loads(invoke(api, event).document["body"])
    assert received["target"] == "/items"
    assert ["x-forwarded-prefix", "/api"] in received["headers"]
    assert [value for name, value in received["headers"] if name == "authorization"] == ["Bearer 1"]


@pytest.mark.parametrize("ahead_ms", [2**31 + 60_000, 8_000_000_000_000, 99_999_999_999_999_999])
def test_a_deadline_that_is_far_off_is_a_deadline(
    shared: tuple[FakeRuntimeApi, BootstrapProcess], ahead_ms: int
) -> None:
    api, _ = shared
    body = json.dumps({"text": "x" * 30_000}).encode()
    assert invoke(api, body, ahead_ms / 1000).body == body


def test_a_deadline_that_has_passed_costs_the_invocation_and_not_the_app(
    shared: tuple[FakeRuntimeApi, BootstrapProcess],
) -> None:
    api, _ = shared
    before = invoke(api, function_url("/pid")).document["body"]
    assert invoke(api, function_url("/"), -5).document["statusCode"] == 504
    assert invoke(api, function_url("/pid")).document["body"] == before


def test_an_app_that_lives_and_refuses_is_replaced(api: FakeRuntimeApi) -> None:
    """Not before it has refused for as long as a start may take: it may be about to listen again."""
    limit = {"FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "1"}
    process = start_bootstrap(api, command=app("faults.py"), environment=limit)
    first = invoke(api, function_url("/pid")).document["body"]
    assert invoke(api, function_url("/refuse")).document["statusCode"] == 200
    assert invoke(api, function_url("/")).document["statusCode"] == 502
    assert UNREACHABLE in process.output
    assert invoke(api, function_url("/pid")).document["body"] != first


def test_an_event_of_exactly_the_limit_arrives(shared: tuple[FakeRuntimeApi, BootstrapProcess]) -> None:
    api, _ = shared
    empty = len(function_url("/", "POST", ""))
    event = function_url("/", "POST", "x" * (LIMIT - empty))
    assert len(event) == LIMIT
    assert invoke(api, event).document["statusCode"] == 200


def test_the_log_names_a_late_request_without_its_query(api: FakeRuntimeApi) -> None:
    process = start_bootstrap(api, command=app("faults.py"))
    event = function_url("/silence", rawQueryString="token=secret")
    assert invoke(api, event, DEADLINE_S).document["statusCode"] == 504
    process.wait_output("did not answer GET /silence in time")
    assert "secret" not in process.output
