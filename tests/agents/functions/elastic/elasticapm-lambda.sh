#!/bin/sh
# What Elastic's layer has as /opt/python/bin/elasticapm-lambda, with the handler that it sets, is in its package.
PLACE=/var/task/python/elasticapm/contrib/serverless/aws_wrapper
export PYTHONPATH="$PLACE:$PYTHONPATH"
exec python3 "$PLACE/elasticapm-lambda.py" "$@"
