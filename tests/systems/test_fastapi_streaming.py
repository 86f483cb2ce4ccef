"""Answers that the app makes bit by bit: complete and in order, whether they are streamed or buffered on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from local.run import STREAM

from .conftest import Figures, examples, running_or_skipped
from .system import EXAMPLES, System

pytestmark = examples("fastapi-streaming")


def test_the_page_is_served(system: System) -> None:
    assert b"EventSource" in system.ask("GET", "/").data


def test_server_sent_events_arrive_complete(system: System) -> None:
    response = system.ask("GET", "/clock?count=5&pause_ms=20", {"accept": "text/event-stream"})
    assert response.headers["content-type"].startswith("text/event-stream")
    *events, last = [event.splitlines() for event in response.data.decode().split("\n\n") if event]
    assert last == ["event: end", "data: {}"]
    assert [event[0] for event in events] == [f"id: {number}" for number in range(1, 6)]
    moments = [json.loads(event[1].removeprefix("data: "))["at_ms"] for event in events]
    assert moments == sorted(moments)


def test_many_lines_arrive_in_their_order(system: System) -> None:
    lines = system.ask("GET", "/lines?count=100000").data.splitlines()
    assert lines == [f"line {number:9}".encode() for number in range(1, 100_001)]


@pytest.fixture
def streaming(system: System) -> Iterator[System]:
    """The same, behind a URL that streams."""
    with running_or_skipped(EXAMPLES / system.name, invoke_mode=STREAM) as found:
        yield found


def test_streamed_an_event_arrives_before_the_next_ones_are_made(streaming: System) -> None:
    pieces = streaming.stream("/clock?count=10&pause_ms=200").stream()
    text = next(pieces).decode()
    arrived_ms = time.time_ns() // 1_000_000
    text += b"".join(pieces).decode()
    *events, last = [event.splitlines() for event in text.split("\n\n") if event]
    assert last == ["event: end", "data: {}"]
    assert [event[0] for event in events] == [f"id: {number}" for number in range(1, 11)]
    assert arrived_ms < json.loads(events[-1][1].removeprefix("data: "))["at_ms"]


def test_streamed_an_answer_may_be_larger_than_lambdas_6_mb(streaming: System) -> None:
    body = streaming.ask("GET", "/lines?count=1000000").data
    assert len(body) == 15_000_000
    assert body[-15:] == b"line   1000000\n"


def test_figures(system: System, figures: Figures) -> None:
    figures(system, "Python 3.13", target="/lines?count=100")


def test_the_app_ends_by_itself_when_it_is_told(system: System) -> None:
    assert system.has_said_at_its_end("stopped")
