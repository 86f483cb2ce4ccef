"""Error trackers that hook themselves into Lambda's own Python runtime: what they report arrives, black box.

Sentry is the real one, and sends to a server of the test's.
"""

from __future__ import annotations

import gzip
import json
import sysconfig
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import brotli
import pytest

from tests.events import function_url
from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.process import CHECKOUT

ROOT = CHECKOUT / "tests" / "handlers_sentry"
SECRET = "marked-51c9"
Start = Callable[..., BootstrapProcess]
DECODERS: dict[str, Callable[[bytes], bytes]] = {"br": brotli.decompress, "gzip": gzip.decompress}


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi(concurrency=2) as fake:
        yield fake


class Sentry:
    """A server that takes what Sentry's SDK sends."""

    def __init__(self) -> None:
        self.envelopes: list[str] = []
        envelopes = self.envelopes

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                envelopes.append(DECODERS[self.headers["Content-Encoding"]](body).decode())
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Be silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.dsn = f"http://key@127.0.0.1:{self._server.server_port}/1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def errors(self) -> list[str]:
        """The messages of the exceptions that were reported."""
        found = []
        for envelope in self.envelopes:
            for line in envelope.splitlines():
                document: dict[str, Any] = json.loads(line)
                found += [one["value"] for one in document.get("exception", {}).get("values", [])]
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    server = Sentry()
    yield server
    server.close()


@pytest.fixture
def start(api: FakeRuntimeApi, sentry: Sentry) -> Start:
    def started(handler: str, **environment: str) -> BootstrapProcess:
        variables = {
            "LAMBDA_TASK_ROOT": str(ROOT),
            "PYTHONPATH": sysconfig.get_paths()["purelib"],
            "SENTRY_DSN": sentry.dsn,
            "AWS_SESSION_TOKEN": SECRET,
            **environment,
        }
        return start_bootstrap(api, handler=handler, environment=variables)

    return started


@pytest.mark.parametrize("handler", ["tracked.handler", "tracked.async_handler"])
def test_sentry_has_the_error_before_the_invocation_is_answered(
    api: FakeRuntimeApi, start: Start, sentry: Sentry, handler: str
) -> None:
    process = start(handler)
    answer = api.wait_answer(api.add_event("no such order"))
    assert sentry.errors == ["no such order"]
    assert answer.document["errorType"] == "ValueError"
    assert answer.document["errorMessage"] == "no such order"
    assert "in handler" in answer.document["stackTrace"][-1]
    assert api.wait_answer(api.add_event("")).document == "ok"
    assert api.wait_answer(api.add_event("the next one")).kind == "error"
    assert sentry.errors == ["no such order", "the next one"]
    assert SECRET not in "".join(sentry.envelopes)
    assert "WARN" not in process.stderr


def test_sentry_has_the_error_of_each_poller(api: FakeRuntimeApi, start: Start, sentry: Sentry) -> None:
    start("tracked.handler", AWS_LAMBDA_MAX_CONCURRENCY="2")
    for _ in range(2):
        assert api.wait_answer(api.add_event("no such order")).kind == "error"
    assert sentry.errors == ["no such order"] * 2


def test_sentry_has_the_error_of_a_start(api: FakeRuntimeApi, start: Start, sentry: Sentry) -> None:
    process = start("tracked.handler", FAILS_AT_START="1")
    assert json.loads(api.wait_init_error().body)["errorMessage"] == "of the start"
    assert process.wait() == 1
    assert sentry.errors == ["of the start"]
    assert SECRET not in "".join(sentry.envelopes)


def test_an_integration_for_handlers_in_a_web_app_is_warned_of(api: FakeRuntimeApi, start: Start) -> None:
    process = start("tracked:app")
    api.wait_answer(api.add_event(function_url("GET", "/")))
    assert "sentry_sdk.integrations.aws_lambda has replaced functions that call a Lambda handler" in process.stderr


def test_who_patches_a_runtime_that_does_not_run_is_warned_of(api: FakeRuntimeApi, start: Start) -> None:
    process = start("elsewhere.handler")
    assert api.wait_answer(api.add_event({})).document == "ok"
    assert "elsewhere has replaced functions of awslambdaric, which does not run this function" in process.stderr


def test_who_only_imports_that_runtime_is_not(api: FakeRuntimeApi, start: Start) -> None:
    process = start("untouched.handler")
    assert api.wait_answer(api.add_event({})).document == "_get_handler"
    assert process.stderr == ""


@pytest.mark.parametrize("place", ["before", "after", "post"])
def test_a_tracker_that_fails_while_it_reports_changes_no_answer(api: FakeRuntimeApi, start: Start, place: str) -> None:
    process = start("failing.handler", LAMBDA_TASK_ROOT=str(CHECKOUT / "tests" / "handlers_trackers"), FAILS=place)
    assert api.wait_answer(api.add_event("")).document == "ok"
    document = api.wait_answer(api.add_event("no such order")).document
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "no such order")
    assert "in handler" in document["stackTrace"][-1]
    assert "failing has failed, and the handler's answer is sent all the same" in process.stderr
    assert "ConnectionError: the tracker cannot be reached" in process.stderr


@pytest.mark.parametrize(("place", "name"), [("client", "wait_next_invocation"), ("module", "run")])
def test_who_replaces_what_is_never_called_is_warned_of(
    api: FakeRuntimeApi, start: Start, place: str, name: str
) -> None:
    root = str(CHECKOUT / "tests" / "handlers_trackers")
    process = start("adding.handler", LAMBDA_TASK_ROOT=root, PLACE=place, NAME=name)
    assert api.wait_answer(api.add_event({})).document == "ok"
    assert f"adding has put a function in the place of Lambda's {name}, which is never called here" in process.stderr


def test_who_wraps_a_client_that_does_not_run_is_warned_of(api: FakeRuntimeApi, start: Start) -> None:
    process = start("wrapped.handler", LAMBDA_TASK_ROOT=str(CHECKOUT / "tests" / "handlers_trackers"))
    assert api.wait_answer(api.add_event({})).document == "ok"
    assert "wrapped has replaced functions of awslambdaric, which does not run this function" in process.stderr
