"""The table of cases: what is sent, how often, and what to say where the peer is ahead.

A suite is what one start of the runtime can carry. Answers that are streamed, several invocations at a time, and a
Python handler in place of an app, are chosen by variables at the start: each is one ``Suite`` with its environment, its
cases, and the conditions under which it is measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.events import binary, function_url, prose, rest_api

WEB, HANDLER = "web", "handler"  # what both sides are in front of
FIRST_BYTE, PER_SECOND = "first byte", "per second"
MEGABYTE = 1_000_000


class Case(NamedTuple):
    """One row: ``event`` so many times, after so many that do not count."""

    name: str
    event: dict[str, Any]
    invocations: int
    warm_up: int
    checked_event: dict[str, Any] | None = None  # what equality is checked with, where that is to show more
    memory: str = ""  # memory is read after this case, and this is what the row is called
    why_behind: str = ""  # printed beside the row when the peer is ahead
    time: str = "latency_ns"  # which of the mock's times the row is about


class Condition(NamedTuple):
    """Under which circumstances a suite is measured."""

    name: str
    pinned: bool
    quick_ack: bool | None = None  # how the mock acknowledges; None is as asked for
    scale: float = 1  # of the invocations


ONE_CORE = Condition("all on one core", True)
ALL_CORES = Condition("on all cores", False)


class Suite(NamedTuple):
    """Cases by the processes that they share.

    Each of ``lives`` is what one process gets, in this order. What it has carried before decides how fast it is with
    large bodies (a C library that has freed large blocks keeps the next ones), so each of these begins a new life, and
    what becomes of them in a process that has seen larger ones is a life of its own.
    """

    name: str
    environment: Mapping[str, str]  # beyond the ordinary, for both
    lives: Sequence[Sequence[Case]]
    conditions: Sequence[Condition] = (ONE_CORE, ALL_CORES)
    kind: str = WEB
    also: str = ""  # what is printed besides time and CPU: FIRST_BYTE or PER_SECOND

    @property
    def cases(self) -> Sequence[Case]:
        """All of them."""
        return [case for life in self.lives for case in life]


def _upload(size: int) -> dict[str, Any]:
    return function_url("POST", "/length", binary(size), True)


def _echo(body: str, is_base64: bool = False) -> dict[str, Any]:
    return function_url("POST", "/echo" if is_base64 else "/echo?text", body, is_base64)


# ---- the table ------------------------------------------------------------------------------------------------------

_FORM = json.dumps({"name": "Ada", "comment": "x" * 972})  # 1000 bytes

_SMALL = (
    Case("small GET", function_url("GET", "/small"), 600, 200, memory="after small requests"),
    Case("POST, 1 KB", function_url("POST", "/length", _FORM), 400, 100, _echo(_FORM)),
    Case("REST API event", rest_api("GET", "/small"), 400, 100),
    Case("chunked answer, 5 x 2 KB", function_url("GET", "/chunked?10000&chunk=2000"), 400, 100),
    Case("5 lines of stderr per request", function_url("GET", "/stderr?5"), 400, 100),
)
_LARGE = (
    Case("binary up, 1 MB", _upload(MEGABYTE), 30, 5, _echo(binary(MEGABYTE), True)),
    Case("binary up, 4.5 MB", _upload(4_500_000), 12, 3, _echo(binary(4_500_000), True)),
    Case("binary down, 1 MB", function_url("GET", "/large?1000000&binary"), 30, 5),
    Case("binary down, 4.5 MB", function_url("GET", "/large?4500000&binary"), 12, 3),
    Case("text down, 1 MB", function_url("GET", "/large?1000000"), 30, 5),
    Case("text down, 5 MB", function_url("GET", "/large?5000000"), 12, 3),
    Case("prose up and down, 1 MB", _echo(prose(MEGABYTE)), 30, 5),
    Case("prose up and down, 5 MB", _echo(prose(5 * MEGABYTE)), 12, 3),
)
_PASSES = "each kind of escape is a pass over the text of its own"
_AFTER_LARGER = (
    Case(
        "prose up and down, 5.5 MB",
        _echo(prose(5_500_000)),
        10,
        3,
        memory="after bodies of 5.5 MB",
        why_behind="more copies are alive than freed memory is kept for, so pages are mapped anew each time",
    ),
    Case("then: binary up, 1 MB", _upload(MEGABYTE), 30, 5, why_behind="half of it is the base64 decoder of Python"),
    Case(
        "then: binary down, 1 MB",
        function_url("GET", "/large?1000000&binary"),
        30,
        5,
        why_behind="the body is copied once more than by the peer",
    ),
    Case("then: text down, 1 MB", function_url("GET", "/large?1000000"), 30, 5, why_behind=_PASSES),
    Case("then: prose up and down, 1 MB", _echo(prose(MEGABYTE)), 30, 5, why_behind=_PASSES),
)

BUFFERED = Suite("buffered answers", {}, (_SMALL, *((case,) for case in _LARGE), _AFTER_LARGER))

_CUT_OUT = "the chunks are cut out of what was received: a copy more"
_STREAMED = (
    Case("small GET", function_url("GET", "/small"), 200, 50),
    Case(
        "1 MB, chunks of 16 KB",
        function_url("GET", "/chunked?1000000&chunk=16384"),
        60,
        10,
        why_behind=_CUT_OUT,
    ),
    Case(
        "server-sent events, each until it arrives",
        function_url("GET", "/stamps?50&pause=1000"),
        6,
        1,
        function_url("GET", "/stamps?50&stamp=1"),
        why_behind="an event is a few system calls for both, and what is in between takes an interpreter longer",
        time="event_ns",
    ),
    Case(
        "20 MB, chunks of 64 KB",
        function_url("GET", "/chunked?20000000&chunk=65536&binary"),
        10,
        2,
        why_behind=_CUT_OUT,
    ),
    Case(
        "20 MB with a length",
        function_url("GET", "/large?20000000&binary"),
        10,
        2,
        memory="after streams of 20 MB",
        why_behind="the peer asks the kernel for 400 KB at a time",
    ),
)
STREAMED = Suite(
    "streamed answers",
    {"FAIRLEAD_INVOKE_MODE": "response_stream", "AWS_LWA_INVOKE_MODE": "response_stream"},
    (_STREAMED,),
    (
        Condition("all on one core, acknowledged at once", True, True),
        Condition("on all cores, acknowledged at once", False, True),
        # The peer waits for each acknowledgement of a small write, and then 40 ms are gone: enough for a few.
        Condition("all on one core, acknowledged with delay", True, False, 0.15),
    ),
    also=FIRST_BYTE,
)

_ALL_BUSY = (
    "both cores are busy, half of the time with the kernel, the app and the mock; the rest takes an interpreter longer"
)
_TOGETHER = (
    Case(
        "small GET",
        function_url("GET", "/small"),
        4000,
        1000,
        memory="8 invocations at a time",
        why_behind=_ALL_BUSY,
    ),
    Case("the app waits for 5 ms", function_url("GET", "/sleep?5"), 1200, 80, why_behind="waiting is most of it"),
)
CONCURRENT = Suite(
    "8 invocations at a time",
    {"AWS_LAMBDA_MAX_CONCURRENCY": "8"},
    (_TOGETHER,),
    (ALL_CORES,),
    also=PER_SECOND,
)

_HANDLED = (
    Case("small event, small result", {"key": "value"}, 600, 200, memory="after small events"),
    Case("event of 100 KB", {f"key {n}": {"text": "x" * 80, "number": n} for n in range(850)}, 200, 50),
    Case(
        "result of 1 MB",
        {"result": MEGABYTE},
        60,
        10,
        why_behind="a look at each value before the standard library's encoder, which takes longer than simplejson's",
    ),
)
HANDLED = Suite(
    "a Python handler",
    {"LAMBDA_TASK_ROOT": str(Path(__file__).parent / "handlers"), "_HANDLER": "measured.handler"},
    (_HANDLED,),
    kind=HANDLER,
)

SUITES = (BUFFERED, STREAMED, CONCURRENT, HANDLED)

# The same for the rows of memory and of cold starts, by their name.
_START = "while the app starts we compute for 12 ms (bash, interpreter, modules), the peer for 3 ms"
WHY_BEHIND = {
    "after small requests": "an interpreter and its modules, against one native program",
    "after streams of 20 MB": "an interpreter and its modules, against one native program",
    "8 invocations at a time": "an interpreter for each core ([0014](decisions/0014-pollers-share-processes.md))",
    "after bodies of 5.5 MB": "freed blocks are kept for the next body ([0008](decisions/0008-large-bodies.md))",
    "all cores": _START,
    "one core": f"{_START}; the app shares the core",
    "stored on disk": "an interpreter and its modules are read from disk, against one program of 5 MB",
}
