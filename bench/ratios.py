"""Paired figures: each round gives one of ours and one of the peer's, and what counts is how the two compare."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median, and the two quartiles around it."""

    median: float
    low: float
    high: float


class Paired(NamedTuple):
    """Medians of both sides, and what the rounds say of the two together; None where there is no peer.

    ``ratio`` is ours by the peer's, below 1 is better; ``difference`` is ours less the peer's. Both are medians over
    the rounds of what was found in one round, hence not the quotient of the two medians.
    """

    ours: float
    peer: float | None
    ratio: Spread | None
    difference: Spread | None


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value that value."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def paired(ours: Sequence[float], peer: Sequence[float]) -> Paired:
    """The ratios of rounds of equal number and order. ``peer`` may be empty."""
    if not peer:
        return Paired(statistics.median(ours), None, None, None)
    pairs = list(zip(ours, peer, strict=True))
    return Paired(
        statistics.median(ours),
        statistics.median(peer),
        spread([mine / its for mine, its in pairs]),
        spread([mine - its for mine, its in pairs]),
    )
