"""The front ends of AWS as pure functions: request -> event, payload -> response.

Nothing here knows sockets or the emulator. docs/local.md says what is not verified.
"""

from __future__ import annotations

from typing import Any

import orjson

from runtime.invocation import PAYLOAD_LIMIT

from . import balanced, payload_1, payload_2
from .values import ClientRequest, Limits, Refused, Source, Streaming

# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
API_GATEWAY = Limits(request_body=10 * 1024 * 1024, request_head=10_240, response_head=10_240)
BALANCER = Limits(request_body=1024 * 1024, payload=1024 * 1024)
VPC_LATTICE = Limits(request_body=6 * 1024 * 1024, payload=6 * 1024 * 1024)

SOURCES = {
    source.name: source
    for source in (
        Source(
            "function-url",
            payload_2.function_url_event,
            payload_2.function_url_answer,
            payload_2.function_url_page,
            streaming=Streaming(payload_2.function_url_head, takes_raw=True),
        ),
        Source(
            "http-api",
            payload_2.http_api_event,
            payload_2.http_api_answer,
            payload_2.http_api_page,
            API_GATEWAY,
            patience_s=30,
        ),
        Source(
            "http-api-1",
            payload_1.http_api_event,
            payload_1.http_api_answer,
            payload_2.http_api_page,
            API_GATEWAY,
            patience_s=30,
        ),
        Source(
            "rest",
            payload_1.rest_event,
            payload_1.rest_answer,
            payload_1.rest_page,
            API_GATEWAY,
            patience_s=29,
            warnings=payload_1.rest_warnings,
            streaming=Streaming(payload_1.rest_head, takes_raw=False),
        ),
        Source(
            "alb",
            balanced.alb_event,
            balanced.alb_answer,
            balanced.alb_page,
            BALANCER,
            check=balanced.check_upgrade,
        ),
        Source(
            "alb-multi",
            balanced.alb_multi_event,
            balanced.alb_multi_answer,
            balanced.alb_page,
            BALANCER,
            check=balanced.check_upgrade,
        ),
        Source(
            "lattice",
            balanced.lattice_event,
            balanced.lattice_answer,
            balanced.lattice_page,
            VPC_LATTICE,
        ),
    )
}
DEFAULT = SOURCES["function-url"]
STREAMING = tuple(name for name, source in SOURCES.items() if source.streaming)


def check_head(source: Source, request: ClientRequest) -> None:
    """Raises ``Refused`` for a request that ``source`` does not take, whatever its body."""
    source.check(request)
    limit = source.limits.request_head
    size = len(f"{request.method} {request.target} {request.protocol}")
    size += sum(len(value.encode()) for _, value in request.lines)
    if limit is not None and size > limit:
        raise Refused(431, f"request line and header values have {size:,} bytes; {source.name} takes {limit:,}")


def check_body(source: Source, size: int) -> None:
    """Raises ``Refused`` when a body of ``size`` bytes is more than ``source`` takes."""
    limit = source.limits.request_body
    if size > limit:
        raise Refused(413, f"the request's body has {size:,} bytes or more; {source.name} takes {limit:,}")


def encode(event: dict[str, Any]) -> bytes:
    """The payload. ``Refused`` when it is larger than Lambda takes."""
    payload = orjson.dumps(event)
    if len(payload) > PAYLOAD_LIMIT:
        raise Refused(413, f"the event has {len(payload):,} bytes; Lambda takes {PAYLOAD_LIMIT:,}")
    return payload
