#!/bin/bash
# Builds the Lambda layers: ./build-layer.sh [x86_64|arm64 ...] [--with orjson,brotli,...], default both. Result:
# dist/fairlead-ARCHITECTURE.zip. Needs Linux with apt-get (Debian, Ubuntu), the Debian archive keyring and Python 3.11
# with venv; no root, compiler or Docker. docs/layer.md says what is in a layer and what can be set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
layer/ensure-venv.sh
exec .venv/bin/python -m layer.build "$@"
