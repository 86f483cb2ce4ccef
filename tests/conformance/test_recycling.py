"""Apps that recycle or supervise themselves lose no request, and are not killed for it. Black box, real processes.

tests/systems/test_recycling.py has the same with real servers.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap

EVENT = b'{"Records":[]}'
GET = json.dumps(
    {"version": "2.0", "rawPath": "/x", "requestContext": {"http": {"method": "GET", "path": "/x"}}}
).encode()
POST = json.dumps(
    {"version": "2.0", "rawPath": "/x", "requestContext": {"http": {"method": "POST", "path": "/x"}}, "body": "1"}
).encode()


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def start(api: FakeRuntimeApi, journal: Path) -> Callable[..., BootstrapProcess]:
    def started(name: str = "one_worker.py", **environment: str) -> BootstrapProcess:
        return start_bootstrap(api, command=app(name), environment={"JOURNAL": str(journal), **environment})

    return started


_numbers = iter(range(1_000_000))


def invoke(api: FakeRuntimeApi, payload: bytes, deadline_s: float = 30) -> Answer:
    request_id = f"r{next(_numbers)}"
    api.add_event(payload, request_id=request_id, deadline_ms=int((time.time() + deadline_s) * 1000))
    return api.wait_answer(request_id)


def is_good(answer: Answer) -> bool:
    return answer.kind == "response" and (answer.body == b"11" or answer.document["statusCode"] == 200)


# An app that ends without closing its listener first may be sent a request that it does not read. What is not
# idempotent must not be sent again then, so it is lost; nothing can be done about that here.
ENDS = pytest.mark.parametrize(
    ("payload", "graceful"),
    [(GET, ""), (GET, "1"), (POST, "1"), (EVENT, "1")],
    ids=["GET-abrupt", "GET", "POST", "trigger"],
)


@pytest.mark.parametrize("gap_ms", ["0", "100"])
@ENDS
def test_a_supervised_app_that_ends_after_each_answer_loses_nothing(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], payload: bytes, graceful: str, gap_ms: str
) -> None:
    process = start(ANSWERS="1", GAP_MS=gap_ms, GRACEFUL=graceful)
    assert [is_good(invoke(api, payload)) for _ in range(15)] == [True] * 15
    assert "[ERROR]" not in process.stderr
    assert len(process.app_pids) <= 2  # the supervisor lives


@ENDS
def test_an_app_that_ends_in_order_is_started_again_unseen(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], payload: bytes, graceful: str
) -> None:
    process = start(ANSWERS="3", GRACEFUL=graceful)
    assert [is_good(invoke(api, payload)) for _ in range(15)] == [True] * 15
    assert "[ERROR]" not in process.stderr
    if graceful:
        assert "the app exited with status 0 between two invocations; it is started again" in process.stderr


def test_a_worker_that_crashes_costs_its_own_request(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    """Its supervisor is not killed, and the next request waits until there is another worker."""
    process = start(ANSWERS="2", CRASH="1", GAP_MS="300")
    api.wait_idle()
    assert is_good(invoke(api, EVENT))
    supervisor = {pid for pid in process.app_pids if os.getpgid(pid) == pid}
    assert invoke(api, EVENT).document["errorType"] == "Runtime.AppConnectionLost"
    assert is_good(invoke(api, EVENT))
    assert {pid for pid in process.app_pids if os.getpgid(pid) == pid} == supervisor


def test_a_get_that_was_sent_to_an_app_that_ends_is_asked_again(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    """Once: RFC 9110 9.2.2 allows that for idempotent methods, and for no others."""
    start(ANSWERS="2", CRASH="1", GAP_MS="0")
    assert is_good(invoke(api, EVENT))
    assert is_good(invoke(api, GET))


@pytest.mark.parametrize(("method", "count"), [("GET", 2), ("PUT", 2), ("POST", 1)])
@pytest.mark.parametrize("fault", ["close-before", "reset-before"])
def test_a_request_that_is_never_answered_is_asked_once_more_if_its_method_allows_that(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], fault: str, method: str, count: int
) -> None:
    process = start("faults.py")
    event = {"version": "2.0", "rawPath": f"/{fault}", "requestContext": {"http": {"method": method, "path": "/"}}}
    assert "Runtime.AppConnectionLost" in invoke(api, json.dumps(event).encode()).document["body"]
    connections = {"version": "2.0", "rawPath": "/count", "requestContext": {"http": {"method": "GET", "path": "/"}}}
    assert invoke(api, json.dumps(connections).encode()).document["body"] == str(count)
    assert not process.has_exited()


def test_an_app_that_crashes_is_not_asked_again(api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]) -> None:
    """The request may be the reason."""
    start(ANSWERS="2", CRASH="1")
    assert is_good(invoke(api, EVENT))
    assert "Runtime.AppExited" in invoke(api, GET).document["body"]


def test_at_the_deadline_an_app_that_refuses_is_not_killed(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    """It may be in its graceful end, or its supervisor may be starting it."""
    process = start(ANSWERS="2", GAP_MS="1500")
    assert is_good(invoke(api, EVENT))
    before = process.app_pids
    late = invoke(api, EVENT, deadline_s=0.8)
    assert late.document["errorType"] == "Runtime.AppUnreachable"
    assert is_good(invoke(api, EVENT))
    assert set(before) & set(process.app_pids)


def test_an_app_that_refuses_for_too_long_is_started_again_for_the_one_that_waits(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    """Others have failed for it already."""
    process = start("faults.py", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="1")
    assert invoke(api, b'{"fault":"/refuse"}').kind == "response"
    assert invoke(api, EVENT, deadline_s=0.8).document["errorType"] == "Runtime.AppUnreachable"
    assert invoke(api, EVENT).body == EVENT
    assert "it is started again" in process.stderr


def test_an_app_that_is_stopped_and_killed_is_started_again(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    process = start()
    assert is_good(invoke(api, EVENT))
    (pid,) = process.app_pids
    os.kill(pid, signal.SIGSTOP)
    assert invoke(api, EVENT, deadline_s=1).document["errorType"] == "Runtime.AppTimeout"
    assert is_good(invoke(api, EVENT))
    assert pid not in process.app_pids
