"""Several coroutines in one process: while one waits, the others go on.

Edge cases that decided the shape:

- A descriptor is registered once, not for each wait: most coroutines wait for the same thing again and again, and a
  system call costs a microsecond. One that becomes ready while nobody waits for it (a peer closes an idle connection)
  is unregistered, or epoll would return at once for ever.
- All events of a turn are assigned to coroutines before the first of these runs: it may close a descriptor, and another
  coroutine may be given its number.
"""

from __future__ import annotations

import select
import time
from types import coroutine

from .waiting import NEVER, patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterable
    from typing import Any

    from .waiting import Interests, Ready

    Wait = tuple[Interests, float | None]
    """Interests, and until when they are waited for (epoch seconds; None: without end)."""
    Task = Coroutine[Wait, Ready | None, None]


class Multiplexer:
    """Waits that suspend the coroutine, and the loop that resumes it: a ``waiting.Waiting``."""

    suspends = True

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._told: dict[int, int] = {}  # the events that each descriptor is registered for
        self._waits: dict[Task, Wait] = {}
        self._waiting: dict[int, Task] = {}  # by descriptor
        self._earliest = NEVER  # no wait ends by its time before this one

    @coroutine
    def ready(self, interests: Interests, until: float | None) -> Generator[Wait, Ready, Ready]:
        """Suspend until ``run`` resumes the coroutine."""
        return (yield interests, until)

    def looking(self, descriptor: int) -> Callable[[float], object]:
        """``poll``, called only for a descriptor that is not registered: else this turn's events would have told."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return lambda timeout: self._told.get(descriptor) != select.POLLIN and poll.poll(timeout)

    async def sleep(self, seconds: float) -> None:
        """Suspend for that long."""
        await self.ready((), time.time() + seconds)

    def forget(self, descriptor: int) -> None:
        """Drop the note of its registration. The kernel's own ends with the descriptor."""
        self._told.pop(descriptor, None)

    def run(self, tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Serve until one of the coroutines ends. Raises what that one raises."""
        woken: list[tuple[Task, Ready | None]] = [(task, None) for task in tasks]
        try:
            while True:
                for task, came in woken:
                    self._waits[task] = interests, until = task.send(came)
                    for descriptor, events in interests:
                        self._waiting[descriptor] = task
                        if self._told.get(descriptor) != events:
                            self._tell(descriptor, events)
                    if until is not None and until < self._earliest:
                        self._earliest = until
                if self._earliest == NEVER:
                    woken = self._woken(self._epoll.poll())
                else:
                    woken = self._woken(self._epoll.poll(patience(self._earliest)))
                    now = time.time()
                    if now >= self._earliest:
                        woken += self._late(now)
        except StopIteration:  # it waits for nothing any more
            return

    def _tell(self, descriptor: int, events: int) -> None:
        """Register the descriptor for these events."""
        if descriptor in self._told:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._told[descriptor] = events

    def _woken(self, ready: Ready) -> list[tuple[Task, Ready | None]]:
        """The coroutines to resume, each with the events that it waited for."""
        woken: list[tuple[Task, Ready | None]] = []
        for event in ready:
            task = self._waiting.pop(event[0], None)
            if task is None:
                self._silence(event[0])
                continue
            interests, _ = self._waits.pop(task)
            came = [event]
            if len(interests) > 1:
                others = [descriptor for descriptor, _ in interests if self._waiting.pop(descriptor, None)]
                came += [event for event in ready if event[0] in others]
            woken.append((task, came))
        return woken

    def _silence(self, descriptor: int) -> None:
        """Unregister the descriptor."""
        if self._told.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def _late(self, now: float) -> list[tuple[Task, Ready | None]]:
        """The coroutines whose time is over, in the order of their times. Each is resumed without an event."""
        late = [task for task, (_, until) in self._waits.items() if until is not None and until <= now]
        late.sort(key=lambda task: self._waits[task][1] or now)
        for task in late:
            for descriptor, _ in self._waits.pop(task)[0]:
                del self._waiting[descriptor]
        self._earliest = min([until for _, until in self._waits.values() if until is not None], default=NEVER)
        return [(task, []) for task in late]
