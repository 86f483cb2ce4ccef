"""An error tracker that puts functions of its own where Lambda's runtime has its, and fails in one of them."""

from __future__ import annotations

import os
import sys
from typing import Any

runtime: Any = sys.modules["__main__"].bootstrap  # type: ignore[attr-defined]
PLACE = os.environ["FAILS"]
inner = runtime.handle_event_request


def fail() -> None:
    raise ConnectionError("the tracker cannot be reached")


def handle_event_request(client: Any, handler: Any, *arguments: Any) -> None:
    if PLACE == "before":
        fail()
    try:
        inner(client, handler, *arguments)
    finally:
        if PLACE == "after":
            fail()


def post(self: Any, *_: Any) -> None:
    if PLACE == "post":
        fail()


runtime.handle_event_request = handle_event_request
runtime.LambdaRuntimeClient.post_invocation_result = post
runtime.LambdaRuntimeClient.post_invocation_error = post


def handler(event: Any, context: Any) -> Any:
    """Raises what the event says, unless that is nothing."""
    if event:
        raise ValueError(event)
    return "ok"
