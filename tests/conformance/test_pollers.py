"""Lambda Managed Instances: several invocations at once, one app. Black box, real processes.

What is proved of "at the same time" is proved by a meeting: the app answers none of N requests before all N are there.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.events import function_url
from tests.fakes import WAIT_SECONDS, BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.wire import Reply

COUNT = 5
ROOT = Path(__file__).parents[2]
Start = Callable[..., BootstrapProcess]


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi(concurrency=COUNT) as fake:
        yield fake


@pytest.fixture
def cores() -> Iterator[int]:
    """Two at most, so that five pollers share processes on a machine with more of them too."""
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(all_cores)[:2])
    yield len(os.sched_getaffinity(0))
    os.sched_setaffinity(0, all_cores)


@pytest.fixture
def start(api: FakeRuntimeApi, cores: int) -> Start:
    def started(name: str = "faults.py", **environment: str) -> BootstrapProcess:
        given = {"AWS_LAMBDA_MAX_CONCURRENCY": str(COUNT), **environment}
        return start_bootstrap(api, command=app(name), environment=given)

    return started


def add(api: FakeRuntimeApi, path: str, deadline_s: float = 30) -> str:
    return api.add_event(function_url("GET", path), deadline_s=deadline_s)


def body(api: FakeRuntimeApi, request_id: str) -> str:
    return str(api.wait_answer(request_id).document["body"])


def status(api: FakeRuntimeApi, request_id: str) -> int:
    return int(api.wait_answer(request_id).document["statusCode"])


def pollers_of(process: BootstrapProcess) -> list[int]:
    """The children of the bootstrap that are bootstraps themselves."""
    mine = f"/proc/{process.pid}/task/{process.pid}/children"
    return [pid for pid in map(int, Path(mine).read_text().split()) if os.getpgid(pid) == process.pid]


def test_so_many_invocations_are_served_at_the_same_time(api: FakeRuntimeApi, start: Start) -> None:
    start()
    meeting = [add(api, f"/meet/{COUNT}") for _ in range(COUNT)]
    assert [status(api, request_id) for request_id in meeting] == [200] * COUNT


def test_a_hundred_events_are_answered_once_each(api: FakeRuntimeApi, start: Start) -> None:
    start("echo.py")
    ids = [add(api, f"/{number}") for number in range(100)]
    for number, request_id in enumerate(ids):
        assert f'"target":"/{number}"' in body(api, request_id)
    assert len(api.posts) == 100


def test_each_poller_has_one_connection_of_its_own(api: FakeRuntimeApi, start: Start) -> None:
    start()
    for _ in range(3):
        for request_id in [add(api, "/") for _ in range(20)]:
            body(api, request_id)
    connections: dict[int, set[int]] = {}
    for request in api.of_kind("next", "response"):
        connections.setdefault(request.connection, set()).add(request.number)
    assert 1 <= len(connections) <= COUNT


def test_the_ids_and_traces_of_invocations_are_not_mixed(api: FakeRuntimeApi, start: Start) -> None:
    start("echo.py")
    ids = []
    for number in range(40):
        trace = {"Lambda-Runtime-Trace-Id": f"Root=1-{number};Parent=2;Sampled=0"}
        ids.append(api.add_event(function_url("GET", "/"), request_id=f"id-{number}", headers=trace))
    for number, request_id in enumerate(ids):
        text = body(api, request_id)
        assert f'["x-amzn-trace-id","Root=1-{number};Parent=2;Sampled=0"]' in text
        assert f'\\"request_id\\":\\"id-{number}\\"' in text


def test_the_failure_of_one_does_not_stop_the_others(api: FakeRuntimeApi, start: Start) -> None:
    start()
    bad = [add(api, "/garbage"), api.add_event(b"no json"), add(api, "/close-before")]
    good = [add(api, "/") for _ in range(10)]
    assert [api.wait_answer(request_id).kind for request_id in bad] == ["response", "error", "response"]
    assert [status(api, request_id) for request_id in good] == [200] * 10


def test_a_late_answer_costs_its_own_invocation_only(api: FakeRuntimeApi, start: Start) -> None:
    """The app is not killed for it, as it would be if it had only that one to serve."""
    start()
    pid = body(api, add(api, "/pid"))
    late = add(api, "/silence", deadline_s=2)
    meeting = [add(api, "/meet/2"), add(api, "/meet/2")]
    assert status(api, late) == 504
    assert [status(api, request_id) for request_id in meeting] == [200, 200]
    assert {body(api, add(api, "/pid")) for _ in range(10)} == {pid}


def test_an_app_that_dies_is_started_again_once_for_all(api: FakeRuntimeApi, start: Start) -> None:
    process = start()
    before = body(api, add(api, "/pid"))
    waiting = [add(api, "/silence") for _ in range(3)]
    _wait_until(lambda: body(api, add(api, "/count")) == "3")
    add_died = add(api, "/die")
    assert [status(api, request_id) for request_id in [*waiting, add_died]] == [502] * 4
    after = {body(api, request_id) for request_id in [add(api, "/pid") for _ in range(20)]}
    assert len(after) == 1
    assert before not in after
    assert process.stderr.count("it is started again") == 1


def _wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_an_app_that_dies_again_and_again_under_its_requests_is_started_each_time(
    api: FakeRuntimeApi, start: Start
) -> None:
    """Its starts were good: none of them counts as one that failed, however soon the next request kills it."""
    process = start()
    deaths = [add(api, "/die") for _ in range(COUNT)] + [api.add_event({"fault": "/die"}) for _ in range(12)]
    answers = [api.wait_answer(request_id) for request_id in deaths]
    assert [answer.document["errorType"] for answer in answers if answer.kind == "error"] == ["Runtime.AppExited"] * 12
    assert status(api, add(api, "/")) == 200
    assert not process.has_exited()


def test_a_death_is_not_told_of_the_app_after_it(api: FakeRuntimeApi, start: Start) -> None:
    """Four pollers had nothing to do when the app died. What goes wrong for them later is another matter."""
    start()
    meeting = [add(api, f"/meet/{COUNT}") for _ in range(COUNT)]
    assert [status(api, request_id) for request_id in meeting] == [200] * COUNT  # all have a connection
    assert api.wait_answer(api.add_event({"fault": "/die"})).document["errorType"] == "Runtime.AppExited"
    broken = [api.wait_answer(api.add_event({"fault": "/reset-in-head"})) for _ in range(3 * COUNT)]
    assert {answer.document["errorType"] for answer in broken} == {"Runtime.AppConnectionLost"}


def test_the_bootstrap_keeps_no_connection_to_the_app(api: FakeRuntimeApi, start: Start) -> None:
    """A server that takes one connection after the other would wait for something on it."""
    process = start()
    status(api, add(api, "/"))
    held = {os.readlink(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
    lines = [line.split() for line in Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]]
    to_app = {f"socket:[{line[9]}]" for line in lines if line[2].endswith(f":{process.port:04X}") and line[3] == "01"}
    assert to_app
    assert to_app.isdisjoint(held)


def test_one_start_is_told_once(api: FakeRuntimeApi, start: Start) -> None:
    process = start("faults.py", FAIRLEAD_REQUEST_LOG="true")
    meeting = [add(api, f"/meet/{COUNT}") for _ in range(COUNT)]
    assert [status(api, request_id) for request_id in meeting] == [200] * COUNT
    _wait_until(lambda: process.stdout.count('"type":"request"') == COUNT)
    assert process.stdout.count('"coldStart":true') == 1


def test_an_app_that_refuses_connections_is_replaced(api: FakeRuntimeApi, start: Start) -> None:
    start("faults.py", FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS="0", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="1")
    before = body(api, add(api, "/pid"))
    status(api, add(api, "/refuse"))
    _wait_until(lambda: body(api, add(api, "/pid")) not in (before, ""))


def test_each_core_has_a_process_for_its_share_of_the_pollers(api: FakeRuntimeApi, start: Start, cores: int) -> None:
    process = start()
    _wait_until(lambda: len(api._polling) == COUNT)
    assert len(pollers_of(process)) == cores


def test_pollers_that_are_killed_are_replaced(api: FakeRuntimeApi, start: Start) -> None:
    process = start()
    _wait_until(lambda: len(api._polling) == COUNT)
    os.kill(pollers_of(process)[0], signal.SIGKILL)
    process.wait_output("pollers was killed by SIGKILL")
    meeting = [add(api, f"/meet/{COUNT}") for _ in range(COUNT)]
    assert [status(api, request_id) for request_id in meeting] == [200] * COUNT


def test_next_is_tried_again_for_a_while_and_then_the_whole_ends(api: FakeRuntimeApi, start: Start) -> None:
    """0.1, 0.2, 0.4 and 0.8 s apart: more is the platform's to decide."""
    process = start()
    for _ in range(6 * COUNT):
        api.add_next(Reply(500, b'{"errorType":"ServiceError"}'))
    assert process.wait(10) != 0
    assert process.stderr.count("trying again in 0.8 s") >= 1
    assert "a poller ends: the Runtime API answered next with status 500" in process.stderr
    assert process.app_pids == []


