"""What stands in front of a function in AWS, as pure functions: a Function URL's event and its reading of the answer.

https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html. Nothing here knows sockets or the emulator.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, unquote

import orjson

from runtime.invocation import PAYLOAD_LIMIT
from runtime.messages import HttpRequest, HttpResponse, header

if TYPE_CHECKING:
    from runtime.messages import Headers

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TIMED_OUT = b"Task timed out after "
ERROR_KEYS = {"errorType", "errorMessage"}

# RFC 9110 section 7.6.1, and what belongs to one connection only: no front end passes it on, in either direction.
HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("expect", "http2-settings"),
}
# Set by the front end. What a client sends under these names is replaced.
PLATFORM_OWNED = {
    *("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"),
    *("x-amzn-tls-version", "x-amzn-tls-cipher-suite"),
}
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
UNSAFE_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
TEXT_TYPE = re.compile(r"text/.*|application/(json|xml|javascript|yaml|graphql|([^;]*\+(json|xml|yaml)))")


class Front(NamedTuple):
    """Where the browser believes to be. The defaults are AWS's; ``local.gateway`` says truly ``http`` and its port."""

    url_id: str = "fairlead0local0function0url00000"
    region: str = "us-east-1"
    scheme: str = "https"
    port: int = 443

    @property
    def domain(self) -> str:
        """The name that tells a Function URL from an HTTP API, whose events look the same and are encoded otherwise."""
        return f"{self.url_id}.lambda-url.{self.region}.on.aws"


class Answer(NamedTuple):
    """What the client gets, and what the developer should know about it: lines for the terminal, often none."""

    response: HttpResponse
    problem: tuple[str, ...] = ()


def to_event(
    request: HttpRequest, front: Front, client_ip: str, now: float, request_id: str, protocol: str = "HTTP/1.1"
) -> dict[str, Any]:
    """The event (payload format 2.0) that a Function URL makes of ``request``.

    The target's path and query and the header values stay as they were sent; only ``requestContext.http.path`` and
    ``queryStringParameters`` are decoded. ``now`` is in epoch seconds, ``request_id`` a UUID.
    """
    path, _, query = origin_form(request.target).partition("?")
    headers = _event_headers(request, front, client_ip, now, request_id)
    cookies = [cookie.strip() for cookie in headers.get("cookie", "").split(";") if cookie.strip()]
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": headers,
        **({"queryStringParameters": _decoded_parameters(query)} if query else {}),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": front.url_id,
            "domainName": front.domain,
            "domainPrefix": front.url_id,
            "http": {
                "method": request.method,
                "path": unquote(path),
                "protocol": protocol,
                "sourceIp": client_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": _clf_time(now),
            "timeEpoch": int(now * 1000),
        },
        **_event_body(request),
    }


def origin_form(target: str) -> str:
    """``target`` as the front end passes it on. RFC 9112 section 3.2.2: a server must accept the absolute form too."""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        end = min((position for mark in "/?" if (position := rest.find(mark)) >= 0), default=len(rest))
        target = rest[end:]
    return target if target.startswith("/") else "/" + target


def _event_headers(request: HttpRequest, front: Front, client_ip: str, now: float, request_id: str) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in request.headers:
        if name in HOP_BY_HOP or name in PLATFORM_OWNED:
            continue
        # A list cannot be told from a value with commas afterwards; cookies have a separator of their own.
        separator = "; " if name == "cookie" else ","
        joined[name] = joined[name] + separator + value if name in joined else value
    if header(request.headers, "transfer-encoding"):  # the body was read to its end, so its length is known now
        joined["content-length"] = str(len(request.body))
    joined["x-forwarded-for"] = client_ip
    joined["x-forwarded-port"] = str(front.port)
    joined["x-forwarded-proto"] = front.scheme
    joined["x-amzn-trace-id"] = _trace_id(now, request_id)
    if front.scheme == "https":
        joined["x-amzn-tls-version"] = "TLSv1.3"
        joined["x-amzn-tls-cipher-suite"] = "TLS_AES_128_GCM_SHA256"
    return joined


def _trace_id(now: float, request_id: str) -> str:
    return f"Root=1-{int(now):08x}-{hashlib.sha256(request_id.encode()).hexdigest()[:24]}"


def _decoded_parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def _clf_time(now: float) -> str:
    # Not strftime: its month names follow the locale.
    moment = time.gmtime(now)
    return f"{moment.tm_mday:02}/{MONTHS[moment.tm_mon - 1]}/{moment.tm_year}:{time.strftime('%H:%M:%S', moment)} +0000"


