"""An example, running as ``make run`` runs it: its packages by its lock, the real layers, the emulator, the sandbox."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import urllib3

from local.app.prepared import AUTO
from local.app.start_script import START_SCRIPT
from local.gateway.conversation import Served
from local.processes import below
from local.run import BUFFERED, Options, running

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "examples"
MEMORY_MB = 512
PATIENCE_S = 60
NOT_THE_FUNCTIONS = {"bwrap", "aws-lambda-rie"}

Response = urllib3.BaseHTTPResponse


class System:
    """A running app behind a Function URL on this machine.

    ``served`` has a ``Served`` for each request (``duration_ms``, ``is_cold``, ``problem``), ``output`` what the app
    and Fairlead wrote, ``notices`` what is different from Lambda on this machine.
    """

    def __init__(self, app: Path, client: urllib3.PoolManager, stop: Callable[[], object]) -> None:
        self.app = app
        self.name = app.name
        self.handler = START_SCRIPT
        self.environment: Mapping[str, str] = {}  # the function's own
        self.address = ""
        self.served: list[Served] = []
        self.output: list[str] = []
        self.notices: list[str] = []
        self._client = client
        self._stop = stop

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | str | None = None
    ) -> Response:
        """The answer to one request. The target goes out as it is; urllib3's URL parser would mend what is odd."""
        pool = self._client.connection_from_url(self.address)
        return pool.urlopen(method, target, body, dict(headers or {}), redirect=False, timeout=PATIENCE_S)

    def stream(self, target: str) -> Response:
        """As ``ask``, with the body still to be read: ``for piece in response.stream()``."""
        pool = self._client.connection_from_url(self.address)
        return pool.urlopen("GET", target, preload_content=False, redirect=False, timeout=PATIENCE_S)

    def json(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Any:
        """The JSON document that comes with status 200."""
        response = self.ask(method, target, headers, body)
        assert response.status == 200, (response.status, response.data[:2000], self.served[-1].problem, self.output)
        return json.loads(response.data)

    def invoke(self, event: bytes) -> Any:
        """The document that an event gets which does not come from the gateway: a queue's, a schedule's."""
        return json.loads(self._submit(event))

    def memory_mb(self) -> float | None:
        """What the function's processes have of the memory, Fairlead's own included; None where nobody may look."""
        try:
            return sum(_proportional_kb(pid) for pid in below(os.getpid()) if _is_the_functions(pid)) / 1024
        except OSError:
            return None

    def stop(self) -> None:
        """End it in order: the app gets its SIGTERM. Nothing of it runs afterwards, and ``output`` is complete."""
        self._stop()

    def has_said_at_its_end(self, line: str) -> bool:
        """Stop it, and return whether the app has written ``line`` then, which one that is killed does not.

        The emulator grants 0.6 s, as Lambda does, and a busy machine may let the app have nothing of that. So it may
        be started again, twice, and has to write the line once.
        """
        self.stop()
        if line in self.output:
            return True
        for _ in range(2):
            with started(self.app, self.environment, handler=self.handler) as again:
                again.ask("GET", "/")
                again.stop()
                if line in again.output:
                    return True
        return False

    _submit: Callable[[bytes], bytes]


@contextmanager
def started(
    app: Path,
    environment: Mapping[str, str] | None = None,
    command: str = "",
    memory_mb: int = MEMORY_MB,
    runtime: str = AUTO,
    invoke_mode: str = BUFFERED,
    handler: str = START_SCRIPT,
) -> Iterator[System]:
    """``app`` in one environment, until the block ends or ``stop()``. Its init comes with the first request.

    ``command`` replaces its ``run.sh``; ``runtime`` is whose layer is there too, by default the one its lock file says;
    ``invoke_mode`` is ``buffered`` or ``stream``; ``handler`` is the function's.

    Raises ``LocalFailure`` or ``LayerError`` when something cannot be built, fetched or run here.
    """
    options = Options(
        app=app,
        command=command,
        port=0,
        timeout_s=30,
        memory_mb=memory_mb,
        environment=dict(environment or {}),
        environments=1,
        runtime=runtime,
        invoke_mode=invoke_mode,
        handler=handler,
    )
    with ExitStack() as stack:
        client = stack.enter_context(urllib3.PoolManager(retries=False))
        system = System(app, client, stack.close)
        system.environment, system.handler = options.environment, handler
        now = stack.enter_context(running(options, system.served.append, lambda _, line: system.output.append(line)))
        system.address = now.gateway.address
        system.notices = now.notices
        system._submit = lambda event: now.environments.submit(event).result(PATIENCE_S).reply.body
        yield system


def _is_the_functions(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() not in NOT_THE_FUNCTIONS and bool(_namespace(pid))
    except FileNotFoundError:
        return False  # it has ended meanwhile


def _namespace(pid: int) -> bool:
    return os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")


def _proportional_kb(pid: int) -> int:
    """Each page that several processes share counts in parts, so that the sum is what they have together."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
