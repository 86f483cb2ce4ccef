"""The event loop of handlers that return awaitables. Loaded only for these: asyncio costs more than all the rest."""

from __future__ import annotations

import asyncio
import time
import warnings

from ..errors import ClientGone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any


class EventLoop:
    """The one event loop of the process, for handlers that return awaitables.

    What a handler has started and does not wait for is neither awaited nor cancelled: it stands still between
    invocations, as the whole process does, and goes on during the next one. Clients that live as long as the module
    depend on that.
    """

    def __init__(self) -> None:
        self._loop = self._of_the_module() or self._new()

    def current(self) -> Any:
        """The loop of asyncio, open."""
        if self._loop.is_closed():  # by the user's code
            self._loop = self._new()
        return self._loop

    def run(self, awaitable: Any) -> object:
        """Runs the awaitable to its end. Returns its result, raises what it raises."""
        return self.current().run_until_complete(awaitable)

    def turn(self) -> None:
        """Run what is due."""
        if not self._loop.is_closed():
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()

    def _of_the_module(self) -> Any:
        """The loop that the user's module has made, if it has: its clients may be bound to it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                loop = asyncio.get_event_loop()
        except RuntimeError:
            return None
        return None if loop.is_closed() else loop

    def _new(self) -> Any:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        return loop


# ---- octets out of the event loop ------------------------------------------------------------------------------------
#
# Bytes out of the event loop: a task hands pieces over, one at a time, and stands still until each was taken.
#
# The loop runs only while somebody waits for a piece, so that a slow client holds the task back, and no more than one
# piece is ever held. One task produces all of them: cancel scopes and context variables of asyncio's libraries do not
# survive a change of tasks in the middle of a generator.


class DeadlinePassed(Exception):
    """Not a ``TimeoutError``, which the task may raise of its own."""


class Handover:
    """Between one task and code outside of the loop."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop.current()
        self._task: asyncio.Task[object] | None = None
        self._piece: bytes | None = None
        self._arrived: asyncio.Future[None] | None = None  # what the taker waits for
        self._taken: asyncio.Future[None] | None = None  # what the task waits for
        self._watched = -1
        self._is_gone = False
        self._is_late = False

    def start(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """Let the task begin, as soon as the loop runs."""
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(self._wake)

    @property
    def is_running(self) -> bool:
        """Whether the task has more to do."""
        return self._task is not None and not self._task.done()

    def offer(self, piece: bytes) -> None:
        """In the task: hand the last piece over."""
        self._piece = piece if self._piece is None else self._piece + piece  # of a second task of the app's
        self._wake()

    async def put(self, piece: bytes) -> None:
        """In the task: hand a piece over. Goes on when somebody wants the next one."""
        self.offer(piece)
        self._taken = self._taken or self._loop.create_future()
        await asyncio.shield(self._taken)  # several may wait for it, and one of them be cancelled

    def take(self, watched: int = -1, deadline: float | None = None) -> bytes | None:
        """The next piece, or None when the task has ended without one. Raises what has ended it.

        ``ClientGone``: ``watched`` has become readable. ``DeadlinePassed``: ``deadline`` (epoch seconds) has.
        """
        self._resume()
        self._wait(watched, deadline)
        piece, self._piece = self._piece, None
        if piece is None:
            self._end()
        return piece

    def cancel(self) -> None:
        """Have the task end when the loop runs next."""
        if self._task is not None:
            self._task.cancel()

    def stop(self, limit_s: float) -> None:
        """Cancel the task, and wait for its end until ``limit_s``. Raises what it raises meanwhile."""
        self.cancel()
        self.finish(limit_s)

    def finish(self, limit_s: float | None) -> None:
        """Wait until ``limit_s`` for the task to end. Raises what it raises meanwhile, but no ``CancelledError``."""
        self.unwatch()
        self._resume()
        if self._task is not None and not self._task.done():
            self._loop.run_until_complete(asyncio.wait({self._task}, timeout=limit_s))
        if not self.is_running:
            try:
                self._end()
            except asyncio.CancelledError:
                pass

    def _end(self) -> None:
        """The task is over: raises what has ended it, once."""
        task, self._task = self._task, None
        if task is not None:
            task.result()

    def _resume(self) -> None:
        if self._taken is not None and not self._taken.done():
            self._taken.set_result(None)
        self._taken = None

    def _wait(self, watched: int, deadline: float | None) -> None:
        self._watch(watched)
        timer = None
        if deadline is not None:
            timer = self._loop.call_later(max(0.0, deadline - time.time()), self._on_late)
        try:
            while self._piece is None and self.is_running:
                if self._is_gone:
                    raise ClientGone
                if self._is_late:
                    raise DeadlinePassed
                self._arrived = self._loop.create_future()
                self._loop.run_until_complete(self._arrived)
        except (SystemExit, KeyboardInterrupt):  # asyncio lets them through, and the task has them too
            if not self.is_running:
                self._end()
            raise
        finally:
            if timer:
                timer.cancel()

    def _wake(self, _task: object = None) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def _watch(self, watched: int) -> None:
        if watched >= 0 and self._watched < 0:
            self._watched = watched
            self._loop.add_reader(watched, self._on_gone)

    def unwatch(self) -> None:
        """Nothing is taken any more, and the descriptor that is watched may become another one."""
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            self._watched = -1

    def _on_gone(self) -> None:
        self._is_gone = True
        self._loop.remove_reader(self._watched)  # it stays readable, and would be called again and again
        self._wake()

    def _on_late(self) -> None:
        self._is_late = True
        self._wake()
