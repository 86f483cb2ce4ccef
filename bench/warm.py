"""Warm invocations: both contestants alive, case after case, and in each case one side after the other."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from . import machine
from .cases import Case, Suite
from .contestants import Contestant
from .failures import BenchError
from .machine import Memory
from .session import Options, Phase, Session, in_order

IDLE_S = 3.0


class Sample(NamedTuple):
    """One case of one contestant in one round. Times in nanoseconds, ``cpu_ns`` per invocation."""

    p50_ns: int
    p99_ns: int
    cpu_ns: float
    memory: Memory
    first_byte_ns: int
    per_second: float  # invocations


class Warm(NamedTuple):
    """``samples[case, contestant]`` by the name of the case and the key of the contestant, one per round."""

    samples: dict[tuple[str, str], list[Sample]]
    idle_cpu: dict[str, float]  # part of one core, by the contestant's key; empty when nobody looked

    def of(self, case: str, key: str) -> list[Sample]:
        """The rounds; none for a contestant that is not there."""
        return self.samples.get((case, key), [])


def measure(
    suite: Suite,
    contestants: Sequence[Contestant],
    app_command: str,
    directory: Path,
    options: Options,
    rounds: int,
    scale: float,
    looks_at_idle: bool = False,
) -> Warm:
    """All cases in so many rounds, each with processes of its own; ``scale`` times the invocations of the table."""
    lives = [(life, _phases(life, directory / str(number), scale)) for number, life in enumerate(suite.lives)]
    warm = Warm(defaultdict(list), {})
    for number in range(rounds):
        for cases, phases in lives:
            with ExitStack() as stack:
                sessions = [
                    stack.enter_context(Session(contestant, app_command, phases, options, suite.environment))
                    for contestant in in_order(contestants, number)
                ]
                if looks_at_idle and not warm.idle_cpu:
                    warm.idle_cpu.update(_idle_cpu(sessions))
                _measure_life(cases, sessions, phases, warm)
    return warm


def _phases(cases: Sequence[Case], directory: Path, scale: float) -> list[Phase]:
    """Warm-up and measurement of each case, and one invocation more: before it, the last case can be looked at."""
    directory.mkdir(exist_ok=True)
    phases = []
    for number, case in enumerate(cases):
        event = directory / f"{number}.json"
        event.write_text(json.dumps(case.event, ensure_ascii=False))
        phases += [Phase(event, max(1, int(case.warm_up * scale))), Phase(event, max(3, int(case.invocations * scale)))]
    return [*phases, Phase(phases[0].event, 1)]


def _measure_life(cases: Sequence[Case], sessions: Sequence[Session], phases: Sequence[Phase], warm: Warm) -> None:
    seen: dict[tuple[str, str], tuple[float, Memory]] = {}
    for number, case in enumerate(cases):
        for session in sessions:
            session.run_phase()
            before = machine.cpu_ns(session.pids)
            session.run_phase()
            used = (machine.cpu_ns(session.pids) - before) / phases[2 * number + 1].invocations
            seen[case.name, session.contestant.key] = (used, machine.memory_of(session.pids))
    for session in sessions:
        measured = session.run_phase()["phases"]
        for number, case in enumerate(cases):
            phase = measured[2 * number + 1]
            if case.time not in phase:
                raise BenchError(f"{session.contestant.name}: {case.name}: the mock measured no {case.time}")
            used, memory = seen[case.name, session.contestant.key]
            first_byte, per_second = phase["first_byte_ns"]["p50"], phase["answered"] / phase["seconds"]
            sample = Sample(phase[case.time]["p50"], phase[case.time]["p99"], used, memory, first_byte, per_second)
            warm.samples[case.name, session.contestant.key].append(sample)


def _idle_cpu(sessions: Sequence[Session]) -> dict[str, float]:
    """The CPU time of waiting in ``next``."""
    before = {session.contestant.key: machine.cpu_ns(session.pids) for session in sessions}
    began = time.monotonic()
    time.sleep(IDLE_S)
    return {
        session.contestant.key: (machine.cpu_ns(session.pids) - before[session.contestant.key])
        / 1e9
        / (time.monotonic() - began)
        for session in sessions
    }
