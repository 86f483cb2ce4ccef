"""The internal extension that makes SIGTERM arrive.

Lambda sends SIGTERM before the end of an environment only when some extension is registered, and kills at once
otherwise (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown).
So the runtime registers one that wants no events, from inside the process, and asks for its next event: until it has
done so init never completes. The answer never comes and is never waited for: the socket is all that is kept.
"""

from __future__ import annotations

from .connection import Connection, address_of
from .errors import ExchangeError
from .invocation import USER_AGENT
from .waiting import now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .logs import Log

NAME = "fairlead"
_REGISTER = "/2020-01-01/extension/register"
_NEXT_EVENT = "/2020-01-01/extension/event/next"
# SHUTDOWN is refused to internal extensions, and Managed Instances refuse every event to them.
_NO_EVENTS = b'{"events":[]}'


def register(address: str, log: Log) -> Connection | None:
    """A connection to keep for as long as the process lives, or None (logged) when the platform does not want it."""
    connection = Connection(*address_of(address))
    common = f"HTTP/1.1\r\nHost: {address}\r\nUser-Agent: {USER_AGENT}\r\n"
    register_head = (
        f"POST {_REGISTER} {common}Lambda-Extension-Name: {NAME}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(_NO_EVENTS)}\r\n\r\n"
    )
    try:
        response = now(connection.exchange_bytes("POST", register_head.encode(), _NO_EVENTS))
        identifier = dict(response.headers).get("lambda-extension-identifier")
        if response.status == 200 and identifier:
            next_head = f"GET {_NEXT_EVENT} {common}Lambda-Extension-Identifier: {identifier}\r\n\r\n"
            now(connection.park(next_head.encode()))
            return connection
        problem = f"status {response.status}"
    except (ExchangeError, OSError) as error:
        problem = str(error)
    log("WARN", f"the app will get no SIGTERM before the environment ends: registering for it failed ({problem})")
    connection.close()
    return None
