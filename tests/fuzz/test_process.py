"""Examples drawn by chance, the same ones every time, through one real process: it answers each, and stays in step.

``python -m tests.fuzz --minutes N`` draws others, for as long as it is told to.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from . import strategies
from .examples import Example, from_json, to_json
from .session import Session

pytestmark = pytest.mark.keeps_processes  # the session starts another process after a failure

usual = settings(
    derandomize=True,
    max_examples=250,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """One process for all examples: that is what they are about."""
    with Session() as running:
        yield running


@usual
@given(example=strategies.hostile_events())
def test_any_event_is_answered_once_and_reaches_the_app_as_one_request(session: Session, example: Example) -> None:
    session.check(example)


@usual
@given(example=strategies.hostile_answers())
def test_any_answer_of_the_app_becomes_one_answer_and_leaves_nothing_behind(session: Session, example: Example) -> None:
    session.check(example)


@usual
@given(example=strategies.everything())
def test_any_event_with_any_answer(session: Session, example: Example) -> None:
    session.check(example)


@settings(usual, max_examples=20)
@given(example=strategies.everything())
def test_a_kept_example_is_the_same_example(example: Example) -> None:
    assert from_json(to_json(example)) == example
