"""Waiting for sockets and for time, in the one form that serves one invocation at a time and several.

Whatever may wait is a coroutine. With one invocation at a time it never suspends: each wait blocks the process, which
is the fastest way, and ``run_blocking`` turns the coroutine into an ordinary call. With several at a time each wait
suspends the coroutine, and multiplexer.py goes on with another one (docs/decisions/0014).
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any, Protocol, TypeVar

    Returned = TypeVar("Returned")
    Interests = tuple[tuple[int, int], ...]
    """Descriptors, each with events of ``select.poll``."""
    Ready = list[tuple[int, int]]
    """Descriptors, each with its events that are true (of ``select.poll``). Empty: the time was over."""

    class Waiting(Protocol):
        """A way to wait."""

        suspends: bool
        """Other coroutines run during a wait, so nothing may block the process."""

        def ready(self, interests: Interests, until: float | None) -> Awaitable[Ready]:
            """Wait for one of them to come true. ``until`` is in epoch seconds, None is no limit."""

        def looking(self, descriptor: int) -> Callable[[float], object]:
            """A function that, called with 0, tells at once whether ``descriptor`` is readable."""

        async def sleep(self, seconds: float) -> None:
            """Wait for that long."""

        def forget(self, descriptor: int) -> None:
            """To be called before ``descriptor`` is closed."""


NEVER = float("inf")
# The kernel counts in 32-bit milliseconds, and no invocation takes a day.
LONGEST_WAIT_S = 86_400.0


class Blocking:
    """Waits that block the whole process. Its coroutines never suspend."""

    suspends = False

    def __init__(self) -> None:
        self._interests: Interests = ()
        self._poll: Callable[[float], Ready] = select.poll().poll

    async def ready(self, interests: Interests, until: float | None) -> Ready:
        """Wait in ``poll``."""
        return self._polling(interests)(-1 if until is None else patience(until) * 1000)

    def looking(self, descriptor: int) -> Callable[[float], object]:
        """``poll`` itself: half the time of a MSG_PEEK that fails."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return poll.poll

    def _polling(self, interests: Interests) -> Callable[[float], Ready]:
        if interests != self._interests:  # mostly the same is asked for
            poll = select.poll()
            for descriptor, events in interests:
                poll.register(descriptor, events)
            self._interests, self._poll = interests, poll.poll
        return self._poll

    async def sleep(self, seconds: float) -> None:
        """Sleep the whole process."""
        time.sleep(seconds)

    def forget(self, _descriptor: int) -> None:
        """Do nothing: ``poll`` is given all descriptors with each call."""


def patience(until: float) -> float:
    """Seconds from now until ``until`` (epoch seconds): at least 0, at most ``LONGEST_WAIT_S``."""
    return min(max(0.0, until - time.time()), LONGEST_WAIT_S)


def run_blocking(coroutine: Coroutine[Any, Any, Returned]) -> Returned:
    """Run a coroutine that waits by ``Blocking`` alone. Returns and raises as it does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        returned: Returned = end.value
        return returned
    coroutine.close()
    raise RuntimeError("a coroutine was suspended where nothing would go on with it")
