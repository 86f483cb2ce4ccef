"""What an invocation makes a reader follow: a budget in calls, files and changes of file (``make count``)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.count import Count, Counter

CHECKOUT = Path(__file__).parents[2]


def inner() -> int:
    return 1


def outer() -> int:
    class Local:
        """The body of a class is no call."""

        value = inner()

    return Local.value + inner()


def test_the_counter_counts_calls_of_functions_below_its_folder_and_no_others() -> None:
    with Counter(__file__) as counter:
        outer()
        len(sys.argv)
    assert counter.count == Count(calls=3, functions=2, files=1, changes=0, depth=3)


@pytest.fixture(scope="module")
def counts() -> dict[str, dict[str, int]]:
    command = [sys.executable, "-m", "bench.count", "--json"]
    output = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=True, timeout=60).stdout
    counted: dict[str, dict[str, int]] = json.loads(output)
    return counted


# At most so many calls, files and changes of file, and so deep. What was won is kept; less is better.
BUDGET = {
    "GET": Count(calls=74, functions=60, files=12, changes=40, depth=10),
    "GET, streamed": Count(calls=118, functions=94, files=17, changes=68, depth=11),
    "GET, all middleware": Count(calls=139, functions=104, files=20, changes=76, depth=12),
    "handler": Count(calls=45, functions=37, files=9, changes=24, depth=10),
    "init failure": Count(calls=655, functions=180, files=19, changes=158, depth=17),
}


@pytest.mark.parametrize("name", BUDGET)
def test_an_invocation_stays_within_its_budget(counts: dict[str, dict[str, int]], name: str) -> None:
    budget = BUDGET[name]._asdict()
    assert {what: number for what, number in counts[name].items() if number > budget[what]} == {}
