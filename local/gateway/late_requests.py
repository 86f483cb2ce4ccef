"""Explains a late request: the runtime's line about the app's start is repeated beside the timeout.

The emulator gives a start the function's timeout and says no more than ``Task timed out after 30.00 seconds``. What the
runtime waits for it has written much earlier, in a line that is far above by then.
"""

from __future__ import annotations

import re

import orjson

from .conversation import Served

# The emulator's words, and the gateway's for a front end that waits less long.
TIMED_OUT = re.compile(r"Task timed out after |waits no longer than ")
# Of runtime/web/readiness.py.
WAITING = re.compile(r"\bwaiting for the app: (.+)", re.DOTALL)
EXPECTED_PORT = re.compile(r"should listen on \S+, port (\d+)")
LISTENS_ON = re.compile(r"It listens on ((?:[^.]|\.(?=\d))+)\.")
PORT = re.compile(r"(?:port |:)(\d+)(?=, | of every|$)")
SETTINGS = re.compile(r" See FAIRLEAD_\w+(?:, FAIRLEAD_\w+)*\s*$")


class Lateness:
    """Remembers what each environment's runtime waits for, and adds that to a request that was late."""

    def __init__(self) -> None:
        self._waiting: dict[int, str] = {}

    def hear(self, environment: int, line: str) -> None:
        """Take in a line that the environment has written."""
        if match := WAITING.search(_message(line)):
            self._waiting[environment] = match[1]

    def explain(self, served: Served) -> Served:
        """``served`` with the reason below its problem, if it was late and one is known."""
        is_late = any(map(TIMED_OUT.search, served.problem))
        if served.environment:
            reason = self._waiting.pop(served.environment, "")  # whatever came of it: it is about this request
        else:  # a front end that gives up does not say whom it has asked
            reason = next(reversed(self._waiting.values()), "")
        if not is_late or not reason:
            return served
        return served._replace(problem=(*served.problem, *lines(reason)))


def lines(reason: str) -> list[str]:
    """A line about the app, and the line to type where one is known."""
    seen = f"the app was not ready: {SETTINGS.sub('', reason)}"
    expected, listens = EXPECTED_PORT.search(reason), LISTENS_ON.search(reason)
    ports = PORT.findall(listens[1]) if listens else []
    wanted = next((port for port in ports if not expected or port != expected[1]), "")
    if not wanted:
        return [seen]
    return [
        seen,
        f"let it listen on $PORT, or say which port it has: make run ENV='FAIRLEAD_PORT={wanted}', and on Lambda the "
        f"variable FAIRLEAD_PORT={wanted}",
    ]


def _message(line: str) -> str:
    """The text of a log record that is a JSON object, or the line as it is."""
    if line.startswith("{"):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            return line
        if isinstance(record, dict) and isinstance(record.get("message"), str):
            return str(record["message"])
    return line
