#!/bin/bash
# Makes .venv with what requirements-dev.txt names, or does nothing when it has that already.
# PYTHON=/path/to/python3 chooses another interpreter to make it with (3.11 or newer).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fail() { echo "${0##*/}: $1" >&2; exit 1; }

stamp=.venv/made-from wanted=$(sha256sum requirements-dev.txt)
[[ ! -x .venv/bin/python || ! -f $stamp || $(<$stamp) != "$wanted" ]] || exit 0
python=${PYTHON:-python3}

ensure() {
  # Without the stamp it is half made: after a Ctrl-C in its making it has a Python, and no pip or half of one.
  if [[ ! -x .venv/bin/python || ! -f $stamp ]]; then
    command -v "$python" >/dev/null || fail "no $python found: install Python 3.11 or newer, or set PYTHON to one"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
      fail "$python is $("$python" --version 2>&1), and 3.11 or newer is needed: install one, or set PYTHON to one"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
      fail "$python cannot make virtual environments: on Debian and Ubuntu install python3-venv, or set PYTHON to another"
    echo "making .venv: the tools that requirements-dev.txt names" >&2
    "$python" -m venv --clear .venv || fail "$python -m venv .venv failed (its reason is above)"
  fi
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt ||
    fail "pip could not install requirements-dev.txt (its reason is above): check the network and try again"
  printf '%s\n' "$wanted" >$stamp
}

# In a process group of its own, which Ctrl-C does not reach: Python's programs would answer it with tracebacks, and
# this script would take each for a failure. It tells them to end instead, and waits until they have.
set -m
ensure &
set +m
end() { trap '' INT TERM HUP; kill -TERM -- "-$!" 2>/dev/null || true; wait "$!" 2>/dev/null || true; exit 130; }
trap end INT TERM HUP
wait "$!"
