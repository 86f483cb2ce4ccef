"""A streamed answer between the function and a client: its head from its first bytes, then piece by piece."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future

from ..environments.pool import Outcome
from ..failures import LocalFailure
from ..runtime_api.reply import Reply
from ..runtime_api.session import SETTLE_S
from ..runtime_api.streamed_answer import AnswerCut, ClientGone, StreamedAnswer
from ..sources.reply import error_in, fault
from ..sources.streamed import beginning, ended_early
from ..sources.values import Answer, Malformed, Source


class StreamedResponse:
    """The body of a streamed answer: ``rest``, which is there already, then the pieces that the function sends."""

    def __init__(self, stream: StreamedAnswer, rest: bytes, client: socket.socket, end: Future[Reply]) -> None:
        self._stream = stream
        self._rest = rest
        self._client = client
        self._end = end

    def pieces(self) -> Iterator[bytes]:
        """Yield each piece as soon as it is there. Raises ``AnswerCut`` and ``ClientGone``."""
        if self._rest:
            yield self._rest
        while piece := self._stream.read(self._client):
            yield piece

    def close(self) -> None:
        """Take no more of it."""
        self._stream.close()

    def notices(self) -> tuple[str, ...]:
        """Notices about the invocation, after the stream. Waits a moment for the environment to be free again."""
        try:
            reply = self._end.result(SETTLE_S)
        except (TimeoutError, LocalFailure):
            return ()
        return (reply.notice,) if reply.notice else ()

    def failure(self) -> tuple[str, ...]:
        """The reason why it was cut."""
        return failure_of(self._end)


def begin_response(source: Source, outcome: Outcome, client: socket.socket) -> tuple[Answer, StreamedResponse | None]:
    """The head of a streamed answer as soon as it can be known, and the rest; None when there is none to be sent."""
    stream, end = outcome.reply.stream, outcome.end
    assert stream is not None
    assert end is not None
    data = b""
    try:
        while (start := beginning(source, stream.content_type, data)) is None:
            if not (piece := stream.read(client)):
                raise ended_early(data)
            data += piece
    except Malformed as error:
        stream.close()
        return fault(source, f"the function's answer is malformed: {error}"), None
    except AnswerCut:
        return fault(source, *failure_of(end)), None
    except ClientGone:
        stream.close()
        return fault(source, "the client went away before the answer began"), None
    return Answer(start.head), StreamedResponse(stream, start.rest, client, end)


def failure_of(end: Future[Reply]) -> tuple[str, ...]:
    """The failure of an invocation, in lines. Waits until it is known."""
    try:
        reply = end.result()
    except LocalFailure as failure:
        return (str(failure),)
    words = error_in(reply.status, reply.body) or ("the answer broke off",)
    return (*words, reply.notice) if reply.notice else words


def abandon(asked: Future[Outcome]) -> None:
    """Close the stream of an answer for which nobody waits any more."""
    if not asked.exception() and (stream := asked.result().reply.stream):
        stream.close()
