"""No frame below the user's code leads to the function's environment: error trackers and loggers send local variables
away, and credentials, tokens and connection strings are in there.

The code in ``tests/handlers_frames`` looks from wherever Fairlead calls it, and prints what it has found.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.events import function_url
from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import CHECKOUT
from tests.fakes.wire import Reply
from tests.handlers_frames import reach

ROOT = CHECKOUT / "tests" / "handlers_frames"
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_METADATA_TOKEN", "DATABASE_URL", "FUNCTIONS_OWN")
SEVERAL = {"AWS_LAMBDA_MAX_CONCURRENCY": "2"}
STREAMED = {"FAIRLEAD_INVOKE_MODE": "response_stream"}
OBSERVED = {"FAIRLEAD_REQUEST_LOG": "true", "FAIRLEAD_METRICS": "emf", "FAIRLEAD_TRACING": "xray"}
SURROUNDED = {"FAIRLEAD_ENABLE_COMPRESSION": "true", "FAIRLEAD_ERROR_STATUS_CODES": "500-599", **OBSERVED}
HOOKS = ("import of the hooks", "on_request", "on_response")


class Case(NamedTuple):
    """``handler`` ("" is web mode with its hooks) is given the events, one after the other; ``places`` are reached."""

    handler: str
    events: tuple[object, ...]
    places: tuple[str, ...]
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)


GET, FAILS = function_url("GET", "/"), function_url("GET", "/fails")
ASGI = ("import", "lifespan", "call", "between pieces", "after the answer", "end of lifespan")
WSGI = ("import", "call", "an exception of Fairlead's", "iteration", "close")
CASES = {
    "handler": Case(
        "calls.handler",
        ("call", "again"),
        (
            *("import", "call", "signal in an invocation", "call with an exception", "formatter", "filter", "encoding"),
            *("exceptions of earlier calls", "signal", "atexit"),
        ),
    ),
    "handler that fails": Case(
        "calls.handler",
        ("failing", "again"),
        ("str of an exception", "notes of an exception", "exceptions of earlier calls"),
    ),
    "handler that fails, logs as JSON": Case(
        "calls.handler",
        ("failing", "call"),
        ("str of an exception", "call with an exception", "formatter"),
        {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
    ),
    "exceptions of Fairlead's": Case("calls.handler", ("ours",), ("an exception of Fairlead's",)),
    "generator": Case("calls.handler", ("generator",), ("generator", "end of a generator")),
    "async generator": Case("calls.handler", ("async_generator",), ("async generator", "end of an async generator")),
    "writer": Case("calls.handler", ("writer",), ("writer",)),
    "async def": Case("calls.handler", ("awaited",), ("awaited", "task", "callback of the event loop")),
    "sys.exit": Case("calls.handler", ("exit",), ("atexit",)),
    "failed start": Case("failing.handler", (), ("atexit after a failed start",)),
    "sitecustomize": Case("calls.handler", ("call",), ("sitecustomize",)),
    "snapshot": Case(
        "calls.handler",
        ("call",),
        ("before the snapshot", "after the restore"),
        {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"},
    ),
    "handler, several pollers": Case("calls.handler", ("call", "call", "awaited"), ("call", "awaited"), SEVERAL),
    "ASGI": Case("asgi_app:app", (GET, FAILS), (*ASGI, *HOOKS), SURROUNDED),
    "ASGI, streamed": Case("asgi_app:app", (GET, FAILS), (*ASGI, *HOOKS), STREAMED),
    "ASGI, several pollers": Case("asgi_app:app", (GET, FAILS), ASGI[:-1], SEVERAL),
    "WSGI": Case("wsgi_app:app", (GET, FAILS), (*WSGI, *HOOKS), SURROUNDED),
    "WSGI, streamed": Case("wsgi_app:app", (GET, FAILS), (*WSGI, *HOOKS), STREAMED),
    "WSGI, several pollers": Case("wsgi_app:app", (GET, FAILS), WSGI, SEVERAL),
    "web": Case("", (GET, FAILS), HOOKS, {**SURROUNDED, "FAIRLEAD_AFTER_RESPONSE_PATH": "/done"}),
    "web, streamed": Case("", (GET, FAILS), HOOKS, STREAMED),
    "web, several pollers": Case("", (GET, FAILS), HOOKS, SEVERAL),
}
Start = Callable[[Case], tuple[FakeRuntimeApi, BootstrapProcess]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts ``bootstrap`` for a case, with the secret in its environment."""
    apis: list[FakeRuntimeApi] = []

    def started(case: Case) -> tuple[FakeRuntimeApi, BootstrapProcess]:
        api = FakeRuntimeApi(concurrency=int(case.environment.get("AWS_LAMBDA_MAX_CONCURRENCY", "1")))
        apis.append(api)
        api.script("restore_next", Reply(200, b""))
        folders = (str(ROOT / "custom"), sysconfig.get_paths()["purelib"])
        environment = {
            "LAMBDA_TASK_ROOT": str(ROOT),
            "PYTHONPATH": ":".join(folders),
            **dict.fromkeys(SECRETS, reach.MARK),
            **case.environment,
        }
        command = None if case.handler else app("echo.py")
        return api, start_bootstrap(api, command=command, handler=case.handler or None, environment=environment)

    yield started
    for api in apis:
        api.__exit__(None, None, None)


