"""SnapStart in web mode: what is asked when, and how failures are told. Cases of handler mode stand with its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

from tests.events import function_url
from tests.fakes import BootstrapProcess, FakeRuntimeApi
from tests.fakes.wire import Reply, Wire

Start = Callable[..., BootstrapProcess]
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
PATHS = {
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/stdout/before",
    "FAIRLEAD_SNAPSTART_AFTER_RESTORE_PATH": "/stdout/after",
}


def test_the_app_is_asked_before_the_snapshot_and_after_the_restore(api: FakeRuntimeApi, start: Start) -> None:
    restored = threading.Event()
    api.script("restore_next", Reply(200, b"", (), Wire(gate=restored)))
    process = start(**SNAP_START, **PATHS)
    process.wait_output("before")
    assert api.nexts == []
    assert "after" not in process.stdout
    restored.set()
    api.wait_next()
    assert "after" in process.stdout
    kinds = [request.target.rpartition("runtime/")[2] for request in api.of_kind("restore_next", "next")]
    assert kinds == ["restore/next", "invocation/next"]
    (restore,) = api.of_kind("restore_next")
    assert restore.connection != api.nexts[0].connection
    answer = api.wait_answer(api.add_event(function_url("GET", "/stdout/outside")))
    assert answer.document["statusCode"] == 200


def test_the_paths_are_forbidden_to_clients(api: FakeRuntimeApi, start: Start) -> None:
    start(**PATHS)
    answer = api.wait_answer(api.add_event(function_url("GET", "/stdout/before")))
    assert answer.document["statusCode"] == 403


def test_the_connection_to_the_app_does_not_outlive_the_snapshot(api: FakeRuntimeApi, start: Start) -> None:
    """The restored copy would speak on a socket that its kernel does not know."""
    api.script("restore_next", Reply(200, b""))
    start(**SNAP_START, FAIRLEAD_READINESS_CHECK_PATH="/meet/1", FAIRLEAD_POOL_IDLE_TIMEOUT_SECONDS="3600")
    first = api.wait_answer(api.add_event(function_url("GET", "/connection")))
    assert first.document["body"] == "2"


@pytest.mark.parametrize("failing", ["/status/500", "/status/404", "/die", "/close-before"])
def test_a_failure_before_the_snapshot_is_an_init_error(api: FakeRuntimeApi, start: Start, failing: str) -> None:
    process = start(**SNAP_START, FAIRLEAD_SNAPSTART_BEFORE_CHECKPOINT_PATH=failing)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == "Runtime.BeforeSnapshotError"
    assert failing in document["errorMessage"]
    assert process.wait() == 64
    assert api.of_kind("restore_next") == []


def test_a_failure_after_the_restore_is_a_restore_error(api: FakeRuntimeApi, start: Start) -> None:
    api.script("restore_next", Reply(200, b""))
    process = start(**SNAP_START, FAIRLEAD_SNAPSTART_AFTER_RESTORE_PATH="/status/503")
    assert process.wait() == 65
    (report,) = api.of_kind("restore_error")
    assert json.loads(report.body)["errorType"] == "Runtime.AfterRestoreError"
    assert report.header("Lambda-Runtime-Function-Error-Type") == "Runtime.AfterRestoreError"
    assert api.nexts == []


def test_a_restore_that_fails_ends_the_process(api: FakeRuntimeApi, start: Start) -> None:
    api.script("restore_next", Reply(500, b'{"errorType":"ServiceError"}'))
    process = start(**SNAP_START)
    assert process.wait() == 1
    assert "restore/next with status 500" in process.stderr


def test_without_snapstart_nothing_of_it_is_asked(api: FakeRuntimeApi, start: Start) -> None:
    start(AWS_LAMBDA_INITIALIZATION_TYPE="on-demand", **PATHS)
    api.wait_next()
    assert api.of_kind("restore_next") == []
