"""WebSocket API: the event goes to the app as a trigger's does, the app's status and body go back.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html

A status is an answer here, never an invocation error: 403 on ``$connect`` is how an app refuses a connection.
"""

from __future__ import annotations

import binascii

from ..json_codec import dumps, loads
from ..messages import header
from .fields import end_to_end_lines
from .lenient import mapping
from .response import status_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..messages import HttpResponse

_SUBPROTOCOL = "Sec-WebSocket-Protocol"


def to_payload(response: HttpResponse, event: object) -> bytes:
    """``{statusCode, body}``; with the chosen subprotocol, when the app names one on ``$connect``.

    A 2xx whose body is such a document already is handed on as it is: an app written for another adapter refuses a
    connection with ``{"statusCode": 403}``, and that must not let the client in.
    """
    if 200 <= response.status <= 299 and _is_answer(response.body):
        return response.body
    return dumps({"statusCode": status_code(response), **_headers(response, event), **_body(response)})


def _is_answer(body: bytes) -> bool:
    if b'"statusCode"' not in body:
        return False
    try:
        return type(mapping(loads(body)).get("statusCode")) is int
    except ValueError:
        return False


def _headers(response: HttpResponse, event: object) -> dict[str, object]:
    """Without the subprotocol that it asked for in the answer, a browser closes the connection (RFC 6455 section 4.1).

    https://docs.aws.amazon.com/apigateway/latest/developerguide/websocket-connect-route-subprotocol.html
    """
    chosen = header(end_to_end_lines(response.headers), "sec-websocket-protocol")
    if not chosen or mapping(mapping(event).get("requestContext")).get("eventType") != "CONNECT":
        return {}
    return {"headers": {_SUBPROTOCOL: chosen}}


def _body(response: HttpResponse) -> dict[str, object]:
    """A frame is text or binary, whatever the answer's type says: UTF-8 is text."""
    if not response.body:
        return {}
    try:
        return {"body": response.body.decode()}
    except UnicodeDecodeError:
        encoded = binascii.b2a_base64(response.body, newline=False).decode()
        return {"body": encoded, "isBase64Encoded": True}
