"""The same functions and events under Lambda's own Python runtime (awslambdaric) and ours: what they post is equal.

awslambdaric runs as it does on a managed runtime of Python 3.13, which differs from the same package elsewhere in how
it spells text that is not ASCII. Every difference is in ``DIFFERENCES`` with its reason, and a difference that is no
more is a failure too.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap
from tests.fakes.process import CHECKOUT
from tests.handlers.failures import FAILURES
from tests.handlers.results import RESULTS

pytestmark = pytest.mark.skipif(
    not (importlib.util.find_spec("awslambdaric") and importlib.util.find_spec("runtime_client")),
    reason="awslambdaric is not installed, or without its native part, for which there is no wheel here",
)

HANDLERS = CHECKOUT / "tests" / "handlers"
MANAGED = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
CLIENT_HEADER = "Lambda-Runtime-Client-Context"
IDENTITY_HEADER = "Lambda-Runtime-Cognito-Identity"
DEADLINE_MS = 4_102_444_800_000  # in the year 2100, so that no time is in what comes back


class Event(NamedTuple):
    """One invocation."""

    handler: str
    payload: object
    headers: dict[str, str | None] = {}  # noqa: RUF012 (never changed)


Posted = list[Any]  # what posted() gives


class Difference(NamedTuple):
    """Why what is posted differs, and how: whether that is all in which the two, Lambda's and ours, differ."""

    reason: str
    is_all: Callable[[Posted, Posted], bool]


def is_reported(managed: Posted, ours: Posted) -> bool:
    return managed[0] == "exit" and ours[0] == "error"


def is_answered(managed: Posted, ours: Posted) -> bool:
    return managed[0] in ("exit", "error") and ours[0] == "response"


def is_without_nan(managed: Posted, ours: Posted) -> bool:
    return ours == [*managed[:2], re.sub("NaN|-?Infinity", "null", managed[2])]


def has_another_message(managed: Posted, ours: Posted) -> bool:
    return [*managed[:2], *managed[3:]] == [*ours[:2], *ours[3:]]


def has_a_longer_stack(managed: Posted, ours: Posted) -> bool:
    return managed[:3] == ours[:3] and managed[3] == ours[3][: len(managed[3])]


def has_a_cleaner_stack(managed: Posted, ours: Posted) -> bool:
    return managed[:3] == ours[:3] and "awslambdaric" in managed[3][0] and ours[3] == managed[3][1:]


def has_a_name(managed: Posted, ours: Posted) -> bool:
    return managed[:2] == ["error", "AttributeError"] and ours[1] == "Runtime.LambdaContextUnmarshalError"


def is_json_after_all(managed: Posted, ours: Posted) -> bool:
    return (managed[2], ours[2]) == ("\"bytes: b'{}'\"", '"dict: {}"')


EXITS = Difference("Lambda's runtime ends without a word; ours reports what happened first", is_reported)
DIES = Difference("Lambda's runtime dies of it", is_answered)
NAN = Difference("NaN and infinities are no JSON, and most readers refuse all of it; ours are null", is_without_nan)
WORDING = Difference("simplejson and json word it differently", has_another_message)
CHAIN = Difference("Lambda's runtime leaves out causes, notes and the members of groups", has_a_longer_stack)
INSIDE = Difference("Lambda's runtime shows its own frames when there are no others", has_a_cleaner_stack)
NAMED = Difference("Lambda's runtime fails in its own code when the caller's context is no object", has_a_name)
CHARSET = Difference("Lambda's runtime does not see that application/json with a parameter is JSON", is_json_after_all)
CROPPED = Difference("a message of 2 MB would not fit everywhere", has_another_message)
AWAITED = Difference("Lambda's runtime has no async handlers", is_answered)

