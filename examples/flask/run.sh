#!/bin/sh
# Starts the app. Fairlead sets PORT; the layer has a Python that apps may use. gunicorn's worker writes a heartbeat into
# a file, for which /tmp is the only place.
PYTHONPATH=$LAMBDA_TASK_ROOT/python exec /opt/fairlead/bin/python3 -m gunicorn app:app \
  --bind "127.0.0.1:$PORT" --workers 1 --threads 4 --worker-tmp-dir /tmp --no-control-socket --log-level warning
