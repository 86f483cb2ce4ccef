"""Flask and FastAPI in one process with Fairlead, beside the same app in a server: ``python -m bench.callables``.

Both ways have the same interpreter (the layer's) and the same packages, and take turns. Cold is from exec until the
first answer is there, warm is from an event until its answer; memory is that of all processes together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local.cache import CACHE, once
from tests.events import function_url

from . import contestants, document, machine, tables
from .build import build
from .compare import DOCS, say
from .contestants import Contestant
from .failures import BenchError, output_of, status
from .mount import enter
from .session import Options, Phase, Session
from .tables import Table

APPS = Path(__file__).parent / "apps" / "callables"
ROUNDS, WARM_UP, WARM = 11, 100, 2000
# Direct; pip takes what they need.
PACKAGES = ("Flask==3.1.3", "gunicorn==27.0.1", "fastapi==0.165.0", "uvicorn==0.54.0")


class Way(NamedTuple):
    """One way to run one app."""

    name: str
    handler: str
    command: str  # of a server; "" is none


WAYS = (
    Way("Flask, gunicorn", "", "-m gunicorn --bind 127.0.0.1:$PORT --workers 1 flask_hello:app"),
    Way("Flask, in process", "flask_hello:app", ""),
    Way("FastAPI, uvicorn", "", "-m uvicorn --port $PORT --no-access-log fastapi_hello:app"),
    Way("FastAPI, in process", "fastapi_hello:app", ""),
)


class Figures(NamedTuple):
    """Milliseconds, microseconds, and megabytes."""

    cold_ms: float
    p50_us: float
    p99_us: float
    memory_mb: float


def packages(python: str) -> Path:
    """The folder that they are installed in, compiled. Raises ``BenchError``."""

    def install(draft: Path) -> None:
        say(f"installing {', '.join(PACKAGES)}")
        version = output_of([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        target = ["--target", str(draft), "--only-binary=:all:", "--python-version", version]
        output_of([sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", *target, *PACKAGES])
        output_of([python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(draft)])

    name = "-".join(package.lower().replace("==", "") for package in PACKAGES)
    return once(CACHE / "callables" / name, install)


def measure(ours: Contestant, python: str, directory: Path, rounds: int, pinned: bool) -> dict[str, list[Figures]]:
    """Each way once per round, in turn. Raises ``BenchError`` when one does not answer as it has to."""
    event = directory / "hello.json"
    event.write_text(json.dumps(function_url("GET", "/")))
    path = f"{APPS}:{packages(python)}"
    results: dict[str, list[Figures]] = {way.name: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            results[way.name].append(_one(ours, way, python, {"PYTHONPATH": path}, event, pinned))
    return results


def _one(ours: Contestant, way: Way, python: str, environment: Mapping[str, str], event: Path, pinned: bool) -> Figures:
    save = event.with_name("answer")
    phases = [Phase(event, 1), Phase(event, WARM_UP), Phase(event, WARM), Phase(event, 1)]
    command = f"{python} {way.command}" if way.command else ""
    handler = {"_HANDLER": way.handler, "LAMBDA_TASK_ROOT": str(APPS)} if way.handler else {}
    with Session(ours, command, phases, Options(pinned), {**environment, **handler}, save) as session:
        for _ in phases[:-1]:
            session.run_phase()
        memory = machine.memory_of(_all_of(session.pids[0]))
        result = session.run_phase()
        started_ns = session.started_ns
    if json.loads(json.loads(Path(f"{save}.0").read_bytes())["body"]) != {"hello": "world"}:
        raise BenchError(f"{way.name} did not answer as it has to")
    first, _, warm, _ = (phase["latency_ns"] for phase in result["phases"])
    cold_ns = result["first_next_at_ns"] - started_ns + first["max"]
    return Figures(cold_ns / 1e6, warm["p50"] / 1e3, warm["p99"] / 1e3, memory.pss / 1024)


def _all_of(pid: int) -> list[int]:
    return [pid, *(one for child in machine.children(pid) for one in _all_of(child))]


def table(measured: Mapping[str, list[Figures]], title: str) -> Table:
    """Medians over the rounds."""
    rows = []
    for name, figures in measured.items():
        medians = Figures(*(statistics.median(values) for values in zip(*figures, strict=True)))
        cells = (
            f"{medians.cold_ms:.0f} ms",
            f"{medians.p50_us:.0f} µs",
            f"{medians.p99_us:.0f} µs",
            f"{medians.memory_mb:.0f} MB",
        )
        rows.append((name, *cells))
    return Table(title, ("", "cold, first answer", "warm p50", "warm p99", "memory"), rows)


def compare(options: argparse.Namespace) -> None:
    """One run. Raises ``BenchError``."""
    mounted = enter("bench.callables", sys.argv[1:])
    if mounted.why_not:
        say(f"the layer cannot be measured, the checkout is instead: {mounted.why_not}")
    ours = contestants.fairlead(mounted)
    build("mock_api")
    load = machine.load()
    python = "/opt/fairlead/bin/python3" if mounted.tree else sys.executable
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        found = [
            table(measure(ours, python, Path(directory), options.rounds, pinned), title)
            for title, pinned in (("All cores", False), ("One core", True))
        ]
    facts = [
        f"- {machine.describe()}; load average {load} before and {machine.load()} after; {ours.name}; "
        + ", ".join(package.replace("==", " ") for package in PACKAGES)
        + ".",
        f"- {options.rounds} cold starts each, in turn, with {WARM} warm requests after each; medians over the starts.",
    ]
    text = "\n".join([*facts, "", *(tables.markdown(one) for one in found)])
    print(text)
    if options.write:
        document.replace(DOCS / "wsgi-asgi.md", "callables", text)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.callables", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"cold starts of each (default {ROUNDS})")
    parser.add_argument("--write", action="store_true", help="write docs/wsgi-asgi.md")
    options = parser.parse_args()
    return status(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
