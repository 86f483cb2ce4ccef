"""Handlers that are functions in modules, out of the real layer under the emulator: Python's, and JavaScript's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layer import runtimes
from local.app.prepared import prepare
from tests.conformance.test_app_faults import function_url

from .conftest import StartFunction, had

pytestmark = pytest.mark.integration

HANDLERS = Path(__file__).parents[1]
WHO = """
import fairlead, ssl, sys

def handler(event, context):
    return [event, sys.prefix, context.function_name, fairlead.__name__]

def stream(event, context):
    yield "one,"
    yield "two"
"""


def test_a_python_handler_runs_in_the_layers_own_interpreter(start_function: StartFunction, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WHO)
    function = start_function(tmp_path, _HANDLER="app.handler")
    assert json.loads(function.invoke(b'{"n": 1.10}').body) == [
        {"n": 1.1},
        "/opt/fairlead",
        "test_function",
        "fairlead",
    ]


def test_a_generator_streams(start_function: StartFunction, tmp_path: Path) -> None:
    """The emulator collects what is streamed."""
    (tmp_path / "app.py").write_text(WHO)
    assert start_function(tmp_path, _HANDLER="app.stream").invoke(b"{}").body == b"one,two"


@pytest.mark.parametrize("name", ["bun", "node"])
def test_a_fetch_module_is_served_by_a_runtime_layer(
    name: str, start_function: StartFunction, layer_tree: Path
) -> None:
    had(lambda of: runtimes.ensure(name, of))
    app = prepare(HANDLERS / "javascript", layer_tree, name, handler="web.fetch")
    function = start_function(app.task, layer=app.layer, extra_binds=tuple(app.binds), _HANDLER="web.fetch")
    payload = json.loads(function.invoke(function_url("/a", rawQueryString="q=1&q=2")).body)
    assert payload["statusCode"] == 200, (payload, function.output)
    assert json.loads(payload["body"])["query"] == ["1", "2"]
    assert payload["cookies"] == ["a=1; Path=/", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT"]
