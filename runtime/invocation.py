"""The values that pass between the Runtime API and whoever answers invocations, and the names that it uses.

Names of paths and header fields are spelled as AWS spells them
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html); they are compared without regard to case.
"""

from __future__ import annotations

from . import __version__
from .values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Body(Protocol):
        """A streamed answer, piece by piece, that has to be waited for."""

        async def read(self, watched: int) -> bytes:
            """Returns the next bytes, as soon as there are some; ``b""`` at the end.

            ``watched`` is the descriptor of the connection on which they are sent, which becomes readable when the
            client has disconnected. Raises ``ClientGone`` when that happens while waiting, and ``InvocationFault``
            when the rest of the body will not come.
            """

        def close(self) -> None:
            """Release what the body holds. Called once, after the end or instead of it."""

    class InProcessBody(Protocol):
        """A streamed answer that code in this process makes: its next piece is there when the call returns."""

        def read(self, watched: int) -> bytes:
            """Returns the next bytes, ``b""`` at the end. ``watched`` and errors: see ``Body``."""

        def close(self) -> None:
            """Called once, after the end or instead of it."""


# One token: the platform takes the text up to the first blank as the runtime's release.
USER_AGENT = f"fairlead/{__version__}"

API_VERSION = "2018-06-01"
NEXT_PATH = f"/{API_VERSION}/runtime/invocation/next"
RESPONSE_PATH = f"/{API_VERSION}/runtime/invocation/%s/response"
ERROR_PATH = f"/{API_VERSION}/runtime/invocation/%s/error"
RESTORE_NEXT_PATH = f"/{API_VERSION}/runtime/restore/next"
RESTORE_ERROR_PATH = f"/{API_VERSION}/runtime/restore/error"
INIT_ERROR_PATH = f"/{API_VERSION}/runtime/init/error"

REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
DEADLINE_MS = "Lambda-Runtime-Deadline-Ms"
FUNCTION_ARN = "Lambda-Runtime-Invoked-Function-Arn"
RESPONSE_MODE = "Lambda-Runtime-Function-Response-Mode"
ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
XRAY_ERROR_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"
TRACE_ID = "Lambda-Runtime-Trace-Id"
CLIENT_CONTEXT = "Lambda-Runtime-Client-Context"
COGNITO_IDENTITY = "Lambda-Runtime-Cognito-Identity"
TENANT_ID = "Lambda-Runtime-Aws-Tenant-Id"
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"

# 6 MiB and 100 bytes, inclusive: exactly that many are accepted in both directions.
PAYLOAD_LIMIT = 6_291_556

RAW_STREAM_TYPE = "application/octet-stream"  # of a streamed answer, unless somebody says something else


class Invocation(NamedTuple):
    """An answer to ``GET .../invocation/next``. A header that was absent or empty is ``""``."""

    request_id: str
    payload: bytes
    deadline_ms: int = 0  # epoch milliseconds; 0 when the platform gave none
    function_arn: str = ""
    trace_id: str = ""
    client_context: str = ""  # JSON text, controlled by the caller
    cognito_identity: str = ""  # JSON text
    tenant_id: str = ""
    invocation_id: str = ""  # a nonce to be echoed: it keeps a late answer from reaching a later invocation
    content_type: str = ""  # of the payload


class Result(NamedTuple):
    """The answer to an invocation."""

    payload: bytes
    content_type: str = "application/json"


class StreamedResult(NamedTuple):
    """An answer that is sent while it comes into being."""

    body: Body | InProcessBody
    content_type: str = RAW_STREAM_TYPE
