"""Cold starts: from the runtime's exec until it first asks for an invocation."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from . import machine
from .build import build
from .cases import HANDLED
from .contestants import Contestant
from .session import Options, Phase, Session, in_order

APPS = Path(__file__).parent / "apps"
BUSY_MS = (5, 40, 200)


class App(NamedTuple):
    """Something to start: a command, or without one a handler that the environment names."""

    name: str
    command: str
    environment: Mapping[str, str] = {}


EMPTY_HANDLER = App("empty module", "", {**HANDLED.environment, "_HANDLER": "empty.handler"})


def apps(fast_app: Path) -> list[App]:
    """Native ones that need so long until they listen, and Node where it is."""
    found = [App(f"app needs {needed} ms", f"{build('busy')} {needed} {fast_app}") for needed in BUSY_MS]
    if node := shutil.which("node"):
        found.append(App("Node, node:http", f"{node} {APPS / 'hello_node.mjs'}"))
    return found


def measure(
    event: Mapping[str, object],
    contestants: Sequence[Contestant],
    started: Sequence[App],
    directory: Path,
    options: Options,
    rounds: int,
    dropped: bool,
) -> dict[tuple[str, str], list[float]]:
    """Milliseconds by the name of the app and the key of the contestant, one per round. Each also answers ``event``.

    ``dropped``: the page cache is dropped before each start, so that runtime, app and system come from the disk.
    """
    file = directory / "cold.json"
    file.write_text(json.dumps(event))
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for number in range(rounds):
        for app in started:
            for contestant in in_order(contestants, number):
                if dropped:
                    machine.drop_page_cache()
                taken = _first_next_ms(contestant, app, Phase(file, 1), options)
                times[app.name, contestant.key].append(taken)
    return times


def _first_next_ms(contestant: Contestant, app: App, phase: Phase, options: Options) -> float:
    with Session(contestant, app.command, [phase], options, app.environment) as session:
        result = session.run_phase()  # and it has to work, too
        return float(result["first_next_at_ns"] - session.started_ns) / 1e6
