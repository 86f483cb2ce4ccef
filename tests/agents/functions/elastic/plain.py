import os

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
