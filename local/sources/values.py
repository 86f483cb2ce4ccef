"""The values that a front end's functions take and return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from runtime.invocation import PAYLOAD_LIMIT
from runtime.messages import HttpResponse

Lines = Sequence[tuple[str, str]]  # header lines, names as the client spelled them


class ClientRequest(NamedTuple):
    """A request as it came over the wire: target and header names as they were sent, values read as UTF-8."""

    method: str
    target: str
    lines: Lines
    body: bytes = b""
    protocol: str = "HTTP/1.1"

    @property
    def headers(self) -> Lines:
        """The lines with their names in lower case."""
        return [(name.lower(), value) for name, value in self.lines]


class Front(NamedTuple):
    """Where the browser believes to be. The defaults are AWS's; the gateway takes the port from Host."""

    scheme: str = "https"
    port: int = 443
    region: str = "us-east-1"
    stage: str = ""  # "": the one that the source has by default
    binary_media_types: Sequence[str] = ()  # REST API only
    is_streaming: bool = False  # whether it asks the function for a streamed answer


class Arrival(NamedTuple):
    """The facts about a request that are not in its bytes."""

    client_ip: str
    now: float  # epoch seconds
    request_id: str  # a UUID


class Answer(NamedTuple):
    """The response to the client, and lines about it for the developer's terminal, often none."""

    response: HttpResponse
    problem: tuple[str, ...] = ()


class Malformed(Exception):
    """The payload is no answer that this source understands; the message says why."""


class Refused(Exception):
    """A request that the front end answers by itself, with ``page`` or as it words ``status``, without the function."""

    def __init__(self, status: int, reason: str, page: HttpResponse | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.page = page


class Limits(NamedTuple):
    """Sizes in bytes. An event larger than ``PAYLOAD_LIMIT`` is refused whatever the source."""

    request_body: int = PAYLOAD_LIMIT
    request_head: int | None = None  # of the request line and the header values
    payload: int = PAYLOAD_LIMIT  # the function's answer as JSON
    response_head: int | None = None  # of the header values


def _accept(_request: ClientRequest) -> None:
    """Nothing to refuse."""


def _no_words(_request: ClientRequest, _front: Front) -> Sequence[str]:
    return ()


class Streaming(NamedTuple):
    """The rules of a front end that streams."""

    to_head: Callable[[dict[str, Any]], HttpResponse]  # of a prelude, a response without its body; Malformed
    takes_raw: bool  # whether an answer without a prelude is the body of a 200; it is 502 if not


class Source(NamedTuple):
    """One kind of front end, as pure functions and figures."""

    name: str
    to_event: Callable[[ClientRequest, Front, Arrival], dict[str, Any]]
    to_answer: Callable[[object, bytes, ClientRequest, Front], Answer]  # of a payload, decoded and as bytes; Malformed
    own_page: Callable[[int], HttpResponse]  # how it words an answer of its own
    limits: Limits = Limits()
    patience_s: float | None = None  # after how long it gives the function up and answers 504
    check: Callable[[ClientRequest], None] = _accept  # raises Refused, by the head alone
    warnings: Callable[[ClientRequest, Front], Sequence[str]] = _no_words  # what the developer should know of a request
    streaming: Streaming | None = None  # what it does with an answer that comes bit by bit; None: it takes none
