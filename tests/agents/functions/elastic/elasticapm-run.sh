#!/bin/sh
exec python3 -m elasticapm.instrumentation.wrapper "$@"
