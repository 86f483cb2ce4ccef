"""The app as something that can be asked: the connection to it, and what each failure means.

An app that is lost is killed at once, with everything it forked, and the invocation is answered, since its deadline may
be close. ``replace`` starts it again without waiting, and the next invocation waits for it. Three starts in a row that
fail, and the environment is given up: the platform then provides a fresh one.
"""

from __future__ import annotations

import time

from ..connection import IDEMPOTENT, Connection
from ..errors import (
    AppLost,
    AppNotReady,
    AppTimeout,
    BodyTooLarge,
    ConnectionLost,
    ConnectRefused,
    EnvironmentLost,
    ExchangeError,
    ExchangeTimeout,
    InitFault,
    InvocationFault,
    ProtocolError,
    ResponseTooLarge,
)
from ..standard import standard_library
from ..waiting import NEVER, Blocking
from .processes import is_ending
from .readiness import Readiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Literal, Protocol, TypeVar

    from ..config import Config
    from ..http1 import ResponseReader
    from ..invocation import Invocation
    from ..logs import Log
    from ..messages import HttpRequest, HttpResponse
    from ..waiting import Waiting
    from .app_process import AppProcess
    from .readiness import Unready

    Answer = TypeVar("Answer")
    Exchange = Callable[[HttpRequest, float | None, int | None], Coroutine[Any, Any, Answer]]

    class WatchedProcess(Protocol):
        """The app's process, as far as its client has to know it; ``AppProcess`` describes the methods."""

        @property
        def pid(self) -> int:
            """Its process id, and its group's."""

        def ended(self) -> str | None:
            """How it ended."""

        def kill_soon(self) -> None:
            """Begin to end it: it is of no use any more."""

        def end_refusing(self) -> None:
            """End it, unless it accepts connections after all."""


# How many starts in a row may fail.
START_LIMIT = 3
# An app that dies closes its sockets first; its end can be seen a moment later.
DEATH_WAIT_S, DEATH_POLL_S = 0.05, 0.001
# The same of one that is seen to be dying: on a busy machine, or when its owner has other things to do.
DYING_WAIT_S = 2.0
# As ``AppProcess`` words it. Apps that recycle themselves after so many requests end like this.
ENDED_IN_ORDER = "exited with status 0"
# How often an app that has closed its listener is looked at, and how long it may go on refusing while somebody waits
# (or twice as long as its start has taken, if that is longer, and never longer than a start may take).
FIRST_PAUSE_S, PAUSE_GROWTH, LONGEST_PAUSE_S = 0.001, 1.1, 0.02
REFUSING_LIMIT_S = 8.0
# An app of which it is known gets so long after an answer to close the connection, and then its listener: what is sent
# to one that is about to end is lost.
RECYCLE_S, CLOSING_S = 0.05, 0.01


def app_deadline(invocation: Invocation, margin_ms: int) -> float | None:
    """Until when the app may take, in epoch seconds: early enough to still answer for it. Raises ``AppTimeout``."""
    if not invocation.deadline_ms:
        return None
    deadline = (invocation.deadline_ms - margin_ms) / 1000
    if deadline <= time.time():
        raise AppTimeout("no time was left to ask the app: see FAIRLEAD_DEADLINE_MARGIN_MS")
    return deadline


class AnswerBody:
    """The rest of an answer, piece by piece: a ``handler.AppBody``."""

    waits: Literal[True] = True

    def __init__(self, app: AppClient, reader: ResponseReader, request: HttpRequest, deadline: float | None) -> None:
        self._app = app
        self._reader = reader
        self._request = request
        self._deadline = deadline

    def ready(self) -> bytes:
        """Returns what there is without waiting."""
        return self._reader.take()

    async def read(self, watched: int) -> bytes:
        """Returns the next bytes, ``b""`` at the end. Raises as ``AppClient.ask``, and ``ClientGone``."""
        while not (piece := self._reader.take()) and self._reader.response is None:
            await self._app.receive(self._reader, self._request, self._deadline, watched)
        return piece

    def close(self) -> None:
        """Tell the app that nobody listens, if it is still talking."""
        if not self._reader.response:
            self._app.drop()


