import os

import newrelic.agent
from newrelic_lambda.lambda_handler import lambda_handler

newrelic.agent.initialize()

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


@lambda_handler()
def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
