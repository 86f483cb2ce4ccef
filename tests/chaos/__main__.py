"""``python -m tests.chaos``: 2,000 messages through apps of all styles, some minutes. Exits 1 when something is wrong.

``--style``, ``--concurrency`` and ``--seed`` choose one run, as a problem names it.
"""

from __future__ import annotations

import argparse
import sys
import time

from .run import STYLES, Chaos

CONCURRENCIES = (1, 4)


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--messages", type=int, default=2000, help="of triggers, in all runs together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", choices=STYLES)
    parser.add_argument("--concurrency", type=int, choices=CONCURRENCIES)
    options = parser.parse_args()
    styles = [options.style] if options.style else list(STYLES)
    concurrencies = [options.concurrency] if options.concurrency else list(CONCURRENCIES)
    runs = [Chaos(style, concurrency, options.seed) for style in styles for concurrency in concurrencies]
    problems = []
    for chaos in runs:
        began = time.monotonic()
        chaos.run(options.messages // len(runs))
        counts = ", ".join(f"{name} {count}" for name, count in sorted(chaos.counts.items()))
        print(f"{chaos.name}: {time.monotonic() - began:.1f} s; {counts}", flush=True)
        problems += chaos.problems
    for problem in problems:
        print(f"PROBLEM {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
