"""What ends a benchmark: a wrong figure is worse than none."""

from __future__ import annotations


class BenchError(Exception):
    """Something did not run as it has to. The text says what, and what to do; no figure is printed."""
