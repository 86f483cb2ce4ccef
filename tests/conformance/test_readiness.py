"""When the app counts as ready, how often it is asked for that, and when it is given up. Black box, real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import CHECKOUT, PYTHON, free_port

EVENT = b'{"Records":[]}'


class Journal:
    """The request lines that an app has got."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []

    @property
    def pages(self) -> int:
        return self.lines.count("GET / HTTP/1.1")


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


@pytest.fixture
def start(api: FakeRuntimeApi, journal: Journal) -> Callable[..., BootstrapProcess]:
    def started(name: str = "one_worker.py", **environment: str) -> BootstrapProcess:
        return start_bootstrap(api, command=app(name), environment={"JOURNAL": str(journal.path), **environment})

    return started


def invoke(api: FakeRuntimeApi, request_id: str, deadline_s: float = 30, **more: float) -> str:
    api.add_event(EVENT, request_id=request_id, deadline_ms=int((time.time() + deadline_s) * 1000))
    answer = api.wait_answer(request_id, **more)
    return "" if answer.kind == "response" else str(answer.document["errorType"])


def wait_until(holds: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < limit, f"waited for: {what}"
        time.sleep(0.005)


@pytest.mark.parametrize("page", [{"PAGE_MS": "1300"}, {"FIRST_PAGE_MS": "2500"}], ids=["each", "first"])
def test_a_slow_page_is_asked_for_once(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal, page: dict[str, str]
) -> None:
    """A question that is given up goes on in the app, and the next one waits behind it."""
    start(**page)
    assert invoke(api, "one") == ""
    assert journal.lines == ["GET / HTTP/1.1", "POST /events HTTP/1.1"]


def test_the_question_of_one_invocation_is_that_of_the_next(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal
) -> None:
    """An app that was started again answers its first page in the time of two invocations."""
    start(ANSWERS="2", CRASH="1", FIRST_PAGE_MS="1200")
    assert invoke(api, "good") == ""
    assert invoke(api, "crash") == "Runtime.AppExited"
    assert invoke(api, "early", deadline_s=0.9) == "Runtime.AppNotReady"
    assert invoke(api, "late") == ""
    assert journal.pages == 2


def test_a_large_page_is_ready_with_its_head(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal
) -> None:
    start(PAGE_BYTES="20000000")
    assert invoke(api, "one") == ""
    assert journal.pages == 1


def test_a_page_that_is_no_page_yet_is_asked_for_less_and_less(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal
) -> None:
    """Frameworks write a stack trace each time."""
    process = start(PAGE_STATUS="500", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="3")
    message = json.loads(api.wait_init_error().body)["errorMessage"]
    assert "it answered with status 500" in message
    assert "should listen" not in message  # it does
    assert process.wait() == 1
    assert 5 <= journal.pages <= 60  # 120 and more every 50 ms, for ever


def test_the_limit_of_a_start_is_not_counted_while_nobody_waits(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal
) -> None:
    """Lambda calls a quiet function hours after the crash."""
    start(ANSWERS="2", CRASH="1", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="1")
    assert invoke(api, "good") == ""
    assert invoke(api, "crash") == "Runtime.AppExited"
    time.sleep(1.2)  # longer than the limit
    assert invoke(api, "much-later") == ""
    assert journal.pages == 2


def test_the_limit_of_a_start_is_not_counted_while_all_is_frozen(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]
) -> None:
    process = start(LISTEN_MS="900", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="2")
    api.wait_registered()
    wait_until(lambda: bool(process.app_pids), "the app runs")
    (pid,) = process.app_pids
    for frozen in (pid, process.pid):
        os.kill(frozen, signal.SIGSTOP)
    time.sleep(2.2)  # longer than the limit
    for frozen in (process.pid, pid):
        os.kill(frozen, signal.SIGCONT)
    assert invoke(api, "thawed") == ""


def test_an_app_that_is_slow_is_said_to_listen(api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]) -> None:
    """And not that it should listen where it does."""
    process = start(PAGE_MS="60000", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="3")
    process.wait_output("still waiting for the app: it listens, and did not answer in 2.")
    message = json.loads(api.wait_init_error().body)["errorMessage"]
    assert "the app was not ready within 3 s: it listens, and did not answer in" in message
    assert f"at http://127.0.0.1:{process.port}/" in message
    assert "FAIRLEAD_READINESS_CHECK_PATH" in message
    assert "should listen" not in message


def test_a_stranger_that_takes_the_port_while_the_app_boots_is_not_the_app(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], journal: Journal, tmp_path: Path
) -> None:
    """Its answers would be served as the app's."""
    process = start(LISTEN_MS="60000", FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS="4")
    api.wait_registered()
    stranger = subprocess.Popen(
        [PYTHON, "-S", str(CHECKOUT / "tests/apps/one_worker.py")],
        env={"PATH": os.environ["PATH"], "PORT": str(process.port), "JOURNAL": str(tmp_path / "stranger")},
    )
    try:
        message = json.loads(api.wait_init_error().body)["errorMessage"]
        assert "somebody else answers" in message
        assert f"(pid {stranger.pid})" in message
        assert not api.nexts
    finally:
        stranger.kill()
        stranger.wait(10)


def test_a_listener_outside_of_the_apps_group_is_the_apps(api: FakeRuntimeApi, journal: Journal) -> None:
    """A daemon that has left its group and its parents is known by its environment."""
    code = f"(setsid {app('one_worker.py').removeprefix('exec ')} &) ; exec sleep 60"
    start_bootstrap(api, command=code, environment={"JOURNAL": str(journal.path)})
    assert invoke(api, "one") == ""


def test_a_port_that_accepts_nobody_is_left_alone(
    api: FakeRuntimeApi, start: Callable[..., BootstrapProcess], tmp_path: Path
) -> None:
    """A full backlog: connecting is bounded, and the app's end is noticed all the same."""
    port = free_port()
    full = (
        "import os, socket, time\n"
        "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
        f"s.bind(('127.0.0.1', {port})); s.listen(0)\n"
        "queue = [socket.socket() for _ in range(3)]\n"
        "[q.setblocking(False) or q.connect_ex(s.getsockname()) for q in queue]\n"
        "time.sleep(1.5); os._exit(9)\n"
    )
    (tmp_path / "full.py").write_text(full)
    start_bootstrap(api, command=f"exec {PYTHON} -S {tmp_path / 'full.py'}", environment={"FAIRLEAD_PORT": str(port)})
    assert "the app exited with status 9" in json.loads(api.wait_init_error().body)["errorMessage"]


def test_nobody_else_is_taken_for_a_stranger(api: FakeRuntimeApi, start: Callable[..., BootstrapProcess]) -> None:
    """The same port of another address is another port."""
    port = free_port()
    with socket.create_server(("127.0.0.2", port)):
        start(FAIRLEAD_PORT=str(port))
        assert invoke(api, "one") == ""
