"""Everything that is not HTTP: the event goes to the app as it is, and the app's answer goes back as it is.

Nothing is parsed and written again on the way, so large numbers, the order of keys and repeated keys survive.
"""

from __future__ import annotations

from ..errors import InvocationFault
from ..json_codec import dumps, loads
from ..messages import HttpRequest, header
from .context import trigger_context_lines
from .fields import EVENT_SOURCE, is_safe
from .lenient import mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..invocation import Invocation
    from ..messages import HttpResponse
    from .options import EventOptions

UNKNOWN = "unknown"
_LONGEST_MESSAGE = 4096  # bytes of the app's answer that go into an error message
_LONGEST_SOURCE = 64


def to_request(event: object, invocation: Invocation, options: EventOptions) -> HttpRequest:
    """``POST`` of the payload, untouched, to the events path, with fields that no client can have sent."""
    headers = [
        ("host", "localhost"),
        ("content-type", "application/json"),
        ("content-length", str(len(invocation.payload))),
        (EVENT_SOURCE, source_of(event)),
    ]
    headers += trigger_context_lines(invocation, options)
    return HttpRequest("POST", options.events_path, headers, invocation.payload)


def source_of(event: object) -> str:
    """The service that sent ``event``, in its own spelling (``aws:sqs``), or "unknown": a direct invoke is among those.

    Only sources that hand over records or notifications are named: those that expect a document of their own
    (Cognito, authorizers, Bedrock...) answer to the app's JSON alone.
    """
    batch = mapping(event).get("Records", event)  # EventBridge Pipes sends the bare list
    first = mapping(batch[0] if isinstance(batch, list) and batch else event)
    # SNS capitalises the key, Kafka and the MQ brokers have it beside their records
    for source in (first.get("eventSource"), first.get("EventSource"), mapping(event).get("eventSource")):
        if isinstance(source, str) and is_safe(source) and len(source) <= _LONGEST_SOURCE:
            return source
    if "detail-type" in first and "source" in first:
        return "aws:events"
    if "data" in mapping(first.get("awslogs")):
        return "aws:logs"
    return UNKNOWN


def to_payload(response: HttpResponse, event: object) -> bytes:
    """The invocation's result: the app's JSON as it is, ``null`` for no answer, a JSON string for text.

    ``InvocationFault`` ``Function.Status<code>`` for every status but 2xx: a queue must not delete what was not
    processed, and a redirect to a login page has processed nothing.
    """
    if not 200 <= response.status <= 299:
        raise InvocationFault(f"Function.Status{response.status}", _fault_message(response))
    if not response.body.strip(b" \t\r\n"):
        return b"null"
    if _is_json(response.body):
        return response.body
    if source_of(event) == UNKNOWN:
        return dumps(response.body.decode("utf-8", "replace"))
    # A source with batch failure reports takes anything it cannot read for "all failed"; others read nothing.
    return b"null"


def warning_for(response: HttpResponse, event: object) -> str | None:
    """What to tell the app's author about an answer that ``to_payload`` could not hand on as it is."""
    source = source_of(event)
    is_success = 200 <= response.status <= 299
    if not is_success or source == UNKNOWN or not response.body.strip(b" \t\r\n") or _is_json(response.body):
        return None
    return (
        f"the app answered an event from {source} with {len(response.body)} bytes that are not JSON; the result is"
        ' null. Answer with JSON, such as {"batchItemFailures": []}, or with an empty body'
    )


def _is_json(body: bytes) -> bool:
    try:
        loads(body)
    except ValueError:
        return False
    return True


def _fault_message(response: HttpResponse) -> str:
    """The body, as far as it is short; what the status says if there is none."""
    message = response.body[:_LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    if len(response.body) > _LONGEST_MESSAGE:
        return f"{message}... ({len(response.body)} bytes in all)"
    if message:
        return message
    location = header(response.headers, "location")
    target = f" to {location[:_LONGEST_MESSAGE]}" if location else ""
    return f"the app answered the event with status {response.status}{target} and an empty body; only 2xx is success"
