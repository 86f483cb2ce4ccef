#!/bin/bash
# Builds the Lambda layers: ./build-layer.sh [x86_64|arm64 ...] [--with orjson,brotli,...] [--with-runtime bun,deno,node],
# default both. Result: dist/fairlead-ARCHITECTURE.zip, and dist/fairlead-RUNTIME-ARCHITECTURE.zip for each runtime. Needs
# Linux with apt-get (Debian, Ubuntu), the Debian archive keyring and Python 3.11 with venv, for runtimes npm too; no root,
# compiler or Docker. docs/layer.md says what is in a layer and what can be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
layer/ensure-venv.sh
exec .venv/bin/python -m layer.command "$@"
