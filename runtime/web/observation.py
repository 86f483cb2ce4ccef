"""Measures each invocation for those who want to know: the request log, metrics and traces.

Nothing of this is imported unless one of them is on. Durations come from the monotonic clock, points in time are epoch
seconds.

- **Request log** (``FAIRLEAD_REQUEST_LOG``): one JSON object per request on stdout. No header values, no query and no
  body: each of them may carry a secret.
- **Metrics** (``FAIRLEAD_METRICS=emf``): a log line that CloudWatch makes metrics of
  (https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
  Nothing is sent anywhere: Lambda takes stdout to CloudWatch Logs, and CloudWatch finds the metrics in there.
- **Traces** (``FAIRLEAD_TRACING=xray``): one X-Ray subsegment per request, sent to the daemon over UDP
  (https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html), only for traces that Lambda
  samples. Where no daemon listens the datagram is lost, and nothing waits for it.
"""

from __future__ import annotations

import posix
import time

from ..connection import address_of
from ..errors import ProtocolError
from ..json_codec import dumps
from ..logs import write_all
from ..standard import socket
from ..values import NamedTuple
from .processes import group_resident_bytes, resident_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..config import Config
    from ..invocation import Invocation
    from .handler import Exchange

    Observer = Callable[["Record"], None]

STDOUT = 1


class Start(NamedTuple):
    """How the environment came up, told with its first invocation."""

    init_ms: float  # from the start of `bootstrap` to the first next
    app_ready_ms: float  # from the same to the app's readiness


class Record(NamedTuple):
    """One invocation that is over. Durations are milliseconds, sizes are bytes."""

    invocation: Invocation
    began: float  # epoch seconds
    total_ms: float  # from the event to the moment that the answer was taken
    app_began: float  # epoch seconds; 0 when the app was not asked
    app_ms: float  # until the app's answer was there; for a streamed one, its head
    method: str
    path: str  # without the query, which may carry secrets
    status: int  # of the app; 0: it gave none
    request_bytes: int
    response_bytes: int
    error_type: str  # of the fault, if there was one
    start: Start | None  # for the first invocation of an environment only

    @property
    def overhead_ms(self) -> float:
        """The time that is not the app's: ours, and the platform's for taking the answer."""
        return max(0.0, self.total_ms - self.app_ms)


class Clocks:
    """Measures each invocation, and hands a ``Record`` of it to the observers when it is over.

    As middleware it is the innermost step, so that it measures the app alone.
    """

    def __init__(self, start: Start, is_first: Callable[[], bool], observers: Sequence[Observer]) -> None:
        self._start: Start | None = start
        self._is_first = is_first
        self._observers = observers

    def begin(self, exchange: Exchange) -> None:
        """Start the clock of the invocation."""
        exchange.began, exchange.started = time.time(), time.monotonic()

    def before(self, exchange: Exchange) -> None:
        """Start the clock of the app."""
        exchange.app_began, exchange.app_started = time.time(), time.monotonic()

    def after(self, exchange: Exchange) -> None:
        """Stop the clock of the app, and see to it that its bytes are counted."""
        self.stop(exchange)
        response = exchange.response
        if response:
            exchange.status = response.status
            exchange.response_bytes = len(response.body)
        if exchange.body is not None:
            exchange.filters = (_Counter(exchange), *exchange.filters)

    def stop(self, exchange: Exchange) -> None:
        """Stop the clock of the app, if it runs: it has answered, or failed."""
        if exchange.app_started and not exchange.app_ms:
            exchange.app_ms = (time.monotonic() - exchange.app_started) * 1000

    def report(self, exchange: Exchange) -> None:
        """Tell the observers: the answer was taken a moment ago, which is the end of the invocation's time."""
        start, self._start = self._start, None
        was_asked = exchange.app_began > 0
        request = exchange.request if was_asked else None
        record = Record(
            exchange.invocation,
            exchange.began,
            (time.monotonic() - exchange.started) * 1000,
            exchange.app_began,
            exchange.app_ms,
            request.method if request else "",
            request.target.partition("?")[0] if request else "",
            exchange.status,
            len(request.body) if request else 0,
            exchange.response_bytes,
            exchange.error_type,
            start if start and self._is_first() else None,
        )
        for observer in self._observers:
            observer(record)


