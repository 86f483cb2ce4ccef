"""Metrics of each invocation as a log line that CloudWatch makes metrics of (``FAIRLEAD_METRICS=emf``)
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).

Nothing is sent anywhere: Lambda takes stdout to CloudWatch Logs, and CloudWatch finds the metrics in there.
"""

from __future__ import annotations

import posix

from ..json_codec import dumps
from ..logs import write_all
from ..values import NamedTuple
from .processes import group_resident_bytes, resident_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .observation import Observer, Record

STDOUT = 1

NAMESPACE = "Fairlead"
UNITS = {
    "ColdStart": "Count",
    "InitDuration": "Milliseconds",
    "AppReadyDuration": "Milliseconds",
    "OverheadDuration": "Milliseconds",
    "AppMemory": "Bytes",
    "RuntimeMemory": "Bytes",
}


class Memory(NamedTuple):
    """Resident bytes of the app's process group and of our own process; 0: not known."""

    app: int
    runtime: int


def line(record: Record, function_name: str, memory: Memory) -> bytes:
    """One line of JSON with what is to be a metric, by function, and the request id to find the invocation by.

    ``InitDuration`` and ``AppReadyDuration`` are told once per environment, so that their averages are those of starts;
    ``ColdStart`` is 0 or 1 each time, so that its average is a rate.
    """
    values = {
        "ColdStart": int(record.start is not None),
        "InitDuration": round(record.start.init_ms, 3) if record.start else None,
        "AppReadyDuration": round(record.start.app_ready_ms, 3) if record.start else None,
        "OverheadDuration": round(record.overhead_ms, 3),
        "AppMemory": memory.app or None,
        "RuntimeMemory": memory.runtime or None,
    }
    known = {name: value for name, value in values.items() if value is not None}
    metrics = {
        "Namespace": NAMESPACE,
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": name, "Unit": UNITS[name]} for name in known],
    }
    # The request id is no dimension: each of its values would be a metric of its own, and paid for as such.
    described = {
        "_aws": {"Timestamp": int(record.began * 1000), "CloudWatchMetrics": [metrics]},
        "FunctionName": function_name,
        "requestId": record.invocation.request_id,
    }
    return dumps({**described, **known}) + b"\n"


def writer(function_name: str, app_group: Callable[[], int]) -> Observer:
    """What writes each invocation's line to stdout. ``app_group`` tells the app's process group; 0: there is none."""

    def write(record: Record) -> None:
        group = app_group()
        memory = Memory(group_resident_bytes(group) if group else 0, resident_bytes(posix.getpid()))
        write_all(STDOUT, line(record, function_name, memory))

    return write
