"""A short run of each style. ``make chaos`` is the long one; it takes other seeds too."""

from __future__ import annotations

import pytest

from .run import STYLES, Chaos

MESSAGES = 25


@pytest.mark.parametrize(("style", "concurrency"), list(zip(STYLES, (1, 4, 1, 4, 1), strict=True)))
def test_what_is_acknowledged_was_done_once_and_says_what_was_asked(style: str, concurrency: int) -> None:
    chaos = Chaos(style, concurrency, seed=1)
    chaos.run(MESSAGES)
    assert not chaos.problems
    assert chaos.counts["acknowledged"] >= MESSAGES


def test_a_seed_gives_the_same_deliveries() -> None:
    first, second = (Chaos("alone", 1, seed=5) for _ in range(2))
    assert list(first._messages(50)) == list(second._messages(50))
