import os

from lumigo_tracer import lumigo_tracer

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


@lumigo_tracer(token="t_ofthismachine0001")
def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
