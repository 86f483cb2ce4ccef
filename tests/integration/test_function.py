"""A function in the sandbox: the real layer with its own interpreter, under the real emulator.

What the emulator can tell apart is tested here once more; the whole tables are in tests/conformance.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.environments.function import Function
from local.ports import free_ports, is_listening
from local.runtime_api.reply import Reply
from tests.conformance.test_app_faults import function_url
from tests.unit.test_events import beside, expected_body

from .conftest import StartFunction, is_emulated

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
APPS = CHECKOUT / "tests" / "apps"
EVENTS = CHECKOUT / "tests" / "data" / "events"
# The stand-in for Lambda has no Python, so these run by the one in the layer, as an app of a user's may.
ECHO, FAULTS = (f"exec /opt/fairlead/bin/python3 -S /var/task/{name}" for name in ("echo.py", "faults.py"))


def document(reply: Reply) -> dict:
    return json.loads(reply.body)


def as_request(received: dict) -> tuple[str, bytes]:
    """What the echo app received: the request's head as the case files have it, and the body."""
    lines = [f"{received['method']} {received['target']} HTTP/1.1", *(f"{k}: {v}" for k, v in received["headers"])]
    return "\n".join(lines).encode("latin-1").decode() + "\n\n", base64.b64decode(received["body"])


@pytest.mark.parametrize("source", ["function-url", "http-api-2", "http-api-1", "rest-api", "alb", "alb-multi"])
def test_the_app_gets_the_request_of_a_real_event(start_function: StartFunction, source: str) -> None:
    """Byte for byte: the expected requests are those of the unit tests, which run without context headers."""
    function = start_function(APPS, FAIRLEAD_COMMAND=ECHO, FAIRLEAD_CONTEXT_HEADERS="false")
    for event in sorted((EVENTS / source).glob("complete-*.json")):
        payload = document(function.invoke(event.read_bytes()))
        assert payload["statusCode"] == 200
        head, _, body = beside(event, ".http").read_text().partition("\n\n")
        assert as_request(json.loads(payload["body"])) == (head + "\n\n", expected_body(event, body))


def test_another_event_arrives_untouched_and_the_answer_too(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND=FAULTS)
    event = b'{ "Records" : [], "big": 12345678901234567890123, "again": 1, "again": 2 }'
    assert function.invoke(event).body == event


@pytest.fixture(scope="module")
def module_function(request: pytest.FixtureRequest) -> Iterator[Function]:
    """One function for all the faults that it must survive."""
    request.getfixturevalue("sandbox_works")
    # Emulated, what takes milliseconds may take seconds: an app is given up after 8 s, and 12 s are left for the
    # rest; else after 3 s, and 7 s are left, since the machine may do other things.
    margin_ms, timeout_s = ("12000", 20) if is_emulated() else ("7000", 10)
    variables = {"FAIRLEAD_COMMAND": FAULTS, "PORT": str(free_ports(1)[0]), "FAIRLEAD_DEADLINE_MARGIN_MS": margin_ms}
    with Function(request.getfixturevalue("layer_tree"), APPS, variables, 512, timeout_s) as function:
        yield function


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/reset-middle", 502),
        ("/garbage", 502),
        ("/large/7000000", 502),
        ("/die", 502),
        ("/silence", 504),
        ("/latin1-header", 200),
        ("/headers/200", 200),
        ("/header-100k", 200),
        ("/early-413", 413),
    ],
)
def test_a_misbehaving_app_costs_one_answer(module_function: Function, path: str, status: int) -> None:
    assert document(module_function.invoke(function_url(path, "POST", "x" * 100_000)))["statusCode"] == status
    assert module_function.invoke(b'{"next":1}').body == b'{"next":1}'


@pytest.mark.parametrize("host", ["a b", "${x}", "1.2.3.4.5", "h:99999", "${jndi:ldap://x/a}"])
def test_scanner_traffic_is_served(module_function: Function, host: str) -> None:
    assert document(module_function.invoke(function_url("/", headers={"host": host})))["statusCode"] == 200


@pytest.mark.parametrize("payload", [b"{", b"\xff", b'{"a":1}x'])
def test_broken_json_is_an_invocation_error(module_function: Function, payload: bytes) -> None:
    assert document(module_function.invoke(payload))["errorType"] == "Runtime.UnmarshalError"
    assert module_function.invoke(b"[]").body == b"[]"


def test_all_of_this_was_one_environment(module_function: Function) -> None:
    """The emulator starts a fresh one when the process has died, and says so."""
    module_function.invoke(b"[]")
    assert not [line for line in module_function.output if "exit status" in line or "signal: killed" in line]


