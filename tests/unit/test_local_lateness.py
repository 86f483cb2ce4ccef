"""Beside a timeout stands what the runtime was waiting for, and the line to type."""

from __future__ import annotations

import json

import pytest

from local.gateway.conversation import Served
from local.gateway.late_requests import Lateness

LATE = Served("GET", "/", 502, 0, 30000.0, True, 1, ("Task timed out after 30.00 seconds",))
GIVEN_UP = LATE._replace(
    status=504, environment=0, problem=("http-api waits no longer than 30 s; the function goes on",)
)
SETTINGS = " See FAIRLEAD_PORT, FAIRLEAD_HOST, FAIRLEAD_READINESS_CHECK_PATH"
NOTHING = "nothing listens at http://127.0.0.1:8080/. It should listen on 127.0.0.1, port 8080 (PORT)."


def record(words: str) -> str:
    return f"[WARN]\t2026-11-30T20:17:45.285Z\t\tstill waiting for the app: {words}{SETTINGS}"


def line_for(port: int) -> str:
    return (
        f"let it listen on $PORT, or say which port it has: make run ENV='FAIRLEAD_PORT={port}', and on Lambda the "
        f"variable FAIRLEAD_PORT={port}"
    )


REASONS: dict[str, tuple[str, list[str]]] = {
    "another-port": (
        record(f"{NOTHING} It listens on 127.0.0.1:3000."),
        [f"the app was not ready: {NOTHING} It listens on 127.0.0.1:3000.", line_for(3000)],
    ),
    "another-port-of-every-address": (
        record(f"{NOTHING} It listens on [::1]:24678, port 4321 of every address."),
        [
            f"the app was not ready: {NOTHING} It listens on [::1]:24678, port 4321 of every address.",
            line_for(24678),
        ],
    ),
    "no-port": (
        record(f"{NOTHING} It listens on no TCP port."),
        [f"the app was not ready: {NOTHING} It listens on no TCP port."],
    ),
    "the-right-port-and-no-answer": (
        record("it listens, and has not answered for 2.0 s at http://127.0.0.1:8080/."),
        ["the app was not ready: it listens, and has not answered for 2.0 s at http://127.0.0.1:8080/."],
    ),
    "the-right-port-as-one-of-several": (
        record(f"{NOTHING} It listens on 127.0.0.1:8080, 127.0.0.1:9229."),
        [f"the app was not ready: {NOTHING} It listens on 127.0.0.1:8080, 127.0.0.1:9229.", line_for(9229)],
    ),
    "a-json-record": (
        json.dumps({"level": "WARN", "message": f"still waiting for the app: {NOTHING} It listens on 127.0.0.1:3000."}),
        [f"the app was not ready: {NOTHING} It listens on 127.0.0.1:3000.", line_for(3000)],
    ),
    "not-json": ("{ waiting for the app: it thinks", ["the app was not ready: it thinks"]),
    "nothing-said": ("waiting for a database", []),
}


@pytest.mark.parametrize(("line", "expected"), REASONS.values(), ids=REASONS)
@pytest.mark.parametrize("served", [LATE, GIVEN_UP], ids=["the function", "the front end"])
def test_a_late_request_is_explained(served: Served, line: str, expected: list[str]) -> None:
    lateness = Lateness()
    lateness.hear(1, line)
    lateness.hear(1, "something else")
    assert lateness.explain(served).problem == (*served.problem, *expected)


def test_the_reason_is_that_of_the_environment_and_of_this_request_alone() -> None:
    lateness = Lateness()
    lateness.hear(2, REASONS["another-port"][0])
    assert lateness.explain(LATE) == LATE, "it is another environment's"
    fine = LATE._replace(environment=2, status=200, problem=())
    assert lateness.explain(fine) == fine, "it became ready"
    late = LATE._replace(environment=2)
    assert lateness.explain(late) == late, "what was waited for in an earlier request is over"