DIFFERENCES: dict[str, Difference] = {
    **dict.fromkeys((f"result: {name}" for name in ("nan", "infinity", "nan key")), NAN),
    **dict.fromkeys((f"result: decimal {name}" for name in ("nan", "-nan", "infinity")), NAN),
    **dict.fromkeys((f"failure: {name}" for name in ("lone surrogate", "str() fails", "name fails", "exit(4)")), EXITS),
    **dict.fromkeys((f"failure: sys.exit({argument})" for argument in ("3", "0", "", "text")), EXITS),
    **dict.fromkeys((f"failure: {name}" for name in ("interrupted", "base exception", "generator exit")), EXITS),
    "failure: cancelled": EXITS,
    **dict.fromkeys((f"failure: {name}" for name in ("chained", "while handling", "noted", "group")), CHAIN),
    **dict.fromkeys((f"failure: {name}" for name in ("circular causes", "many causes")), CHAIN),
    "failure: huge message": CROPPED,
    "failure: wrong arity": INSIDE,
    "failure: async def": AWAITED,
    "result: lone surrogate": DIES,
    "result: nested too deeply": WORDING,
    "event: more after it": WORDING,
    "event: control character": WORDING,
    "event: NaN": WORDING,
    "event: JSON with a charset": CHARSET,
    "event: no content type": DIES,
    "context: client context a list": NAMED,
    "context: identity a number": NAMED,
}

EVENTS: dict[str, Event] = {
    **{f"result: {name}": Event("results.handler", name) for name in RESULTS},
    **{f"failure: {name}": Event("failures.handler", name) for name in FAILURES if name != "os._exit(5)"},
    "failure: wrong arity": Event("failures.wrong_arity", {}),
    "failure: async def": Event("failures.async_handler", "event"),
    "event: object": Event(
        "results.echo", b' {"b" : [1, 2.50, -0, 1E2, true, null], "a": {"\\u00e9": "\xc3\xa9\\ud83d\\ude00"}} '
    ),
    "event: duplicate keys": Event("results.echo", b'{"a": 1, "a": 2}'),
    "event: large numbers": Event("results.kind", b"[123456789012345678901234567890, 1e400, 1.0000000000000000001]"),
    "event: too many digits": Event("results.kind", b"1" * 5000),
    "event: byte order mark": Event("results.echo", b"\xef\xbb\xbf{}"),
    "event: empty": Event("results.echo", b""),
    "event: cut": Event("results.echo", b'{"a": '),
    "event: more after it": Event("results.echo", b"{} {}"),
    "event: not UTF-8": Event("results.echo", b'"\xff"'),
    "event: control character": Event("results.echo", b'"\n"'),
    "event: NaN": Event("results.kind", b"[NaN]"),
    "event: text": Event("results.kind", b"plain", {"Content-Type": "text/plain"}),
    "event: JSON with a charset": Event("results.kind", b"{}", {"Content-Type": "application/json; charset=utf-8"}),
    "event: no content type": Event("results.kind", b"{}", {"Content-Type": None}),
    "context: plain": Event("contexts.handler", {}),
    "context: full": Event(
        "contexts.handler",
        {},
        {
            CLIENT_HEADER: json.dumps(
                {"custom": {"a": 1}, "env": {}, "client": {"app_title": "t"}, "w3c": {"baggage": "b"}}
            ),
            IDENTITY_HEADER: '{"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}',
            "Lambda-Runtime-Aws-Tenant-Id": "blue",
        },
    ),
    "context: bare": Event(
        "contexts.handler", {}, {"Lambda-Runtime-Invoked-Function-Arn": None, "Lambda-Runtime-Trace-Id": None}
    ),
    "context: empty objects": Event("contexts.handler", {}, {CLIENT_HEADER: "{}", IDENTITY_HEADER: "{}"}),
    "context: null": Event("contexts.handler", {}, {CLIENT_HEADER: "null", IDENTITY_HEADER: "null"}),
    "context: empty tenant": Event("contexts.handler", {}, {"Lambda-Runtime-Aws-Tenant-Id": ""}),
    "context: client context cut": Event("contexts.handler", {}, {CLIENT_HEADER: "{"}),
    "context: identity cut": Event("contexts.handler", {}, {IDENTITY_HEADER: "{"}),
    "context: client context a list": Event("contexts.handler", {}, {CLIENT_HEADER: "[]"}),
    "context: identity a number": Event("contexts.handler", {}, {IDENTITY_HEADER: "7"}),
    "trace: set": Event("contexts.trace", {}),
    "trace: absent": Event("contexts.trace", {}, {"Lambda-Runtime-Trace-Id": None}),
}


