"""What a million requests cost on Lambda, by prices that you look up: ``python docs/guides/cost.py --help``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import NamedTuple

MILLION = 1_000_000


class Prices(NamedTuple):
    """In your currency, for your region and architecture."""

    gb_second: float
    million_requests: float


class Case(NamedTuple):
    """One way to run an app. Times in milliseconds, as Lambda's REPORT lines have them."""

    name: str
    memory_mb: int
    warm_ms: float
    cold_ms: float  # init and the first request together


def gb_seconds(case: Case, cold_share: float) -> float:
    """Of a million requests. Lambda bills whole milliseconds, the init as well, and a GB is 1024 MB."""
    billed_ms = (1 - cold_share) * math.ceil(case.warm_ms) + cold_share * math.ceil(case.cold_ms)
    return MILLION * billed_ms / 1000 * case.memory_mb / 1024


def cost(case: Case, cold_share: float, prices: Prices) -> float:
    """Of a million requests, without what stands before the function, logs and data transfer."""
    return gb_seconds(case, cold_share) * prices.gb_second + prices.million_requests


def table(cases: Sequence[Case], cold_share: float, prices: Prices) -> str:
    """The cases as Markdown, in the order given."""
    lines = ["| case | memory MB | GB-seconds | cost of a million requests |", "|---|---:|---:|---:|"]
    for case in cases:
        figures = f"{gb_seconds(case, cold_share):,.0f} | {cost(case, cold_share, prices):,.2f}"
        lines.append(f"| {case.name} | {case.memory_mb:,} | {figures} |")
    return "\n".join(lines)


def _case(text: str) -> Case:
    try:
        name, memory_mb, warm_ms, cold_ms = text.rsplit(":", 3)
        return Case(name, int(memory_mb), float(warm_ms), float(cold_ms))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME:MEMORY_MB:WARM_MS:COLD_MS") from None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="What a million requests cost on Lambda.")
    add = parser.add_argument
    add("--gb-second", type=float, required=True, help="the price of a GB-second")
    add("--million-requests", type=float, required=True, help="the price of a million requests")
    add("--cold-share", type=float, default=0.01, help="the part of the requests that wait for a start (default: 0.01)")
    add("cases", nargs="+", type=_case, metavar="NAME:MEMORY_MB:WARM_MS:COLD_MS", help="times as in REPORT lines")
    given = parser.parse_args(arguments)
    print(table(given.cases, given.cold_share, Prices(given.gb_second, given.million_requests)))


if __name__ == "__main__":
    main()
