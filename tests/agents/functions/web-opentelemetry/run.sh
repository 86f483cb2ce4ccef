#!/bin/sh
# As OpenTelemetry's documentation starts an app: its own program, and behind it the command.
export PYTHONPATH=$LAMBDA_TASK_ROOT/python
exec python3 "$PYTHONPATH/bin/opentelemetry-instrument" python3 -m uvicorn main:app --host 127.0.0.1 --port "$PORT" --log-level warning
