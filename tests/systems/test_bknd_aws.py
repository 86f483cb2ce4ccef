"""bknd's own Lambda handler, hosted in Node: it gets the events as they are, and its answers are the payloads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from layer.check import UNPACKED
from local.app.prepared import prepare
from local.cache import CACHE
from local.run import layer_tree

from .browser import browser, different_lines
from .conftest import Figures, had, running_or_skipped
from .system import EXAMPLES, System
from .test_astro import size
from .test_bknd import another, opens_the_admin, titles, written

pytestmark = [pytest.mark.integration, pytest.mark.systems]

APP = EXAMPLES / "bknd-aws"
RAW = {"FAIRLEAD_EVENT_MODE": "raw"}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """The example; FAIRLEAD_EVENT_MODE is a setting of the function."""
    with running_or_skipped(APP, RAW) as found:
        yield found


def test_the_handler_serves_login_and_data(system: System) -> None:
    assert system.ask("GET", "/").headers["location"] == "/auth/login"
    assert titles(system) == ["Put bknd on Lambda"]
    written(system, "Ünïcode ✓")
    assert titles(system) == ["Put bknd on Lambda", "Ünïcode ✓"]


def test_the_admins_files_arrive_as_they_are(system: System) -> None:
    static = prepare(APP, layer_tree(None)).task / "dist/static"
    for file in (*(static / "assets").iterdir(), static / "favicon.ico"):
        path = f"/{file.relative_to(static)}"
        assert system.ask("GET", path).data == file.read_bytes(), path


def test_a_browser_logs_in_and_sees_the_data(system: System) -> None:
    with ExitStack() as stack:
        page = had(lambda: stack.enter_context(browser()))
        opens_the_admin(page, system)
        assert different_lines(page.picture(CACHE / "pictures/bknd-aws.png")) > 100


def test_figures(system: System, figures: Figures) -> None:
    figures(system, runtime="Node 22.23.3", target="/auth/login")


def test_each_event_has_an_app_of_its_own(system: System) -> None:
    """So does bknd's adapter; as a web server one app serves all of them (examples/bknd)."""
    assert len({system.ask("GET", "/").headers["x-bknd-id"] for _ in range(3)}) == 3


def test_the_connection_is_shared_all_the_same() -> None:
    """A database in memory would be another one with each event, if each event had a connection of its own."""
    with another(APP, **RAW, DB_URL=":memory:") as other:
        written(other, "second")
        assert titles(other) == ["Put bknd on Lambda", "second"]


def test_what_the_handler_throws_fails_the_invocation(system: System) -> None:
    error = system.invoke(b"null")
    assert error["errorType"] == "Function.TypeError"
    assert "null" in error["errorMessage"]
    assert system.ask("GET", "/auth/login").status == 200


def test_the_handler_takes_every_event_for_a_request(system: System) -> None:
    """Whatever it is: a queue's batch is "answered", and so counts as processed. It is not for queues."""
    answer = system.invoke(b'{"Records":[{"messageId":"1","eventSource":"aws:sqs","body":""}]}')
    assert answer["statusCode"] == 302


def test_it_fits(system: System) -> None:
    app = prepare(APP, layer_tree(None))
    assert size(app.task) + size(app.layer) < UNPACKED


def test_it_ends_when_told(system: System) -> None:
    """The last test: nothing runs after it."""
    system.stop()
    assert not [line for line in system.output if "SIGKILL" in line or "signal: killed" in line]
