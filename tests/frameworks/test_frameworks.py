"""Each framework's handler as its own documentation writes it: under Lambda's Node client and ours, on each engine.

Lambda's client (aws-lambda-ric) is asked first: what a case expects is what the framework does there.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layer import runtimes
from layer.failures import LayerError
from local import machine
from local.app.prepared import prepare
from local.failures import LocalFailure
from tests.agents.collector import Collector
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.gate import Gate
from tests.fakes.runtime_api import TRACE_ID, WAIT_SECONDS
from tests.integration.conftest import StartFunction, had

from . import functions
from .cases import FRAMEWORKS, LAMBDA, Seen
from .conftest import IS_COMPLETE
from .page import written

frameworks = pytest.mark.frameworks

PAGE = Path(__file__).parents[2] / "docs" / "javascript.md"
HTTP_STREAM = "application/vnd.awslambda.http-integration-response"
PIECES = (b"one,", b"two,", b"three")
FUNCTION = {
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/30/[$LATEST]0",
    "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
    "AWS_REGION": "eu-central-1",
}
RUNS = [
    pytest.param(name, engine, id=f"{name}-{engine}")
    for name, framework in FRAMEWORKS.items()
    for engine in (LAMBDA, *framework.engines)
]
STREAMS = [run for run in RUNS if FRAMEWORKS[str(run.values[0])].stream]


@pytest.fixture
def start(request: pytest.FixtureRequest, name: str, engine: str) -> Any:
    """Starts the function ``name`` on an engine: ``start(api, handler, **environment)``."""
    try:
        function = functions.made(name)
        node = runtimes.ensure("node" if engine == LAMBDA else engine, machine.architecture()) / "bin"
    except (LayerError, LocalFailure) as failure:
        pytest.skip(str(failure))
    program = request.getfixturevalue("managed_program") if engine == LAMBDA else []

    def start(api: FakeRuntimeApi, handler: str, **more: str) -> BootstrapProcess:
        folder, _, export = handler.rpartition("/")
        root = function / functions.BUILT.name / folder if folder else function
        handler = f"index.{export if not folder else 'handler'}"
        environment = {"LAMBDA_TASK_ROOT": str(root), **FUNCTION, **more}
        if engine == LAMBDA:
            environment["AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1"] = "true"
            client, *arguments = program
            return start_bootstrap(
                api,
                handler=handler,
                bootstrap=Path(client),
                arguments=[*arguments, handler],
                environment=environment,
            )
        environment |= {"PATH": f"{node}:{os.environ['PATH']}", "FAIRLEAD_JAVASCRIPT_RUNTIME": engine}
        return start_bootstrap(api, handler=handler, environment=environment)

    return start


def seen(answer: Answer) -> Seen:
    """What Lambda makes of an answer."""
    if answer.kind == "error":
        return Seen(0, error=(answer.document["errorType"], answer.document["errorMessage"]))
    if answer.request.header("Lambda-Runtime-Function-Response-Mode") is None:
        return proxy_result(answer.document)
    assert not answer.request.trailers
    assert answer.request.header("Content-Type") == HTTP_STREAM
    prelude, separator, body = answer.body.partition(bytes(8))
    assert separator
    return proxy_result(json.loads(prelude))._replace(body=body, is_streamed=True)


def proxy_result(document: dict[str, Any]) -> Seen:
    """The result for the front end, in either payload format."""
    text = document.get("body") or ""
    body = base64.b64decode(text) if document.get("isBase64Encoded") else text.encode()
    fields = {name.lower(): str(value).split(", ") for name, value in (document.get("headers") or {}).items()}
    for name, values in (document.get("multiValueHeaders") or {}).items():
        fields[name.lower()] = [one for value in values for one in str(value).split(", ")]
    cookies = document.get("cookies") or fields.pop("set-cookie", [])
    return Seen(document["statusCode"], tuple(cookies), fields, body)


@frameworks
@pytest.mark.parametrize(("name", "engine"), RUNS)
def test_it_answers_as_on_lambda(name: str, engine: str, start: Any) -> None:
    cases = FRAMEWORKS[name].cases
    for handler in dict.fromkeys(case.handler for case in cases):
        with FakeRuntimeApi() as api:
            process = start(api, handler)
            for case in (case for case in cases if case.handler == handler):
                answer = api.wait_answer(api.add_event(case.event))
                try:
                    case.check(seen(answer))
                except AssertionError as error:
                    error.add_note(f"{handler} {case.event.get('rawPath')}: {answer.body!r}\n{process.describe()}")
                    raise


@pytest.fixture
def gate() -> Iterator[Gate]:
    opened = Gate()
    yield opened
    opened.close()


@frameworks
@pytest.mark.parametrize(("name", "engine"), STREAMS)
def test_each_piece_of_a_stream_is_there_before_the_next_is_made(
    name: str, engine: str, start: Any, gate: Gate
) -> None:
    case = FRAMEWORKS[name].stream
    assert case
    with FakeRuntimeApi() as api:
        start(api, case.handler, GATE=str(gate.port))
        request_id = api.add_event(case.event)
        for number, piece in enumerate(PIECES):
            gate.release()
            received = wait_received(api, piece)
            assert not any(later in received for later in PIECES[number + 1 :])
        case.check(seen(api.wait_answer(request_id)))


def wait_received(api: FakeRuntimeApi, piece: bytes) -> bytes:
    """What there is of the response, once ``piece`` is in it."""
    limit = time.monotonic() + WAIT_SECONDS
    while True:
        for request in api.of_kind("response"):
            if piece in request.received:
                return bytes(request.received)
        assert time.monotonic() < limit, f"waited for {piece!r}"
        time.sleep(0.01)


UNTRACED = ("deno",)  # whose node:dgram does not take a port that is text, as the X-Ray SDK gives it
POWERTOOLS = [run for run in RUNS if run.values[0] == "powertools"]


@frameworks
@pytest.mark.parametrize(("name", "engine"), POWERTOOLS)
def test_powertools_logs_and_measures(name: str, engine: str, start: Any) -> None:
    items = FRAMEWORKS[name].cases[0]
    with FakeRuntimeApi() as api:
        process = start(api, items.handler)
        request_id = api.add_event(items.event)
        api.wait_answer(request_id)
        process.wait_output('"message":"an order"')
        records = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    log = next(record for record in records if record.get("message") == "an order")
    assert (log["function_request_id"], log["service"], log["order"]) == (request_id, "orders", 7)
    assert (log["function_name"], log["xray_trace_id"]) == (
        "fairlead-test",
        TRACE_ID.partition(";")[0].removeprefix("Root="),
    )
    metric = next(record for record in records if "_aws" in record)
    assert metric["orders"] == 1
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "shop"


@frameworks
@pytest.mark.parametrize(("name", "engine"), [run for run in POWERTOOLS if run.values[1] not in UNTRACED])
def test_powertools_traces(name: str, engine: str, start: Any) -> None:
    trace = TRACE_ID.partition(";")[0].removeprefix("Root=")
    with Collector().running() as collector, FakeRuntimeApi() as api:
        start(api, "traced", AWS_XRAY_DAEMON_ADDRESS=collector.udp_address)
        answer = api.wait_answer(api.add_event({"order": "tea"}))
        assert answer.document == {"order": "tea", "trace": trace}
        collector.wait("## handler", trace, '"annotations":{"order":"tea"}')
        answer = api.wait_answer(api.add_event({"order": "none"}))
        assert seen(answer).error == ("RangeError", "no such order")
        collector.wait("RangeError", "no such order")


@frameworks
@pytest.mark.integration
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_it_runs_out_of_the_layers(name: str, start_function: StartFunction, layer_tree: Path, tmp_path: Path) -> None:
    """Those of Fairlead and of Node, as the folder would be uploaded, under the emulator."""
    had(lambda of: runtimes.ensure("node", of))
    case = next(case for case in FRAMEWORKS[name].cases if not case.handler.endswith("streamed") and not case.error)
    made = had(lambda _: functions.made(name))
    folder, _, export = case.handler.rpartition("/")
    source = made / functions.BUILT.name / folder if folder else made
    shutil.copytree(source, tmp_path / "task", symlinks=True, ignore=shutil.ignore_patterns("package-lock.json"))
    app = prepare(tmp_path / "task", layer_tree, "node", handler=f"index.{export}")
    function = start_function(
        app.task, layer=app.layer, extra_binds=tuple(app.binds), _HANDLER=f"index.{export}", **FUNCTION
    )
    reply = function.invoke(json.dumps(case.event).encode())
    document = json.loads(reply.body)
    assert "statusCode" in document, (document, function.output)
    case.check(proxy_result(document))


def test_the_page_says_what_is_run() -> None:
    page = PAGE.read_text()
    if IS_COMPLETE:
        PAGE.write_text(written(page))
    else:
        assert page == written(page), "make test-frameworks writes the table"
