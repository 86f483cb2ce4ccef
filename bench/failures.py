"""What ends a benchmark: a wrong figure is worse than none."""

from __future__ import annotations

import sys
from collections.abc import Callable


class BenchError(Exception):
    """Something did not run as it has to. The text says what, and what to do; no figure is printed."""


def status(run: Callable[[], object]) -> int:
    """The exit status of a benchmark: 0, or 1 with the reason on stderr when a ``BenchError`` ended it."""
    try:
        run()
    except BenchError as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0
