#!/bin/bash
# Of the kind that OpenTelemetry's layer for Python has: its own handler in the place of the function's, and the program
# opentelemetry-instrument around the runtime.
export PYTHONPATH=/var/task/python${PYTHONPATH:+:$PYTHONPATH}
export ORIG_HANDLER=$_HANDLER _HANDLER=traced.handler
export OTEL_SERVICE_NAME=${OTEL_SERVICE_NAME:-$AWS_LAMBDA_FUNCTION_NAME}
export OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=aws-lambda # traced.py does it, once the function's folder can be found
exec python3 /var/task/python/bin/opentelemetry-instrument "$@"
