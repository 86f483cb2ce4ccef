"""One X-Ray subsegment per request, sent to the daemon over UDP (``FAIRLEAD_TRACING=xray``)
(https://docs.aws.amazon.com/xray/latest/devguide/xray-api-segmentdocuments.html).

Only for traces that Lambda samples. Where no daemon listens the datagram is lost, and nothing waits for it.
"""

from __future__ import annotations

import posix

from ..c_modules import socket
from ..connection import address_of
from ..errors import ProtocolError
from ..json_codec import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .observation import Record

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


def sender(daemon: str) -> Callable[[Record], None]:
    """What sends the subsegment of each record to ``daemon`` (AWS_XRAY_DAEMON_ADDRESS)."""
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