def test_an_app_that_exits_at_start_is_an_init_error_with_its_last_words(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND="echo 'cannot find module express' >&2; exit 3")
    for _ in range(2):  # the emulator tries again with each invocation
        reply = function.invoke(b"{}")
        assert reply.status == 502
        assert document(reply)["errorType"] == "Runtime.AppExited"
        assert "cannot find module express" in document(reply)["errorMessage"]


def test_wrong_settings_are_all_named(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND=ECHO, FAIRLEAD_ASYNC_INIT="1", FAIRLEAD_PROT="1")
    error = document(function.invoke(b"{}"))
    assert error["errorType"] == "Runtime.InvalidConfig"
    assert "FAIRLEAD_ASYNC_INIT" in error["errorMessage"]
    assert "FAIRLEAD_PROT" in error["errorMessage"]


def test_a_handler_that_is_nothing_to_run_is_named(start_function: StartFunction) -> None:
    function = start_function(APPS, _HANDLER="missing.sh")
    error = document(function.invoke(b"{}"))
    assert error["errorType"] == "Runtime.HandlerNotFound"
    assert "'missing.sh'" in error["errorMessage"]


def test_a_named_port_that_somebody_has_is_port_in_use(start_function: StartFunction) -> None:
    """What happens to everybody who runs the emulator on its default port with an app on its default port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        function = start_function(APPS, FAIRLEAD_COMMAND=ECHO, FAIRLEAD_PORT=taken)
        error = document(function.invoke(b"{}"))
    assert error["errorType"] == "Runtime.PortInUse"
    assert taken in error["errorMessage"]
    assert any(f"port {taken}, which FAIRLEAD_PORT names, is in use" in notice for notice in function.notices)


def test_the_emulator_is_where_no_web_page_finds_it(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND=ECHO)
    host, port = function.runtime_api.address
    assert is_listening(port, host)
    assert host.startswith("127.")
    assert not is_listening(port)


def test_a_killed_bootstrap_leaves_no_app_behind(start_function: StartFunction) -> None:
    """The app, in a group of its own, outlives it, holds the port, and is found by the next start."""
    function = start_function(APPS, FAIRLEAD_COMMAND=FAULTS)
    function.invoke(b"{}")
    before = app_pids(function)
    os.kill(bootstrap_pid(function), signal.SIGKILL)
    assert function.invoke(b"{}").status in (200, 502)  # the emulator may have to notice first
    assert function.invoke(b'{"again":1}').body == b'{"again":1}'
    after = app_pids(function)
    assert len(before) == len(after) == 1
    assert before != after


def app_pids(function: Function) -> list[int]:
    return [pid for pid in processes_of(function) if command_line(pid).endswith(b"\0/var/task/faults.py\0")]


def bootstrap_pid(function: Function) -> int:
    return next(pid for pid in processes_of(function) if b"fairlead.main" in command_line(pid))


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def processes_of(function: Function) -> list[int]:
    """Everything in the sandbox's process namespace."""
    namespace = os.readlink(f"/proc/{function.sandbox.program_pid}/ns/pid")
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == namespace:
                found.append(int(name))
        except OSError:
            continue
    return found


def test_stopping_gives_the_app_its_sigterm(start_function: StartFunction) -> None:
    """Only because an internal extension is registered: otherwise the emulator, as Lambda, kills at once."""
    say = "trap 'echo goodbye >&2; kill $!; exit' TERM; /opt/fairlead/bin/python3 -S /var/task/echo.py & wait"
    function = start_function(APPS, FAIRLEAD_COMMAND=say)
    function.invoke(b"{}")
    function.stop()
    assert any("goodbye" in line for line in function.output)


def test_the_layers_interpreter_is_the_one_that_runs(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND=ECHO)
    function.invoke(b"{}")
    pid = bootstrap_pid(function)
    mapped = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if ".so" in line}
    assert os.readlink(f"/proc/{pid}/exe").endswith("/opt/fairlead/bin/python3")
    assert mapped
    assert {path for path in mapped if not path.startswith("/opt/fairlead/")} == set()


def test_many_invocations_in_a_row(start_function: StartFunction) -> None:
    function = start_function(APPS, FAIRLEAD_COMMAND=FAULTS)
    began = time.monotonic()
    for number in range(500):
        assert function.invoke(b"[%d]" % number).body == b"[%d]" % number
    print(f"{(time.monotonic() - began) * 2:.2f} ms per invocation, cold start included")
