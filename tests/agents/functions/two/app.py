import os

import sentry_sdk
from sentry_sdk.integrations.aws_lambda import AwsLambdaIntegration

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"], integrations=[AwsLambdaIntegration()], traces_sample_rate=1.0)

if os.environ.get("FAILS_AT_START"):
    raise RuntimeError("of the start")


def handler(event, context):
    if event["order"] == "none":
        raise LookupError("no such order")
    return {"order": event["order"]}
