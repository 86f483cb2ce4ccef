"""Payload -> response: what the sources have in common, and the faults that none of them hands on."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import orjson

from runtime.messages import HttpResponse, header

from .request import HOP_BY_HOP
from .values import Answer, ClientRequest, Front, Lines, Malformed, Source

TIMED_OUT = b"Task timed out after "
ERROR_KEYS = {"errorType", "errorMessage"}
BODILESS = (204, 304)
FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
UNSAFE_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def from_reply(source: Source, request: ClientRequest, front: Front, status: int, payload: bytes) -> Answer:
    """The response of ``source`` to the client, made of the emulator's answer.

    The emulator marks an error of the function with nothing but its body, so an object with errorType and errorMessage
    and no statusCode is one; AWS marks it in a header.
    """
    if words := error_in(status, payload):
        return fault(source, *words)
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return fault(source, f"the function's answer is not JSON ({error}): {_excerpt(payload)}")
    if len(payload) > source.limits.payload:
        size = f"{len(payload):,} bytes; {source.name} takes {source.limits.payload:,}"
        return fault(source, f"the function's answer is too large: {size}")
    try:
        answer = source.to_answer(document, payload, request, front)
    except Malformed as error:
        return fault(source, f"the function's answer is malformed: {error}")
    too_much = head_excess(source, answer.response)
    return fault(source, too_much) if too_much else answer


def fault(source: Source, *words: str) -> Answer:
    """AWS's answer to the client for every fault of the function. The reason is for the developer, in the log."""
    return Answer(source.own_page(502), words)


def error_in(status: int, payload: bytes) -> tuple[str, ...]:
    """The error of an invocation, in lines; none when it did not fail."""
    if payload.startswith(TIMED_OUT):  # an error of the function like any other: the front end would have waited
        return (payload.decode(errors="replace"),)
    if status != 200 and not payload:
        return ("the runtime ended during its start and said no reason: its output above has it",)
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        document = None
    if isinstance(document, dict) and document.keys() >= ERROR_KEYS and "statusCode" not in document:
        return tuple(_described(document))
    return () if status == 200 else (f"the emulator answered {status}: {_excerpt(payload)}",)


def _excerpt(payload: bytes) -> str:
    return payload[:200].decode(errors="replace")


def head_excess(source: Source, response: HttpResponse) -> str:
    """A sentence when the header values of ``response`` are more than ``source`` takes."""
    limit = source.limits.response_head
    size = sum(len(value.encode()) for _, value in response.headers)
    if limit is None or size <= limit:
        return ""
    return f"the answer's header values have {size:,} bytes; {source.name} takes {limit:,}"


def _described(document: dict[str, Any]) -> Iterator[str]:
    trace = document.get("stackTrace")
    text = f"{document['errorType']}: {document['errorMessage']}"
    for part in (text, *(trace if isinstance(trace, list) else ())):
        yield from str(part).rstrip("\n").split("\n")


def only(document: dict[str, Any], keys: set[str], whose: str) -> None:
    """Raises ``Malformed`` when there are other keys."""
    if unknown := document.keys() - keys:
        raise Malformed(f"{whose} takes no key but {', '.join(sorted(keys))}; this has {', '.join(sorted(unknown))}")


def mapping(document: object) -> dict[str, Any]:
    """``document`` when it is an object with a statusCode."""
    if not isinstance(document, dict):
        raise Malformed("it is no object")
    if "statusCode" not in document:
        raise Malformed("it has no statusCode")
    return document


def status_code(value: object) -> int:
    """A final HTTP status; AWS takes it as text too."""
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 200 <= value <= 599:
        raise Malformed(f"statusCode {value!r} is no final HTTP status")
    return value


def reason_of(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def pairs(headers: object, name: str) -> list[tuple[str, Any]]:
    """The items of the map that the answer has under ``name``."""
    if headers is None:
        return []
    if not isinstance(headers, dict):
        raise Malformed(f"{name} is no object")
    return list(headers.items())


def listed_pairs(headers: object, name: str) -> list[tuple[str, Any]]:
    """The items of the map of lists under ``name``, one pair for each value."""
    lists = pairs(headers, name)
    if wrong := [key for key, values in lists if not isinstance(values, list)]:
        raise Malformed(f"{name} has no list of values for {wrong[0]}")
    return [(key, value) for key, values in lists for value in values]


def fields(lines: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    """The lines that reach the client, names in lower case; values that are no strings as JSON spells them."""
    sent = []
    for name, value in lines:
        if isinstance(value, dict | list):
            raise Malformed(f"the header {name} has a list or an object for a value where one string belongs")
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        if not FIELD_NAME.fullmatch(name) or UNSAFE_IN_VALUE.search(text):
            raise Malformed(f"{name!r}: {text!r} is no header field")
        if value is not None and name.lower() not in HOP_BY_HOP and name.lower() != "content-length":
            sent.append((name.lower(), text.strip(" \t")))
    return sent


def text_fields(lines: list[tuple[str, Any]], *also: type) -> list[tuple[str, str]]:
    """``fields`` where only strings (and what is ``also`` allowed) may be values."""
    for name, value in lines:
        if not isinstance(value, (str, *also)):
            raise Malformed(f"the value of the header {name} is {value!r} and no string")
    return fields(lines)


def body_text(document: dict[str, Any]) -> str:
    body = document.get("body")
    if body is None:
        return ""
    if not isinstance(body, str):
        raise Malformed("body is no string")
    return body


def body_bytes(document: dict[str, Any]) -> bytes:
    """The body; base64 by its flag alone."""
    body = body_text(document)
    if not document.get("isBase64Encoded"):
        return body.encode(errors="replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("body is no base64, though isBase64Encoded says so") from None


def response(
    status: int, lines: list[tuple[str, str]], body: bytes, default_type: str, reason: str = ""
) -> HttpResponse:
    """The response with its length; ``default_type`` is what this source calls a body that has no type."""
    if status in BODILESS:
        return HttpResponse(status, reason or reason_of(status), lines, b"")
    if body and header(lines, "content-type") is None:
        lines = [*lines, ("content-type", default_type)]
    length = ("content-length", str(len(body)))
    return HttpResponse(status, reason or reason_of(status), [*lines, length], body)


def head(prelude: dict[str, Any], lines: list[tuple[str, str]]) -> HttpResponse:
    """A response whose body comes later; a prelude without a status means 200."""
    status = status_code(prelude.get("statusCode", 200))
    return HttpResponse(status, reason_of(status), lines, b"")


def own_page(status: int, content_type: str, body: str, *more: tuple[str, str]) -> HttpResponse:
    """A page of a front end's own."""
    lines: Lines = [("content-type", content_type), *more, ("content-length", str(len(body)))]
    return HttpResponse(status, HTTPStatus(status).phrase, lines, body.encode())
