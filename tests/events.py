"""Events as AWS sends them, and bodies for them: for tests, and for the measurements in ``bench/``."""

from __future__ import annotations

import base64
from typing import Any

DOMAIN = "abcdefghijklmnop.lambda-url.eu-central-1.on.aws"
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def function_url(method: str, target: str, body: str | None = None, is_base64: bool = False) -> dict[str, Any]:
    """An event of a Function URL (payload format 2.0) as a browser behind it causes it."""
    path, _, query = target.partition("?")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "cookies": ["session=0a1b2c3d4e5f", "theme=dark"],
        "headers": _headers(DOMAIN, body, is_base64),
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefghijklmnop",
            "domainName": DOMAIN,
            "domainPrefix": "abcdefghijklmnop",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "198.51.100.7",
                "userAgent": USER_AGENT,
            },
            "requestId": "7f2b9a44-3f0d-4f0e-9f36-0c0ffee00001",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1795262400000,
        },
        **({} if body is None else {"body": body}),
        "isBase64Encoded": is_base64,
    }


def rest_api(method: str, path: str) -> dict[str, Any]:
    """An event of a REST API (payload format 1.0): each field twice, once with one value and once with all."""
    headers = _headers("abcdefghij.execute-api.eu-central-1.amazonaws.com", None, False)
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "resourceId": "abc123",
            "resourcePath": "/{proxy+}",
            "httpMethod": method,
            "extendedRequestId": "Abcdefghijklmno=",
            "requestTime": "21/Nov/2026:12:00:00 +0000",
            "path": f"/prod{path}",
            "accountId": "123456789012",
            "protocol": "HTTP/1.1",
            "stage": "prod",
            "domainPrefix": "abcdefghij",
            "requestTimeEpoch": 1795262400000,
            "requestId": "7f2b9a44-3f0d-4f0e-9f36-0c0ffee00002",
            "identity": {
                "accessKey": None,
                "accountId": None,
                "caller": None,
                "cognitoAuthenticationProvider": None,
                "cognitoAuthenticationType": None,
                "cognitoIdentityId": None,
                "cognitoIdentityPoolId": None,
                "principalOrgId": None,
                "sourceIp": "198.51.100.7",
                "user": None,
                "userAgent": USER_AGENT,
                "userArn": None,
            },
            "domainName": "abcdefghij.execute-api.eu-central-1.amazonaws.com",
            "apiId": "abcdefghij",
        },
        "body": None,
        "isBase64Encoded": False,
    }


def _headers(host: str, body: str | None, is_base64: bool) -> dict[str, str]:
    headers = {
        "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "accept-encoding": "gzip, deflate, br",
        "accept-language": "en-US,en;q=0.5",
        "host": host,
        "user-agent": USER_AGENT,
        "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
        "x-amzn-tls-version": "TLSv1.3",
        "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "x-forwarded-for": "198.51.100.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }
    if body is not None:
        # The peer passes the length on as it stands here: a wrong one would leave it waiting for ever.
        size = len(base64.b64decode(body)) if is_base64 else len(body.encode())
        headers["content-length"] = str(size)
        headers["content-type"] = "application/octet-stream" if is_base64 else "text/plain; charset=utf-8"
    return headers


def binary(size: int) -> str:
    """So many octets that are no text, in base64."""
    octets = bytes((at * 131 ^ at >> 8) & 255 for at in range(65_536))
    return base64.b64encode((octets * (size // len(octets) + 1))[:size]).decode()


def prose(size: int) -> str:
    """Text with what text has: quotation marks, line feeds, letters that are not ASCII. ``size`` bytes in UTF-8."""
    paragraph = (
        'He said: "Nobody reads this in München", and went on to the next line.\n'
        "Most of a text needs no escape at all; a few characters in every line do.\tThis line has a tab.\n"
    ).encode()
    return (paragraph * (size // len(paragraph) + 1))[:size].decode(errors="ignore")
