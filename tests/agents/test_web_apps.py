"""An agent around a web app: it has the trace of the request, and what it sends arrives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from local.app.prepared import NONE, prepare
from local.environments.function import Function
from tests.events import function_url
from tests.integration.conftest import StartFunction, had

from .agent import FUNCTIONS
from .cases import opentelemetry
from .collector import Collector

pytestmark = [pytest.mark.integration, pytest.mark.agents]

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
AMAZONS = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class WebApp(NamedTuple):
    folder: str
    runtime: str
    spans: tuple[str, ...]
    handler: str = "run.sh"
    options: str = ""  # of Node


WEB_APPS = {
    "opentelemetry-instrument uvicorn": WebApp(
        "web-opentelemetry", NONE, ("opentelemetry.instrumentation.fastapi", "GET /orders/{order}")
    ),
    "a module's fetch": WebApp(
        "node-opentelemetry",
        "node",
        ("@opentelemetry/instrumentation-http", "/orders/tea"),
        "web.fetch",
        "--require ./lambda-wrapper.js",
    ),
    "node --require": WebApp("node-opentelemetry", "node", ("@opentelemetry/instrumentation-http", "/orders/tea")),
}


def ask(function: Function, order: str) -> tuple[int, str]:
    event = function_url("GET", f"/orders/{order}")
    event["headers"] |= {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "x-amzn-trace-id": AMAZONS}
    reply = json.loads(function.invoke(json.dumps(event).encode()).body)
    return reply["statusCode"], reply["body"]


@pytest.fixture(params=WEB_APPS)
def app(request: pytest.FixtureRequest) -> WebApp:
    return WEB_APPS[request.param]


Start = Callable[[dict[str, str]], Function]


@pytest.fixture
def start(start_function: StartFunction, layer_tree: Path, app: WebApp) -> Start:
    def started(variables: dict[str, str]) -> Function:
        made = had(lambda _: prepare(FUNCTIONS / app.folder, layer_tree, app.runtime, handler=app.handler))
        options = {"NODE_OPTIONS": app.options} if app.options else {}
        return start_function(
            made.task, layer=made.layer, extra_binds=tuple(made.binds), _HANDLER=app.handler, **options, **variables
        )

    return started


def test_a_request_is_traced_as_a_part_of_its_trace(start: Start, collector: Collector, app: WebApp) -> None:
    function = start(opentelemetry(collector))
    status, body = ask(function, "tea")
    assert (status, json.loads(body)) == (200, {"order": "tea", "trace": AMAZONS})
    assert ask(function, "none")[0] == 500
    collector.wait(*app.spans)
    collector.wait_octets(bytes.fromhex(TRACE_ID), bytes.fromhex(PARENT))


def test_an_answer_is_not_lost_where_nobody_takes_the_spans(start: Start, collector: Collector) -> None:
    variables = opentelemetry(collector)
    function = start({key: value.replace(collector.address, "127.0.0.1:9") for key, value in variables.items()})
    assert [ask(function, order)[0] for order in ("tea", "none", "tea")] == [200, 500, 200]
