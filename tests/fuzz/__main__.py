"""``python -m tests.fuzz --minutes N``: the examples of ``test_process.py``, others each time.

Every failure is made small and kept in .cache/fuzz/; ``--replay FILE`` runs it again. Exits 1 when there was one.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from .examples import Example, from_json, to_json
from .session import Session
from .strategies import KINDS

KEPT = Path(__file__).parents[2] / ".cache" / "fuzz"
# Short, so that the end is kept to and the rate is told often.
EXAMPLES_PER_ROUND = 250
ENOUGH_FAILURES = 20
ROUND = settings(
    max_examples=EXAMPLES_PER_ROUND,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Recorder:
    """Calls ``check`` and remembers the last example that failed: when Hypothesis is done, the smallest."""

    def __init__(self, check: Callable[[Example], None]) -> None:
        self._check = check
        self.example: Example | None = None
        self.reason = ""

    def __call__(self, example: Example) -> None:
        """Check one example."""
        try:
            self._check(example)
        except Exception as error:
            self.example, self.reason = example, f"{type(error).__name__}: {error}"
            raise


def run_round(session: Session, kind: str, number: int) -> Recorder:
    """Some examples of a kind, drawn from the seed ``number``; the recorder has the failure, if there was one."""
    recorder = Recorder(session.check)

    @seed(number)
    @ROUND
    @given(example=KINDS[kind]())
    def check(example: Example) -> None:
        recorder(example)

    try:
        check()
    except Exception as error:  # Hypothesis's own ones too, such as Flaky
        recorder.reason = recorder.reason or repr(error)
    return recorder


def keep(recorder: Recorder) -> Path | None:
    """Write the failing example to a file named by its content, with the reason beside it."""
    if recorder.example is None:
        return None
    text = to_json(recorder.example)
    KEPT.mkdir(parents=True, exist_ok=True)
    path = KEPT / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    path.write_text(text + "\n")
    path.with_suffix(".txt").write_text(recorder.reason + "\n")
    return path


def fuzz(minutes: float, first: int) -> int:
    """Run rounds until the time is over, and tell how it goes. The number of failures."""
    began = time.monotonic()
    failures = 0
    print(f"seed {first}, {minutes:g} minutes", flush=True)
    with Session() as session:
        for number, kind in zip(itertools.count(first), itertools.cycle(KINDS)):
            recorder = run_round(session, kind, number)
            if recorder.reason:
                failures += 1
                _tell_failure(recorder, kind, number)
            seconds = time.monotonic() - began
            is_over = seconds >= minutes * 60 or failures >= ENOUGH_FAILURES
            if is_over or (number - first) % 12 == 11:
                rate = session.executions / seconds
                print(
                    f"{session.executions} executions in {seconds:.0f} s, {rate:.0f}/s, {failures} failures", flush=True
                )
            if is_over:
                return failures
    raise AssertionError("unreachable: the rounds are endless")


def _tell_failure(recorder: Recorder, kind: str, number: int) -> None:
    print(f"failure ({kind}, seed {number}): {recorder.reason.partition(chr(10))[0][:500]}")
    if path := keep(recorder):
        print(f"  all of it: {path.with_suffix('.txt')}\n  again: python -m tests.fuzz --replay {path}", flush=True)


def replay(path: Path) -> int:
    """Run one kept example; 1 if it fails."""
    example = from_json(path.read_text())
    print(example)
    with Session() as session:
        try:
            session.check(example)
        except AssertionError as error:
            print(f"it fails: {error}")
            return 1
    print("it passes")
    return 0


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; without it another one each time")
    parser.add_argument("--replay", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay)
    first = random.randrange(1 << 32) if options.seed is None else options.seed
    return 1 if fuzz(options.minutes, first) else 0


if __name__ == "__main__":
    sys.exit(main())
