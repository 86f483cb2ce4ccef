"""What each source in front of a function makes of a request, and what it loses on the way, as data.

Written from AWS's documentation and published captures, apart from ``runtime/events`` and from the local gateway: the
round trip test compares. Bytes of a request go in, the event comes out. ``SOURCES`` has one entry per event format that
stands for a request.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, unquote_plus

from runtime.messages import HttpRequest

Fields = list[tuple[str, str]]
Event = dict[str, Any]

CLIENT_IP = "198.51.100.7"
API_DOMAIN = "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"
ADDED = {"x-forwarded-for": CLIENT_IP, "x-forwarded-port": "443", "x-forwarded-proto": "https"}
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")


def parse(raw: bytes) -> HttpRequest:
    """The request that the bytes spell, its field names as the client wrote them. Only for well-formed ones."""
    head, _, body = raw.partition(b"\r\n\r\n")
    request_line, *lines = head.decode().split("\r\n")
    method, target, _ = request_line.split(" ")
    fields = [line.split(":", 1) for line in lines]
    return HttpRequest(method, target, [(name, value.strip(" \t")) for name, value in fields], body)


def lower(request: HttpRequest) -> HttpRequest:
    return request._replace(headers=[(name.lower(), value) for name, value in request.headers])


def grouped(pairs: Fields) -> dict[str, list[str]]:
    """All values per name, in order; a name counts as itself in any capitalisation and is spelled as it was first."""
    groups: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for name, value in pairs:
        groups.setdefault(spelled.setdefault(name.lower(), name), []).append(value)
    return groups


def exactly_grouped(pairs: Fields) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


def last(groups: dict[str, list[str]]) -> dict[str, str]:
    return {name: values[-1] for name, values in groups.items()}


def joined(groups: dict[str, list[str]]) -> dict[str, str]:
    return {name: ",".join(values) for name, values in groups.items()}


def pairs_of(query: str) -> Fields:
    split = [item.partition("=") for item in query.split("&") if item]
    return [(name, value) for name, _, value in split]


def decoded_pairs(query: str) -> Fields:
    return [(unquote_plus(name), unquote_plus(value)) for name, value in pairs_of(query)]


def split_cookies(groups: dict[str, list[str]]) -> list[str]:
    pieces = "; ".join(groups.get("cookie", [])).split(";")
    return [piece.strip() for piece in pieces if piece.strip()]


def body_of(request: HttpRequest, flag: str = "isBase64Encoded") -> Event:
    """As text where the type says so, as base64 otherwise."""
    media_type = next((value for name, value in request.headers if name.lower() == "content-type"), "")
    if media_type.startswith(TEXT_TYPES):
        try:
            return {"body": request.body.decode(), flag: False}
        except UnicodeDecodeError:
            pass
    return as_base64(request, flag)


def as_base64(request: HttpRequest, flag: str = "isBase64Encoded") -> Event:
    return {"body": base64.b64encode(request.body).decode(), flag: True}


def from_function_url(request: HttpRequest) -> Event:
    request = lower(request)
    path, _, query = request.target.partition("?")
    groups = grouped([*request.headers, *ADDED.items()])
    # Cookies come twice: in the list, and in the header all the same.
    headers = {**joined(groups), **({"cookie": "; ".join(groups["cookie"])} if "cookie" in groups else {})}
    return _payload_2(request, (path, unquote(path), query), headers, "abcdefghij.lambda-url.us-east-1.on.aws")


def from_http_api_2(request: HttpRequest) -> Event:
    request = lower(request)
    path, _, query = request.target.partition("?")
    decoded = unquote(path).partition("?")[0]
    groups = grouped([*request.headers, *ADDED.items()])
    headers = {name: value for name, value in joined(groups).items() if name != "cookie"}
    return _payload_2(request, (decoded, decoded, query), headers, API_DOMAIN)


def _payload_2(request: HttpRequest, target: tuple[str, str, str], headers: dict[str, str], domain: str) -> Event:
    raw_path, path, query = target
    cookies = split_cookies(grouped(list(request.headers)))
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": raw_path,
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": headers,
        **({"queryStringParameters": joined(exactly_grouped(decoded_pairs(query)))} if query else {}),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": domain.partition(".")[0],
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {"method": request.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": CLIENT_IP},
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1_795_255_934_120,
        },
        **body_of(request),
    }


def _payload_1(request: HttpRequest, path: str) -> Event:
    query = request.target.partition("?")[2]
    groups = grouped([line for line in [*request.headers, *ADDED.items()] if line[0].lower() != "content-length"])
    parameters = exactly_grouped(decoded_pairs(query))
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": request.method,
        "headers": last(groups),
        "multiValueHeaders": groups,
        "queryStringParameters": last(parameters) or None,
        "multiValueQueryStringParameters": parameters or None,
        "pathParameters": {"proxy": path.strip("/")},
        "stageVariables": None,
        "requestContext": {
            "path": "/prod" + path,
            "stage": "prod",
            "httpMethod": request.method,
            "domainName": API_DOMAIN,
            "identity": {"sourceIp": CLIENT_IP, "userAgent": None},
        },
    }


def from_rest_api(request: HttpRequest) -> Event:
    """With ``binaryMediaTypes`` ``*/*``: without it, bytes that are no text do not get through at all."""
    return {**_payload_1(request, request.target.partition("?")[0]), **as_base64(request)}


def from_http_api_1(request: HttpRequest) -> Event:
    path = unquote(request.target.partition("?")[0]).partition("?")[0]
    return {"version": "1.0", **_payload_1(lower(request), path), **body_of(request)}


def _alb(request: HttpRequest) -> Event:
    return {
        "requestContext": {
            "elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/1"}
        },
        "httpMethod": request.method,
        "path": request.target.partition("?")[0],
        **body_of(request),
    }


def from_alb(request: HttpRequest) -> Event:
    request = lower(request)
    query = exactly_grouped(pairs_of(request.target.partition("?")[2]))
    headers = grouped([*request.headers, *ADDED.items()])
    return {**_alb(request), "headers": last(headers), "queryStringParameters": last(query)}


def from_alb_multi(request: HttpRequest) -> Event:
    request = lower(request)
    query = exactly_grouped(pairs_of(request.target.partition("?")[2]))
    headers = grouped([*request.headers, *ADDED.items()])
    return {**_alb(request), "multiValueHeaders": headers, "multiValueQueryStringParameters": query}


def from_lattice_1(request: HttpRequest) -> Event:
    request = lower(request)
    query = exactly_grouped(pairs_of(request.target.partition("?")[2]))
    return {
        "raw_path": request.target,
        "method": request.method,
        "headers": joined(grouped([*request.headers, *ADDED.items()])),
        "query_string_parameters": {name: values[0] for name, values in query.items()},
        **body_of(request, "is_base64_encoded"),
    }


def from_lattice_2(request: HttpRequest) -> Event:
    request = lower(request)
    path, _, query = request.target.partition("?")
    return {
        "version": "2.0",
        "path": path,
        "method": request.method,
        "headers": grouped([*request.headers, *ADDED.items()]),
        "queryStringParameters": exactly_grouped(pairs_of(query)),
        "requestContext": {
            "serviceNetworkArn": "arn:aws:vpc-lattice:eu-west-1:123456789012:servicenetwork/sn-0bf3f2882e9cc805a",
            "serviceArn": "arn:aws:vpc-lattice:eu-west-1:123456789012:service/svc-0a40eebed65f8d69c",
            "targetGroupArn": "arn:aws:vpc-lattice:eu-west-1:123456789012:targetgroup/tg-6d0ecf831eec9f09",
            "region": "eu-west-1",
            "timeEpoch": "1795255934120000",
        },
        **body_of(request),
    }


# What is left of each part. The names say what is lost.


def nothing_lost(part: str) -> str:
    return part


def escapes_lost(path: str) -> str:
    """A path that was decoded, hence cut at an encoded question mark: ``%2F`` and ``/`` are one from here on."""
    return quote(unquote(path).partition("?")[0], safe="!$&'()*+,;=:@/~")


def order_and_spelling_lost(query: str) -> str:
    groups = exactly_grouped(decoded_pairs(query))
    return "&".join(f"{quote(name, safe='')}={quote(v, safe='')}" for name, values in groups.items() for v in values)


def order_lost(query: str) -> str:
    return "&".join(f"{name}={v}" for name, values in exactly_grouped(pairs_of(query)).items() for v in values)


def order_and_repeated_names_lost(query: str) -> str:
    return "&".join(f"{name}={value}" for name, value in last(exactly_grouped(pairs_of(query))).items())


def lines_kept(values: list[str]) -> list[str]:
    return values


def lines_joined(values: list[str]) -> list[str]:
    return [",".join(values)]


def all_but_the_last_lost(values: list[str]) -> list[str]:
    return values[-1:]


def cookies_spaced_anew(values: list[str]) -> list[str]:
    pieces = [piece.strip() for piece in "; ".join(values).split(";")]
    return ["; ".join(filter(None, pieces))]


def cookies_joined(values: list[str]) -> list[str]:
    return ["; ".join(filter(None, values))]


class Source(NamedTuple):
    """One source: what it makes of a request, and what the app can still see of each part."""

    to_event: Callable[[HttpRequest], Event]
    path: Callable[[str], str]
    query: Callable[[str], str]
    lines: Callable[[list[str]], list[str]]  # of one field, all its values
    cookies: Callable[[list[str]], list[str]]


SOURCES = {
    "function-url": Source(from_function_url, nothing_lost, nothing_lost, lines_joined, cookies_spaced_anew),
    "http-api-2": Source(from_http_api_2, escapes_lost, nothing_lost, lines_joined, cookies_spaced_anew),
    "http-api-1": Source(from_http_api_1, escapes_lost, order_and_spelling_lost, lines_kept, cookies_joined),
    "rest-api": Source(from_rest_api, nothing_lost, order_and_spelling_lost, lines_kept, cookies_joined),
    "alb": Source(from_alb, nothing_lost, order_and_repeated_names_lost, all_but_the_last_lost, all_but_the_last_lost),
    "alb-multi": Source(from_alb_multi, nothing_lost, order_lost, lines_kept, cookies_joined),
    "lattice-1": Source(from_lattice_1, nothing_lost, nothing_lost, lines_joined, lines_joined),
    "lattice-2": Source(from_lattice_2, nothing_lost, order_lost, lines_kept, cookies_joined),
}