def posted(answer: Answer, request_id: str) -> Posted:
    """What is compared: all bytes of a response and its type; of an error what it says, and not how it is spaced."""
    if answer.kind == "response":
        body = answer.body.decode("utf-8", "backslashreplace").replace(request_id, "ID")
        return [answer.kind, answer.request.header("Content-Type"), body]
    document = answer.document
    assert document["requestId"] == request_id
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    # How many calls fit on the stack depends on how many there were before the handler's.
    trace = [re.sub(r"(?<=Previous line repeated )\d+", "N", line) for line in document["stackTrace"]]
    return [answer.kind, document["errorType"], document["errorMessage"], trace]


def start_managed(api: FakeRuntimeApi, handler: str, root: Path = HANDLERS) -> BootstrapProcess:
    return start_bootstrap(
        api,
        bootstrap=Path(sys.executable),
        arguments=["-m", "awslambdaric", handler],
        environment={"LAMBDA_TASK_ROOT": str(root), **MANAGED},
    )


def start_ours(api: FakeRuntimeApi, handler: str, root: Path = HANDLERS) -> BootstrapProcess:
    return start_bootstrap(api, handler=handler, environment={"LAMBDA_TASK_ROOT": str(root), **MANAGED})


def run(start: Any, events: dict[str, Event]) -> Iterator[tuple[str, Posted]]:
    """What each event is answered with. A runtime that ends with one is started again for those after it."""
    for handler in dict.fromkeys(event.handler for event in events.values()):
        waiting = [name for name, event in events.items() if event.handler == handler]
        while waiting:
            yield from run_one(start, handler, waiting, events)


def run_one(start: Any, handler: str, waiting: list[str], events: dict[str, Event]) -> Iterator[tuple[str, Posted]]:
    """The same in one process, as far as it gets. Takes from ``waiting`` what was answered, or never will be."""
    with FakeRuntimeApi() as api:
        ids = {
            name: api.add_event(events[name].payload, headers=events[name].headers, deadline_ms=DEADLINE_MS)
            for name in waiting
        }
        process = start(api, handler)
        for name, request_id in ids.items():
            try:
                answer = api.wait_answer(request_id, timeout=30)
            except AssertionError:
                assert process.has_exited()
                if len([request for request in api.nexts if request.status == 200]) > list(ids).index(name):
                    waiting.remove(name)
                    yield name, ["exit", process.wait()]
                return
            waiting.remove(name)
            yield name, posted(answer, request_id)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, tuple[Posted, Posted]]:
    """Of each event, what Lambda's runtime posts and what ours does."""
    managed, ours = dict(run(start_managed, EVENTS)), dict(run(start_ours, EVENTS))
    return {name: (managed[name], ours[name]) for name in EVENTS}


@pytest.mark.parametrize("name", EVENTS)
def test_what_is_posted_is_the_same_but_for_known_differences(
    outcomes: dict[str, tuple[Posted, Posted]], name: str
) -> None:
    managed, ours = outcomes[name]
    if name not in DIFFERENCES:
        assert ours == managed
    else:
        assert ours != managed, "no difference any more: take it off the list"
        assert DIFFERENCES[name].is_all(managed, ours), (managed, ours)


def test_no_difference_is_listed_for_nothing() -> None:
    assert set(DIFFERENCES) - set(EVENTS) == set()


INIT: dict[str, tuple[str, str]] = {
    "module missing": ("nowhere.handler", ""),
    "dependency missing": ("app.handler", "import no_such_package\n"),
    "syntax error": ("app.handler", "def handler(event, context)\n"),
    "attribute missing": ("app.absent", ""),
    "built-in module": ("sys.handler", ""),
    "raise at import": ("app.handler", "raise ValueError('no configuration')\n"),
}
# Frames of importlib and of the runtime come before the user's, or the stack is missing altogether.
INIT_STACKS_DIFFER = {"module missing", "dependency missing", "raise at import"}


@pytest.mark.parametrize("name", INIT)
def test_a_start_that_fails_is_told_in_the_same_words(tmp_path: Path, name: str) -> None:
    handler, source = INIT[name]
    (tmp_path / "app.py").write_text(source)
    documents = []
    for start in (start_managed, start_ours):
        with FakeRuntimeApi() as api:
            process = start(api, handler, tmp_path)
            documents.append(json.loads(api.wait_init_error().body))
            assert process.wait() == 1
    managed, ours = documents
    if name in INIT_STACKS_DIFFER:
        frames = [line for line in managed.pop("stackTrace") if f'"{tmp_path}/' in line]
        assert [line for line in ours.pop("stackTrace") if line in frames] == frames
    assert ours == managed
