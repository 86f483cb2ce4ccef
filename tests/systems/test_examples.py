"""The examples that have the same routes: what a browser sends arrives, what the app answers comes back."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import pytest

from local.app.start_script import START_SCRIPT
from tests.conformance.test_app_faults import function_url

from .conftest import Figures, examples
from .system import System

EXAMPLES = (
    "bun-fetch",
    "bun-serve",
    "deno-oak",
    "deno-serve",
    "express",
    "fastapi",
    "flask",
    "flask app:app",
    "hono-bun",
)
pytestmark = examples(*EXAMPLES, fast=("fastapi", "express", "bun-fetch"))

FORM = {"content-type": "application/x-www-form-urlencoded"}
# Pairs of what the client sends and what a framework has to make of it.
QUERIES = {
    "repeats in their order": ("a=1&b=2&a=3", [["a", "1"], ["b", "2"], ["a", "3"]]),
    "escapes": ("q=a%20b%2Bc%26d&p=%E2%82%AC%25", [["q", "a b+c&d"], ["p", "€%"]]),
    "a plus is a blank": ("q=a+b", [["q", "a b"]]),
    "an escape in lower case": ("q=%c3%a9", [["q", "é"]]),
    "a name that is escaped": ("%5Bx%5D=1", [["[x]", "1"]]),
    "brackets as they are": ("x[]=1&x[]=2", [["x[]", "1"], ["x[]", "2"]]),
    "a second question mark": ("q=a?b=c", [["q", "a?b=c"]]),
    "an escape of an escape": ("q=%2525", [["q", "%25"]]),
    "a comma": ("q=a,b&q=c", [["q", "a,b"], ["q", "c"]]),
}
BODIES = {
    "100 KB of anything": os.urandom(100_000),
    "every byte": bytes(range(256)),
    "text that is no UTF-8": b"caf\xe9 \xff\xfe",
    "UTF-8 with a byte order mark": b"\xef\xbb\xbfx\r\n",
    "one byte": b"\0",
}


def test_the_page_is_served(system: System) -> None:
    response = system.ask("GET", "/", {"accept": "text/html"})
    assert response.status == 200, (response.data, system.output)
    assert response.headers["content-type"].lower() == "text/html; charset=utf-8"
    assert b"<h1>It runs.</h1>" in response.data


def test_an_unknown_page_is_the_frameworks_404(system: System) -> None:
    assert system.ask("GET", "/no/such/page").status == 404


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bytes_come_through_in_both_directions(system: System, body: bytes) -> None:
    response = system.ask("POST", "/api/bytes", {"content-type": "application/octet-stream"}, body)
    assert response.status == 200, (response.data[:500], system.output)
    assert response.data == body
    seen = (response.headers["x-length"], response.headers["x-sha256"])
    assert seen == (str(len(body)), hashlib.sha256(body).hexdigest())


def test_each_cookie_is_set_by_a_field_of_its_own(system: System) -> None:
    fields = system.ask("GET", "/api/cookies").headers.getlist("set-cookie")
    assert [field.partition(";")[0] for field in fields] == ["theme=dark", "visited=yes"]
    assert ["httponly" in field.lower() for field in fields] == [False, True]


def test_cookies_come_back_to_the_app(system: System) -> None:
    assert system.json("GET", "/api/cookies", {"cookie": "theme=dark; visited=yes"}) == {
        "theme": "dark",
        "visited": "yes",
    }


def described(system: System, target: str, **headers: str) -> Any:
    return system.json("GET", target, headers)


@pytest.mark.parametrize(("query", "expected"), QUERIES.values(), ids=QUERIES)
def test_the_query_means_what_the_client_meant(system: System, query: str, expected: object) -> None:
    assert described(system, f"/api/request?{query}")["query"] == expected


# What a framework makes of X-Forwarded-Proto: these are told to believe it, the others see the connection's http.
BELIEVE_THE_SCHEME = {"deno-oak", "express", "fastapi", "flask"}


def test_the_url_is_the_one_that_the_client_asked_for(system: System) -> None:
    """Links and redirects that the framework builds from it lead back: the gateway speaks HTTPS at this port too."""
    target = "/api/request?q=%20x&q=%2F"
    address = system.address.replace("http:", "https:" if system.name in BELIEVE_THE_SCHEME else "http:")
    assert described(system, target)["url"] == address + target


def test_the_method_and_the_header_fields_arrive(system: System) -> None:
    seen = described(system, "/api/request", **{"X-One": "1", "X-Text": 'a, b; "c"', "Accept-Language": "de,en;q=0.5"})
    fields = dict(seen["headers"])
    assert seen["method"] == "GET"
    assert (fields["x-one"], fields["x-text"], fields["accept-language"]) == ("1", 'a, b; "c"', "de,en;q=0.5")
    assert fields["x-forwarded-proto"] == "https"


def test_the_client_is_the_one_that_aws_has_seen(system: System) -> None:
    """Not the loopback interface from which Fairlead connects, and not what the client says of itself."""
    headers = {
        "host": "abc.lambda-url.eu-west-1.on.aws",
        "x-forwarded-for": "203.0.113.77, 198.51.100.7",
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
    }
    payload = system.invoke(function_url("/api/request", headers=headers))
    seen = json.loads(payload["body"])
    assert seen["client"] == "198.51.100.7"
    scheme = "https" if system.name in BELIEVE_THE_SCHEME else "http"
    assert seen["url"] == f"{scheme}://abc.lambda-url.eu-west-1.on.aws/api/request"


def test_a_form_is_understood(system: System) -> None:
    seen = system.json("POST", "/form", FORM, b"name=Zo%C3%AB+%26+%CE%A9mega%2B1&tag=a&tag=b&empty=")
    assert seen == {"name": ["Zoë & Ωmega+1"], "tag": ["a", "b"], "empty": [""]}


def test_none_of_this_was_a_problem(system: System) -> None:
    """One environment served it all, cold once; neither the gateway nor Fairlead had anything to say."""
    assert [served.is_cold for served in system.served].count(True) == 1
    assert [served.problem for served in system.served if served.problem] == []
    assert [line for line in system.output if "WARN" in line or "ERROR" in line] == []


def test_figures(system: System, figures: Figures) -> None:
    figures(system, described(system, "/api/request")["runtime"])


def test_the_app_ends_by_itself_when_it_is_told(system: System) -> None:
    """It writes this line when SIGTERM has come and its work is done. Killed, it would not."""
    if system.handler != START_SCRIPT:
        pytest.skip("WSGI has nothing by which an app is told")
    assert system.has_said_at_its_end("stopped")
