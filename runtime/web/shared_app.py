"""One app, several pollers: the parent owns the app's process, the pollers see what has become of it.

A poller whose request is late answers for that request alone: to kill the app would cost all the others theirs. One
that finds the app dead waits until the parent says that it is ready again: a request that came before would be taken
for a part of the start, and three starts that fail are the end of the environment.
"""

from __future__ import annotations

import _thread
import mmap
import posix
import time

from ..connection import Connection
from ..errors import AppNotReady, ConnectRefused, ExchangeError, InitFault
from ..loop import serve
from ..multiplexer import Multiplexer
from ..pollers import Pollers, PollingApi, shares
from ..values import NamedTuple
from ..waiting import Blocking, run_blocking
from .app_client import START_LIMIT, AppClient, log_end
from .processes import is_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from ..config import Config
    from ..logs import Log
    from ..loop import Handler
    from ..messages import HttpRequest
    from ..waiting import Waiting
    from .app_client import Answer, Exchange, OwnedApp
    from .app_process import AppProcess

_GENERATION, _READY, _PID, _WORDS = slice(0, 8), slice(8, 16), slice(16, 24), slice(24, 512)
# How often a poller looks whether the app is ready: there may be hundreds of them.
READY_POLL_S = 0.01


class Board:
    """A page of memory that parent and pollers share: how often the app has ended, how, and whether it is ready."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def generation(self) -> int:
        """Which start of the app is the current one. The first one is 1."""
        return int.from_bytes(self._page[_GENERATION], "little") + 1

    @property
    def is_ready(self) -> bool:
        """Whether the current one can be asked."""
        return int.from_bytes(self._page[_READY], "little") == self.generation

    @property
    def pid(self) -> int:
        """Of the app that was ready last."""
        return int.from_bytes(self._page[_PID], "little")

    @property
    def words(self) -> str:
        """How the one before it ended."""
        return self._page[_WORDS].rstrip(b"\0").decode("utf-8", "replace")

    def turn(self, words: str) -> None:
        """The app has ended. The words are there before the number says so."""
        room = _WORDS.stop - _WORDS.start
        self._page[_WORDS] = words.encode()[:room].ljust(room, b"\0")
        self._page[_GENERATION] = self.generation.to_bytes(8, "little")

    def tell_ready(self, pid: int) -> None:
        """The app of this generation is ready."""
        self._page[_PID] = pid.to_bytes(8, "little")
        self._page[_READY] = self.generation.to_bytes(8, "little")


class Once:
    """Something that is for one of several processes: who asks first. To be made before they are forked."""

    def __init__(self) -> None:
        self._reader, writer = posix.pipe()
        posix.write(writer, b"!")
        posix.close(writer)

    def __call__(self) -> bool:
        """Whether it is for the caller."""
        return posix.read(self._reader, 1) != b""  # empty: the end of what was written


class WatchedProcess:
    """The app's process as a poller sees it: an ``AppProcess`` that somebody else starts and ends."""

    def __init__(self, board: Board, suspicions: int) -> None:
        self._board = board
        self._suspicions = suspicions
        self._generation = board.generation

    @property
    def pid(self) -> int:
        """Of the app that was ready last."""
        return self._board.pid

    def ended(self) -> str | None:
        """How the app ended that this poller knew, as ``AppProcess.ended``."""
        return None if self._board.generation == self._generation else self._board.words

    def kill_soon(self) -> None:
        """Nothing: an app that is late for this poller serves the others."""

    def end_refusing(self) -> None:
        """Tell the app's owner that it refuses connections."""
        try:
            posix.write(self._suspicions, b"?")
        except OSError:  # it has enough of them
            pass

    def take_up(self) -> bool:
        """Whether the app can be asked, as its owner says. If so it is the one that this poller knows from now on."""
        if not self._board.is_ready:
            return False
        self._generation = self._board.generation
        return True


class PollersApp(AppClient):
    """The app for one poller."""

    def __init__(self, config: Config, process: WatchedProcess, log: Log, waiting: Waiting) -> None:
        super().__init__(config, process, log, waiting)
        self._watched = process

    def _tell_of_end(self, _ended: str) -> None:
        """The app's owner has told."""

    async def _send(
        self, exchange: Exchange[Answer], request: HttpRequest, deadline: float | None, max_body: int | None
    ) -> Answer:
        if self._watched.ended():  # while this poller had nothing to do: what fails now is not that one's end
            self._connection.close()
            self._ready = False
        return await super()._send(exchange, request, deadline, max_body)

    async def _become_ready(self, deadline: float | None) -> None:
        while not self._watched.take_up():
            if deadline is not None and time.time() >= deadline:
                raise AppNotReady("the app is still starting")
            await self._waiting.sleep(READY_POLL_S)
        self._ready = True

    def replace(self) -> None:
        """There is nothing to start here."""
        self.is_lost = False

    @property
    def _start_s(self) -> float:
        return 0.0  # its owner's to know


