"""Waiting until the app can serve.

Ready means that the app answered **and** was alive before and after: an answer from a port that the app does not hold
is worth nothing. The Runtime Interface Emulator, for one, listens on 8080 and answers every GET below 500.
"""

from __future__ import annotations

import posix
import time

from ..connection import Connection
from ..errors import ConnectRefused, ExchangeError, InitFault
from ..messages import HttpRequest
from ..values import NamedTuple
from ..waiting import NEVER, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..config import Config
    from ..logs import Log

    class Ending(Protocol):
        """What has to be known of the app's process here."""

        @property
        def pid(self) -> int:
            """Its process group; 0: not known."""

        def ended(self) -> str | None:
            """As ``AppProcess`` has it."""


# While nobody listens a look costs 50 us, and each millisecond waited too long is one of cold start.
REFUSED_PAUSE_S = 0.001
# An app that answers "not yet" is busy: it is asked less often.
UNREADY_PAUSE_S = 0.050
ATTEMPT_S = 1.0
# What an app that answers at all mostly needs for it.
FAIR_S = 0.1
# After which a line in the log says what is waited for: Lambda's default timeout is 3 s, and nothing is more puzzling
# than an app that runs and does not answer.
SLOW_S = 2.0
NOT_ASKED = "it was not asked"
# Of a readiness page nothing but the status is wanted.
MAX_BODY = 16 * 1024 * 1024


class Unready(NamedTuple):
    """Why the app is not ready: what its last answer was, or how it ended."""

    reason: str
    app_ended: bool


class Readiness:
    """Asks the app on its own connection; with the app's port that is the one on which requests are sent later."""

    def __init__(self, config: Config, connection: Connection, log: Log) -> None:
        self._log = log
        is_app_port = config.readiness_port == config.port or bool(config.unix_socket)
        self._config = config
        self._connection = connection if is_app_port else Connection(config.host, config.readiness_port)
        self._request = HttpRequest(
            "GET",
            config.readiness_path,
            (
                ("host", f"{config.host}:{config.readiness_port}"),
                ("user-agent", "fairlead-readiness-check"),
                ("x-fairlead-readiness", "1"),  # no client can send this one
            ),
        )

    def clear_address(self) -> None:
        """Before the app is started, nobody may listen on its port. Raises ``InitFault`` ``Runtime.PortInUse``.

        A Unix socket is a file that outlives whoever listened on it: what is left of one is removed.
        """
        config = self._config
        if config.unix_socket:
            _remove_socket(config.unix_socket)
            return
        probe = Connection(config.host, config.port)
        try:
            now(probe.connect(time.time() + ATTEMPT_S))
        except ExchangeError:
            return
        finally:
            probe.close()
        raise InitFault(
            "Runtime.PortInUse",
            f"port {config.port} is in use before the app has started: set FAIRLEAD_PORT to a port that is free"
            " (the app gets it as PORT)",
        )

    def wait(self, app: Ending, until: float) -> Unready | None:
        """None once the app is ready. Returns what is wrong when it ended, or when it is not ready at ``until``."""
        reason = NOT_ASKED
        slow = time.time() + SLOW_S
        while True:
            ended = app.ended()
            if ended:
                return Unready(f"the app {ended} before it was ready", True)
            if time.time() + REFUSED_PAUSE_S >= until:
                return Unready(reason, False)
            asked = time.time()
            answer, pause = self._ask(min(until, asked + ATTEMPT_S))
            if not answer and app.ended() is None:
                return None
            # An attempt that the end cut short says less than the one before.
            if time.time() < until or time.time() >= asked + FAIR_S or reason == NOT_ASKED:
                reason = answer
            if time.time() >= slow:
                slow = NEVER
                self._log("WARN", f"still waiting for the app: {self.advice(app.pid, reason)}")
            time.sleep(pause)

    def advice(self, group: int, reason: str) -> str:
        """What is expected of the app, what is seen of it instead, and which settings say so."""
        from .listening import described  # only for an app that is slow or lost

        config = self._config
        if config.unix_socket:
            return f"{reason} at {self}; does it listen on FAIRLEAD_UNIX_SOCKET?"
        seen = f" {described(group)}" if group else ""
        return (
            f"{reason} at {self}. It should listen on {config.host}, port {config.port} (PORT).{seen}"
            " See FAIRLEAD_PORT, FAIRLEAD_HOST, FAIRLEAD_READINESS_CHECK_PATH, FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS"
        )

    def _ask(self, deadline: float) -> tuple[str, float]:
        """Why the app is not ready, empty when it is, and how long to leave it alone."""
        try:
            if self._config.readiness_protocol == "tcp":
                now(self._connection.connect(deadline))
                return "", 0.0
            status = now(self._connection.exchange(self._request, deadline, MAX_BODY)).status
        except ConnectRefused:
            return "nothing listens", REFUSED_PAUSE_S
        except ExchangeError as error:
            return str(error), UNREADY_PAUSE_S
        if any(low <= status <= high for low, high in self._config.healthy_statuses):
            return "", 0.0
        return f"it answered with status {status}", UNREADY_PAUSE_S

    def __str__(self) -> str:
        config = self._config
        if config.unix_socket:
            return f"{config.unix_socket} (GET {config.readiness_path})"
        if config.readiness_protocol == "tcp":
            return f"{config.host}:{config.readiness_port}"
        return f"http://{config.host}:{config.readiness_port}{config.readiness_path}"


def _remove_socket(path: str) -> None:
    try:
        if posix.stat(path).st_mode & 0o170000 == 0o140000:  # never a file that is something else
            posix.unlink(path)
    except OSError:
        pass