def test_a_passing_error_of_next_is_survived(api: FakeRuntimeApi, start: Start) -> None:
    process = start()
    api.add_next(Reply(500, b"{}"))
    assert [status(api, request_id) for request_id in [add(api, "/") for _ in range(10)]] == [200] * 10
    assert "trying again in 0.1 s" in process.stderr


@pytest.mark.parametrize("refusal", [410, 413, 500])
def test_a_refused_answer_of_one_does_not_touch_the_others(api: FakeRuntimeApi, start: Start, refusal: int) -> None:
    process = start()
    api.script("response", Reply(refusal, b"{}"))
    for request_id in [add(api, "/") for _ in range(10)]:
        api.wait_answer(request_id)
    assert f"status {refusal}" in process.stderr
    assert not process.has_exited()


def test_sigterm_ends_the_app_and_all_pollers(api: FakeRuntimeApi, start: Start) -> None:
    process = start()
    status(api, add(api, "/"))
    pids = pollers_of(process)
    process.terminate()
    assert process.wait() == 0
    _wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert process.app_pids == []


def test_one_at_a_time_is_the_ordinary_mode(api: FakeRuntimeApi, start: Start) -> None:
    process = start("faults.py", AWS_LAMBDA_MAX_CONCURRENCY="1")
    status(api, add(api, "/"))
    assert [pid for pid in pollers_of(process) if pid not in process.app_pids] == []


