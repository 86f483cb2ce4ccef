"""Instructions of an invocation, of a start and of an end, ours and the peer's: ``python -m bench.instructions``.

A time depends on the machine and on the day; instructions do not. valgrind's callgrind counts those that a process
executes itself (not the kernel's), the same to within a part in a thousand whatever else runs. A figure is a
difference: callgrind is asked for what it has counted before a phase and after it, while the runtime waits in next.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from tests.events import function_url, rest_api

from . import document
from .build import build
from .cases import HANDLED, HANDLER, STREAMED, WEB
from .compare import DOCS, Sides, say, sides_of
from .contestants import Contestant
from .failures import BenchError, status
from .mount import enter
from .session import Options, Phase, Session

TOOLS = ("valgrind", "vgdb")  # both in Debian's package valgrind
NOT_COUNTED = ("/bin/sh", "*/fast_app*")  # the app, and what starts it
WARM_UP, COUNTED = 60, 300
WARM_UP_NEW, COUNTED_NEW = 60, 120  # a phase each, of which the mock takes 256
EVENTS_OF_A_STREAM = 50
CONTROL_LIMIT_S = 60


class Row(NamedTuple):
    """One figure: so many events of a kind, each with ``parts`` of what is counted."""

    name: str
    kind: str
    event: Mapping[str, Any]
    environment: Mapping[str, str] = {}
    parts: int = 1
    is_always_new: bool = False  # each event has header values that no event before it had


_GET = function_url("GET", "/small")
_STAMPS = function_url("GET", f"/stamps?{EVENTS_OF_A_STREAM}&pause=1000")
ROWS = (
    Row("small GET", WEB, _GET),
    Row("small GET, no header value seen before", WEB, _GET, is_always_new=True),
    Row("POST, 1 KB", WEB, function_url("POST", "/length", json.dumps({"name": "Ada", "comment": "x" * 972}))),
    Row("REST API event", WEB, rest_api("GET", "/small")),
    Row("small GET, streamed", WEB, _GET, STREAMED.environment),
    Row("one server-sent event", WEB, _STAMPS, STREAMED.environment, EVENTS_OF_A_STREAM),
    Row("Python handler, small event", HANDLER, {"key": "value"}, HANDLED.environment),
)
Figures = dict[str, dict[str, float]]  # by the row's name and the contestant's key


class Counted:
    """A session whose runtime is run by callgrind: a context manager."""

    def __init__(
        self, contestant: Contestant, app: str, phases: Sequence[Phase], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._out = Path(tempfile.mkdtemp(dir=folder))
        command = (
            *("valgrind", "--tool=callgrind", "--trace-children=yes"),
            f"--trace-children-skip={','.join(NOT_COUNTED)}",
            f"--callgrind-out-file={self._out}/out.%p",
            f"--vgdb-prefix={self._out}/vgdb",
            *contestant.command,
        )
        self.session = Session(contestant._replace(command=command), app, phases, Options(), environment)
        self._pid = self.session.pids[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def since_last(self) -> int:
        """How many instructions the runtime has executed since it was asked the last time, or has begun."""
        command = ["vgdb", f"--vgdb-prefix={self._out}/vgdb", f"--pid={self._pid}", "dump"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CONTROL_LIMIT_S, check=False)
        if done.returncode:
            raise BenchError(f"callgrind could not be asked: {done.stdout}{done.stderr}")
        return self._taken()

    def until_its_end(self) -> int:
        """How many until the runtime has ended, which it is told to do now by SIGTERM."""
        self.session.end_runtime()
        return self._taken()

    def _taken(self) -> int:
        total = 0
        for path in self._out.glob(f"out.{self._pid}*"):
            total += sum(int(number) for number in re.findall(r"^totals: (\d+)", path.read_text(), re.MULTILINE))
            path.unlink()
        return total


def per_invocation(row: Row, contestant: Contestant, app: str, folder: Path) -> float:
    """How many instructions each of the row's parts takes, once everything is warm."""
    if row.is_always_new:
        events = [_with_new_values(row.event, number) for number in range(WARM_UP_NEW + COUNTED_NEW)]
        phases, warm_phases = [Phase(path, 1) for path in written(events, folder)], WARM_UP_NEW
    else:
        (path,) = written([row.event], folder)
        phases, warm_phases = [Phase(path, WARM_UP), Phase(path, max(COUNTED // row.parts, 6))], 1
    counted = phases[warm_phases:]
    with Counted(contestant, app, [*phases, phases[0]], row.environment, folder) as run:
        for _ in phases[:warm_phases]:
            run.session.run_phase()
        run.since_last()
        for _ in counted:
            run.session.run_phase()
        return run.since_last() / sum(phase.invocations for phase in counted) / row.parts


def written(events: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """The files of the events."""
    paths = [folder / f"{number}.json" for number in range(len(events))]
    for path, event in zip(paths, events, strict=True):
        path.write_text(json.dumps(event, ensure_ascii=False))
    return paths


def _with_new_values(event: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The event as another client sends it."""
    headers = {name: f"{value} {number}" if name == "user-agent" else value for name, value in event["headers"].items()}
    return {**event, "headers": {**headers, "cookie": f"session={number:032x}", "x-request-number": str(number)}}


def of_a_life(kind: str, contestant: Contestant, app: str, folder: Path) -> dict[str, float]:
    """How many instructions a start takes until the first next, until the first answer, and the end by SIGTERM."""
    row = next(row for row in ROWS if row.kind == kind)
    (event,) = written([row.event], folder)
    phases = [Phase(event, 1), Phase(event, 1)]
    with Counted(contestant, app, phases, row.environment, folder) as run:
        started = run.since_last()
        run.session.run_phase()
        answered = started + run.since_last()
        ended = run.until_its_end()
    names = {WEB: "an app", HANDLER: "a Python handler"}
    return {
        f"start with {names[kind]}, until the first next": started,
        f"start with {names[kind]}, until its first invocation is answered": answered,
        f"end with {names[kind]}, from SIGTERM": ended,
    }


def measure(sides: Sides, folder: Path) -> Figures:
    """Everything. Raises ``BenchError`` at the first thing that does not run."""
    figures: Figures = {}
    for kind, contestants in sides.items():
        app = str(build("fast_app")) if kind == WEB else ""
        for contestant in contestants:
            for row in (row for row in ROWS if row.kind == kind):
                say(f"{row.name}: {contestant.name}")
                figures.setdefault(row.name, {})[contestant.key] = per_invocation(row, contestant, app, folder)
            say(f"start and end: {contestant.name}")
            for name, count in of_a_life(kind, contestant, app, folder).items():
                figures.setdefault(name, {})[contestant.key] = count
    return figures


def table(figures: Figures) -> str:
    """The figures in Markdown. A process that its signal has ended has executed nothing at its end."""
    lines = ["| user-space instructions | ours | peer's | ratio |", "|---|---:|---:|---:|"]
    rows = {row.name for row in ROWS}
    for name, counts in figures.items():
        ours, peers = counts["ours"], counts.get("peer", 0)
        ratio = f"{ours / peers:.2f}" if peers and name in rows else ""
        lines.append(f"| {name} | {_shown(ours)} | {_shown(peers)} | {ratio} |")
    return "\n".join(lines)


def _shown(count: float) -> str:
    if not count:
        return "-"
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count:,.0f}"


def count(options: argparse.Namespace) -> None:
    """One run from the beginning to the end. Raises ``BenchError``."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise BenchError(
            f"{' and '.join(missing)} cannot be found: install valgrind (Debian: apt-get install valgrind)"
        )
    mounted = enter("bench.instructions", sys.argv[1:])
    if mounted.why_not:
        say(f"the layer cannot be counted, the checkout is instead: {mounted.why_not}")
    sides = sides_of(mounted)
    with tempfile.TemporaryDirectory(prefix="instructions-") as folder:
        figures = measure(sides, Path(folder))
    today = datetime.datetime.now(datetime.UTC).strftime("%-d %B %Y")
    names = "; ".join(" against ".join(side.name for side in pair) for pair in sides.values())
    said = f"{today}; {platform.machine()}. {names}.\n\n{table(figures)}"
    print(said)
    if options.write:
        document.replace(DOCS / "performance.md", "instructions", said)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    return status(lambda: count(options))


if __name__ == "__main__":
    sys.exit(main())
