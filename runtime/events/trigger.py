"""Everything that is not HTTP: the event goes to the app as it is, and the app's answer goes back as it is.

Nothing is parsed and written again on the way, so large numbers, the order of keys and repeated keys survive.
"""

from __future__ import annotations

import binascii

from ..errors import FunctionFailed
from ..json_codec import dumps, loads, utf8
from ..messages import HttpRequest, header
from .fields import EVENT_SOURCE, LEFT_OUT_FIELD, end_to_end_lines, is_safe, items, mapping, text, trigger_context_lines
from .request import request_warnings
from .response import status_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..invocation import Invocation
    from ..messages import HttpResponse
    from .fields import EventOptions

UNKNOWN = "unknown"
_LONGEST_MESSAGE = 4096  # bytes of the app's answer that go into an error message
_LONGEST_SOURCE = 64
_LONGEST_ERROR_NAME = 64
_WHITE_SPACE = b" \t\r\n"
# Those whose event source mapping can ask for ReportBatchItemFailures
# (https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html).
_WITH_BATCH_REPORTS = frozenset(("aws:sqs", "aws:kinesis", "aws:dynamodb", "aws:kafka", "SelfManagedKafka"))


def to_request(event: object, invocation: Invocation, options: EventOptions) -> HttpRequest:
    """``POST`` of the payload, untouched, to the events path, with fields that no client can have sent."""
    headers = [
        ("host", options.host),
        ("content-type", "application/json"),
        ("content-length", str(len(invocation.payload))),
        (EVENT_SOURCE, source_of(event)),
    ]
    told = trigger_context_lines(invocation, options)
    if told[0][0] == LEFT_OUT_FIELD:
        headers.insert(1, told.pop(0))  # right after the host, as for every event (request_warnings)
    headers += told
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

    Raises ``FunctionFailed`` for every status but 2xx: a queue must not delete what was not processed, and a redirect
    to a login page has processed nothing. The same for an answer that should be JSON and is not: it is half of one,
    mostly, and a report of failures among it.
    """
    if not 200 <= response.status <= 299:
        raise fault_of(response)
    if not response.body.strip(_WHITE_SPACE):
        return b"null"
    try:
        document = loads(response.body)
    except ValueError:
        source = source_of(event)
        if source in _WITH_BATCH_REPORTS or _says_json(response):
            raise _not_json(response, source) from None
        if source == UNKNOWN:
            return dumps(response.body.decode("utf-8", "replace"))
        return b"null"  # nobody reads it
    return _batch_report(document, event) or response.body


def _says_json(response: HttpResponse) -> bool:
    """Whether the answer calls itself JSON: ``application/json`` or a type that ends with ``+json``."""
    media_type = (header(response.headers, "content-type") or "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _not_json(response: HttpResponse, source: str) -> FunctionFailed:
    where = "an event" if source == UNKNOWN else f"an event from {source}"
    example = 'JSON, such as {"batchItemFailures": []},' if source in _WITH_BATCH_REPORTS else "JSON"
    return FunctionFailed(
        "Function.AnswerNotJson",
        f"the app answered {where} with {len(response.body)} bytes that are not JSON, or not all of it. Answer with"
        f" {example} or with an empty body. The answer begins with {response.body[:100]!r}",
    )


def fault_of(response: HttpResponse) -> FunctionFailed:
    """Returns the fault for an answer whose status says that the app has failed.

    A body that is an error document as Lambda has them (``errorType``, ``errorMessage``, ``stackTrace``) is passed on
    as one; of any other the text is the message.
    """
    document = _error_document(response.body)
    name = document.get("errorType")
    if not _is_error_name(name):
        return FunctionFailed(f"Function.Status{response.status}", _fault_message(response))
    message = document.get("errorMessage")
    fault = FunctionFailed(f"Function.{name}", message if isinstance(message, str) else _fault_message(response))
    fault.stack = tuple(text(line) for line in items(document.get("stackTrace") or []))
    return fault


def warning_for(response: HttpResponse, event: object) -> str | None:
    """Returns a warning for an answer that means something else than its author may think; None: there is none."""
    if not 200 <= response.status <= 299 or not response.body.strip(_WHITE_SPACE):
        return None
    # Direct invokes are answered with text or with whatever they understand.
    source = source_of(event)
    if source == UNKNOWN:
        return None
    try:
        document = loads(response.body)
    except ValueError:
        return (
            f"the app answered an event from {source} with {len(response.body)} bytes that are not JSON; the result is"
            ' null. Answer with JSON, such as {"batchItemFailures": []}, or with an empty body'
        )
    status = mapping(document).get("statusCode")
    if type(status) is not int or 200 <= status <= 299:
        return None
    return (
        f"the app answered an event from {source} with status {response.status} and a document that says statusCode"
        f" {status}: only the former counts, so the event was processed. Answer with that status to fail the invocation"
    )


def _batch_report(document: object, event: object) -> bytes | None:
    """The report of a partial batch that is wrapped as an HTTP answer, ``{"statusCode": 200, "body": "{...}"}``.

    As such a queue would read it as "all succeeded" and delete the messages that failed. None for all else.
    """
    answer = mapping(document)
    if "statusCode" not in answer or "batchItemFailures" in answer or source_of(event) not in _WITH_BATCH_REPORTS:
        return None
    body = answer.get("body")
    try:
        report = loads(utf8(body)) if isinstance(body, str) else body
    except ValueError:
        return None
    if "batchItemFailures" not in mapping(report):
        return None
    return utf8(body) if isinstance(body, str) else dumps(report)


def _error_document(body: bytes) -> dict[str, Any]:
    if b'"errorType"' not in body:
        return {}
    try:
        return mapping(loads(body))
    except ValueError:
        return {}  # a text that mentions the word


def _is_error_name(name: object) -> bool:
    if not isinstance(name, str) or not 2 <= len(name) <= _LONGEST_ERROR_NAME:
        return False
    return name.isascii() and name.isalpha() and name[0].isupper()


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


def answer_warnings(event: object, request: HttpRequest, response: HttpResponse, payload: bytes) -> Sequence[str]:
    """Returns what ``request_warnings`` does, and whether the answer means something else than its author may think."""
    found = request_warnings(event, request, response, payload)
    is_as_it_was = payload == response.body
    if payload != b"null" and not (is_as_it_was and b'"statusCode"' in payload):
        return found
    warning = warning_for(response, event)
    return (*found, warning) if warning else found


# ---- WebSocket API --------------------------------------------------------------------------------------------------
#
# https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html
# The event goes to the app as a trigger's does, the app's status and body go back. A status is an answer here, never an
# invocation error: 403 on ``$connect`` is how an app refuses a connection.

_SUBPROTOCOL = "Sec-WebSocket-Protocol"


def websocket_to_payload(response: HttpResponse, event: object) -> bytes:
    """``{statusCode, body}``; with the chosen subprotocol, when the app names one on ``$connect``.

    A 2xx whose body is such a document already is handed on as it is: an app written for another adapter refuses a
    connection with ``{"statusCode": 403}``, and that must not let the client in.
    """
    if 200 <= response.status <= 299 and _is_websocket_answer(response.body):
        return response.body
    return dumps(
        {"statusCode": status_code(response), **_websocket_headers(response, event), **_websocket_body(response)}
    )


def _is_websocket_answer(body: bytes) -> bool:
    if b'"statusCode"' not in body:
        return False
    try:
        return type(mapping(loads(body)).get("statusCode")) is int
    except ValueError:
        return False


def _websocket_headers(response: HttpResponse, event: object) -> dict[str, object]:
    """Without the subprotocol that it asked for in the answer, a browser closes the connection (RFC 6455 section 4.1).

    https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-connect-route-subprotocol.html
    """
    chosen = header(end_to_end_lines(response.headers), "sec-websocket-protocol")
    if not chosen or mapping(mapping(event).get("requestContext")).get("eventType") != "CONNECT":
        return {}
    return {"headers": {_SUBPROTOCOL: chosen}}


def _websocket_body(response: HttpResponse) -> dict[str, object]:
    """A frame is text or binary, whatever the answer's type says: UTF-8 is text."""
    if not response.body:
        return {}
    try:
        return {"body": response.body.decode()}
    except UnicodeDecodeError:
        encoded = binascii.b2a_base64(response.body, newline=False).decode()
        return {"body": encoded, "isBase64Encoded": True}
