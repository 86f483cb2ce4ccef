import os

from aws_lambda_powertools import Logger, Tracer

logger, tracer = Logger(service="orders"), Tracer(service="orders")

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
