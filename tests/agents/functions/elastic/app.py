import os

from elasticapm import capture_serverless

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


@capture_serverless()
def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
