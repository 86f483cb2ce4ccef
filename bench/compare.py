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

from . import cold, contestants, document, equality, machine, managed, plot, tables, warm
from .build import build
from .cases import BUFFERED, CONCURRENT, HANDLER, STREAMED, SUITES, WEB, Condition, Suite
from .contestants import PEER_CRATE, PEER_VERSION, Contestant
from .failures import BenchError, status
from .mount import Mounted, enter
from .session import Options
from .tables import Table
from .warm import IDLE_S, Warm

DOCS = Path(__file__).parents[1] / "docs"
RIVALS = "awslambdaric's"


class Effort(NamedTuple):
    """How much is measured. ``scale`` is for the invocations per round."""

    warm_rounds: int
    cold_rounds: int
    dropped_rounds: int
    scale: float
    apps: int  # of those that cold starts are measured with
    conditions: int  # of those of each suite


FULL = Effort(warm_rounds=11, cold_rounds=15, dropped_rounds=7, scale=1, apps=9, conditions=9)
QUICK = Effort(warm_rounds=3, cold_rounds=5, dropped_rounds=0, scale=0.25, apps=2, conditions=1)

Sides = Mapping[str, Sequence[Contestant]]  # ours and the peer, by the kind of suite


class Results(NamedTuple):
    """Everything that one run has measured."""

    warm: dict[tuple[str, str], Warm]  # by the name of the suite, and that of the condition
    cold: dict[str, dict[str, Mapping[tuple[str, str], Sequence[float]]]]  # by the kind, and the conditions

    def of(self, suite: Suite) -> list[tuple[Condition, Warm]]:
        """The results of a suite, in the order of its conditions."""
        names = [(condition, (suite.name, condition.name)) for condition in suite.conditions]
        return [(condition, self.warm[name]) for condition, name in names if name in self.warm]


def run(sides: Sides, effort: Effort, quick_ack: bool, directory: Path) -> Results:
    """Check, then measure. Raises ``BenchError`` at the first thing that does not run."""
    results = Results({}, {WEB: {}, HANDLER: {}})
    app = {WEB: str(build("fast_app")), HANDLER: ""}
    for suite in SUITES:
        measure_warm(suite, sides[suite.kind], app[suite.kind], effort, quick_ack, directory, results)
    started = {WEB: cold.apps(Path(app[WEB]))[: effort.apps], HANDLER: [cold.EMPTY_HANDLER]}
    conditions = [
        ("all cores", False, False, effort.cold_rounds),
        ("one core", True, False, effort.cold_rounds),
        ("stored on disk", False, True, effort.dropped_rounds if machine.can_drop_page_cache() else 0),
    ]
    for kind, apps in started.items():
        event = next(suite.cases[0].event for suite in SUITES if suite.kind == kind)
        for condition, pinned, dropped, rounds in conditions:
            if rounds:
                say(f"cold, {kind}, {condition}")
                times = cold.measure(event, sides[kind], apps, directory, Options(pinned, quick_ack), rounds, dropped)
                results.cold[kind][condition] = times
    return results


def measure_warm(
    suite: Suite,
    sides: Sequence[Contestant],
    app: str,
    effort: Effort,
    quick_ack: bool,
    directory: Path,
    results: Results,
) -> None:
    """One suite under each of its conditions."""
    say(f"{suite.name}: do both answer the same?")
    equality.check(suite, sides, app, directory)
    for condition in suite.conditions[: effort.conditions]:
        say(f"{suite.name}: {condition.name}")
        acknowledges = quick_ack if condition.quick_ack is None else condition.quick_ack
        results.warm[suite.name, condition.name] = warm.measure(
            suite,
            sides,
            app,
            directory,
            Options(condition.pinned, acknowledges),
            effort.warm_rounds,
            effort.scale * condition.scale,
            looks_at_idle=condition == suite.conditions[0] and suite in (BUFFERED, CONCURRENT),
        )


