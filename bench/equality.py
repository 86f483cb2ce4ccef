"""Both have to give the same answers before anything is timed: a runtime that does less is faster."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .cases import FIRST_BYTE, Suite
from .contestants import Contestant
from .failures import BenchError
from .session import Options, Phase, Session

# What may differ; everything else is compared.
# Keys of the payload, with the values that mean the same as no such key: the peer writes empty ones.
KNOWN_KEYS: dict[str, Sequence[object]] = {
    "headers": ({}, None),
    "multiValueHeaders": ({}, None),
    "cookies": ([], None),
}
END_OF_PRELUDE = bytes(8)
# Fields of the answer: the peer passes the app's on, which Lambda's front ends replace by their own.
KNOWN_FIELDS = ("content-length",)


def check(suite: Suite, contestants: Sequence[Contestant], app_command: str, directory: Path) -> None:
    """Raises ``BenchError`` with the first answer in which two contestants differ."""
    phases = []
    for number, case in enumerate(suite.cases):
        event = directory / f"checked-{number}.json"
        event.write_text(json.dumps(case.checked_event or case.event, ensure_ascii=False))
        phases.append(Phase(event, 1))
    for contestant in contestants:
        save = directory / f"answer-{contestant.key}"
        with Session(contestant, app_command, phases, Options(), suite.environment, save) as session:
            for _ in phases:
                session.run_phase()
    for number, case in enumerate(suite.cases):
        answers = [(directory / f"answer-{contestant.key}.{number}").read_bytes() for contestant in contestants]
        if suite.also == FIRST_BYTE and END_OF_PRELUDE not in answers[0]:
            raise BenchError(f"{case.name}: the answer of {contestants[0].name} was not streamed")
        for answer in answers[1:]:
            if found := difference(answers[0], answer):
                names = " and ".join(contestant.name for contestant in contestants)
                raise BenchError(f"{case.name}: the answers of {names} differ: {found}")


def difference(one: bytes, other: bytes) -> str:
    """In which keys two payloads differ, "" in none: JSON as values, bodies by hash."""
    left, right = comparable(one), comparable(other)
    keys = [key for key in {**left, **right} if left.get(key, "absent") != right.get(key, "absent")]
    return "; ".join(f"{key} is {left.get(key, 'absent')!r} and {right.get(key, 'absent')!r}" for key in keys)


def comparable(payload: bytes) -> dict[str, Any]:
    """The payload as values, without what may differ, its body as length and hash of its octets.

    Of a streamed answer the prelude is what has the values.
    """
    values, end_of_prelude, octets = payload.partition(END_OF_PRELUDE)
    document: dict[str, Any] = json.loads(values)
    document["is streamed"] = bool(end_of_prelude)
    if not end_of_prelude:
        body = document.get("body") or ""
        octets = base64.b64decode(body) if document.get("isBase64Encoded") else body.encode()
    document["body"] = f"{len(octets)} octets, sha256 {hashlib.sha256(octets).hexdigest()}"
    for key in ("headers", "multiValueHeaders"):
        for name in KNOWN_FIELDS:
            (document.get(key) or {}).pop(name, None)
    return {key: value for key, value in document.items() if value not in KNOWN_KEYS.get(key, ())}
