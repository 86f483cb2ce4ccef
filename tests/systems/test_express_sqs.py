"""A queue's batches: what cannot be processed is reported alone, and a batch that fails as a whole is not lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Figures, examples
from .system import System

pytestmark = examples("express-sqs")


def batch(*bodies: str) -> bytes:
    records = [
        {
            "messageId": f"message-{number}",
            "receiptHandle": "AQEB",
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
            "messageAttributes": {},
            "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:orders",
            "awsRegion": "us-east-2",
        }
        for number, body in enumerate(bodies, 1)
    ]
    return json.dumps({"Records": records}).encode()


def order(quantity: object) -> str:
    return json.dumps({"id": f"order of {quantity}", "quantity": quantity})


BATCHES: dict[str, tuple[list[str], list[str]]] = {
    "all are good": ([order(1), order(2)], []),
    "one fails alone": ([order(1), order(-1), order(3)], ["message-2"]),
    "one is no JSON": ([order(1), "{", order(3)], ["message-2"]),
    "one is null": (["null", order(2)], ["message-1"]),
    "all fail": ([order(0), order("x")], ["message-1", "message-2"]),
}


@pytest.mark.parametrize(("bodies", "failed"), BATCHES.values(), ids=BATCHES)
def test_the_messages_that_fail_are_delivered_again_alone(system: System, bodies: list[str], failed: list[str]) -> None:
    answer = system.invoke(batch(*bodies))
    assert answer == {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}


def test_an_answer_of_500_fails_the_whole_batch(system: System) -> None:
    """An invocation error: SQS delivers everything again. An event without records makes this app throw."""
    error = system.invoke(b'{"not": "a batch"}')
    assert error["errorType"] == "Function.Status500"
    assert "an event without Records is no batch" in error["errorMessage"]


def test_a_batch_from_outside_is_refused(system: System) -> None:
    """Whoever reaches the function's URL cannot pass for the queue, not even with the header."""
    headers = {"content-type": "application/json", "x-fairlead-event-source": "aws:sqs"}
    assert system.ask("POST", "/events", headers, batch(order(1))).status == 403


def test_the_app_says_what_it_did(system: System) -> None:
    written: Any = "\n".join(system.output)
    assert "processed order order of 3" in written
    assert "message message-2: quantity -1 is not above zero" in written


def test_figures(system: System, figures: Figures) -> None:
    runtime, _, _ = system.ask("GET", "/").data.decode().partition(" waits")
    figures(system, runtime, target="/")


def test_the_app_ends_by_itself_when_it_is_told(system: System) -> None:
    assert system.has_said_at_its_end("stopped")
