"""REST API, and the HTTP API's payload format 1.0, which has the same shape.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from runtime.messages import HttpResponse, header

from . import reply
from .payload_2 import ACCOUNT, API_ID, API_TYPE, DEFAULT_STAGE, JSON, api_path, cookie_lines
from .request import (
    base64_body,
    body_of,
    clf_time,
    decoded_pairs,
    end_to_end,
    forwarded,
    is_text,
    last,
    listed,
    lower,
    media_type,
    path_and_query,
    short_request_id,
)
from .values import Answer, Arrival, ClientRequest, Front, Malformed

DEFAULT_REST_STAGE = "prod"
# The edge in front of a REST API spells these names its own way and keeps the client's spelling of all others.
CANONICAL = {"host": "Host", "user-agent": "User-Agent", "authorization": "Authorization"}
REST_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html
REST_PRELUDE_KEYS = {"statusCode", "headers", "multiValueHeaders", "cookies"}
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
REMAPPED = {"connection", "content-md5", "date", "max-forwards", "server", "user-agent", "www-authenticate"}
REMAPPED_PREFIX = "x-amzn-remapped-"
UNKNOWN_OF_THE_CALLER = (
    *("cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "principalOrgId", "accessKey"),
    *("cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "user"),
)


def rest_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event of a REST API: the path as it was sent and without the stage, the query decoded."""
    path, query = path_and_query(request)
    stage = front.stage or DEFAULT_REST_STAGE
    lines = [
        (CANONICAL.get(name.lower(), name), value)
        for name, value in (*end_to_end(request), *forwarded(request, front, arrival, is_appending=True))
        if name.lower() != "content-length"
    ]
    is_root = path == "/"
    # A proxy resource does not match the root, for which an API has a resource of its own.
    context = {"resourceId": "fair01", "resourcePath": "/" if is_root else "/{proxy+}", "path": f"/{stage}{path}"}
    return {
        "resource": context["resourcePath"],
        "path": path,
        **_event(request, arrival, listed(lines), sorted(decoded_pairs(query), key=lambda pair: pair[0])),
        "pathParameters": None if is_root else {"proxy": path.removeprefix("/").removesuffix("/")},
        "stageVariables": None,
        "requestContext": {**context, **_context(request, front, arrival, stage), "deploymentId": "fair02"},
        **_rest_body(request, front),
    }


def http_api_event(request: ClientRequest, front: Front, arrival: Arrival) -> dict[str, Any]:
    """The event of an HTTP API in payload format 1.0: path and query decoded, header names in lower case."""
    path, query = path_and_query(request)
    stage = front.stage or DEFAULT_STAGE
    path = api_path(path, stage)
    lines = lower([*end_to_end(request), *forwarded(request, front, arrival, is_appending=True)])
    lines = [line for line in lines if line[0] != "content-length"]
    lines.append(("content-length", str(len(request.body))))
    context = {"resourceId": None, "resourcePath": DEFAULT_STAGE, "path": path}
    return {
        "version": "1.0",
        "resource": DEFAULT_STAGE,
        "path": path,
        **_event(request, arrival, listed(lines), decoded_pairs(query)),
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {**context, **_context(request, front, arrival, stage)},
        **(body_of(request, is_text) if request.body else {"body": None, "isBase64Encoded": False}),
    }


def _event(
    request: ClientRequest, arrival: Arrival, headers: dict[str, list[str]], query: list[tuple[str, str]]
) -> dict[str, Any]:
    parameters: dict[str, list[str]] = {}
    for name, value in query:
        parameters.setdefault(name, []).append(value)
    return {
        "httpMethod": request.method,
        "headers": last(headers),
        "multiValueHeaders": headers,
        "queryStringParameters": last(parameters) or None,
        "multiValueQueryStringParameters": parameters or None,
    }


def _context(request: ClientRequest, front: Front, arrival: Arrival, stage: str) -> dict[str, Any]:
    return {
        "httpMethod": request.method,
        "extendedRequestId": short_request_id(arrival),
        "requestTime": clf_time(arrival.now),
        "accountId": ACCOUNT,
        "protocol": request.protocol,
        "stage": stage,
        "domainPrefix": API_ID,
        "requestTimeEpoch": int(arrival.now * 1000),
        "requestId": arrival.request_id,
        "identity": {
            **dict.fromkeys(UNKNOWN_OF_THE_CALLER),
            "sourceIp": arrival.client_ip,
            "userAgent": header(request.headers, "user-agent"),
        },
        "domainName": f"{API_ID}.execute-api.{front.region}.amazonaws.com",
        "apiId": API_ID,
    }


