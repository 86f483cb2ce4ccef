"""The same handlers and events under Lambda's own Node runtime (aws-lambda-ric) and ours: what they post is equal.

aws-lambda-ric is npm's, pinned; its native part, which would have to be compiled, is tests/javascript/rapid_client.
Every difference is in ``DIFFERENCES`` with its reason, and one that is no more is a failure too. Bun and Deno have to
post what Node does, but for what ``OF_RUNTIMES`` names: how an engine words its own errors.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.process import CHECKOUT

from .conftest import engine_of, javascript_environment

MODULES = CHECKOUT / "tests" / "javascript"
CONTRACT = MODULES / "contract"
DEADLINE_MS = 4_102_444_800_000  # in the year 2100
FUNCTION = {
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/30/[$LATEST]0",
}
Posted = list[Any]
Start = Callable[[FakeRuntimeApi, str], BootstrapProcess]


class Event(NamedTuple):
    """One invocation."""

    handler: str
    payload: object
    headers: dict[str, str | None] = {}  # noqa: RUF012 (never changed)


class Difference(NamedTuple):
    """Why what is posted differs, and whether that is all in which the two, Lambda's and ours, differ."""

    reason: str
    is_all: Callable[[Posted, Posted], bool]


def keys_of(source: str, constant: str) -> list[str]:
    """The keys of an object that a module of the handlers begins a line with: ``name: (`` or ``"name": (``."""
    body = (CONTRACT / source).read_text().partition(f"const {constant} = {{\n")[2].partition("\n};")[0]
    return [plain or quoted for plain, quoted in re.findall(r'^  (?:([\w$]+)|"([^"]+)"): ', body, re.MULTILINE)]


EVENTS: dict[str, Event] = {
    **{f"result: {name}": Event("results.handler", {"result": name}) for name in keys_of("results.mjs", "RESULTS")},
    **{f"failure: {name}": Event("results.handler", {"failure": name}) for name in keys_of("results.mjs", "FAILURES")},
    **{
        f"synchronous: {name}": Event("results.synchronous", {"failure": name})
        for name in ("error", "string", "undefined", "null", "bigint")
    },
    **{f"way: {name}": Event("ways.handler", {"way": name}) for name in keys_of("ways.mjs", "WAYS")},
    "context: full": Event(
        "ways.handler",
        {"way": "context"},
        {
            "Lambda-Runtime-Client-Context": '{"custom":{"a":"\\u00e9"},"env":{}}',
            "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"id","cognitoIdentityPoolId":"pool"}',
            "Lambda-Runtime-Aws-Tenant-Id": "blue",
        },
    ),
    "context: a list": Event("ways.handler", {"way": "context"}, {"Lambda-Runtime-Client-Context": "[1]"}),
    "context: cut": Event("ways.handler", {"way": "context"}, {"Lambda-Runtime-Client-Context": "{"}),
    "trace: absent": Event("ways.handler", {"way": "trace"}, {"Lambda-Runtime-Trace-Id": None}),
    "event: cut": Event("results.handler", b'{"result": '),
    "event: large numbers": Event("results.handler", b'{"result":"number","n":[1e400,12345678901234567890]}'),
    "path: in an object, awaited at the top": Event("src/app.ns.h", {}),
    "path: CommonJS": Event("src/common.handler", {}),
    "path: CommonJS, two levels down": Event("src/common.nested.deep.handler", {}),
    "path: CommonJS under its own type": Event("typed/index.handler", {}),
    **{
        f"stream: {name}": Event(f"streams.{name}", {"a": 1})
        for name in re.findall(r"^export const (\w+) = streamify", (CONTRACT / "streams.mjs").read_text(), re.MULTILINE)
    },
    "uncaught: rejection": Event("uncaught.handler", {"uncaught": "rejection"}),
    "uncaught: rejected text": Event("uncaught.handler", {"uncaught": "rejected text"}),
    "uncaught: rejection beside an answer": Event("uncaught.handler", {"uncaught": "rejection", "answers": "at once"}),
    "uncaught: the next after it": Event("uncaught.handler", {}),
    "uncaught: rejection beside a callback": Event("uncaught.calls", {"uncaught": "rejection"}),
    "uncaught: rejection before a callback": Event("uncaught.calls", {"uncaught": "rejection", "answers": "soon"}),
    "uncaught: the next after a callback": Event("uncaught.calls", {}),
    "uncaught: exception": Event("uncaught.handler", {"uncaught": "exception"}),
    "uncaught: process.exit(3)": Event("uncaught.handler", {"uncaught": "exit"}),
    "uncaught: never settles": Event("uncaught.handler", {"uncaught": "never"}),
}


