"""The event loop of handlers that return awaitables. Loaded only for these: asyncio costs more than all the rest."""

from __future__ import annotations

import asyncio
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        """What the awaitable results in; raises what it raises."""
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
