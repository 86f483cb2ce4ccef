"""A streamed answer's first bytes -> status and header lines, pure.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from runtime.messages import HttpResponse

from . import reply
from .values import Answer, Lines, Malformed, Source

HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
DELIMITER = bytes(8)  # between the prelude, whose JSON cannot have a NUL, and the body
PRELUDE_LIMIT = 16 * 1024  # bytes within which the delimiter has to end


class Beginning(NamedTuple):
    """The beginning of an answer: ``head`` is without its body, of which ``rest`` is the first part."""

    head: HttpResponse
    rest: bytes


def beginning(source: Source, content_type: str, data: bytes) -> Beginning | None:
    """The beginning that is in ``data``, all that has come of the answer; None when more is needed.

    Raises ``Malformed``.
    """
    assert source.streaming is not None
    if content_type.partition(";")[0].strip().lower() != HTTP_INTEGRATION:
        return Beginning(_raw(source, content_type), data)
    end = data.find(DELIMITER, 0, PRELUDE_LIMIT)
    if end < 0:
        if len(data) >= PRELUDE_LIMIT:
            raise Malformed(f"no prelude and eight NULs are among the first {PRELUDE_LIMIT:,} bytes")
        return None
    head = source.streaming.to_head(_prelude(data[:end]))
    if too_much := reply.head_excess(source, head):
        raise Malformed(too_much)
    return Beginning(head, data[end + len(DELIMITER) :])


def ended_early(data: bytes) -> Malformed:
    """The error of an answer that has ended with ``data``, before its head was complete."""
    return Malformed(f"it ended after {len(data):,} bytes, without a prelude and eight NULs")


def from_unstreamed(source: Source, status: int, payload: bytes) -> Answer:
    """The response of a streaming ``source`` to an answer in one piece.

    Such a source is a caller of InvokeWithResponseStream, to which that piece is the whole stream: the payload that a
    buffered answer is wrapped in reaches the client as it is.
    """
    assert source.streaming is not None
    if words := reply.error_in(status, payload):
        return reply.fault(source, *words)
    if not source.streaming.takes_raw:
        return reply.fault(
            source,
            f"the function answered in one piece, and a {source.name} API that streams takes none: is the invoke mode "
            "of the function response_stream?",
        )
    lines: Lines = [("content-type", "application/json"), ("content-length", str(len(payload)))]
    words = (
        "the client gets the function's payload as it is: the URL streams, and the function answered in one piece; is "
        "its invoke mode response_stream?",
    )
    return Answer(HttpResponse(200, "OK", lines, payload), words)


def _raw(source: Source, content_type: str) -> HttpResponse:
    if source.streaming is None or not source.streaming.takes_raw:
        raise Malformed(f"its content type is {content_type!r}; {source.name} takes {HTTP_INTEGRATION} only")
    return HttpResponse(200, "OK", [("content-type", content_type)] if content_type else [], b"")


def _prelude(data: bytes) -> dict[str, object]:
    try:
        prelude = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"its prelude is not JSON ({error}): {data[:200].decode(errors='replace')}") from None
    if not isinstance(prelude, dict):
        raise Malformed("its prelude is no object")
    return prelude
