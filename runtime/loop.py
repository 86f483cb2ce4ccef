"""The loop: one invocation at a time, each answered exactly once."""

from __future__ import annotations

from .errors import EnvironmentLost, InvocationFault
from .invocation import Result, StreamedResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
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
