"""The internal extension that makes SIGTERM arrive.

Lambda sends SIGTERM before the end of an environment only when some extension is registered, and kills at once
otherwise (https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown).
So the runtime registers one that wants no events, from inside the process, and asks for its next event: without that
request init would never complete. No answer to it ever comes. The open socket is all that has to be kept.
"""

from __future__ import annotations

from .connection import Connection, address_of
from .errors import ExchangeError
from .http1 import render_head, render_lines
from .invocation import USER_AGENT
from .messages import HttpRequest
from .waiting import run_blocking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .logs import Log

NAME = "fairlead"
_REGISTER = "/2020-01-01/extension/register"
_NEXT_EVENT = "/2020-01-01/extension/event/next"
# SHUTDOWN is refused to internal extensions, and Managed Instances refuse every event to them.
_NO_EVENTS = b'{"events":[]}'


def register(address: str, log: Log) -> Connection | None:
    """Register the extension. Returns the connection to keep for as long as the process lives.

    None when the platform has refused: that is logged, and the app then gets no SIGTERM.
    """
    connection = Connection(*address_of(address))
    common = render_lines((("Host", address), ("User-Agent", USER_AGENT)))
    fields = (
        ("Lambda-Extension-Name", NAME),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(_NO_EVENTS))),
    )
    head = render_head(HttpRequest("POST", _REGISTER, fields), common)
    try:
        response = run_blocking(connection.exchange_bytes("POST", head, _NO_EVENTS))
        identifier = dict(response.headers).get("lambda-extension-identifier")
        if response.status == 200 and identifier:
            next_event = HttpRequest("GET", _NEXT_EVENT, (("Lambda-Extension-Identifier", identifier),))
            run_blocking(connection.park(render_head(next_event, common)))
            return connection
        problem = f"status {response.status}"
    except (ExchangeError, OSError) as error:
        problem = str(error)
    log("WARN", f"the app will get no SIGTERM before the environment ends: registering for it failed ({problem})")
    connection.close()
    return None
