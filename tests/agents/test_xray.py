"""X-Ray's SDKs, and Powertools' Tracer above that for Python: their segments go to the X-Ray daemon by UDP.

Against the scripted Runtime API, by this machine's Python or the layer's Node: the emulator passes no trace on, and
without one nothing is sent. Powertools for TypeScript is in tests/frameworks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from layer import runtimes
from layer.failures import LayerError
from local import machine
from local.app import node_modules
from local.cache import CACHE, once
from local.failures import LocalFailure
from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap

from .agent import FUNCTIONS, NODE_ERROR, PYTHON_ERROR
from .collector import Collector

pytestmark = pytest.mark.agents

TRACE = {"Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}
INSTALL_LIMIT_S = 600


class Function(NamedTuple):
    """Where it lies, with its packages, and what it raises: in an invocation, and at the start."""

    handler: str
    environment: dict[str, str]
    raised: tuple[str, str]


def powertools() -> Function:
    """With what its requirements.txt names, for this Python."""
    folder = FUNCTIONS / "powertools"
    requirements = folder / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]

    def make(draft: Path) -> None:
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--target", draft, "--requirement", requirements)
        subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S)

    packages = once(CACHE / "agents" / f"powertools-{wanted}", make)
    environment = {"LAMBDA_TASK_ROOT": str(folder), "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    return Function("app.handler", environment, PYTHON_ERROR)


def node() -> Function:
    folder = FUNCTIONS / "node-xray"
    program = runtimes.ensure("node", machine.architecture()) / "bin"
    (packages,) = node_modules.ensure(folder, "node", node_modules.Wish(machine.architecture())).folders

    def make(draft: Path) -> None:
        shutil.copy(folder / "index.js", draft)
        shutil.copytree(packages, draft / packages.name, copy_function=os.link, symlinks=True)

    wanted = hashlib.sha256((folder / "index.js").read_bytes() + str(packages).encode()).hexdigest()[:16]
    made = once(CACHE / "agents" / f"node-xray-{wanted}", make)
    environment = {"LAMBDA_TASK_ROOT": str(made), "PATH": f"{program}:{os.environ['PATH']}"}
    return Function("index.handler", {**environment, "FAIRLEAD_JAVASCRIPT_RUNTIME": "node"}, NODE_ERROR)


@pytest.fixture(scope="session", params=[powertools, node])
def function(request: pytest.FixtureRequest) -> Function:
    try:
        made: Function = request.param()
    except (LayerError, LocalFailure) as failure:
        pytest.skip(str(failure))
    return made


def start(api: FakeRuntimeApi, function: Function, daemon: str, **more: str) -> BootstrapProcess:
    variables = {**function.environment, "AWS_XRAY_DAEMON_ADDRESS": daemon, **more}
    return start_bootstrap(api, handler=function.handler, environment=variables)


def test_a_call_and_an_error_are_segments(collector: Collector, function: Function) -> None:
    with FakeRuntimeApi() as api:
        process = start(api, function, collector.udp_address)
        assert api.wait_answer(api.add_event({"order": "tea"}, headers=TRACE)).document == {"order": "tea"}
        collector.wait("## handler", "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8")
        document = api.wait_answer(api.add_event({"order": "none"}, headers=TRACE)).document
        assert (document["errorType"], document["errorMessage"]) == function.raised
        collector.wait(*function.raised)
        assert "WARN" not in process.stderr


def test_an_answer_is_not_lost_where_nobody_takes_the_segments(function: Function) -> None:
    with FakeRuntimeApi() as api:
        start(api, function, "127.0.0.1:9")
        for _ in range(2):
            assert api.wait_answer(api.add_event({"order": "tea"}, headers=TRACE)).document == {"order": "tea"}


def test_a_start_that_fails_is_the_functions_own(collector: Collector, function: Function) -> None:
    with FakeRuntimeApi() as api:
        process = start(api, function, collector.udp_address, FAILS_AT_START="1")
        assert json.loads(api.wait_init_error().body)["errorMessage"] == "of the start"
        assert process.wait() == 1