class AppClient:
    """The app, as something that can be asked. When it is ready, and who starts it again, is a subclass's."""

    def __init__(self, config: Config, process: WatchedProcess, log: Log, waiting: Waiting | None = None) -> None:
        self._config = config
        self._process = process
        self._log = log
        self._waiting = waiting or Blocking()
        address = (config.app.unix_socket or config.app.host, config.app.port)
        # Whether a request may be sent once more depends on what has become of the app: ``_may_ask_again``.
        self._connection = Connection(*address, config.app.pool_idle_timeout_s, self._waiting, is_repeating=False)
        self._connection.on_surplus = self._tell_of_surplus
        self._margin_ms = config.lifecycle.deadline_margin_ms
        self._max_body = config.answers.largest_body
        self._ready = False
        self.is_lost = False
        """``replace`` has to be called before the next ``ask``."""
        self._refused_s = 0.0  # how long invocations have waited for it to listen again
        self._recycles = False  # it has closed its listener once and opened it again

    async def ask(self, request: HttpRequest, invocation: Invocation) -> HttpResponse:
        """The app's answer.

        Raises ``InvocationFault``; when that is an ``AppLost``, ``replace`` has to be called before the next ``ask``.
        """
        deadline = app_deadline(invocation, self._margin_ms)
        response = await self._send(self._connection.exchange, request, deadline, self._max_body)
        if self._connection.has_ended_answer:
            await self._confirm_end()
        return response

    async def begin(self, request: HttpRequest, invocation: Invocation) -> tuple[HttpResponse, AnswerBody]:
        """Returns the app's answer as soon as its head is there, and the rest of it. Raises as ``ask``."""
        deadline = app_deadline(invocation, self._margin_ms)
        reader = await self._send(self._connection.begin, request, deadline, None)
        if self._connection.has_ended_answer:
            await self._confirm_end()
        return reader.head, AnswerBody(self, reader, request, deadline)

    async def receive(self, reader: ResponseReader, request: HttpRequest, deadline: float | None, watched: int) -> None:
        """Wait for more of an answer that was begun. Raises as ``ask``, and ``ClientGone``."""
        try:
            await self._connection.receive(reader, deadline, watched)
        except ExchangeError as error:
            raise await self._fault(error, request) from error
        if self._connection.has_ended_answer:
            await self._confirm_end()

    async def _confirm_end(self) -> None:
        """The answer has ended with the connection: raise ``InvocationFault`` if that was the end of the app as well.

        One that ends with status 0 has said all that it wanted to say.
        """
        with standard_library:
            from .processes import ENDING, ending_of  # only where an answer says nothing about its length

        limit = time.monotonic() + DEATH_WAIT_S
        while not (ended := self._process.ended()):
            seen = ending_of(self._process.pid, self._config.app.port, self._config.app.unix_socket)
            if not seen:
                return
            if seen != ENDING:
                message = f"a process of the app {seen} while it was answering; the answer may have been cut off"
                raise InvocationFault("Runtime.AppConnectionLost", message)
            if time.monotonic() >= limit:
                ended = await self._wait_ended()
                break
            await self._waiting.sleep(DEATH_POLL_S)
        if ended and ended != ENDED_IN_ORDER:
            raise self._lost("Runtime.AppExited", f"the app {ended} while it was answering")

    def _tell_of_surplus(self) -> None:
        self._log("WARN", "the app sent bytes that belong to no answer: from now on each request gets a new connection")

    def drop(self) -> None:
        """Close the connection to the app, in the middle of its answer: that is how it learns that nobody listens."""
        self._connection.close()

    def hang_up(self) -> None:
        """Close the connection if it is idle, from another thread: servers wait for it at their end (gunicorn)."""
        self._connection.hang_up()

    async def _send(
        self, exchange: Exchange[Answer], request: HttpRequest, deadline: float | None, max_body: int | None
    ) -> Answer:
        """Returns what ``exchange`` gives, once the app is ready for it."""
        is_second = False
        while True:
            if not self._ready:
                await self._become_ready(deadline)
            if self._recycles:
                await self._connection.let_close(RECYCLE_S, CLOSING_S)
            try:
                return await exchange(request, deadline, max_body)
            except ConnectRefused as refused:
                await self._await_listener(refused, deadline)
            except ExchangeError as error:
                if is_second or not await self._may_ask_again(error, request):
                    raise await self._fault(error, request) from error
                is_second = True

    async def _may_ask_again(self, error: ExchangeError, request: HttpRequest) -> bool:
        """Whether a request that was sent may be sent once more.

        Its method allows that (RFC 9110 9.2.2), and no byte of an answer has come. An app that has crashed is not asked
        again: the request may be the reason. One that has ended in order recycles itself.
        """
        if not (isinstance(error, ConnectionLost) and error.is_unanswered and request.method in IDEMPOTENT):
            return False
        return await self._wait_ended() in (None, ENDED_IN_ORDER)

    async def _await_listener(self, refused: ConnectRefused, deadline: float | None) -> None:
        """Wait until the app listens again, or was started again because it had ended.

        Nothing of the request was sent, so it is not too late for it. Apps close their listener and open it again when
        they recycle or supervise themselves; to kill one for that would cut its graceful end short. Raises
        ``InvocationFault`` at the deadline, and ``AppLost`` for an app that goes on refusing; when other invocations
        have failed for that already, the app is started again for this one. Raises as ``replace``.
        """
        limit_s = min(max(REFUSING_LIMIT_S, 2 * self._start_s), self._config.readiness.timeout_s)
        pause_s, has_failed_before = FIRST_PAUSE_S, self._refused_s > 0
        while (ended := self._process.ended()) is None:
            if deadline is not None and time.time() + pause_s >= deadline:
                raise InvocationFault("Runtime.AppUnreachable", f"the app runs, but {refused}")
            if self._refused_s >= limit_s:
                self._process.end_refusing()
                lost = self._lost("Runtime.AppUnreachable", f"the app runs, but {refused}, for {self._refused_s:.0f} s")
                if not has_failed_before:
                    raise lost
                self._log("ERROR", f"{lost.error_type}: {lost.message}; it is started again")
                self.replace()
                return
            await self._waiting.sleep(pause_s)
            self._refused_s += pause_s  # not by the clock: the environment may be frozen
            pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
            try:
                await self._connection.connect(deadline)
            except ConnectRefused:
                continue
            except ExchangeTimeout as error:
                raise InvocationFault("Runtime.AppUnreachable", f"the app runs, but {error}") from error
            self._refused_s = 0.0
            self._recycles = True
            return
        self._tell_of_end(ended)
        self._recycles = self._recycles or ended == ENDED_IN_ORDER
        self._abandon()
        self.replace()

    async def _fault(self, error: ExchangeError, request: HttpRequest) -> InvocationFault:
        """Returns the fault that a failed exchange with the app means."""
        if isinstance(error, ExchangeTimeout):
            self._abandon()
            return AppTimeout.of(request.method, request.target)
        if isinstance(error, BodyTooLarge):
            return ResponseTooLarge(error.size, error.limit)
        if isinstance(error, ProtocolError):
            return InvocationFault("Runtime.AppBadResponse", f"the app's answer is not proper HTTP: {error}")
        ended = await self._wait_ended()
        if ended:
            return self._lost("Runtime.AppExited", f"the app {ended} while it was answering")
        return InvocationFault("Runtime.AppConnectionLost", f"the app broke its answer off: {error}")

    async def _wait_ended(self) -> str | None:
        """How the app ended, None if it did not.

        Its sockets are closed a moment before its end can be seen, and a moment more passes until its owner has told.
        """
        began = time.monotonic()
        while (ended := self._process.ended()) is None:
            waited_s = time.monotonic() - began
            if waited_s >= DEATH_WAIT_S and (waited_s >= DYING_WAIT_S or not is_ending(self._process.pid)):
                break
            await self._waiting.sleep(DEATH_POLL_S)
        return ended

    def _tell_of_end(self, ended: str) -> None:
        log_end(self._log, ended, " between two invocations")

    async def _become_ready(self, deadline: float | None) -> None:
        """Wait until the app can be asked. Raises ``InvocationFault`` when it cannot be before ``deadline``."""
        raise NotImplementedError

    @property
    def _start_s(self) -> float:
        """How long the app has taken to start, in seconds."""
        raise NotImplementedError

    def _lost(self, error_type: str, message: str) -> AppLost:
        """The fault to raise, now that the app is given up."""
        self._abandon()
        return AppLost(error_type, message)

    def _abandon(self) -> None:
        self._ready = False
        self.is_lost = True
        self._refused_s = 0.0
        self._connection.close()
        self._process.kill_soon()

    def replace(self) -> None:
        """See to it that an app that was lost is started again; do not wait for it. Raises ``EnvironmentLost``."""
        raise NotImplementedError


