"""What each function is asked, and what Lambda gets for it: as data."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.events import function_url, rest_api

LAMBDA = "aws-lambda-ric"  # Lambda's own client, on Node
ENGINES = ("node", "bun", "deno")
OCTETS = bytes(range(256))
COOKIES = ("a=1", "b=2")
SENT_COOKIES = ["session=0a1b2c3d4e5f", "theme=dark"]
TEXT, JSON = "text/plain", "application/json"
Document = dict[str, Any]


class Seen(NamedTuple):
    """What an invocation was answered with, whichever form the event has, and whether as a stream or at once.

    ``fields`` has the values of each name, a line ``1, 2`` being two. Of an error there are name and message alone.
    """

    status: int = 200
    cookies: tuple[str, ...] = ()
    fields: Mapping[str, Sequence[str]] = {}
    body: bytes = b""
    is_streamed: bool = False
    error: tuple[str, str] | None = None


class Case(NamedTuple):
    """One invocation. ``body`` is text, octets, or what JSON says; ``contains`` is a part of a body that has more."""

    handler: str
    event: Document
    status: int = 200
    body: object = ...
    contains: str = ""
    cookies: tuple[str, ...] = ()
    fields: Mapping[str, Sequence[str]] = {}
    error: tuple[str, str] | None = None

    def check(self, seen: Seen) -> None:
        """Raises AssertionError unless it was answered with this."""
        assert (seen.error, seen.status) == (self.error, self.status), seen
        assert tuple(cookie.partition("; ")[0] for cookie in seen.cookies) == self.cookies
        for name, values in self.fields.items():
            found = [value.partition(";")[0] if name == "content-type" else value for value in seen.fields[name]]
            assert found == list(values)
        if isinstance(self.body, bytes | str):
            assert seen.body == (self.body if isinstance(self.body, bytes) else self.body.encode())
        elif self.body is not ...:
            assert json.loads(seen.body) == self.body
        assert self.contains.encode() in seen.body
        assert seen.is_streamed == self.handler.endswith("streamed")


class Framework(NamedTuple):
    """``entry`` is what it has for Lambda, ``needs`` what one has to know, ``not_on`` why an engine is left out.

    ``stream`` is asked for the pieces of functions/steps.mjs.
    """

    entry: str
    cases: Sequence[Case]
    stream: Case | None = None
    needs: str = ""
    not_on: Mapping[str, str] = {}

    @property
    def engines(self) -> list[str]:
        return [engine for engine in ENGINES if engine not in self.not_on]


def url(method: str, target: str, body: str | bytes | None = None, **fields: str) -> Document:
    """An event of a Function URL; a body of octets comes in base64. ``x_y="z"`` is the field ``x-y: z``."""
    text = base64.b64encode(body).decode() if isinstance(body, bytes) else body
    event = function_url(method, target, text, isinstance(body, bytes))
    del event["headers"]["accept-encoding"]
    event["headers"] |= {name.replace("_", "-"): value for name, value in fields.items()}
    return event


def rest(path: str, **query: str) -> Document:
    """An event of a REST API, in which a field and, unless it is given, a name of the query come twice."""
    event = rest_api("GET", path)
    event["headers"]["x-twice"] = "b"
    event["multiValueHeaders"]["x-twice"] = ["a", "b"]
    event["queryStringParameters"] = query or {"name": "2"}
    several = {name: [value] for name, value in query.items()}
    event["multiValueQueryStringParameters"] = several or {"name": ["té", "2"]}
    return event


TWICE = {"x_twice": "a,b"}  # as Lambda joins fields that come twice
MANY = {"x-many": ["1", "2"]}
PNG = {"content-type": ["image/png"]}
NAMES = {"name": ["té", "2"]}
ITEMS = "/items?name=t%C3%A9&name=2"
STEPS = "one,two,three"
HONO = {"query": NAMES, "cookies": {"session": "0a1b2c3d4e5f", "theme": "dark"}, "field": "a,b", "hasId": True}
GREETING = {"result": {"data": {"hello": "té", "cookies": SENT_COOKIES, "field": "a,b", "hasId": True}}}
POWERTOOLS = {"query": [["name", "té"], ["name", "2"]], "cookies": SENT_COOKIES, "field": "a,b", "hasId": True}
YOGA = "/graphql?query=%7Bhello(name:%22t%C3%A9%22)field%7D"
ANSWER = {"data": {"hello": "hello té", "field": "a,b 36"}}
NOT_FOUND = {"statusCode": 404, "error": "NotFoundError", "message": "no such order"}
EVENTS = "".join(f'event: next\ndata: {{"data":{{"steps":"{piece}"}}}}\n\n' for piece in ("one,", "two,", "three"))


def asked(query: str, accept: str = JSON) -> Document:
    return url("POST", "/graphql", json.dumps({"query": query}), content_type=JSON, accept=accept)


FRAMEWORKS: dict[str, Framework] = {
    "hono": Framework(
        "`handle(app)`, `streamHandle(app)`",
        [
            Case("handler", url("GET", ITEMS, **TWICE), body=HONO, cookies=COOKIES, fields=MANY),
            Case(
                "handler",
                rest("/items"),
                body={**HONO, "cookies": {}, "field": "a, b"},
                cookies=COOKIES,
                fields=MANY,
            ),
            Case("handler", url("POST", "/binary", OCTETS), 201, OCTETS, fields=PNG),
            Case("handler", url("GET", "/fail"), 500, "Internal Server Error"),
            Case("streamed", url("GET", ITEMS, **TWICE), body=HONO, cookies=COOKIES, fields=MANY),
            Case("streamed", url("POST", "/binary", OCTETS), 201, OCTETS, fields=PNG),
            Case("streamed", url("GET", "/empty"), 204, ""),
            Case("streamed", url("GET", "/fail"), 500, "Internal Server Error"),
        ],
        Case("streamed", url("GET", "/stream"), body=STEPS),
    ),
    "serverless-http": Framework(
        "`serverless(app)`",
        [
            Case(
                "handler",
                url("GET", ITEMS, **TWICE),
                body={"query": NAMES, "cookies": "; ".join(SENT_COOKIES), "field": "a,b"},
                cookies=COOKIES,
                fields=MANY,
            ),
            Case("handler", rest("/items"), body={"query": NAMES, "field": "b"}, cookies=COOKIES, fields=MANY),
            Case("handler", url("POST", "/binary", OCTETS), 201, OCTETS, fields=PNG),
            Case("handler", url("GET", "/fail"), 500, contains="Error: of the route"),
            Case("failing", url("GET", "/fail"), 0, error=("RangeError", "before the app")),
        ],
        needs="the option `binary` for answers that are no text",
        not_on={"bun": "Bun's `node:http` does not take its responses (`socket.once is not a function`)"},
    ),
    "middy": Framework(
        "`middy(...)`, `executionModeStreamifyResponse`",
        [
            Case(
                "handler",
                url("POST", ITEMS, '{"a":1}', content_type=JSON, **TWICE),
                body={
                    "query": ITEMS.partition("?")[2],
                    "cookies": SENT_COOKIES,
                    "field": "a,b",
                    "body": {"a": 1},
                    "hasId": True,
                    "isAborted": False,
                },
                cookies=COOKIES,
                fields={"x-after": ["yes"]},
            ),
            Case("handler", url("GET", "/fail"), 404, "no such order"),
            Case("bare", url("GET", "/fail?loud"), 0, error=("RangeError", "of the handler")),
            Case("rest", rest("/items"), body=["a", "b"], cookies=COOKIES, fields=MANY),
            Case("binary", url("POST", "/binary", OCTETS), 201, OCTETS, fields=PNG),
        ],
        Case("streamed", url("GET", "/stream"), body=STEPS, cookies=COOKIES, fields={"content-type": [TEXT]}),
    ),
    "trpc": Framework(
        "`awsLambdaRequestHandler`, `awsLambdaStreamingRequestHandler`",
        [
            Case(
                "handler",
                url("GET", "/greet?input=%22t%C3%A9%22", **TWICE),
                body=GREETING,
                cookies=COOKIES,
                fields=MANY,
            ),
            Case(
                "handler",
                rest("/greet", input='"té"'),
                body={"result": {"data": {"hello": "té", "field": "b", "hasId": True}}},
                cookies=COOKIES,
                fields=MANY,
            ),
            Case(
                "handler",
                url("POST", "/add", '"té"', content_type=JSON),
                body={"result": {"data": {"added": "té"}}},
                cookies=COOKIES,
            ),
            Case("handler", url("GET", "/fail"), 404, contains='"message":"no such order"', cookies=COOKIES),
            Case(
                "streamed",
                url("GET", "/greet?input=%22t%C3%A9%22", **TWICE),
                body=GREETING,
                cookies=COOKIES,
                fields=MANY,
            ),
            Case("streamed", url("GET", "/fail"), 404, contains='"message":"no such order"', cookies=COOKIES),
        ],
        Case(
            "streamed",
            url("GET", "/steps?batch=1&input=%7B%7D", trpc_accept="application/jsonl"),
            contains='["three"]',
            cookies=COOKIES,
        ),
    ),
    "graphql-yoga": Framework(
        "`yoga.fetch` in a handler, and in `streamifyResponse`",
        [
            Case("handler", url("GET", YOGA, accept=JSON, **TWICE), body=ANSWER, cookies=COOKIES),
            Case("handler", asked('mutation{add(name:"té")}'), body={"data": {"add": "added té"}}, cookies=COOKIES),
            Case(
                "handler",
                url("GET", "/graphql?query=%7Bfail%7D", accept=JSON),
                contains='"message":"Unexpected error."',
                cookies=COOKIES,
            ),
            Case("streamed", url("GET", YOGA, accept=JSON, **TWICE), body=ANSWER, cookies=COOKIES),
            Case(
                "streamed",
                url("GET", "/graphql?query=%7Bfail%7D", accept=JSON),
                contains='"message":"Unexpected error."',
                cookies=COOKIES,
            ),
        ],
        Case(
            "streamed",
            asked("subscription{steps}", "text/event-stream"),
            contains=EVENTS,
            cookies=COOKIES,
            fields={"content-type": ["text/event-stream"]},
        ),
    ),
    "powertools": Framework(
        "`Router.resolve`, `streamify(router)`; Logger, Metrics, Tracer",
        [
            Case("handler", url("GET", ITEMS, **TWICE), body=POWERTOOLS, cookies=COOKIES, fields=MANY),
            Case("handler", url("POST", "/text", '{"a":"té"}', content_type=JSON), body={"got": {"a": "té"}}),
            Case("handler", url("GET", "/binary"), body=OCTETS, fields=PNG),
            Case("handler", url("GET", "/fail"), 404, NOT_FOUND),
            Case("streamed", url("GET", "/binary"), body=OCTETS, fields=PNG),
            Case("streamed", url("GET", "/fail"), 404, NOT_FOUND),
        ],
        Case("streamed", url("GET", "/stream"), body=STEPS, fields={"content-type": [TEXT]}),
        needs="its `Router` takes bodies for text, and has cookies in the result's `cookies`; "
        "under Deno its Tracer sends nothing (`dgram` refuses its port)",
    ),
    "bknd": Framework(
        "`serveLambda(config)`",
        [
            Case(
                "handler",
                url("GET", ITEMS, **TWICE),
                body={"query": NAMES, "cookie": "; ".join(SENT_COOKIES), "field": "a,b"},
                cookies=COOKIES,
            ),
            Case("handler", rest("/items"), body={"query": NAMES, "field": "b, a"}, cookies=COOKIES),
            Case("handler", url("POST", "/binary", OCTETS), 201, OCTETS, fields=PNG),
            Case("handler", url("GET", "/fail"), 500, {"error": "of the route"}),
            Case(
                "handler",
                url("POST", "/api/data/entity/todos", '{"title":"tea"}', content_type=JSON),
                201,
                contains='"title":"tea"',
            ),
            Case("handler", url("GET", "/api/data/entity/todos"), contains='"total":1'),
        ],
        needs="it makes a new app for every event; one app for all of them is [examples/bknd](../examples/bknd)",
    ),
    "opennext": Framework(
        "`.open-next/server-functions/default`, wrappers `aws-lambda` and `aws-lambda-streaming`",
        [
            Case("default/handler", url("GET", "/?name=t%C3%A9"), contains="<h1>page for té</h1>"),
            Case(
                "default/handler",
                url("GET", f"/api{ITEMS}", **TWICE),
                body={"query": "?name=t%C3%A9&name=2", "cookies": SENT_COOKIES, "field": "a,b"},
                cookies=COOKIES,
            ),
            Case("default/handler", url("POST", "/api/items", OCTETS), body=OCTETS, fields=PNG),
            Case("default/handler", url("GET", "/api/items?fail=1"), 500),
            Case("default/handler", url("GET", "/nowhere"), 404, contains="This page could not be found."),
        ],
        Case("streaming/streamed", url("GET", "/stream"), body=STEPS, fields={"content-type": [TEXT]}),
        not_on={
            "bun": "the bundle finds no constructor of Next.js' server",
            "deno": "a `POST` with a body is a 500 (`ArrayBuffer is not detachable`)",
        },
        needs="caches: its default ones ask S3, DynamoDB and SQS, so it ran with `dummy` for all three",
    ),
}