@pytest.mark.parametrize("name", CASES)
def test_nothing_below_the_users_code_leads_to_the_environment(start: Start, name: str) -> None:
    case = CASES[name]
    api, process = start(case)
    for event in case.events:
        api.wait_answer(api.add_event(event))
    if case.events and not process.has_exited() and "exit" not in case.events:
        api.wait_idle()
        process.terminate()
    process.wait()
    looks = dict[str, set[str]]()
    for place, found in re.findall(r"^reach (.*?): (.*)$", process.stdout, re.MULTILINE):
        looks.setdefault(place, set()).add(found)
    assert {place: found for place, found in looks.items() if found != {"nothing"}} == {}
    assert set(case.places) - set(looks) == set(), process.describe()


class _Slots:
    __slots__ = ("slot",)

    def __init__(self, slot: object) -> None:
        self.slot = slot

    def method(self) -> None:
        """Is bound."""


class _Named(NamedTuple):
    field: object


def _closure(secret: object) -> Callable[[], object]:
    return lambda: secret


async def _suspended(secret: object) -> object:
    return secret


SECRET = {"DATABASE_URL": reach.MARK}
HIDDEN = {
    "text": f"{SECRET}",
    "bytes": b"x" + reach.MARK.encode(),
    "key": {reach.MARK: 1},
    "list": [[SECRET]],
    "named tuple": _Named(SECRET),
    "slot": _Slots(SECRET),
    "bound method": _Slots(SECRET).method,
    "closure": _closure(SECRET),
    "default": lambda secret=SECRET: secret,
    "partial": functools.partial(print, SECRET),
    "set": {reach.MARK},
    "iterator": iter([SECRET]),
    "generator": (one for one in [SECRET]),
    "exception": ValueError(SECRET),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_the_search_finds_a_secret_wherever_it_is_hidden(name: str) -> None:
    assert reach.ways(HIDDEN[name])


BELOW = """
import sys, reach

def look():
    return reach.ways(sys._getframe()), reach.ways(sys.exc_info()[1])

def innocent():
    return look()

def guilty(secret):
    return innocent()

def raising(secret):
    raise ValueError

print(innocent(), guilty({"x": [reach.MARK]}))
try:
    raising(reach.MARK)
except ValueError:
    print(innocent())
"""


def test_the_search_finds_a_secret_in_frames_below_and_in_tracebacks() -> None:
    command = [sys.executable, "-c", BELOW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [
        "([], []) ([' > below > below > <string>:guilty:secret > x > list'], [])",
        "([], [' > ValueError > next > frame > <string>:raising:secret'])",
    ]