class OwnedApp(AppClient):
    """The one app of this process: started, and started again when it was lost."""

    def __init__(self, config: Config, process: AppProcess, log: Log) -> None:
        super().__init__(config, process, log)
        self._owned = process
        self._readiness = Readiness(config, self._connection, log)
        self._failed_starts = 0

    def _failed_start(self, unready: Unready) -> InitFault:
        words = self._owned.last_words()
        if self._config.javascript and unready.app_ended:
            with standard_library:
                from ..report import init_fault_of  # only when a start has failed

            fault = init_fault_of(words)
            if fault:
                return fault
        detail = f"Its stderr:\n{words}" if words else "It wrote nothing to stderr."
        if unready.app_ended:
            with standard_library:
                from ..report import foreign_libraries

            reason = unready.reason + self._owned.what_is_run() + foreign_libraries(words)
            return InitFault("Runtime.AppExited", reason, detail)
        limit_s = self._config.readiness.timeout_s
        return InitFault("Runtime.AppNotReady", f"the app was not ready within {limit_s} s: {unready.reason}", detail)

    @property
    def is_ready(self) -> bool:
        """Whether it was found ready, and has not been lost since."""
        return self._ready

    def start(self) -> None:
        """Start the app for the first time. Raises ``InitFault``."""
        self._owned.clean_leftover()
        self._start()

    def await_init(self, until: float = NEVER) -> None:
        """Wait until the app is ready, or until ``until`` (epoch seconds). Raises ``InitFault`` when it failed."""
        unready = self._readiness.wait(self._owned, until)
        if unready is None:
            self._ready = True
        elif unready.is_final:
            raise self._failed_start(unready)

    def replace(self) -> None:
        """Start the app again; do not wait for it. Raises ``EnvironmentLost`` when it cannot be started."""
        self.is_lost = False
        try:
            self.restart()
        except InitFault as fault:
            raise EnvironmentLost(fault.error_type, fault.message) from fault

    def restart(self) -> None:
        """End what is left of the app and start it again. Raises ``InitFault`` when that cannot be done."""
        self._owned.kill()
        self._start()

    def _start(self) -> None:
        self._readiness.clear_address()
        self._readiness.begin()
        self._owned.start()

    async def _become_ready(self, deadline: float | None) -> None:
        unready = self._readiness.wait(self._owned, NEVER if deadline is None else deadline)
        if unready is None:
            self._ready = True
            self._failed_starts = 0
            return
        if not unready.is_final:
            raise AppNotReady(f"the app is still starting: {unready.reason}")
        self._failed_starts += 1
        fault = self._failed_start(unready)
        if self._failed_starts >= START_LIMIT:
            raise EnvironmentLost(fault.error_type, f"{fault.message}; {START_LIMIT} starts in a row have failed")
        raise self._lost(fault.error_type, fault.message)

    @property
    def _start_s(self) -> float:
        return self._readiness.waited_s


def log_end(log: Log, ended: str, when: str) -> None:
    """Log that the app has ended and is started again: as an error, unless it has recycled itself."""
    if ended == ENDED_IN_ORDER:
        log("INFO", f"the app {ended}{when}; it is started again")
    else:
        log("ERROR", f"Runtime.AppExited: the app {ended}{when}; it is started again")