def has_another_type(error_type: str) -> Callable[[Posted, Posted], bool]:
    return lambda managed, ours: ours[0] == "error" and ours[1] == error_type and managed[1] != error_type


def has_a_longer_trace(managed: Posted, ours: Posted) -> bool:
    return managed[:3] == ours[:3] and ours[3][: len(managed[3])] == managed[3]


def is_cropped(managed: Posted, ours: Posted) -> bool:
    return bool(managed[1] == ours[1] and managed[2].startswith(ours[2]) and len(ours[2]) == 100_000)


def is_reported_at_once(managed: Posted, ours: Posted) -> bool:
    return managed[0] == "stream" and ours == ["error", *managed[-1][1:]]


def is_an_error(managed: Posted, ours: Posted) -> bool:
    return managed[0] in ("response", "exit") and ours[0] == "error"


def has_the_metadata(managed: Posted, ours: Posted) -> bool:
    return [managed[2], ours[2]] == ["", '{"statusCode":204}' + "\0" * 8]


TYPED = Difference(
    "a result that is no JSON has a name, that of Lambda's newer runtimes",
    has_another_type("Runtime.JSONStringifyError"),
)
SHOWN = Difference(
    "Lambda's runtime fails in its own code when it logs such a value", lambda _, ours: ours[0] == "error"
)
CAUSES = Difference("Lambda's runtime leaves out causes, and the stack of a rejection's reason", has_a_longer_trace)
CROPPED = Difference("a message of 100,000 characters and more would not fit everywhere", is_cropped)
FAILED = Difference("Lambda's runtime takes `throw undefined` and `throw null` for success", is_an_error)
ENDS = Difference("Lambda's runtime ends without a word, or answers null; ours reports what has happened", is_an_error)
EARLY = Difference("nothing is sent yet, so that the invocation can fail as a whole", is_reported_at_once)
SPARED = Difference(
    "Lambda's runtime ends after the answer, and the next invocation with it; ours asks another process",
    lambda managed, ours: managed[0] == "exit" and ours[0] == "response",
)
METADATA = Difference("Lambda's runtime leaves the metadata out when nothing is written", has_the_metadata)

DIFFERENCES: dict[str, Difference] = {
    **{f"result: {name}": TYPED for name in ("circular", "bigint", "toJSON that throws", "function", "symbol")},
    **{f"failure: {name}": SHOWN for name in ("symbol", "object without prototype")},
    "failure: cause": CAUSES,
    "failure: huge message": CROPPED,
    "synchronous: undefined": FAILED,
    "synchronous: null": FAILED,
    "stream: noContent": METADATA,
    "stream: breaksFirst": EARLY,
    "uncaught: rejection": CAUSES,
    "uncaught: rejected text": ENDS,
    "uncaught: the next after it": SPARED,
    "uncaught: rejection beside a callback": CAUSES,
    "uncaught: rejection before a callback": ENDS,
    "uncaught: process.exit(3)": ENDS,
    "uncaught: never settles": ENDS,
}


def starter_of(runtime: str) -> Start:
    """What starts ours on that runtime. Skips where it cannot be had."""
    engine = engine_of(runtime)

    def start(api: FakeRuntimeApi, handler: str) -> BootstrapProcess:
        environment = {**javascript_environment(engine, CONTRACT), **FUNCTION}
        return start_bootstrap(api, handler=handler, environment=environment)

    return start


def posted(answer: Answer, request_id: str) -> Posted:
    """What is compared: all of a response; of an error its document, without the frames of whoever called."""
    request = answer.request
    if answer.kind == "error":
        return ["error", *document(answer.body)]
    body = answer.body.decode("utf-8", "backslashreplace").replace(request_id, "ID")
    if request.header("Lambda-Runtime-Function-Response-Mode") is None:
        return [answer.kind, request.header("Content-Type"), body]
    trailers = dict(request.trailers)
    told = trailers.get("Lambda-Runtime-Function-Error-Body")
    failure = ["failed", *document(base64.b64decode(told))] if told else ["complete"]
    digest = body if len(body) < 1000 else len(answer.body)
    return ["stream", request.header("Content-Type"), digest, failure]


