"""An ASGI app's start and end (https://asgi.readthedocs.io/en/latest/specs/lifespan.html)."""

from __future__ import annotations

import asyncio

from ..errors import InitFault
from ..report import user_fault
from .module import ExitAtInit, ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from .event_loop import EventLoop

VERSIONS = {"version": "3.0", "spec_version": "2.0"}


class Lifespan:
    """One task of the app's, from its start to its end."""

    def __init__(self, application: Callable[..., Awaitable[Any]], loop: EventLoop) -> None:
        self._application = application
        self._loop = loop.current()
        self._task: asyncio.Task[None] | None = None
        self._said: dict[str, str] = {}  # type of the message that the app has sent -> its text
        self._spoken = asyncio.Event()
        self._ends = asyncio.Event()
        self._is_asked = False
        self.state: dict[str, Any] = {}
        """What the app has put there, for its requests."""

    @property
    def is_supported(self) -> bool:
        """Whether the app has answered to its start."""
        return "lifespan.startup.complete" in self._said

    def start(self) -> None:
        """Have the app start. Raises ``InitFault`` when it says that this failed; it need not know the protocol."""
        self._task = self._loop.create_task(self._call())
        try:
            self._loop.run_until_complete(self._next_word())
        except (SystemExit, KeyboardInterrupt) as error:
            exit_code, error_type, message = ending(error, "the app")
            fault = user_fault(ExitAtInit, error, error_type, message)
            fault.exit_code = exit_code or 1
            raise fault from None
        if "lifespan.startup.failed" in self._said:
            raise _failed(self._said["lifespan.startup.failed"])
        if self._task.done() and not self._task.cancelled():
            self._task.exception()  # so asyncio does not complain: an app without this protocol raises what it likes

    def end(self, limit_s: float) -> str:
        """Have the app end, and wait for that until ``limit_s``. What went wrong; "" is nothing."""
        if not self.is_supported or self._task is None or self._loop.is_closed() or self._loop.is_running():
            return ""
        self._spoken.clear()
        self._ends.set()
        try:
            self._loop.run_until_complete(asyncio.wait_for(self._next_word(), limit_s))
        except TimeoutError:
            return f"it took longer than {limit_s:.1f} s"
        except BaseException as error:
            return f"{type(error).__name__}: {error}"
        if "lifespan.shutdown.complete" in self._said:
            return ""
        if self._task.done() and not self._task.cancelled() and self._task.exception():
            return repr(self._task.exception())
        return self._said.get("lifespan.shutdown.failed", "")

    async def _call(self) -> None:
        try:
            scope = {"type": "lifespan", "asgi": dict(VERSIONS), "state": self.state}
            await self._application(scope, self._receive, self._send)
        finally:
            self._spoken.set()

    async def _next_word(self) -> None:
        await self._spoken.wait()

    async def _receive(self) -> dict[str, Any]:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "lifespan.startup"}
        await self._ends.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: dict[str, Any]) -> None:
        self._said[message["type"]] = str(message.get("message", ""))
        self._spoken.set()


def _failed(text: str) -> InitFault:
    """``text`` is a line or, from Starlette, a whole traceback, whose last line says most."""
    lines = text.strip().splitlines() or ["it gave no reason"]
    fault = InitFault("Runtime.LifespanFailed", f"the app's start failed: {lines[-1]}")
    fault.stack = tuple(f"{line}\n" for line in lines) if len(lines) > 1 else ()
    return fault
