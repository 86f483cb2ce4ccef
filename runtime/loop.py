"""The loop: one invocation at a time, each answered exactly once. And its end by a signal."""

from __future__ import annotations

import _thread
import posix

from .errors import EnvironmentLost, InvocationFault
from .invocation import Result, StreamedResult
from .standard import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any, Protocol

    from .invocation import Invocation
    from .runtime_api import RuntimeApi

    Answer = Result | StreamedResult

    class Handler(Protocol):
        """Answers invocations. Only a handler that has to wait for another process returns a coroutine."""

        def handle(self, invocation: Invocation) -> Answer | Coroutine[Any, Any, Answer]:
            """Returns the answer. Raises ``InvocationFault`` and nothing else."""

        def after_response(self) -> Coroutine[Any, Any, None] | None:
            """Does what is left to do once the invocation is answered. Raises ``EnvironmentLost``."""


ENDING = (signal.SIGTERM, signal.SIGINT)


async def serve(api: RuntimeApi, handler: Handler) -> None:
    """Answer invocations. Raises ``RuntimeApiFault``, or ``EnvironmentLost`` when this process is of no more use."""
    while True:
        await serve_one(api, handler, await api.next())
        rest = handler.after_response()
        if rest:
            await rest


async def serve_one(api: RuntimeApi, handler: Handler, invocation: Invocation) -> None:
    """Answer it. On return event and answer are let go of: while the next one is awaited, megabytes would be held."""
    try:
        result = handler.handle(invocation)
        if not isinstance(result, Result | StreamedResult):
            result = await result
    except InvocationFault as fault:
        await api.fail(invocation, fault)
        if isinstance(fault, EnvironmentLost):
            raise
    else:  # outside of the try: once a response has begun, failure can no longer be reported
        await api.respond(invocation, result)


def end_with_signals(endings: Sequence[Callable[[], None]]) -> None:
    """Let SIGTERM (the platform's, before an environment ends) and SIGINT (Ctrl-C) do ``endings``, then exit with 0.

    Both have to be blocked. A thread waits for them, since a Python signal handler would run between two bytecodes of
    the main thread only: a signal that comes a moment before that blocks in next would wait there with it, for hours.
    """

    def wait() -> None:
        signal.sigwait(ENDING)
        for end in endings:
            end()
        posix._exit(0)

    _thread.start_new_thread(wait, ())
