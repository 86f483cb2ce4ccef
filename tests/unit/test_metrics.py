"""Metrics as log lines: values in, one line of JSON out; and the memory of real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.invocation import Invocation
from runtime.web.observation import UNITS, Memory, Record, Start, metrics_line
from runtime.web.processes import group_resident_bytes, resident_bytes
from tests.fakes.children import child, killed_at_the_end

MEBIBYTE = 1024 * 1024
# Of the specification's own list, what is used here.
CLOUDWATCH_UNITS = {"Count", "Milliseconds", "Bytes"}


def record(start: Start | None = None, **changes: object) -> Record:
    made = Record(
        invocation=Invocation("id-1", b"payload"),
        began=1763726400.0419,
        total_ms=12.3456,
        app_began=1763726400.05,
        app_ms=10.0,
        method="GET",
        path="/orders",
        status=200,
        request_bytes=7,
        response_bytes=42,
        error_type="",
        start=start,
    )
    return made._replace(**changes)


MEMORY = Memory(50 * MEBIBYTE, 10 * MEBIBYTE)


def fields(made: Record, memory: Memory = MEMORY) -> dict[str, Any]:
    text = metrics_line(made, "shop", memory)
    assert text.endswith(b"}\n")
    assert text.count(b"\n") == 1
    return json.loads(text)


def test_the_first_invocation_tells_how_the_environment_came_up() -> None:
    assert fields(record(Start(123.45678, 98.7654))) == {
        "_aws": {
            "Timestamp": 1763726400041,
            "CloudWatchMetrics": [
                {
                    "Namespace": "Fairlead",
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{"Name": name, "Unit": unit} for name, unit in UNITS.items()],
                }
            ],
        },
        "FunctionName": "shop",
        "requestId": "id-1",
        "ColdStart": 1,
        "InitDuration": 123.457,
        "AppReadyDuration": 98.765,
        "OverheadDuration": 2.346,
        "AppMemory": 50 * MEBIBYTE,
        "RuntimeMemory": 10 * MEBIBYTE,
    }


def test_later_invocations_tell_that_they_were_no_cold_starts() -> None:
    made = fields(record())
    assert made["ColdStart"] == 0
    assert set(made) == {
        *("_aws", "FunctionName", "requestId", "ColdStart", "OverheadDuration", "AppMemory", "RuntimeMemory")
    }


@pytest.mark.parametrize("memory", [Memory(0, 0), Memory(1, 1)])
@pytest.mark.parametrize("start", [None, Start(1.0, 1.0)])
def test_what_is_declared_is_there_and_of_a_unit_that_cloudwatch_knows(start: Start | None, memory: Memory) -> None:
    """The specification wants a number for each metric that is declared, and a text for each dimension."""
    made = fields(record(start), memory)
    (directive,) = made["_aws"]["CloudWatchMetrics"]
    declared = {metric["Name"]: metric["Unit"] for metric in directive["Metrics"]}
    assert all(isinstance(made[name], int | float) for name in declared)
    assert set(declared.values()) <= CLOUDWATCH_UNITS
    assert set(made) == {"_aws", "FunctionName", "requestId", *declared}
    assert all(isinstance(made[name], str) for (name,) in directive["Dimensions"])


def test_nothing_of_the_request_is_in_the_line() -> None:
    text = metrics_line(record(path="/orders/secret"), "shop", Memory(1, 1))
    assert b"orders" not in text
    assert b"payload" not in text


# Memory


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group, holds 40 MiB, and has a child in it that holds 20 MiB more."""
    code = (
        "import os, sys, time\nheld = b'x' * (40 << 20)\n"
        "if not os.fork():\n    more = b'x' * (20 << 20)\n    sys.stdout.write('y\\n')\n    sys.stdout.flush()\n"
        "    os.read(0, 1)\n    os._exit(0)\n"
        "sys.stdin.read(1)"
    )
    command = [os.path.realpath(sys.executable), "-IS", "-c", code]
    with killed_at_the_end(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"y\n"
        yield process


def test_a_process_is_told_with_what_it_holds(holder: subprocess.Popen[bytes]) -> None:
    assert 40 * MEBIBYTE < resident_bytes(holder.pid) < 100 * MEBIBYTE


def test_a_group_is_the_sum_of_its_processes(holder: subprocess.Popen[bytes]) -> None:
    assert 100 * MEBIBYTE < group_resident_bytes(holder.pid) < 200 * MEBIBYTE


def test_the_line_is_written_to_stdout(holder: subprocess.Popen[bytes]) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from runtime.web.observation import metrics_writer as writer\nfrom tests.unit.test_metrics import record\n"
        "writer('shop', lambda: int(sys.argv[2]))(record())\nwriter('shop', lambda: 0)(record())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[2]), str(holder.pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    with_app, without = map(json.loads, done.stdout.splitlines())
    assert 100 * MEBIBYTE < with_app["AppMemory"] < 200 * MEBIBYTE
    assert with_app["RuntimeMemory"] > MEBIBYTE
    assert "AppMemory" not in without


def test_what_is_gone_has_no_memory() -> None:
    with child(["/bin/true"]) as process:
        pass
    assert (resident_bytes(process.pid), group_resident_bytes(process.pid)) == (0, 0)
