#!/bin/bash
# Of the kind that OpenTelemetry's layer for Node has: it adds to what Node loads before all else.
export NODE_OPTIONS="$NODE_OPTIONS --require /var/task/lambda-wrapper.js"
export OTEL_SERVICE_NAME=${OTEL_SERVICE_NAME:-$AWS_LAMBDA_FUNCTION_NAME}
exec "$@"