class AppOwner:
    """The parent's side: starts the app again when it has ended, and follows up suspicions.

    ``give_up`` is called by a thread that finds that the app cannot be brought back.
    """

    def __init__(
        self, app: OwnedApp, process: AppProcess, board: Board, log: Log, give_up: Callable[[], None] = lambda: None
    ) -> None:
        self._app = app
        self._process = process
        self._board = board
        self._log = log
        self._give_up = give_up
        self._failures = 0
        # An app that is just starting refuses connections too, and must not be killed for that.
        self._change = _thread.allocate_lock()

    def bring_up(self) -> None:
        """In a thread of its own: wait on for an app that was not ready when its start had to go on without it."""

        def wait() -> None:
            with self._change:
                try:
                    self._app.await_init()
                except InitFault as fault:
                    self._log("ERROR", f"{fault.error_type}: {fault.message}")
                    self._failures += 1
                    # The wait has taken its status, if it has ended, so that ``on_end`` may never hear of that.
                    if not self._replaced():
                        self._give_up()
                else:
                    self._board.tell_ready(self._process.pid)

        _thread.start_new_thread(wait, ())

    def watch_suspicions(self, suspicions: int, probe: Connection) -> None:
        """In a thread of its own: an app that lives and refuses connections is killed, which starts it again."""

        def look() -> None:
            while posix.read(suspicions, 4096):
                with self._change:
                    self._look(probe)

        _thread.start_new_thread(look, ())

    def _look(self, probe: Connection) -> None:
        try:
            run_blocking(probe.connect(time.time() + 1))
        except ConnectRefused as refused:
            # Looked at without taking its status, which would hide its end from whoever waits for that.
            if is_running(self._process.pid):
                self._log("ERROR", f"Runtime.AppUnreachable: the app runs, but {refused}; it is killed")
                self._process.kill_soon()
        except ExchangeError:
            pass  # busy
        finally:
            probe.close()

    def on_end(self, pid: int) -> bool:
        """A child has ended that is no poller. Returns False when the app cannot be brought back."""
        with self._change:
            if pid == self._process.pid:
                return self._replaced()
        try:
            posix.waitpid(pid, 0)
        except ChildProcessError:  # an app that was replaced meanwhile
            pass
        return True

    def _replaced(self) -> bool:
        words = self._process.ended() or "was not ready in time"
        log_end(self._log, words, "")
        self._board.turn(words)
        while self._failures < START_LIMIT:
            try:
                self._app.restart()
                self._app.await_init()
            except InitFault as fault:
                self._failures += 1
                self._log("ERROR", f"{fault.error_type}: {fault.message}")
                continue
            self._failures = 0
            self._board.tell_ready(self._process.pid)
            return True
        self._log("ERROR", f"{START_LIMIT} starts of the app in a row have failed: this environment ends")
        return False


class WorkerParts(NamedTuple):
    """The parts that each poller is made of."""

    config: Config
    environ: Mapping[str, str]
    handler_of: Callable[[AppClient], Handler]
    at_end: Callable[[Callable[[], None]], None]  # takes what is to be done when a signal ends the process
    may_block: bool  # code of the user's runs between the waits, so that the others of a process would wait for it


def serve_together(count: int, app: OwnedApp, process: AppProcess, parts: WorkerParts, log: Log) -> None:
    """Serve with ``count`` pollers until this environment has to end. The app was started, and is ready mostly."""
    config = parts.config
    address = config.runtime_api_proxy or parts.environ["AWS_LAMBDA_RUNTIME_API"]
    board = Board()
    reader, writer = posix.pipe()
    posix.set_blocking(writer, False)

    def poller(waiting: Waiting) -> Coroutine[Any, Any, None]:
        app = PollersApp(config, WatchedProcess(board, writer), log, waiting)
        return serve(PollingApi(address, log, waiting), parts.handler_of(app))

    def poll(count: int) -> int:
        if count == 1:
            run_blocking(poller(Blocking()))
        else:
            multiplexer = Multiplexer()
            multiplexer.run([poller(multiplexer) for _ in range(count)])
        return 1

    processes = count if parts.may_block else len(posix.sched_getaffinity(0))
    pollers = Pollers(shares(count, processes), poll, log)
    owner = AppOwner(app, process, board, log, pollers.kill)
    parts.at_end(pollers.kill)
    if app.is_ready:
        app.drop()  # who serves one connection after the other would wait for something on this one
        board.tell_ready(process.pid)
    pollers.start()
    if not app.is_ready:
        owner.bring_up()
    owner.watch_suspicions(reader, Connection(config.app.unix_socket or config.app.host, config.app.port))
    pollers.supervise(owner.on_end)
