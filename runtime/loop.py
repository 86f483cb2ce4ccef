"""The loop: one invocation at a time, each answered exactly once."""

from __future__ import annotations

from .errors import EnvironmentLost, InvocationFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .invocation import Invocation, Result, StreamedResult
    from .runtime_api import RuntimeApi

    class Handler(Protocol):
        """What invocations are for."""

        async def handle(self, invocation: Invocation) -> Result | StreamedResult:
            """The answer. Raises ``InvocationFault`` and nothing else."""

        async def settle(self) -> None:
            """What is left to do once the invocation is answered. Raises ``EnvironmentLost``."""


async def serve(api: RuntimeApi, handler: Handler) -> None:
    """Answer invocations. Raises ``RuntimeApiFault``, or ``EnvironmentLost`` when this process is of no more use."""
    while True:
        await _serve_one(api, handler, await api.next())
        await handler.settle()


async def _serve_one(api: RuntimeApi, handler: Handler, invocation: Invocation) -> None:
    """Answer it. On return event and answer are let go of: while the next one is awaited, megabytes would be held."""
    try:
        result = await handler.handle(invocation)
    except InvocationFault as fault:
        await api.fail(invocation, fault)
        if isinstance(fault, EnvironmentLost):
            raise
    else:  # outside of the try: once a response has begun, failure can no longer be reported
        await api.respond(invocation, result)
