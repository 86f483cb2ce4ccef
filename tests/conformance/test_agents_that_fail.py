"""Agents beside a Python handler that fail: a named init error or a line in the log, and the handler's own answer.

tests/conformance/test_error_trackers.py has those that fail in a function that they put in the place of Lambda's.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.layer.small_elf import library

OTHER, SHOWN = {"x86_64": ("arm64", "aarch64"), "aarch64": ("x86_64", "x86_64")}[platform.machine()]
HANDLER = """
def handler(event, context):
    if event == "none":
        raise LookupError("no such order")
    return event
"""


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


def start(api: FakeRuntimeApi, folder: Path, source: str, **environment: str) -> BootstrapProcess:
    (folder / "app.py").write_text(source)
    (folder / "_native.so").write_bytes(library(OTHER))
    variables = {"LAMBDA_TASK_ROOT": str(folder), **environment}
    return start_bootstrap(api, handler="app.handler", environment=variables)


def answers_as_without_it(api: FakeRuntimeApi) -> None:
    for _ in range(2):
        assert api.wait_answer(api.add_event("tea")).document == "tea"
        document = api.wait_answer(api.add_event("none")).document
        assert (document["errorType"], document["errorMessage"]) == ("LookupError", "no such order")


LOADS = {
    "an extension module": ("import _native", "Runtime.ImportModuleError"),
    "a library by ctypes": ("import ctypes\nctypes.CDLL(__file__[:-6] + '_native.so')", "OSError"),
}


@pytest.mark.parametrize("case", LOADS.values(), ids=LOADS)
def test_one_for_another_processor_is_named(api: FakeRuntimeApi, tmp_path: Path, case: tuple[str, str]) -> None:
    """The C library says that the file does not exist."""
    source, error_type = case
    process = start(api, tmp_path, source + HANDLER)
    document = json.loads(api.wait_init_error().body)
    assert document["errorType"] == error_type
    said = f"{tmp_path}/_native.so is built for {SHOWN}, and this function runs on {platform.machine()}"
    assert said in document["errorMessage"]
    assert process.wait() == 1


def test_one_for_another_processor_in_a_sitecustomize_costs_no_answer(api: FakeRuntimeApi, tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    agent.mkdir()
    (agent / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(tmp_path)!r})\nimport _native\n")
    process = start(api, tmp_path, HANDLER, PYTHONPATH=str(agent))
    answers_as_without_it(api)
    process.wait_output("_native.so")


def test_one_for_another_processor_that_is_to_be_preloaded_costs_no_answer(api: FakeRuntimeApi, tmp_path: Path) -> None:
    start(api, tmp_path, HANDLER, LD_PRELOAD=str(tmp_path / "_native.so"))
    answers_as_without_it(api)


REPORTS = {
    "in a thread": """
import threading
def report():
    raise ConnectionError("the collector is gone")
inner = handler
def handler(event, context):
    threading.Thread(target=report).start()
    return inner(event, context)
""",
    "in a hook for exceptions": """
import sys, threading
def report(*_):
    raise ConnectionError("the collector is gone")
sys.excepthook = threading.excepthook = sys.unraisablehook = report
threading.Thread(target=report).start()
""",
    "when an object is dropped": """
class Span:
    def __del__(self):
        raise ConnectionError("the collector is gone")
inner = handler
def handler(event, context):
    span = Span()
    return inner(event, context)
""",
    "in a callback of the event loop": """
import asyncio
inner = handler
def report():
    raise ConnectionError("the collector is gone")
async def handler(event, context):
    asyncio.get_running_loop().call_soon(report)
    await asyncio.sleep(0)
    return inner(event, context)
""",
    "in a task that nobody awaits": """
import asyncio
inner = handler
async def report():
    raise ConnectionError("the collector is gone")
async def handler(event, context):
    asyncio.ensure_future(report())
    await asyncio.sleep(0)
    return inner(event, context)
""",
}


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_what_fails_beside_the_handler_changes_no_answer(api: FakeRuntimeApi, tmp_path: Path, report: str) -> None:
    process = start(api, tmp_path, HANDLER + report)
    answers_as_without_it(api)
    process.wait_output("the collector is gone")


def test_what_fails_at_the_end_of_the_process_comes_after_all_answers(api: FakeRuntimeApi, tmp_path: Path) -> None:
    at_exit = """
import atexit, signal, sys
def report():
    raise ConnectionError("the collector is gone")
atexit.register(report)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
"""
    process = start(api, tmp_path, HANDLER + at_exit)
    answers_as_without_it(api)
    process.terminate()
    process.wait()
    assert "the collector is gone" in process.stderr
