#!/bin/sh
# /opt/fairlead/bin/python: scripts and wrappers call it so as well as python3.
exec "${0%/*}/python3" "$@"