def document(body: bytes) -> Posted:
    """The error document, in the order of its keys, with the frames of the handlers alone."""
    told = json.loads(body)
    if "requestId" in told:  # Fairlead's own: the host could not say anything
        return [told["errorType"], told["errorMessage"], []]
    assert list(told) == [key for key in ("errorType", "errorMessage", "trace") if key in told]
    lines = told.get("trace", [])
    kept = [line for line in lines if not re.match(r"\s+at ", line) or "/contract/" in line]
    kept = [re.sub(r"^\s+at .*?(/contract/[^)]*)\)?$", r"    at \1", line) for line in kept]  # callers name functions
    return [told.get("errorType"), told.get("errorMessage"), kept]


def run(start: Start) -> dict[str, Posted]:
    """What each event is answered with."""
    found: dict[str, Posted] = {}
    for handler in dict.fromkeys(event.handler for event in EVENTS.values()):
        waiting = [name for name, event in EVENTS.items() if event.handler == handler]
        while waiting:
            found.update(run_one(start, handler, waiting))
    return found


def run_one(start: Start, handler: str, waiting: list[str]) -> Iterator[tuple[str, Posted]]:
    """The same in one process, as far as it gets. Takes from ``waiting`` what was answered, or never will be."""
    with FakeRuntimeApi() as api:
        process = start(api, handler)
        while waiting:
            name = waiting.pop(0)
            event = EVENTS[name]
            request_id = api.add_event(event.payload, headers=event.headers, deadline_ms=DEADLINE_MS)
            try:
                answer = api.wait_answer(request_id)
            except AssertionError:
                if not process.has_exited():
                    raise
                yield name, ["exit", process.wait()]
                api.take_violations()
                return
            yield name, posted(answer, request_id)
        api.take_violations()  # aws-lambda-ric sends a second answer here and there


@pytest.fixture(scope="module")
def managed(managed_program: list[str]) -> dict[str, Posted]:
    """What Lambda's runtime posts."""
    program, *arguments = managed_program

    def start(api: FakeRuntimeApi, handler: str) -> BootstrapProcess:
        environment = {
            "LAMBDA_TASK_ROOT": str(CONTRACT),
            "AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1": "true",
            **FUNCTION,
        }
        return start_bootstrap(
            api, handler=handler, bootstrap=Path(program), arguments=[*arguments, handler], environment=environment
        )

    return run(start)


@pytest.fixture(scope="module")
def on_node() -> dict[str, Posted]:
    """What ours posts on Node."""
    return run(starter_of("node"))


@pytest.mark.parametrize("name", EVENTS)
def test_what_is_posted_is_the_same_but_for_known_differences(
    managed: dict[str, Posted], on_node: dict[str, Posted], name: str
) -> None:
    theirs, ours = managed[name], on_node[name]
    if name not in DIFFERENCES:
        assert ours == theirs
    else:
        assert ours != theirs, "no difference any more: take it off the list"
        assert DIFFERENCES[name].is_all(theirs, ours), (theirs, ours)


# How an engine words its own errors, and what it makes of names that are no text.
OF_RUNTIMES = {
    "bun": {"failure: TypeError", "failure: SyntaxError", "event: cut", "context: cut"},
    "deno": set[str](),
}


@pytest.mark.parametrize("runtime", OF_RUNTIMES)
def test_other_runtimes_post_what_node_does(on_node: dict[str, Posted], runtime: str) -> None:
    ours = run(starter_of(runtime))
    differing = {name for name in EVENTS if without_traces(ours[name]) != without_traces(on_node[name])}
    assert differing == OF_RUNTIMES[runtime], {name: (on_node[name], ours[name]) for name in differing}


def without_traces(posted: Posted) -> Posted:
    """The same without stacks, which engines write in their own ways."""
    failure = posted[3] if posted[0] == "stream" else posted
    return [*posted[:3], failure[:3]]


def test_no_difference_is_listed_for_nothing() -> None:
    assert set(DIFFERENCES) - set(EVENTS) == set()
