"""A function with Sentry's integration for AWS Lambda, as Sentry's documentation sets it up."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], integrations=[AwsLambdaIntegration()], release="r1")

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


def handler(event: Any, context: Any) -> Any:
    """Raises what the event says, unless that is nothing."""
    if event:
        raise ValueError(event)
    return "ok"


async def async_handler(event: Any, context: Any) -> Any:
    await asyncio.sleep(0)
    return handler(event, context)


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"ok"]
