"""The Runtime API that a function's runtime talks to: AWS's emulator, or our own server where answers are streamed."""
