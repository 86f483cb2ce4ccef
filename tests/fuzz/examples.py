"""One example: an invocation and what the app answers to it. A value, so that a failing one can be kept in a file."""

from __future__ import annotations

import base64
import json
from typing import Any, Literal, NamedTuple

End = Literal["keep", "close", "reset", "die"]


class Expected(NamedTuple):
    """What has to come of an answer that has only one reading."""

    status: int
    body: bytes


class AppAnswer(NamedTuple):
    """What the app sends, and what it does then."""

    pieces: tuple[bytes, ...]  # one send each
    end: End = "close"
    is_early: bool = False  # sent when the request's head has come, its body or not
    expected: Expected | None = None


class Example(NamedTuple):
    """An invocation and the answer of the app."""

    payload: bytes
    answer: AppAnswer
    fields: tuple[tuple[str, str], ...] = ()  # of the Runtime API's answer to next; bytes as latin-1
    deadline: int | str = 30_000  # milliseconds from now, or the field's value as it is

    def __repr__(self) -> str:
        """Short: the whole is in the file."""
        return f"Example({self.payload!r:.1500}, {self.answer!r:.1500}, {self.fields!r:.500}, {self.deadline!r:.50})"


def to_json(example: Example) -> str:
    """The example as text, for people too: bytes in base64, with a readable form beside them."""
    answer = example.answer
    document = {
        "payload": _written(example.payload),
        "fields": example.fields,
        "deadline": example.deadline,
        "answer": {
            "pieces": [_written(piece) for piece in answer.pieces],
            "end": answer.end,
            "is_early": answer.is_early,
            "expected": answer.expected and [answer.expected.status, _written(answer.expected.body)],
        },
    }
    return json.dumps(document, indent=2)


def from_json(text: str) -> Example:
    """The example that ``to_json`` wrote."""
    document = json.loads(text)
    answer = document["answer"]
    expected = answer["expected"]
    return Example(
        _read(document["payload"]),
        AppAnswer(
            tuple(_read(piece) for piece in answer["pieces"]),
            answer["end"],
            answer["is_early"],
            Expected(expected[0], _read(expected[1])) if expected else None,
        ),
        tuple((name, value) for name, value in document["fields"]),
        document["deadline"],
    )


def _written(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode(), "readable": repr(data[:2000])}


def _read(written: dict[str, Any]) -> bytes:
    return base64.b64decode(written["base64"])
