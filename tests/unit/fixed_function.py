"""A gateway before a function that always gives the same answer: no sandbox, no process."""

from __future__ import annotations

import json
import socket
from concurrent.futures import Future
from typing import Any

from local.environments.pool import Outcome
from local.gateway.conversation import Served
from local.gateway.server import Gateway
from local.runtime_api.reply import Reply


def done(outcome: Outcome) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(outcome)
    return future


class FixedFunction:
    """Stands where the environments do: remembers the events, and gives one answer to all."""

    def __init__(self, answer: object) -> None:
        self.answer = json.dumps(answer).encode()
        self.events: list[dict[str, object]] = []

    def submit(self, payload: bytes) -> Future[Outcome]:
        self.events.append(json.loads(payload))
        return done(Outcome(Reply(200, self.answer, len(self.events) == 1), 1))


class Server:
    """A gateway before a function that always gives the same answer, and what it reported."""

    def __init__(self, answer: object, **options: Any) -> None:
        self.function = FixedFunction(answer)
        self.address = options.get("host", "127.0.0.1")
        self.served: list[Served] = []
        self.notes: list[str] = []
        self.gateway = Gateway(self.function.submit, on_served=self.served.append, on_note=self.notes.append, **options)

    def headers(self) -> dict[str, str]:
        """Those of the only event."""
        (event,) = self.function.events
        headers = event["headers"]
        assert isinstance(headers, dict)
        return headers

    def raw(self, *requests: bytes) -> bytes:
        """What comes back for bytes that are sent as they are, until the gateway closes."""
        with socket.create_connection((self.address, self.gateway.port), timeout=10) as connection:
            for request in requests:
                connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))
