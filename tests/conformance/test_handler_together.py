"""Python handlers on Lambda Managed Instances and with SnapStart: cases 91 to 102, black box."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import WAIT_SECONDS, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.process import CHECKOUT
from tests.fakes.wire import Reply

HANDLERS = CHECKOUT / "tests" / "handlers"
SITE_PACKAGES = Path(pytest.__file__).parents[1]  # for snapshot_restore_py
COUNT = 4
Start = Callable[..., BootstrapProcess]


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi(concurrency=COUNT) as fake:
        yield fake


@pytest.fixture
def start(api: FakeRuntimeApi) -> Start:
    def started(handler: str, **environment: str) -> BootstrapProcess:
        given = {"LAMBDA_TASK_ROOT": str(HANDLERS), "PYTHONPATH": str(SITE_PACKAGES), **environment}
        return start_bootstrap(api, handler=handler, environment=given)

    return started


@pytest.fixture
def start_several(start: Start) -> Start:
    return lambda handler, **environment: start(handler, AWS_LAMBDA_MAX_CONCURRENCY=str(COUNT), **environment)


def _wait_until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.005)


# ---- Managed Instances


def test_96_so_many_invocations_run_at_the_same_time(api: FakeRuntimeApi, start_several: Start, tmp_path: Path) -> None:
    start_several("together.meet")
    ids = [api.add_event({"folder": str(tmp_path), "count": COUNT}) for _ in range(COUNT)]
    assert [api.wait_answer(request_id).document for request_id in ids] == ["met"] * COUNT


def test_96_a_hundred_events_are_answered_once_each(api: FakeRuntimeApi, start_several: Start) -> None:
    start_several("together.where")
    ids = [api.add_event({}) for _ in range(100)]
    assert [api.wait_answer(request_id).document["id"] for request_id in ids] == ids
    assert len(api.posts) == 100


def test_97_traces_are_not_mixed(api: FakeRuntimeApi, start_several: Start) -> None:
    start_several("together.where")
    traces = {api.add_event({}, headers={"Lambda-Runtime-Trace-Id": f"Root=1-{n}"}): f"Root=1-{n}" for n in range(40)}
    assert all(api.wait_answer(request_id).document["trace"] == trace for request_id, trace in traces.items())


def test_each_poller_imports_the_module_itself(api: FakeRuntimeApi, start_several: Start) -> None:
    start_several("together.where")
    found = [api.wait_answer(api.add_event({})).document for _ in range(20)]
    assert all(answer["pid"] == answer["imported_by"] for answer in found)


def test_98_the_error_of_one_does_not_stop_the_others(api: FakeRuntimeApi, start_several: Start) -> None:
    start_several("together.meet")
    bad = [api.add_event({"folder": "/nowhere", "count": 1}) for _ in range(5)]
    assert [api.wait_answer(request_id).kind for request_id in bad] == ["error"] * 5


def test_99_a_handler_that_exits_is_reported_and_ends_the_whole(api: FakeRuntimeApi, start_several: Start) -> None:
    process = start_several("together.leave")
    answer = api.wait_answer(api.add_event({}))
    assert (answer.kind, answer.document["errorType"]) == ("error", "Runtime.ExitError")
    assert process.wait() != 0
    assert "a poller exited with status 3: this environment ends" in process.stderr


def test_99_a_poller_that_is_killed_is_replaced(api: FakeRuntimeApi, start_several: Start, tmp_path: Path) -> None:
    process = start_several("together.where")
    os.kill(api.wait_answer(api.add_event({})).document["pid"], signal.SIGKILL)
    process.wait_output("another takes its place")
    _wait_until(lambda: len(api._polling) == COUNT)


def test_100_an_init_error_in_all_pollers_ends_the_whole(api: FakeRuntimeApi, start_several: Start) -> None:
    process = start_several("together.where", FAIL_AT_IMPORT="1")
    assert json.loads(api.wait_init_error().body)["errorMessage"] == "no configuration"
    assert process.wait() != 0
    _wait_until(lambda: not api._connections)  # all that was sent has been read
    assert 1 <= len(api.of_kind("init_error")) <= COUNT
    api.take_violations()  # the second report is refused with 403, which is what this is about


def test_101_next_is_tried_again_for_a_while(api: FakeRuntimeApi, start_several: Start) -> None:
    process = start_several("together.where")
    for _ in range(6 * COUNT):
        api.add_next(Reply(500, b"{}"))
    assert process.wait() != 0
    assert "trying again in 0.8 s" in process.stderr


@pytest.mark.parametrize("refusal", [410, 413, 500])
def test_102_a_refused_answer_of_one_does_not_touch_the_others(
    api: FakeRuntimeApi, start_several: Start, refusal: int
) -> None:
    process = start_several("together.where")
    api.script("response", Reply(refusal, b"{}"))
    for request_id in [api.add_event({}) for _ in range(10)]:
        api.wait_answer(request_id)
    process.wait_output(f"status {refusal}")


def test_sigterm_ends_all_of_them(api: FakeRuntimeApi, start_several: Start) -> None:
    process = start_several("together.where")
    api.wait_answer(api.add_event({}))
    process.terminate()
    assert process.wait() == 0
    _wait_until(lambda: process.app_pids == [])


# ---- SnapStart

SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


def test_91_hooks_run_backwards_before_the_snapshot_and_forwards_after_the_restore(
    api: FakeRuntimeApi, start: Start
) -> None:
    api.script("restore_next", Reply(200, b""))
    process = start("together.where", **SNAP_START, SNAPSHOT_HOOKS="yes")
    api.wait_answer(api.add_event({}))
    assert process.stdout.split() == ["B2", "B1", "A1", "A2"]
    kinds = [request.target.rpartition("runtime/")[2] for request in api.of_kind("restore_next", "next")][:2]
    assert kinds == ["restore/next", "invocation/next"]


def test_92_a_hook_that_fails_before_the_snapshot_is_an_init_error(api: FakeRuntimeApi, start: Start) -> None:
    process = start("together.where", **SNAP_START, SNAPSHOT_HOOKS="fail before")
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.BeforeSnapshotError"
    assert document["errorMessage"] == "never raised ConnectionError: cannot let go"
    assert process.wait() == 64
    assert api.of_kind("restore_next") == []


def test_93_a_hook_that_fails_after_the_restore_is_a_restore_error(api: FakeRuntimeApi, start: Start) -> None:
    api.script("restore_next", Reply(200, b""))
    process = start("together.where", **SNAP_START, SNAPSHOT_HOOKS="fail after")
    assert process.wait() == 65
    (report,) = api.of_kind("restore_error")
    assert json.loads(report.body)["errorType"] == "Runtime.AfterRestoreError"
    assert "no database" in process.stderr


def test_94_a_restore_that_fails_ends_the_process(api: FakeRuntimeApi, start: Start) -> None:
    api.script("restore_next", Reply(500, b"{}"))
    assert start("together.where", **SNAP_START).wait() == 1


def test_95_without_snapstart_there_is_no_restore(api: FakeRuntimeApi, start: Start) -> None:
    start("together.where", SNAPSHOT_HOOKS="yes")
    api.wait_answer(api.add_event({}))
    assert api.of_kind("restore_next") == []


def test_copies_of_one_snapshot_draw_different_numbers(api: FakeRuntimeApi, start: Start) -> None:
    import random

    api.script("restore_next", Reply(200, b""))
    start("together.draw", **SNAP_START, SNAPSHOT_HOOKS="yes")
    assert api.wait_answer(api.add_event({})).document != random.Random(1).random()