def say(what: str) -> None:
    """Progress, apart from the figures."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def all_tables(results: Results, scale: float) -> list[Table]:
    """The tables in the order in which they are printed: first all that is in front of an app, then handlers."""
    made = []
    for kind, other, subject in ((WEB, tables.PEERS, ""), (HANDLER, RIVALS, " of a Python handler")):
        suites = [suite for suite in SUITES if suite.kind == kind]
        for suite in suites:
            for condition, measured in results.of(suite):
                rows = tables.warm_rows(suite, measured, scale * condition.scale)
                made.append(tables.warm_table(f"Warm, {suite.name}: {condition.name}", rows, suite.also, other))
        last = [(suite, results.of(suite)[-1][1]) for suite in suites]
        made.append(tables.memory_table(f"Memory{subject}", last, other))
        made.append(tables.cold_table(f"Cold start{subject}, from exec to the first next", results.cold[kind], other))
    return made


def idle_lines(results: Results) -> list[str]:
    """Lines on how much of a core waiting for an invocation takes."""
    lines = []
    for (suite, _), measured in results.warm.items():
        parts = [f"{'ours' if key == 'ours' else 'the peer'} {p:.3%}" for key, p in sorted(measured.idle_cpu.items())]
        if parts:
            lines.append(f"CPU while waiting in next, over {IDLE_S:g} s: {', '.join(parts)} of one core ({suite}).")
    return lines


def picture(sides: Sequence[Contestant], results: Results) -> str:
    """The ratios on one core, of those suites that are measured there in front of an app."""
    title = f"{sides[0].name.split(' (')[0]}, time and CPU per warm invocation"
    subtitle = f"as a part of what {sides[1].name} takes; one core, lines are quartiles over the rounds"
    rows = [
        (prefix + row.name, row)
        for prefix, suite in (("", BUFFERED), ("streamed: ", STREAMED))
        for row in tables.warm_rows(suite, results.of(suite)[0][1], 1)
    ]
    bars = [plot.Bars(name, (row.p50.ratio, row.cpu.ratio)) for name, row in rows if row.p50.ratio and row.cpu.ratio]
    return plot.svg(title, subtitle, ("p50", "CPU"), bars)


def facts_of(sides: Sides, effort: Effort, quick_ack: bool, load: str, results: Results) -> list[str]:
    """Date, machine, versions and conditions."""
    today = datetime.datetime.now(datetime.UTC).strftime("%-d %B %Y")
    return [
        f"{today}; {machine.describe()}; load average {load} before and {machine.load()} after.",
        f"{' against '.join(side.name for side in sides[WEB])}.",
        *(f"With a Python handler against {side.name}." for side in sides[HANDLER][1:]),
        f"{effort.warm_rounds} rounds of warm invocations, {effort.cold_rounds} of cold starts"
        + (f", {effort.dropped_rounds} with a dropped page cache." if "stored on disk" in results.cold[WEB] else ".")
        + f" The mock acknowledges {'at once (--quickack)' if quick_ack else 'as the kernel does by default'}"
        + " where nothing else is said.",
        *idle_lines(results),
    ]


def sides_of(mounted: Mounted) -> Sides:
    """Ours and who it is compared with; who is missing is said, and the rest runs."""
    ours = contestants.fairlead(mounted)
    peer = contestants.peer()
    if not peer:
        say(f"there is no peer: install cargo, with which {PEER_CRATE} {PEER_VERSION} is built, or set PEER=PROGRAM")
    rival = managed.awslambdaric(mounted)
    if not rival:
        say(f"{managed.PACKAGE} is missing: pip could not install it, see above")
    return {WEB: [ours, *([peer] if peer else [])], HANDLER: [ours, *([rival] if rival else [])]}


def compare(options: argparse.Namespace) -> None:
    """One run from the beginning to the end. Raises ``BenchError``."""
    mounted = enter("bench.compare", sys.argv[1:])
    if mounted.why_not:
        say(f"the layer cannot be measured, the checkout is instead: {mounted.why_not}")
    sides = sides_of(mounted)
    if options.write and any(len(pair) < 2 for pair in sides.values()):
        raise BenchError("nothing can be written: the page compares, and somebody to compare with is missing")
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
    if options.write:
        write(sides, results, said, figures)
    say(f"{time.monotonic() - began:.0f} s")


def write(sides: Sides, results: Results, said: str, figures: str) -> None:
    """Put the figures into the documentation."""
    (DOCS / "performance.svg").write_text(picture(sides[WEB], results))
    picture_line = "![Time and CPU as parts of the peer's, as bars](performance.svg)"
    document.replace(DOCS / "performance.md", "compare", f"{said}\n\n{picture_line}\n\n{figures}")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute")
    parser.add_argument("--quickack", action="store_true", help="a Runtime API that acknowledges at once")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md and docs/performance.svg")
    options = parser.parse_args()
    return status(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
