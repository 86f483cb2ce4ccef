"""Waiting until the app can serve.

Ready means that the app answered with a healthy status, that it was alive afterwards, and that nobody else is known to
hold the port. The Runtime Interface Emulator, for one, listens on 8080 and answers every GET below 500.

How the app is asked:

- Nobody listens: look again after 1 ms, later after a thousandth of the time waited so far.
- Connecting is bounded, an answer is not. A first page takes as long as it takes (server rendering, a cold database),
  and a request that is given up goes on in the app, where the next one queues up behind it. So one question stays open,
  also from one invocation to the next. A second one is opened beside it when the app has done nothing about the first
  for ``SECOND_QUESTION_S``: some apps lose their first connection.
- An answer that is not healthy: ask again after a tenth of the time waited so far. Frameworks write a stack trace for
  each such answer.

A start has ``FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS`` to become ready. Only time in which somebody waits counts:
between invocations nobody looks, and the environment may be frozen.
"""

from __future__ import annotations

import posix
import select
import time

from ..connection import Connection
from ..errors import ConnectRefused, ExchangeError, ExchangeTimeout, InitFault
from ..messages import HttpRequest
from ..values import NamedTuple
from ..waiting import run_blocking
from .processes import described, processor_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from ..config import Config
    from ..http1 import ResponseReader
    from ..logs import Log

    class Starting(Protocol):
        """The part of ``AppProcess`` that is needed here."""

        @property
        def pid(self) -> int:
            """Its process group; 0: not known."""

        def ended(self) -> str | None:
            """How it ended; None while it runs."""

        def stranger_at(self, port: int) -> str:
            """Who holds the port and is not the app; "" when nobody else is known to."""


# While nobody listens a look costs 50 us, and each millisecond waited too long is one of cold start.
REFUSED_PAUSE_S, REFUSED_SHARE = 0.001, 0.001
UNREADY_PAUSE_S, UNREADY_SHARE, LONGEST_PAUSE_S = 0.010, 0.1, 2.0
CONNECT_LIMIT_S = 1.0
# The app's end and the limits are looked at so often.
LOOK_S = 0.050
# What one look can take when nothing is frozen: more than this is not counted.
LONGEST_LOOK_S = CONNECT_LIMIT_S + 2 * LOOK_S
SECOND_QUESTION_S = 6.0
# An app that takes more of the processor than this in a second is at work on the question.
IDLE_TICKS, IDLE_LOOK_S = 5, 1.0
# Only the status counts. If the rest of the page follows at once, the connection can be kept.
BODY_WAIT_S = 0.020
# After which a line in the log says what is waited for: Lambda's default timeout is 3 s, and nothing is more puzzling
# than an app that runs and does not answer.
SLOW_S = 2.0


class Unready(NamedTuple):
    """Why the app is not ready."""

    reason: str
    app_ended: bool
    is_final: bool  # this start has failed


class Question(NamedTuple):
    """A readiness request that the app has got and not answered yet."""

    connection: Connection
    reader: ResponseReader
    asked_s: float  # when, in seconds of waiting


