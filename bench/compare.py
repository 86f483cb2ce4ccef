"""Fairlead and the AWS Lambda Web Adapter, side by side: ``python -m bench.compare`` (``make bench``).

Both get the same events from the same mock Runtime API, in front of the same app, in strict alternation. First it is
checked that they give the same answers. A figure counts within its round: what is printed are ratios of ours to the
peer's (below 1: ours takes less), the median over the rounds with its quartiles.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import cold, contestants, document, equality, machine, plot, tables, warm
from .build import BuildError, build
from .cases import SUITES, Suite
from .contestants import PEER_CRATE, PEER_VERSION, Contestant
from .failures import BenchError
from .mount import enter
from .session import Options
from .tables import Row, Table
from .warm import IDLE_S, Warm

DOCS = Path(__file__).parents[1] / "docs"


class Effort(NamedTuple):
    """How much is measured. ``scale`` is for the invocations per round."""

    warm_rounds: int
    cold_rounds: int
    dropped_rounds: int
    scale: float
    apps: int  # of those that cold starts are measured with


FULL = Effort(warm_rounds=11, cold_rounds=15, dropped_rounds=7, scale=1, apps=9)
QUICK = Effort(warm_rounds=3, cold_rounds=5, dropped_rounds=0, scale=0.25, apps=2)


class Results(NamedTuple):
    """Everything that one run has measured."""

    pinned: dict[str, Warm]  # by the name of the suite
    unpinned: dict[str, Warm]
    cold: dict[str, Mapping[tuple[str, str], Sequence[float]]]  # by the conditions


def run(sides: Sequence[Contestant], effort: Effort, quick_ack: bool, directory: Path) -> Results:
    """Check, then measure. Raises ``BenchError`` at the first thing that does not run."""
    fast_app = str(build("fast_app"))
    results = Results({}, {}, {})
    for suite in SUITES:
        say(f"{suite.name}: do both answer the same?")
        equality.check(suite, sides, fast_app, directory)
        for pinned in (True, False):
            say(f"{suite.name}: warm, {'one core' if pinned else 'all cores'}")
            options = Options(pinned, quick_ack)
            measured = warm.measure(suite, sides, fast_app, directory, options, effort.warm_rounds, effort.scale)
            (results.pinned if pinned else results.unpinned)[suite.name] = measured
    started = cold.apps(Path(fast_app))[: effort.apps]
    conditions = [
        ("all cores", False, False, effort.cold_rounds),
        ("one core", True, False, effort.cold_rounds),
        ("stored on disk", False, True, effort.dropped_rounds if machine.can_drop_page_cache() else 0),
    ]
    for condition, pinned, dropped, rounds in conditions:
        if rounds:
            say(f"cold, {condition}")
            times = cold.measure(SUITES[0], sides, started, directory, Options(pinned, quick_ack), rounds, dropped)
            results.cold[condition] = times
    return results


def say(what: str) -> None:
    """Progress, apart from the figures."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def all_tables(results: Results, scale: float) -> list[Table]:
    """What is printed, in this order."""
    made = []
    for suite in SUITES:
        pinned, unpinned = results.pinned[suite.name], results.unpinned[suite.name]
        made += [
            tables.warm_table(f"Warm, {suite.name}: all on one core", tables.warm_rows(suite, pinned, scale)),
            tables.warm_table(f"Warm, {suite.name}: on all cores", tables.warm_rows(suite, unpinned, scale)),
            tables.memory_table(suite, unpinned),
        ]
    return [*made, tables.cold_table(results.cold)]


def idle_line(warm: Warm) -> str:
    """What waiting for an invocation takes of a core."""
    parts = [f"{'ours' if key == 'ours' else 'the peer'} {part:.3%}" for key, part in sorted(warm.idle_cpu.items())]
    return f"CPU while waiting in next, over {IDLE_S:g} s: {', '.join(parts)} of one core."


def picture(sides: Sequence[Contestant], suite: Suite, rows: Sequence[Row]) -> str:
    """The ratios on one core."""
    title = f"{sides[0].name.split(' (')[0]}, time and CPU per warm invocation"
    subtitle = f"as a part of what {sides[1].name} takes; one core, lines are quartiles over the rounds"
    bars = [plot.Bars(row.name, (row.p50.ratio, row.cpu.ratio)) for row in rows if row.p50.ratio and row.cpu.ratio]
    return plot.svg(title, subtitle, ("p50", "CPU"), bars)


def facts_of(sides: Sequence[Contestant], effort: Effort, quick_ack: bool, load: str, results: Results) -> list[str]:
    """Date, machine, versions and conditions."""
    today = datetime.datetime.now(datetime.UTC).strftime("%-d %B %Y")
    return [
        f"{today}; {machine.describe()}; load average {load} before and {machine.load()} after.",
        f"{' against '.join(side.name for side in sides)}.",
        f"{effort.warm_rounds} rounds of warm invocations, {effort.cold_rounds} of cold starts"
        + (f", {effort.dropped_rounds} with a dropped page cache." if "stored on disk" in results.cold else ".")
        + f" The mock acknowledges {'at once (--quickack)' if quick_ack else 'as the kernel does by default'}.",
        *(idle_line(warm) for warm in results.unpinned.values()),
    ]


def compare(options: argparse.Namespace) -> None:
    """One run from the beginning to the end. Raises ``BenchError`` and ``BuildError``."""
    mounted = enter("bench.compare", sys.argv[1:])
    if mounted.why_not:
        say(f"the layer cannot be measured, the checkout is instead: {mounted.why_not}")
    other = contestants.peer()
    if not other:
        say(f"there is no peer: install cargo, with which {PEER_CRATE} {PEER_VERSION} is built, or set PEER=PROGRAM")
    sides = [contestants.fairlead(mounted), *([other] if other else [])]
    effort = QUICK if options.quick else FULL
    began, load = time.monotonic(), machine.load()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        results = run(sides, effort, options.quickack, Path(directory))
    made = all_tables(results, effort.scale)
    facts = facts_of(sides, effort, options.quickack, load, results)
    said, figures = "\n".join(f"- {fact}" for fact in facts), "\n".join(map(tables.markdown, made))
    print(f"{said}\n\n{figures}")
    if not machine.can_drop_page_cache():
        say("cold starts with a dropped page cache were left out: only root may drop it")
    if options.write and other:
        suite = SUITES[0]
        rows = tables.warm_rows(suite, results.pinned[suite.name], effort.scale)
        (DOCS / "performance.svg").write_text(picture(sides, suite, rows))
        picture_line = "![Time and CPU as parts of the peer's, as bars](performance.svg)"
        document.replace(DOCS / "performance.md", "compare", f"{said}\n\n{picture_line}\n\n{figures}")
    say(f"{time.monotonic() - began:.0f} s")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--quickack", action="store_true", help="a Runtime API that acknowledges at once")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and docs/performance.svg")
    try:
        compare(parser.parse_args())
    except (BenchError, BuildError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
