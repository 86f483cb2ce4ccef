"""Of the kind that New Relic's layer for Python has: the handler that is set, around the function's own."""

import os
from importlib import import_module

import newrelic.agent

newrelic.agent.initialize()

from newrelic_lambda.lambda_handler import lambda_handler  # noqa: E402

module, _, name = os.environ["NEW_RELIC_LAMBDA_HANDLER"].rpartition(".")
wrapped = getattr(import_module(module.replace("/", ".")), name)


@lambda_handler()
def handler(event, context):
    return wrapped(event, context)
