#!/bin/sh
# Starts the app. Fairlead sets PORT; the layer has a Python that apps may use.
PYTHONPATH=$LAMBDA_TASK_ROOT/python exec /opt/fairlead/bin/python3 -m uvicorn main:app \
  --host 127.0.0.1 --port "$PORT" --no-access-log --log-level warning
