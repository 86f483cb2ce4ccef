"""The loop: one invocation at a time, each answered exactly once."""

from __future__ import annotations

from .errors import EnvironmentLost, InvocationFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .invocation import Invocation, Result
    from .runtime_api import RuntimeApi


def serve(api: RuntimeApi, handle: Callable[[Invocation], Result]) -> None:
    """Answer invocations until the environment is of no more use. Raises ``RuntimeApiFault``."""
    while True:
        invocation = api.next()
        try:
            result = handle(invocation)
        except InvocationFault as fault:
            api.fail(invocation, fault)
            if isinstance(fault, EnvironmentLost):
                return
        else:  # outside of the try: once a response has begun, failure can no longer be reported
            api.respond(invocation, result)