def test_streams_go_on_side_by_side(api: FakeRuntimeApi, start: Start) -> None:
    """Five answers that each wait for the test, in fewer processes than answers: all begin before any ends."""
    process = start("piecewise.py", FAIRLEAD_INVOKE_MODE="response_stream")
    streams = [add(api, "/events-stream/2") for _ in range(COUNT)]
    _wait_until(lambda: sum(b"\0" * 8 in request.received for request in api.of_kind("response")) == COUNT)
    for sent in range(2 * COUNT):  # each release lets one of them send one
        release(process)
        _wait_until(lambda sent=sent: sum(r.received.count(b"data: ") for r in api.of_kind("response")) > sent)  # type: ignore[misc]
    for request_id in streams:
        assert api.wait_answer(request_id).body.endswith(b"data: 0\n\ndata: 1\n\n")


def release(process: BootstrapProcess) -> None:
    with socket.create_connection(("127.0.0.1", process.port), 10) as client:
        client.sendall(b"POST /release HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        client.recv(65536)


HOOK = """
import time
def on_request(request):
    if request.target == "/slow":
        time.sleep(30)
"""


def test_hooks_that_block_stop_nobody_else(api: FakeRuntimeApi, start: Start, tmp_path: Path) -> None:
    """With hooks each poller has a process of its own."""
    (tmp_path / "fairlead_hooks.py").write_text(HOOK)
    process = start("faults.py", LAMBDA_TASK_ROOT=str(tmp_path))
    for _ in range(COUNT - 1):
        add(api, "/slow")
    assert [status(api, add(api, "/")) for _ in range(20)] == [200] * 20
    assert len(pollers_of(process)) == COUNT


BROKEN = """
from runtime.logs import Log
from runtime.pollers import Pollers
def poll(count):
    raise LookupError(f"nothing for {count}")
pollers = Pollers([3], poll, Log())
pollers.start()
pollers.supervise(lambda pid: True)
"""


def test_what_breaks_a_process_of_pollers_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "LookupError: nothing for 3" in done.stderr
    assert "a process of 3 pollers exited with status 1: this environment ends" in done.stderr
