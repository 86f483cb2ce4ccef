"""Each agent set up as its own documentation says: a call, an error and a failed start, and what it sends of them.

The function's answer is in each case the one that it has without the agent.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.app.prepared import prepare
from local.environments.function import Function
from tests.integration.conftest import StartFunction, had

from .collector import Collector
from .conftest import IS_COMPLETE
from .figures import Figures, memory_mb, table, versions, written

pytestmark = [pytest.mark.integration, pytest.mark.agents]

PAGE = Path(__file__).parents[2] / "docs" / "agents.md"
COLD_STARTS = 5
FUNCTIONS = Path(__file__).parent / "functions"
Environment = Callable[[Collector], dict[str, str]]


class Agent(NamedTuple):
    """What is set for it, and what it has sent after a call, an error and a failed start (None: nothing).

    ``writes`` says that it writes into the function's log, from where an extension or a forwarder takes it.
    """

    environment: Environment
    call: tuple[str, ...]
    error: tuple[str, ...]
    failed_start: tuple[str, ...] | None
    handler: str = "app.handler"
    writes: bool = False


ERROR = ("LookupError", "no such order")
START = ("RuntimeError", "of the start")


def opentelemetry(to: Collector) -> dict[str, str]:
    return {
        "AWS_LAMBDA_EXEC_WRAPPER": "/var/task/otel.sh",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{to.address}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }


def sentry(to: Collector) -> dict[str, str]:
    return {"SENTRY_DSN": f"http://key@{to.address}/1"}


AGENTS = {
    "opentelemetry": Agent(
        opentelemetry, ("opentelemetry.instrumentation.aws_lambda", "test_function", "faas.invocation_id"), ERROR, None
    ),
    "sentry": Agent(sentry, ("transaction", "test_function"), ERROR, START),
    # At once.
    "two": Agent(
        lambda to: {**opentelemetry(to), **sentry(to)},
        ("opentelemetry.instrumentation.aws_lambda", '"type":"transaction"'),
        ("exception.stacktrace", '"type":"LookupError"'),
        START,
    ),
    "datadog": Agent(
        lambda to: {
            "DD_LAMBDA_HANDLER": "app.handler",
            "DD_SITE": "datadoghq.com",
            "DD_FLUSH_TO_LOG": "true",
            "DD_TRACE_ENABLED": "true",
        },
        ("aws.lambda", "aws.lambda.enhanced.invocations"),
        (*ERROR, "aws.lambda.enhanced.errors"),
        START,
        handler="datadog_lambda.handler.handler",
        writes=True,
    ),
    "newrelic": Agent(
        lambda to: {
            "NEW_RELIC_SERVERLESS_MODE_ENABLED": "true",
            "NEW_RELIC_ACCOUNT_ID": "1",
            "NEW_RELIC_TRUSTED_ACCOUNT_KEY": "1",
            "NEW_RELIC_DISTRIBUTED_TRACING_ENABLED": "true",
        },
        ("analytic_event_data", "test_function"),
        (*ERROR, "error_event_data"),
        None,
        writes=True,
    ),
    "elastic": Agent(
        lambda to: {
            "ELASTIC_APM_SERVER_URL": f"http://{to.address}",
            "ELASTIC_APM_CENTRAL_CONFIG": "false",
        },
        ("transaction", "test_function"),
        ERROR,
        None,
    ),
}


@pytest.fixture(params=AGENTS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Start = Callable[..., Function]


@pytest.fixture
def start(start_function: StartFunction, layer_tree: Path, collector: Collector, name: str) -> Start:
    """A function with the agent; keyword arguments are variables."""

    def started(**more: str) -> Function:
        agent = AGENTS[name]
        app = had(lambda _: prepare(FUNCTIONS / name, layer_tree, handler="app.handler"))
        variables = {"PYTHONPATH": "/var/task/python", **agent.environment(collector), **more}
        return start_function(
            app.task, layer=app.layer, extra_binds=tuple(app.binds), _HANDLER=agent.handler, **variables
        )

    return started


def measured(start_function: StartFunction, layer: Path, name: str, variables: dict[str, str]) -> Figures:
    """One cold start."""
    handler = AGENTS[name].handler if name in AGENTS else "app.handler"
    app = had(lambda _: prepare(FUNCTIONS / name, layer, handler="app.handler"))
    function = start_function(app.task, layer=app.layer, extra_binds=tuple(app.binds), _HANDLER=handler, **variables)
    began = time.monotonic()
    assert ask(function, {"order": "tea"}) == {"order": "tea"}
    cold_ms = (time.monotonic() - began) * 1000
    figures = Figures(cold_ms, memory_mb(function.processes()))
    function.stop()
    return figures


@pytest.mark.skipif(not IS_COMPLETE, reason="the page is written by make test-agents")
def test_what_each_costs_at_the_start_is_written_down(
    start_function: StartFunction, layer_tree: Path, collector: Collector
) -> None:
    """Round by round, so that what else the machine does falls on all of them."""
    names = ["none", "powertools", *AGENTS]
    starts: dict[str, list[Figures]] = {name: [] for name in names}
    for _ in range(COLD_STARTS):
        for name in names:
            own = AGENTS[name].environment(collector) if name in AGENTS else {}
            variables = {"PYTHONPATH": "/var/task/python", **own}
            starts[name].append(measured(start_function, layer_tree, name, variables))
    medians = {name: Figures.of(starts[name]) for name in names}
    rows = {name: (versions(FUNCTIONS / name / "requirements.txt"), medians[name]) for name in names[1:]}
    note = (
        f"{datetime.now(UTC):%d %B %Y}, {platform.machine()}, {os.cpu_count()} cores, medians of {COLD_STARTS} starts."
    )
    PAGE.write_text(written(PAGE.read_text(), f"{note}\n\n{table(rows, medians['none'])}"))


def ask(function: Function, event: Mapping[str, str]) -> Any:
    reply = function.invoke(json.dumps(event).encode())
    return json.loads(reply.body)


def has_sent(function: Function, collector: Collector, is_log: bool, texts: tuple[str, ...]) -> None:
    if not is_log:
        collector.wait(*texts)
        return
    written = "\n".join(function.output)
    for packed in re.findall(r'"NR_LAMBDA_MONITORING", ?"([^"]+)"', written):
        written += gzip.decompress(base64.b64decode(packed)).decode()
    assert [text for text in texts if text not in written] == [], written


def test_a_call_is_traced(start: Start, collector: Collector, name: str) -> None:
    function = start()
    assert ask(function, {"order": "tea"}) == {"order": "tea"}
    has_sent(function, collector, AGENTS[name].writes, AGENTS[name].call)


def test_an_error_is_reported_and_is_the_functions_answer(start: Start, collector: Collector, name: str) -> None:
    function = start()
    document = ask(function, {"order": "none"})
    assert (document["errorType"], document["errorMessage"]) == ("LookupError", "no such order")
    has_sent(function, collector, AGENTS[name].writes, AGENTS[name].error)
    assert ask(function, {"order": "tea"}) == {"order": "tea"}


def test_a_start_that_fails_is_reported_where_the_agent_does_that(
    start: Start, collector: Collector, name: str
) -> None:
    function = start(FAILS_AT_START="1")
    document = ask(function, {"order": "tea"})
    assert (document["errorType"], document["errorMessage"]) == ("RuntimeError", "of the start")
    if said := AGENTS[name].failed_start:
        has_sent(function, collector, AGENTS[name].writes, said)


def test_an_answer_is_not_lost_where_nobody_takes_what_the_agent_sends(
    start: Start, collector: Collector, name: str
) -> None:
    """The address is one at which nobody listens."""
    environment = AGENTS[name].environment(collector)
    nowhere = {key: value.replace(collector.address, "127.0.0.1:9") for key, value in environment.items()}
    function = start(**{key: value.replace(collector.udp_address, "127.0.0.1:9") for key, value in nowhere.items()})
    assert ask(function, {"order": "tea"}) == {"order": "tea"}
    assert ask(function, {"order": "none"})["errorType"] == "LookupError"