def is_binary(media: str, binary_media_types: Sequence[str]) -> bool:
    """Whether the API's ``binaryMediaTypes`` name ``media``: literally, as ``image/*`` or as ``*/*``."""
    patterns = [pattern.strip().lower() for pattern in binary_media_types]
    return any(pattern in ("*/*", media, media.partition("/")[0] + "/*") for pattern in patterns)


def _rest_body(request: ClientRequest, front: Front) -> dict[str, Any]:
    if not request.body:
        return {"body": None, "isBase64Encoded": False}
    if is_binary(media_type(request) or JSON, front.binary_media_types):
        return base64_body(request)
    return {"body": request.body.decode(errors="replace"), "isBase64Encoded": False}


def rest_warnings(request: ClientRequest, front: Front) -> Sequence[str]:
    """A REST API reads a body as text unless it is told not to, and what is no text is lost."""
    try:
        request.body.decode()
    except UnicodeDecodeError:
        media = media_type(request)
        if not is_binary(media or JSON, front.binary_media_types):
            return (
                f"the body ({media or 'no type'}) is no UTF-8 text and not among the binary media types, so a REST API "
                "spoils it: --binary-media-types '*/*' shows how it is with them",
            )
    return ()


def rest_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    """A Lambda proxy response: five keys, none of them required, and no other."""
    if not isinstance(document, dict):
        raise Malformed("it is no object")
    reply.only(document, REST_KEYS, "a REST API")
    status = document.get("statusCode")
    code = 200 if status is None else reply.status_code(status)
    body, words = _rest_body_bytes(document, request, front)
    return Answer(reply.response(code, _renamed(document), body, JSON), words)


def rest_head(prelude: dict[str, Any]) -> HttpResponse:
    """The head of a streamed answer: no base64 and no binary media types there."""
    reply.only(prelude, REST_PRELUDE_KEYS, "a REST API")
    return reply.head(prelude, [*_renamed(prelude), *cookie_lines(prelude)])


def _renamed(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (REMAPPED_PREFIX + name if name in REMAPPED else name, value) for name, value in _lines(document, str, bool)
    ]


def _rest_body_bytes(document: dict[str, Any], request: ClientRequest, front: Front) -> tuple[bytes, tuple[str, ...]]:
    accepted = media_type(request, "accept") or JSON
    if not document.get("isBase64Encoded") or is_binary(accepted, front.binary_media_types):
        return reply.body_bytes(document), ()
    return reply.body_text(document).encode(errors="replace"), (
        f"the client gets base64 text: its first Accept type, {accepted}, is not among the binary media types; "
        "--binary-media-types '*/*' shows how it is with them",
    )


def http_api_answer(document: object, payload: bytes, request: ClientRequest, front: Front) -> Answer:
    """The answer in format 1.0, in which nothing is inferred."""
    known = reply.mapping(document)
    status = reply.status_code(known["statusCode"])
    lines = _lines(known, str, bool, int, float)
    return Answer(reply.response(status, lines, reply.body_bytes(known), API_TYPE))


def _lines(document: dict[str, Any], *types: type) -> list[tuple[str, str]]:
    """Both maps; what stands in both, once."""
    multi = reply.listed_pairs(document.get("multiValueHeaders"), "multiValueHeaders")
    several = reply.text_fields(multi, *types)
    single = reply.text_fields(reply.pairs(document.get("headers"), "headers"), *types)
    return several + [line for line in single if line not in several]


REST_MESSAGES = {502: "Internal server error", 504: "Endpoint request timed out", 413: "Request Too Long"}


def rest_page(status: int) -> HttpResponse:
    message = REST_MESSAGES.get(status) or reply.reason_of(status)
    body = orjson.dumps({"message": message}).decode().replace(":", ": ", 1)
    is_fault = ("x-amzn-errortype", "InternalServerErrorException")
    return reply.own_page(status, JSON, body, *([is_fault] if status == 502 else []))
