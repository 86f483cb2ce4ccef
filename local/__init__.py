"""The developer's machine only: emulator, sandbox, gateway. Nothing here reaches the layer."""

import signal
import sys

# `python -m local.NAME` imports this first, and all that NAME needs within the next half second: a Ctrl-C then ends the
# program without a word. Those that have something to end in order say so, by a handler of their own, in `main`.
if sys.argv[:1] == ["-m"]:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
