"""Powertools' Tracer and the X-Ray SDK below it, whose segments go to the X-Ray daemon by UDP.

Against the scripted Runtime API, by this machine's Python: the emulator passes no trace on, and without one nothing is
sent.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from local.cache import CACHE, once
from tests.fakes import BootstrapProcess, FakeRuntimeApi, start_bootstrap

from .collector import Collector

pytestmark = pytest.mark.agents

FUNCTION = Path(__file__).parent / "functions/powertools"
TRACE = {"Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}
INSTALL_LIMIT_S = 600


@pytest.fixture(scope="session")
def packages() -> Path:
    """What the function's requirements.txt names, for this Python."""
    requirements = FUNCTION / "requirements.txt"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]

    def make(draft: Path) -> None:
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--target", draft, "--requirement", requirements)
        subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S)

    return once(CACHE / "agents" / f"powertools-{wanted}", make)


def start(api: FakeRuntimeApi, packages: Path, daemon: str, **more: str) -> BootstrapProcess:
    variables = {
        "LAMBDA_TASK_ROOT": str(FUNCTION),
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_XRAY_DAEMON_ADDRESS": daemon,
        **more,
    }
    return start_bootstrap(api, handler="app.handler", environment=variables)


def test_a_call_and_an_error_are_segments(collector: Collector, packages: Path) -> None:
    with FakeRuntimeApi() as api:
        process = start(api, packages, collector.udp_address)
        assert api.wait_answer(api.add_event({"order": "tea"}, headers=TRACE)).document == {"order": "tea"}
        collector.wait("## handler", "1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8")
        document = api.wait_answer(api.add_event({"order": "none"}, headers=TRACE)).document
        assert (document["errorType"], document["errorMessage"]) == ("LookupError", "no such order")
        collector.wait("LookupError", "no such order")
        assert "WARN" not in process.stderr


def test_an_answer_is_not_lost_where_nobody_takes_the_segments(packages: Path) -> None:
    with FakeRuntimeApi() as api:
        start(api, packages, "127.0.0.1:9")
        for _ in range(2):
            assert api.wait_answer(api.add_event({"order": "tea"}, headers=TRACE)).document == {"order": "tea"}


def test_a_start_that_fails_is_the_functions_own(collector: Collector, packages: Path) -> None:
    with FakeRuntimeApi() as api:
        process = start(api, packages, collector.udp_address, FAILS_AT_START="1")
        assert json.loads(api.wait_init_error().body)["errorMessage"] == "of the start"
        assert process.wait() == 1
