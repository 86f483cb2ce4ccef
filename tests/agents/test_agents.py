"""Each agent set up as its own documentation says: a call, an error and a failed start, and what it sends of them.

The function's answer is in each case the one that it has without the agent.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from local.environments.function import Function
from tests.integration.conftest import StartFunction

from .agent import FUNCTIONS, ask
from .cases import AGENTS, MEASURED
from .collector import Collector
from .conftest import IS_COMPLETE
from .figures import Figures, table, versions, written

pytestmark = [pytest.mark.integration, pytest.mark.agents]

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
COLD_STARTS = 5
Start = Callable[..., Function]


@pytest.fixture(params=AGENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def start(start_function: StartFunction, layer_tree: Path, collector: Collector, name: str) -> Start:
    """A function with the agent; keyword arguments are variables."""

    def started(**more: str) -> Function:
        agent = AGENTS[name]
        return agent.start(start_function, layer_tree, {**agent.environment(collector), **more})

    return started


def test_a_call_is_traced(start: Start, collector: Collector, name: str) -> None:
    function, agent = start(), AGENTS[name]
    assert ask(function, {"order": "tea"}) == {"order": "tea"}
    agent.has_sent(function, collector, agent.call)
    sent = agent.sent(function, collector)
    assert [text for text in agent.unseen if text.encode() in sent] == []
    # That a start takes long may be the machine's fault.
    assert [line for line in function.output if "WARN" in line and "still waiting" not in line] == []


def test_an_error_is_reported_and_is_the_functions_answer(start: Start, collector: Collector, name: str) -> None:
    function, agent = start(), AGENTS[name]
    document = ask(function, {"order": "none"})
    assert (document["errorType"], document["errorMessage"]) == agent.raised
    agent.has_sent(function, collector, agent.error)
    assert ask(function, {"order": "tea"}) == {"order": "tea"}


def test_a_start_that_fails_is_reported_where_the_agent_does_that(
    start: Start, collector: Collector, name: str
) -> None:
    function, agent = start(FAILS_AT_START="1"), AGENTS[name]
    document = ask(function, {"order": "tea"})
    assert (document["errorType"], document["errorMessage"]) == agent.raised_at_start
    if agent.failed_start:
        agent.has_sent(function, collector, agent.failed_start)


def test_an_answer_is_not_lost_where_nobody_takes_what_the_agent_sends(
    start: Start, collector: Collector, name: str
) -> None:
    """The address is one at which nobody listens."""
    environment = AGENTS[name].environment(collector)
    for address in (collector.address, collector.udp_address, collector.secure_address):
        environment = {key: value.replace(address, "127.0.0.1:9") for key, value in environment.items()}
    function = start(**environment)
    assert ask(function, {"order": "tea"}) == {"order": "tea"}
    assert ask(function, {"order": "none"})["errorType"] == AGENTS[name].raised[0]


@pytest.mark.skipif(not IS_COMPLETE, reason="the page is written by make test-agents")
def test_what_each_costs_at_the_start_is_written_down(
    start_function: StartFunction, layer_tree: Path, collector: Collector
) -> None:
    """Round by round, so that what else the machine does falls on all of them."""
    starts: dict[str, list[Figures]] = {name: [] for name in MEASURED}
    for _ in range(COLD_STARTS):
        for name, agent in MEASURED.items():
            starts[name].append(agent.measured(start_function, layer_tree, agent.environment(collector)))
    medians = {name: Figures.of(starts[name]) for name in MEASURED}
    none = {True: medians.pop("none"), False: medians.pop("node-none")}
    note = (
        f"{datetime.now(UTC):%-d %B %Y}, {platform.machine()}, {os.cpu_count()} cores, medians of {COLD_STARTS} starts."
    )
    tables = []
    for is_python, language in ((True, "Python"), (False, "Node")):
        named = {name: figures for name, figures in medians.items() if MEASURED[name].is_python == is_python}
        rows = [(versions(FUNCTIONS / MEASURED[name].folder), figures) for name, figures in named.items()]
        tables.append(table(language, rows, none[is_python]))
    PAGE.write_text(written(PAGE.read_text(), "\n\n".join([note, *tables])))