class Readiness:
    """Asks the app on its own connection; with the app's port that is the one on which requests are sent later."""

    def __init__(self, config: Config, connection: Connection, log: Log) -> None:
        self._log = log
        self._config = config
        is_app_port = config.readiness.port == config.app.port or bool(config.app.unix_socket)
        self._connection = connection if is_app_port else Connection(config.app.host, config.readiness.port)
        self._request = HttpRequest(
            "GET",
            config.readiness.path,
            (
                ("host", config.app.host_header),
                ("user-agent", "fairlead-readiness-check"),
                ("x-fairlead-readiness", "1"),  # no client can send this one
            ),
        )
        self._questions: list[Question] = []
        self.begin()

    def begin(self) -> None:
        """The app was started: forget what is known of the one before."""
        for question in self._questions:
            question.connection.close()
        self._questions = []
        self._reason = "it was not asked"
        self._listens = False
        self._ask_at_s = 0.0
        self._ticks = -1
        self._is_told = False
        self.waited_s = 0.0
        """How long this start was waited for."""

    def clear_address(self) -> None:
        """Before the app is started, nobody may listen on its port. Raises ``InitFault`` ``Runtime.PortInUse``.

        A Unix socket is a file that outlives whoever listened on it: what is left of one is removed.
        """
        config = self._config
        if config.app.unix_socket:
            _remove_socket(config.app.unix_socket)
            return
        probe = Connection(config.app.host, config.app.port)
        try:
            run_blocking(probe.connect(time.time() + CONNECT_LIMIT_S))
        except ExchangeError:
            return
        finally:
            probe.close()
        raise InitFault(
            "Runtime.PortInUse",
            f"port {config.app.port} is in use before the app has started: set FAIRLEAD_PORT to a port that is free"
            " (the app gets it as PORT)",
        )

    def wait(self, app: Starting, until: float) -> Unready | None:
        """None once the app is ready. Returns the reason when it is not ready at ``until`` (epoch seconds), has ended,
        or has taken too long for a start. An app that runs is asked at least once.
        """
        while True:
            if ended := app.ended():
                return Unready(f"the app {ended} before it was ready", app_ended=True, is_final=True)
            began = time.time()
            if self._look(app, until) and app.ended() is None:
                return None
            self.waited_s += min(max(0.0, time.time() - began), LONGEST_LOOK_S)
            if self.waited_s >= SLOW_S and not self._is_told:
                self._is_told = True
                self._log("WARN", f"still waiting for the app: {self.advice(app.pid)}")
            if app.ended():
                continue
            if self.waited_s >= self._config.readiness.timeout_s or time.time() >= until:
                is_final = self.waited_s >= self._config.readiness.timeout_s
                return Unready(self.advice(app.pid), app_ended=False, is_final=is_final)

    def advice(self, group: int) -> str:
        """The reason why the app is not ready, what is seen of it, and the settings that concern this."""
        config = self._config
        reason = self._reason
        if self._questions:
            open_s = self.waited_s - self._questions[0].asked_s
            reason = f"it listens, and did not answer in {open_s:.1f} s"
        if config.app.unix_socket:
            return f"{reason} at {self}; does it listen on FAIRLEAD_UNIX_SOCKET?"
        if self._listens:
            return (
                f"{reason} at {self}. See FAIRLEAD_READINESS_CHECK_PATH, FAIRLEAD_READINESS_CHECK_HEALTHY_STATUS,"
                " FAIRLEAD_READINESS_CHECK_PROTOCOL, FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS"
            )
        if config.javascript:  # the host listens as soon as it has the handler
            return (
                f"{config.command[-3]} is still being loaded: it, or what NODE_OPTIONS or a wrapper loads before it,"
                " awaits something that takes long or does not come, or computes."
                " See FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS"
            )
        seen = f" {described(group)}" if group else ""
        return (
            f"{reason} at {self}. It should listen on {config.app.host}, port {config.app.port} (PORT).{seen}"
            " See FAIRLEAD_PORT, FAIRLEAD_HOST, FAIRLEAD_READINESS_CHECK_PATH, FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS"
        )

    def _look(self, app: Starting, until: float) -> bool:
        """Ask the app if it is time to, and wait a moment for an answer. Whether it is ready."""
        questions = self._questions
        if not questions:
            is_due = self.waited_s >= self._ask_at_s
        else:
            is_due = len(questions) == 1 and self._is_idle(app.pid, questions[0])
        if is_due and self._ask(until) and self._is_the_apps_own(app):
            return True
        if not self._questions:
            pause = min(self._ask_at_s - self.waited_s, LOOK_S, until - time.time())
            time.sleep(max(0.0, pause))
            return False
        return self._hear(min(until, time.time() + LOOK_S)) and self._is_the_apps_own(app)

    def _is_idle(self, group: int, question: Question) -> bool:
        """Whether the app has had the question for long, and has done nothing in the last second."""
        if self.waited_s < max(self._ask_at_s, question.asked_s + SECOND_QUESTION_S - IDLE_LOOK_S):
            return False
        before, self._ticks = self._ticks, processor_ticks(group)
        self._ask_at_s = self.waited_s + IDLE_LOOK_S
        return before >= 0 and self._ticks - before <= IDLE_TICKS

    def _ask(self, until: float) -> bool:
        """Open a question. True for an app of which no more is wanted than that it accepts a connection."""
        connection = self._connection
        if self._questions:  # and that one is at work: the other connection is of no further use
            connection = Connection(self._config.app.unix_socket or self._config.app.host, self._config.readiness.port)
        began = time.time()
        try:
            # An app that is asked at the last moment gets the time of one look.
            run_blocking(connection.connect(max(min(until, time.time() + CONNECT_LIMIT_S), time.time() + LOOK_S)))
            self._listens = True
            if self._config.readiness.protocol == "tcp":
                return True
            self._questions.append(Question(connection, run_blocking(connection.send(self._request)), self.waited_s))
        except ConnectRefused:
            self._listens = bool(self._questions)
            self._reason = "nothing listens"
            self._ask_at_s = self.waited_s + max(REFUSED_PAUSE_S, self.waited_s * REFUSED_SHARE)
        except ExchangeTimeout as error:
            # An attempt that the end cut short says less than the one before.
            self._put_off(str(error) if time.time() - began >= CONNECT_LIMIT_S / 2 else self._reason)
        except ExchangeError as error:
            self._put_off(str(error))
        return False

    def _hear(self, until: float) -> bool:
        """Wait for the answer to an open question. Whether one has come that is healthy."""
        poll = select.poll()
        try:
            sockets = {question.connection.lent().fileno(): question for question in self._questions}
            for descriptor in sockets:
                poll.register(descriptor, select.POLLIN)
            for descriptor, _ in poll.poll(max(0.0, until - time.time()) * 1000):
                if self._take(sockets[descriptor]):
                    return True
        except ExchangeError as error:  # the app has closed the connection without an answer
            self._questions = [one for one in self._questions if one.connection.is_open]
            if not self._questions:
                self._put_off(str(error))
        return False

    def _take(self, question: Question) -> bool:
        """Read what has come of an answer. Whether it is healthy. Raises ``ExchangeError``."""
        connection, reader, _ = question
        run_blocking(connection.receive(reader, None, -1))
        if not reader.has_head:
            return False
        self._questions.remove(question)
        status = reader.head.status
        is_healthy = any(low <= status <= high for low, high in self._config.readiness.healthy_statuses)
        _finish(connection, reader)
        if is_healthy:
            if connection is not self._connection:
                connection.close()
            for other in self._questions:
                other.connection.close()
            self._questions = []
        else:
            self._put_off(f"it answered with status {status}")
        return is_healthy

    def _is_the_apps_own(self, app: Starting) -> bool:
        """Whether nobody else is known to hold the port that has answered."""
        stranger = "" if self._config.app.unix_socket else app.stranger_at(self._config.readiness.port)
        if not stranger:
            return True
        self._connection.close()
        self._listens = False
        self._put_off(f"somebody else answers, {stranger},")
        return False

    def _put_off(self, reason: str) -> None:
        self._reason = reason
        pause = min(max(UNREADY_PAUSE_S, self.waited_s * UNREADY_SHARE), LONGEST_PAUSE_S)
        self._ask_at_s = self.waited_s + pause

    def __str__(self) -> str:
        config = self._config
        if config.app.unix_socket:
            return f"{config.app.unix_socket} (GET {config.readiness.path})"
        if config.readiness.protocol == "tcp":
            return f"{config.app.host}:{config.readiness.port}"
        return f"http://{config.app.host}:{config.readiness.port}{config.readiness.path}"


def _finish(connection: Connection, reader: ResponseReader) -> None:
    """Read the rest of an answer if it is there at once, else close the connection: it has something else to say."""
    until = time.time() + BODY_WAIT_S
    try:
        while reader.response is None:
            run_blocking(connection.receive(reader, until, -1))
            reader.take()
    except ExchangeError:
        pass  # the connection is closed


def _remove_socket(path: str) -> None:
    try:
        if posix.stat(path).st_mode & 0o170000 == 0o140000:  # never a file that is something else
            posix.unlink(path)
    except OSError:
        pass