class _Counter:
    """Counts the bytes of a streamed body."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def feed(self, octets: bytes) -> bytes:
        self._exchange.response_bytes += len(octets)
        return octets

    def finish(self) -> bytes:
        return b""


def observers_of(config: Config, environ: Mapping[str, str], app_group: Callable[[], int]) -> list[Observer]:
    """Returns those who want to know about each invocation. ``app_group`` returns the app's process group."""
    observers: list[Observer] = []
    if config.observation.request_log:
        observers.append(write_request_line)
    if config.observation.metrics:
        observers.append(metrics_writer(environ.get("AWS_LAMBDA_FUNCTION_NAME", ""), app_group))
    if config.observation.tracing:
        observers.append(subsegment_sender(environ.get("AWS_XRAY_DAEMON_ADDRESS", "")))
    return observers


# ---- the request log ------------------------------------------------------------------------------------------------

_ALWAYS = ("requestBytes", "responseBytes", "overheadMs", "coldStart")


def request_line(record: Record) -> bytes:
    """The record as a line of JSON. What does not apply is left out."""
    fields = {
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.began))
        + f".{int(record.began * 1000) % 1000:03d}Z",
        "type": "request",
        "requestId": record.invocation.request_id,
        "tenantId": record.invocation.tenant_id,
        "method": record.method,
        "path": record.path,
        "status": record.status,
        "requestBytes": record.request_bytes,
        "responseBytes": record.response_bytes,
        "appMs": round(record.app_ms, 3),
        "overheadMs": round(record.overhead_ms, 3),
        "errorType": record.error_type,
        "coldStart": record.start is not None,
    }
    kept = {name: value for name, value in fields.items() if value or name in _ALWAYS}
    return dumps(kept) + b"\n"


def write_request_line(record: Record) -> None:
    """Write the record's line."""
    write_all(STDOUT, request_line(record))


# ---- metrics --------------------------------------------------------------------------------------------------------

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


def metrics_line(record: Record, function_name: str, memory: Memory) -> bytes:
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


def metrics_writer(function_name: str, app_group: Callable[[], int]) -> Observer:
    """Returns a function that writes each invocation's line to stdout. ``app_group`` returns the app's group, or 0."""

    def write(record: Record) -> None:
        group = app_group()
        memory = Memory(group_resident_bytes(group) if group else 0, resident_bytes(posix.getpid()))
        write_all(STDOUT, metrics_line(record, function_name, memory))

    return write


# ---- traces ---------------------------------------------------------------------------------------------------------

DEFAULT_DAEMON = "127.0.0.1:2000"
_HEADER = b'{"format":"json","version":1}\n'


def trace_fields(header: str) -> dict[str, str]:
    """``Root=...;Parent=...;Sampled=1`` taken apart."""
    parts = (part.partition("=") for part in header.split(";"))
    return {name.strip(): value.strip() for name, _, value in parts}


def subsegment(record: Record, identifier: str) -> bytes:
    """The datagram for one request, or ``b""`` when its trace is not sampled or the app was not asked."""
    trace = trace_fields(record.invocation.trace_id)
    if trace.get("Sampled") != "1" or not trace.get("Root") or not trace.get("Parent") or not record.app_began:
        return b""
    document = {
        "name": "app",
        "id": identifier,
        "trace_id": trace["Root"],
        "parent_id": trace["Parent"],
        "type": "subsegment",
        "start_time": record.app_began,
        "end_time": record.app_began + record.app_ms / 1000,
        "namespace": "remote",
        "http": {
            "request": {"method": record.method, "url": record.path},
            "response": {"status": record.status, "content_length": record.response_bytes},
        },
        "error": 400 <= record.status <= 499,
        "fault": record.status >= 500 or bool(record.error_type),
        "throttle": record.status == 429,
    }
    return _HEADER + dumps(document)


def daemon_address(text: str) -> tuple[str, int]:
    """The daemon's UDP address. The variable may name two: ``tcp:host:port udp:host:port``."""
    for word in text.split():
        if not word.startswith("tcp:"):
            try:
                return address_of(word.removeprefix("udp:"))
            except ProtocolError:
                pass
    return address_of(DEFAULT_DAEMON)


def subsegment_sender(daemon: str) -> Callable[[Record], None]:
    """Returns a function that sends the subsegment of each record to ``daemon`` (AWS_XRAY_DAEMON_ADDRESS)."""
    address = daemon_address(daemon)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.setblocking(False)

    def send(record: Record) -> None:
        datagram = subsegment(record, posix.urandom(8).hex())
        if not datagram:
            return
        try:
            udp.sendto(datagram, address)
        except OSError:  # nobody there, or a full buffer: a trace is not worth a request
            pass

    return send