def _event_body(request: HttpRequest) -> dict[str, Any]:
    if not request.body:
        return {"isBase64Encoded": False}
    text = _as_text(request)
    if text is not None:
        return {"body": text, "isBase64Encoded": False}
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def _as_text(request: HttpRequest) -> str | None:
    """The body as text when its type says so. A form (x-www-form-urlencoded) travels as base64, as in AWS."""
    media_type = (header(request.headers, "content-type") or "").partition(";")[0].strip().lower()
    if header(request.headers, "content-encoding") or not TEXT_TYPE.fullmatch(media_type):
        return None
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return None


def encoded(event: dict[str, Any]) -> bytes | None:
    """The payload, or None when it is larger than Lambda takes."""
    payload = orjson.dumps(event)
    return payload if len(payload) <= PAYLOAD_LIMIT else None


def plain(status: int, *problem: str) -> Answer:
    """An answer of the front end's own."""
    # What AWS writes for every fault of the function: the reason is for the developer, in the log.
    body = b"Internal Server Error" if status == 502 else HTTPStatus(status).phrase.encode()
    fields = (("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))))
    return Answer(HttpResponse(status, HTTPStatus(status).phrase, fields, body), problem)


class _Malformed(Exception):
    """The payload is no answer that a Function URL understands."""


def from_reply(status: int, payload: bytes) -> Answer:
    """What the client gets for what the emulator answered.

    The emulator marks an error of the function with nothing but its body, so an object with errorType and errorMessage
    and no statusCode is one; AWS marks it in a header.
    """
    if payload.startswith(TIMED_OUT):
        return plain(504, payload.decode(errors="replace"))
    if status != 200 and not payload:
        return plain(502, "the runtime ended during its start and said no reason: its output above has it")
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return plain(502, f"the function's answer is not JSON ({error}): {payload[:200].decode(errors='replace')}")
    if isinstance(document, dict) and document.keys() >= ERROR_KEYS and "statusCode" not in document:
        return plain(502, *_described(document))
    if status != 200:
        return plain(502, f"the emulator answered {status}: {payload[:200].decode(errors='replace')}")
    try:
        return Answer(from_payload(document, payload))
    except _Malformed as error:
        return plain(502, f"the function's answer is malformed: {error}")


def _described(document: dict[str, Any]) -> Iterator[str]:
    trace = document.get("stackTrace")
    text = f"{document['errorType']}: {document['errorMessage']}"
    for part in (text, *(trace if isinstance(trace, list) else ())):
        yield from str(part).rstrip("\n").split("\n")


def from_payload(document: object, payload: bytes) -> HttpResponse:
    """The response that the decoded ``document`` describes; ``payload`` itself where it describes none."""
    if not isinstance(document, dict) or "statusCode" not in document:
        # Documented inference: valid JSON without statusCode is the body of a 200.
        fields = [("content-type", "application/json"), ("content-length", str(len(payload)))]
        return HttpResponse(200, "OK", fields, payload)
    status = _status(document["statusCode"])
    headers = [*_fields(document.get("headers")), *_set_cookies(document.get("cookies"))]
    body = b"" if status in (204, 304) else _body(document)
    if body and header(headers, "content-type") is None:
        headers.append(("content-type", "application/json"))  # AWS's default, whatever the body is
    if status not in (204, 304):
        headers.append(("content-length", str(len(body))))
    return HttpResponse(status, _reason(status), headers, body)


def _status(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise _Malformed(f"statusCode {value!r} is no final HTTP status")
    return value


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _fields(headers: object) -> Headers:
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise _Malformed("headers is no object")
    fields = []
    for name, value in headers.items():
        if isinstance(value, dict | list):
            raise _Malformed(f"the header {name} has a list or an object for a value; a Function URL wants one string")
        text = _text(value)
        if not FIELD_NAME.fullmatch(name) or UNSAFE_IN_VALUE.search(text):
            raise _Malformed(f"{name!r}: {text!r} is no header field")
        if value is not None and name.lower() not in HOP_BY_HOP and name.lower() != "content-length":
            fields.append((name.lower(), text.strip(" \t")))
    return fields


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _set_cookies(cookies: object) -> Headers:
    if cookies is None:
        return []
    if not isinstance(cookies, list) or not all(isinstance(cookie, str) for cookie in cookies):
        raise _Malformed("cookies is no list of strings")
    for cookie in cookies:
        if UNSAFE_IN_VALUE.search(cookie):
            raise _Malformed(f"the cookie {cookie!r} has a control character")
    return [("set-cookie", cookie) for cookie in cookies]


def _body(document: dict[str, Any]) -> bytes:
    body = document.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise _Malformed("body is no string")
    if not document.get("isBase64Encoded"):
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise _Malformed("body is no base64, though isBase64Encoded says so") from None
