"""The error that ends a benchmark: a wrong figure is worse than none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

LIMIT_S = 30 * 60  # for a program that the benchmark needs: a crate that is compiled takes minutes


class BenchError(Exception):
    """Something did not run as it has to. The text says what, and what to do; no figure is printed."""


def output_of(command: Sequence[str]) -> str:
    """The output of a program. Raises ``BenchError`` when it fails, or has not ended within ``LIMIT_S``."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{' '.join(command)} has not ended after {LIMIT_S // 60} minutes") from error
    if done.returncode:
        raise BenchError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def status(run: Callable[[], object]) -> int:
    """The exit status of a benchmark: 0, or 1 with the reason on stderr when a ``BenchError`` ended it."""
    try:
        run()
    except BenchError as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0
