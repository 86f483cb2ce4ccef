"""What an agent is to the tests, and a function with one."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local.app.prepared import NONE, prepare
from local.environments.function import Function
from local.gateway import certificate
from local.sandbox.mounts import Bind
from tests.integration.conftest import StartFunction, had

from .collector import WAIT_S, Collector
from .figures import Figures, memory_mb

FUNCTIONS = Path(__file__).parent / "functions"
POLL_S = 0.02
CERTIFICATE = Bind(Path(), "/mnt/certificate.pem")
PYTHON_ERROR, PYTHON_START = ("LookupError", "no such order"), ("RuntimeError", "of the start")
NODE_ERROR, NODE_START = ("RangeError", "no such order"), ("TypeError", "of the start")


class Agent(NamedTuple):
    """What is set for it, and what it has sent after a call, an error and a failed start (None: nothing).

    ``folder`` is below ``functions``; ``writes`` says that it writes into the function's log, from where an extension
    or a forwarder takes it; ``unseen`` are texts that it must not have sent.
    """

    folder: str
    environment: Callable[[Collector], dict[str, str]]
    call: tuple[str, ...]
    error: tuple[str, ...]
    failed_start: tuple[str, ...] | None = None
    handler: str = ""
    writes: bool = False
    unseen: tuple[str, ...] = ()

    @property
    def is_python(self) -> bool:
        return not self.folder.startswith("node-")

    @property
    def raised(self) -> tuple[str, str]:
        """Name and message of the handler's error."""
        return PYTHON_ERROR if self.is_python else NODE_ERROR

    @property
    def raised_at_start(self) -> tuple[str, str]:
        return PYTHON_START if self.is_python else NODE_START

    def start(self, start_function: StartFunction, layer: Path, variables: Mapping[str, str]) -> Function:
        """The function, its packages installed."""
        own = "app.handler" if self.is_python else "index.handler"
        app = had(lambda _: prepare(FUNCTIONS / self.folder, layer, NONE if self.is_python else "node", handler=own))
        paths = {"PYTHONPATH": "/var/task/python"} if self.is_python else {}
        trusted = CERTIFICATE._replace(source=certificate.ensure() / certificate.CERTIFICATE)
        return start_function(
            app.task,
            layer=app.layer,
            extra_binds=(*app.binds, trusted),
            _HANDLER=self.handler or own,
            **paths,
            **variables,
        )

    def measured(self, start_function: StartFunction, layer: Path, variables: Mapping[str, str]) -> Figures:
        """One cold start."""
        function = self.start(start_function, layer, variables)
        began = time.monotonic()
        assert ask(function, {"order": "tea"}) == {"order": "tea"}
        figures = Figures((time.monotonic() - began) * 1000, memory_mb(function.processes()))
        function.stop()
        return figures

    def has_sent(self, function: Function, collector: Collector, texts: tuple[str, ...]) -> None:
        """Wait until all ``texts`` have come, or are in the log, which is read by a thread."""
        if not self.writes:
            collector.wait(*texts)
            return
        limit = time.monotonic() + WAIT_S
        while missing := [text for text in texts if text.encode() not in self.sent(function, collector)]:
            assert time.monotonic() < limit, f"waited for {missing} in {self.sent(function, collector)!r}"
            time.sleep(POLL_S)

    def sent(self, function: Function, collector: Collector) -> bytes:
        """All that has come so far, or is in the log."""
        log = "\n".join(function.output)
        packed = re.findall(r'"NR_LAMBDA_MONITORING", ?"([^"]+)"', log)
        return b"\n".join(
            [*collector.received, log.encode(), *(gzip.decompress(base64.b64decode(one)) for one in packed)]
        )


def ask(function: Function, event: Mapping[str, str]) -> Any:
    reply = function.invoke(json.dumps(event).encode())
    return json.loads(reply.body)
