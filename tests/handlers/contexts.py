"""Answers with what a handler is told about its invocation."""

from __future__ import annotations

import os
import time
from typing import Any

TEXT_ATTRIBUTES = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "tenant_id",
)

OURS = ("response_stream",)  # what Lambda's own runtime does not have


def attributes(value: Any) -> Any:
    """The attributes of a value with ``__slots__``, and of those in them."""
    names = getattr(type(value), "__slots__", ())
    return {name: attributes(getattr(value, name)) for name in sorted(names)} if names else value


def handler(event: object, context: Any) -> dict[str, Any]:
    return {
        **{name: getattr(context, name) for name in TEXT_ATTRIBUTES},
        "client_context": attributes(context.client_context),
        "identity": attributes(context.identity),
        "w3c": context.w3c(),
        "repr": repr(context),
        "client_context_class": type(context.client_context).__name__,
        "public": sorted(name for name in dir(context) if not name.startswith("_") and name not in OURS),
        "variables": sorted(vars(context)),
        "deadline": context._epoch_deadline_time_in_ms,
    }


def remaining(event: float, context: Any) -> list[int]:
    before = context.get_remaining_time_in_millis()
    time.sleep(event)
    return [before, context.get_remaining_time_in_millis()]


def log(event: str, context: Any) -> None:
    context.log(event)
    context.log({"not": "text"})


def trace(event: object, context: object) -> list[str | None]:
    import subprocess

    name = "_X_AMZN_TRACE_ID"
    child = subprocess.run(
        ["/bin/sh", "-c", f"printf %s ${name}"], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    return [os.environ.get(name), child.stdout]


TRACE_AT_INIT = os.environ.get("_X_AMZN_TRACE_ID")


def trace_at_init(event: object, context: object) -> str | None:
    return TRACE_AT_INIT
