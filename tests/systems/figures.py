"""What the systems' tests saw, as the table in docs/systems.md."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import NamedTuple

from local.app.prepared import prepare, unpacked
from local.app.start_script import START_SCRIPT
from local.run import layer_tree

from .system import System, started

BEGIN = "<!-- written by make test-systems: begin -->"
END = "<!-- written by make test-systems: end -->"
COLD_STARTS = 5
WARM_REQUESTS = 50
# Of a Python app's lock the packages that are worth a word; the others came with them.
NAMED = "django|fastapi|flask|gunicorn|python-fasthtml|uvicorn|whitenoise"


class Row(NamedTuple):
    """One example's line: medians in milliseconds, memory in MB after the requests (None: nobody may look).

    ``unpacked_mb`` is all that Lambda unpacks, app and layers together, of which it allows 250 MiB.
    """

    example: str
    runtime: str
    packages: str
    cold_ms: float
    warm_ms: float
    memory_mb: float | None
    unpacked_mb: float
    handler: str = START_SCRIPT


def measured(system: System, runtime: str, target: str = "/api/request") -> Row:
    """The figures of ``system``, which runs and goes on running; for the cold ones others are started beside it."""
    system.ask("GET", target)
    first = len(system.served)
    for _ in range(WARM_REQUESTS):
        system.ask("GET", target)
    warm = [served.duration_ms for served in system.served[first:]]
    memory_mb = system.memory_mb()
    cold = [_cold_ms(system, target) for _ in range(COLD_STARTS)]
    return Row(
        system.name,
        runtime,
        packages(system.app),
        statistics.median(cold),
        statistics.median(warm),
        memory_mb,
        unpacked_mb(system),
        system.handler,
    )


def unpacked_mb(system: System) -> float:
    """The size of the function with its layers."""
    prepared = prepare(system.app, layer_tree(None), handler=system.handler)
    return sum(unpacked(prepared).values()) / 1e6


def _cold_ms(like: System, target: str) -> float:
    own_port = {name: value for name, value in like.environment.items() if name != "PORT"}  # that one is taken
    with started(like.app, own_port, handler=like.handler) as system:
        system.ask("GET", target)
        assert system.served[0].is_cold
        return system.served[0].duration_ms


def packages(app: Path) -> str:
    """What the app names as its packages, with the versions that it pins."""
    found: dict[str, str] = {}
    if (app / "package.json").is_file():
        manifest = json.loads((app / "package.json").read_text())
        # An app that is built needs its packages for development only; types are none that run.
        every = {**manifest.get("devDependencies", {}), **manifest.get("dependencies", {})}
        found |= {name: version for name, version in every.items() if not name.startswith("@types/")}
    if (app / "deno.json").is_file():
        imports = json.loads((app / "deno.json").read_text()).get("imports", {}).values()
        found |= dict(value.removeprefix("npm:").rsplit("@", 1) for value in imports if value.startswith("npm:"))
    if (app / "requirements.txt").is_file():
        found |= dict(re.findall(rf"(?m)^({NAMED})==(\S+)$", (app / "requirements.txt").read_text()))
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def table(rows: list[Row]) -> str:
    """The rows as Markdown, in the order of their names."""
    lines = [
        "| example | runtime | packages | cold ms | warm ms | memory MB | unpacked MB |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for row in sorted(rows):
        memory = "not measured" if row.memory_mb is None else f"{row.memory_mb:.0f}"
        name = f"[{row.example}](../examples/{row.example})"
        if row.handler != START_SCRIPT:
            name += f", handler `{row.handler}`"
        cells = (row.runtime, row.packages or "none", f"{row.cold_ms:.0f}", f"{row.warm_ms:.1f}", memory)
        lines.append(f"| {' | '.join((name, *cells, f'{row.unpacked_mb:.0f}'))} |")
    return "\n".join(lines)


def written(page: str, rows: list[Row], note: str) -> str:
    """``page`` with another table, and ``note`` above it, between its two marker comments."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks the comments {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{note}\n\n{table(rows)}\n{END}{after}"
