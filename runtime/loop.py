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

        def handle(self, invocation: Invocation) -> Result | StreamedResult:
            """The answer. Raises ``InvocationFault`` and nothing else."""

        def settle(self) -> None:
            """What is left to do once the invocation is answered. Raises ``EnvironmentLost``."""


def serve(api: RuntimeApi, handler: Handler) -> None:
    """Answer invocations. Raises ``RuntimeApiFault``, or ``EnvironmentLost`` when this process is of no more use."""
    while True:
        invocation = api.next()
        try:
            result = handler.handle(invocation)
        except InvocationFault as fault:
            api.fail(invocation, fault)
            if isinstance(fault, EnvironmentLost):
                raise
        else:  # outside of the try: once a response has begun, failure can no longer be reported
            api.respond(invocation, result)
        handler.settle()
