"""A reserved path is recognised however a server or framework would read it, and no other path is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.web.reserved import ReservedPaths

PATH = "/internal/after"
RESERVED = ReservedPaths([PATH, "/done?secret=1"])

REFUSED = {
    "as it is": "/internal/after",
    "the other one, set with a query": "/done",
    "an encoded letter": "/internal/%61fter",
    "encoded twice": "/internal/%2561fter",
    "encoded five times": "/internal/%2525252561fter",
    "all encoded": "/%69%6e%74%65%72%6e%61%6c%2f%61%66%74%65%72",
    "an encoded slash": "/internal%2Fafter",
    "an encoded slash, twice": "/internal%252fafter",
    "a doubled slash at the beginning": "//internal/after",
    "a doubled slash within": "/internal//after",
    "a slash at the end": "/internal/after/",
    "slashes at the end": "/internal/after///",
    "a dot": "/./internal/after",
    "a dot at the end": "/internal/after/.",
    "two dots": "/x/../internal/after",
    "two dots within": "/internal/x/../after",
    "two dots at the end": "/internal/after/x/..",
    "two dots above the root": "/../../internal/after",
    "encoded dots": "/x/%2e%2E/internal/after",
    "dots encoded twice": "/x/%252e%252e/internal/after",
    "dots that take away an empty segment": "/internal//../after",
    "dots that take away what is dots when decoded": "/internal/%2e/../after",
    "dots with parameters": "/x/..;a=b/internal/after",
    "a parameter": "/internal/after;x=1",
    "a parameter within": "/internal;x=1/after",
    "an encoded parameter": "/internal/after%3Bx=1",
    "a parameter with an encoded slash": "/internal/after;x=a%2fb",
    "a parameter with an encoded slash within": "/internal;a%2fb/after",
    "parameters, and an encoded query behind them": "/internal;a%2fb/after%3fx/y",
    "other case": "/Internal/AFTER",
    "other case, encoded": "/internal/%41fter",
    "the Kelvin sign's kind of s": "/internal/after".replace("s", "%C5%BF"),
    "a backslash": "/internal\\after",
    "an encoded backslash": "/internal%5Cafter",
    "a backslash at the beginning": "/\\internal/after",
    "a backslash between parameters": "/%3b\\internal/after%3b",
    "a backslash that is none": "/internal/a\\b/../after",
    "a NUL and more": "/internal/after%00.html",
    "a NUL within": "/internal/af%00ter",
    "a line feed at the end, before which $ matches": "/internal/after%0A",
    "a blank at the end": "/internal/after%20",
    "an encoded query": "/internal/after%3Fx=1",
    "an encoded query with a slash": "/internal/after%3Fx/y",
    "an encoded question mark that dots take away": "/x%3f/../internal/after",
    "an encoded fragment": "/internal/after%23x",
    "a host before it": "//host/internal/after",
    "a host behind a dot": "/.//host/internal/after",
    "a host before it, with backslashes": "/\\host\\internal/after",
    "a format": "/internal/after.json",
    "a dot that is a part of the name for others": "/internal/after.",
    "behind a script": "/index.php/internal/after",
    "behind a script in a folder": "/app/public/index.PHP/internal/after",
    "all together": "//x/..;/%2e/INTERNAL%252f.%5c%2561fter;a/%20?".rstrip("?"),
    "more often than anybody decodes": "/internal/%" + "25" * 100 + "61fter",
}
PASSED = {
    "the root": "/",
    "nothing": "",
    "one that is longer": "/internal/after2",
    "one below": "/internal/after/it",
    "one above": "/internal",
    "one in another folder": "/docs/internal/after",
    "the last segment alone": "/after",
    "the segments in another order": "/after/internal",
    "with another segment between": "/internal/and/after",
    "an extension on another segment": "/internal.json/after",
    "an asset": "/assets/after.css",
    "dots without it": "/a/../b",
    "dots, one of its segments": "/x/../internal",
    "dots, its segments in another order": "/x/../after/internal",
    "an encoded name": "/caf%C3%A9/%E2%82%AC",
    "a percent sign that is none": "/100%/internal",
    "encoded slashes": "/a%2Fb%252Fc",
    "parameters": "/cars;color=red/doors;open",
    "a host": "//host/x/internal/after2",
    "a script": "/index.php/other",
    "a file with the name of a script": "/internal.php",
    "an address as a path": "/http://example.com/page",
}


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED)
def test_a_reserved_path_is_refused_however_it_is_written(path: str) -> None:
    assert path in RESERVED


@pytest.mark.parametrize("path", PASSED.values(), ids=PASSED)
def test_another_path_passes(path: str) -> None:
    assert path not in RESERVED


@pytest.mark.parametrize("path", ["/api/internal/after", "/internal/after", "/%61pi//Internal/after/"])
def test_an_app_that_knows_its_base_path_may_be_asked_with_it(path: str) -> None:
    assert path in ReservedPaths([PATH], "/api/")
    assert "/other/internal/after" not in ReservedPaths([PATH], "/api/")


@pytest.mark.parametrize("path", ["/caf%C3%A9/Done", "/x/../café/done", "/café/done.php"])
def test_the_setting_is_read_in_the_same_way(path: str) -> None:
    reserved = ReservedPaths([path])
    assert "/caf%c3%a9/done" in reserved
    assert "/CAF%C3%89/done/" in reserved
    assert "/done" not in reserved


def test_the_root_can_be_reserved() -> None:
    assert all(path in ReservedPaths(["/"]) for path in ("/", "", "//", "/.", "/;x", "/x/.."))
    assert "/index" not in ReservedPaths(["/"])


# Servers as they are: a few steps, one after the other.

Step = Callable[[str], str]


def joined(path: str) -> str:
    while "//" in path:
        path = path.replace("//", "/")
    return path


def resolved(path: str) -> str:
    """RFC 3986 section 5.2.4: an empty segment is one that .. takes away."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept)


STEPS: dict[str, Step] = {
    "decode": lambda path: unquote(path, errors="replace"),
    "join slashes": joined,
    "resolve dots": resolved,
    "drop parameters": lambda path: "/".join(segment.partition(";")[0] for segment in path.split("/")),
    "drop a query": lambda path: path.partition("?")[0],
    "end at a NUL": lambda path: path.partition("\0")[0],
    "take backslashes for slashes": lambda path: path.replace("\\", "/"),
    "ignore case": str.lower,
    "strip": lambda path: path.rstrip("/ \n") or "/",
    "drop a format": lambda path: re.sub(r"(?<=[^/.])\.[^/]*$", "", path),
    "drop a host": lambda path: "/" + path[2:].partition("/")[2] if path.startswith("//") else path,
}
PIECES = [*"/\\.;?", "..", "//", "/../", "/./", "%2f", "%2e", "%252e", "%3b", "%3F", "%00", "%0a", "%5c", "%25", "%61"]
PIECES += ["internal", "after", "INTERNAL", "/internal/after", "x", "x=1", ".json", "%66ter"]


@settings(max_examples=1500, derandomize=True, deadline=None, database=None)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=7),
    server=st.lists(st.sampled_from(sorted(STEPS)), max_size=6).filter(lambda steps: steps.count("drop a host") < 2),
)
def test_what_a_server_takes_for_the_reserved_path_is_refused(pieces: list[str], server: list[str]) -> None:
    path = seen = "/" + "".join(pieces)
    for step in server:
        seen = STEPS[step](seen)
    assert seen != PATH or path.partition("?")[0] in RESERVED
