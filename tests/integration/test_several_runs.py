"""Several runs at once on one machine, and apps that will have the port that they want: all work, or say which line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from local.cache import CHECKOUT
from local.environments.function import Function, RuntimeApi
from local.gateway.conversation import Served
from local.ports import free_ports
from local.run import BUFFERED, STREAM, Options, running
from local.sandbox.launcher import Launcher
from tests.fakes.children import child

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sandbox_works")]

PATIENCE_S = 60
COMMAND = "exec /opt/fairlead/bin/python3 /var/task/app.py"
# Answers with its name and its port; {port} is what it listens on, whatever it is told.
APP = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            import socket
            with socket.create_connection(("127.0.0.1", int(os.environ["GATE"]))) as gate:
                gate.recv(1)
        self.send_response(200)
        self.end_headers()
        self.wfile.write("{{}} {{}}".format(os.environ["NAME"], self.server.server_port).encode())
    def log_message(self, *arguments):
        pass
try:
    server = HTTPServer(("127.0.0.1", {port}), Handler)
except OSError as error:
    sys.exit("listen EADDRINUSE: address already in use 127.0.0.1:{{}}".format({port}))
server.serve_forever()
"""
OBEDIENT = 'int(os.environ.get("PORT", "8080"))'


def app(folder: Path, port: object = OBEDIENT) -> Path:
    folder.mkdir()
    (folder / "app.py").write_text(APP.format(port=port))
    return folder


def get(address: str, path: str = "/") -> tuple[int, str]:
    response = urllib3.request("GET", address + path, retries=False, timeout=PATIENCE_S)
    return response.status, response.data.decode()


class Run:
    """``make run`` as a program of its own, read by its JSON lines."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self.program = program
        assert program.stdout is not None
        lines: Iterator[dict[str, Any]] = map(json.loads, program.stdout)
        self.notes: list[str] = []
        self.address = ""
        for line in lines:
            if line["type"] == "address":
                self.address = line["address"]
                break
            self.notes.append(line["text"])


@contextmanager
def run(task: Path, layer: Path, *options: str) -> Iterator[Run]:
    command = [
        *(sys.executable, "-m", "local.run", "--app", str(task), "--layer", str(layer), "--json"),
        *("--cmd", COMMAND, *options),
    ]
    with child(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield Run(program)
        finally:
            program.terminate()
            program.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1), (0, 2, 1)], ids=str)
@pytest.mark.parametrize("gateway", ["free", "the same for all", "not asked for"])
def test_runs_that_are_started_at_once_and_asked_in_any_order_all_work(
    tmp_path: Path, layer_tree: Path, order: tuple[int, ...], gateway: str
) -> None:
    """Each chooses its ports when it starts, and its app opens its own much later."""
    task = app(tmp_path / "app")
    (wanted,) = free_ports(1)
    options = {"free": ("--port", "0"), "the same for all": ("--port", str(wanted)), "not asked for": ()}[gateway]
    with ExitStack() as stack:
        runs = [
            stack.enter_context(run(task, layer_tree, *options, "--env", f"NAME=app{number}"))
            for number in range(len(order))
        ]
        answers = {number: get(runs[number].address) for number in order}
        again = {number: get(runs[number].address) for number in order}
    assert again == answers
    assert {status for status, _ in answers.values()} == {200}
    assert sorted(body.split()[0] for _, body in answers.values()) == [f"app{number}" for number in sorted(order)]
    assert len({body.split()[1] for _, body in answers.values()}) == len(order)
    assert len({each.address for each in runs}) == len(order)


def test_a_second_run_whose_app_has_to_have_the_same_port_names_the_line(tmp_path: Path, layer_tree: Path) -> None:
    task = app(tmp_path / "app")
    (wanted,) = free_ports(1)
    fixed = ("--port", "0", "--env", "NAME=app", "--env", f"PORT={wanted}")
    with run(task, layer_tree, *fixed) as first:
        with run(task, layer_tree, *fixed) as second:
            assert second.address == ""
            _, said = second.program.communicate(timeout=PATIENCE_S)
            assert f"port {wanted}, which PORT names" in said
            assert "ENV='PORT=" in said
            assert "Traceback" not in said
        assert get(first.address) == (200, f"app {wanted}")
    with run(task, layer_tree, *fixed) as third:
        assert get(third.address) == (200, f"app {wanted}")


@pytest.mark.parametrize("invoke_mode", [BUFFERED, STREAM])
def test_a_port_that_is_taken_before_the_app_opens_it_is_chosen_again(
    tmp_path: Path, layer_tree: Path, monkeypatch: pytest.MonkeyPatch, invoke_mode: str
) -> None:
    served: list[Served] = []
    options = Options(
        app(tmp_path / "app"), COMMAND, 0, layer_tree, environment={"NAME": "app"}, invoke_mode=invoke_mode
    )
    launcher_of = Function._launcher
    listeners: list[socket.socket] = []
    with ExitStack() as stack:

        def late_launcher(self: Function, runtime_api: RuntimeApi) -> Launcher:
            if not listeners:
                listeners.append(stack.enter_context(socket.create_server(("127.0.0.1", self.app_port))))
            return launcher_of(self, runtime_api)

        monkeypatch.setattr(Function, "_launcher", late_launcher)
        now = stack.enter_context(running(options, served.append))
        status, body = get(now.gateway.address)
        lost = listeners[0].getsockname()[1]
    assert status == 200, (served, list(now.output))
    assert body.split()[1] != str(lost)
    if invoke_mode == BUFFERED:  # of a stream the line comes when it has ended, with what is known then
        assert f"port {lost} was taken before the app could open it" in served[0].problem[0]


@pytest.mark.parametrize("invoke_mode", [BUFFERED, STREAM])
def test_an_app_that_ignores_its_port_is_served_by_one_environment(
    tmp_path: Path, layer_tree: Path, invoke_mode: str
) -> None:
    (fixed,) = free_ports(1)
    notes: list[str] = []
    noted = threading.Event()

    def note(words: str) -> None:
        notes.append(words)
        noted.set()

    served: list[Served] = []
    with socket.create_server(("127.0.0.1", 0)) as gate, ExitStack() as stack:
        gate.settimeout(PATIENCE_S)
        environment = {"NAME": "app", "PORT": str(fixed), "GATE": str(gate.getsockname()[1])}
        options = Options(
            app(tmp_path / "app", fixed), COMMAND, 0, layer_tree, environment=environment, invoke_mode=invoke_mode
        )
        now = stack.enter_context(running(options, served.append, on_note=note))
        callers = stack.enter_context(ThreadPoolExecutor(2))
        first = callers.submit(get, now.gateway.address, "/slow")
        here, _ = gate.accept()
        second = callers.submit(get, now.gateway.address)
        assert noted.wait(PATIENCE_S), second.result(0)  # it has tried an environment of its own
        here.close()
        assert first.result(PATIENCE_S) == second.result(PATIENCE_S) == (200, f"app {fixed}")
    (words,) = notes
    assert "Does it listen on $PORT" in words
    assert "ENVIRONMENTS=1" in words
    assert {line.environment for line in served} == {1}


@pytest.mark.parametrize("invoke_mode", [BUFFERED, STREAM])
def test_the_gateway_moves_away_from_the_port_that_the_app_wants_and_says_the_line(
    tmp_path: Path, layer_tree: Path, monkeypatch: pytest.MonkeyPatch, invoke_mode: str
) -> None:
    (wanted,) = free_ports(1)
    monkeypatch.setattr("local.run.DEFAULT_PORT", wanted)
    served: list[Served] = []
    options = Options(
        app(tmp_path / "app", wanted), COMMAND, layer=layer_tree, environment={"NAME": "app"}, invoke_mode=invoke_mode
    )
    with running(options, served.append) as now:
        before = now.gateway.address
        assert now.gateway.port == wanted
        response = urllib3.request("POST", before + "/x?y", body=b"z", retries=False, timeout=PATIENCE_S)
        assert (response.status, response.headers["location"]) == (307, f"{now.gateway.address}/x?y")
        assert now.gateway.port > wanted
        assert get(now.gateway.address) == (200, f"app {wanted}")
    said = "\n".join(served[0].problem)
    assert f"the app wants port {wanted}, which this gateway has, and not $PORT" in said
    assert f"ENV='FAIRLEAD_PORT={wanted}'" in said
    assert f"The gateway has moved to {now.gateway.address}" in said


def test_an_app_that_wants_the_gateways_port_is_told_the_line_and_works_with_it(
    tmp_path: Path, layer_tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wanted,) = free_ports(1)
    task = app(tmp_path / "app", wanted)
    served: list[Served] = []
    options = Options(task, COMMAND, wanted, layer_tree, environment={"NAME": "app"})
    with running(options, served.append) as now:  # the port was asked for
        assert get(now.gateway.address)[0] == 502
    said = "\n".join(served[0].problem)
    assert f"the app wants port {wanted}, which this gateway has, and not $PORT" in said
    assert f"ENV='FAIRLEAD_PORT={wanted}'" in said
    monkeypatch.setattr("local.run.DEFAULT_PORT", wanted)
    options = options._replace(port=None)
    with running(options._replace(environment={"NAME": "app", "FAIRLEAD_PORT": str(wanted)})) as now:
        assert now.gateway.port > wanted
        assert f"port {wanted} is the app's, so the address has {now.gateway.port}" in now.notices
        assert get(now.gateway.address) == (200, f"app {wanted}")


@pytest.mark.parametrize("invoke_mode", [BUFFERED, STREAM])
def test_an_app_that_listens_elsewhere_is_named_while_it_is_waited_for(
    tmp_path: Path, layer_tree: Path, invoke_mode: str
) -> None:
    (elsewhere,) = free_ports(1)
    lines: list[str] = []
    environment = {"NAME": "app", "FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "10"}
    options = Options(
        app(tmp_path / "app", elsewhere), COMMAND, 0, layer_tree, environment=environment, invoke_mode=invoke_mode
    )
    with running(options, on_output=lambda number, line: lines.append(line)) as now:
        assert get(now.gateway.address)[0] == 502
    said = [line for line in lines if line.startswith(f"so far the app listens on port {elsewhere} and not on $PORT")]
    assert len(said) == 1
    assert f"FAIRLEAD_PORT={elsewhere}" in said[0]


def test_a_fixed_port_survives_a_change_of_the_app(tmp_path: Path, layer_tree: Path) -> None:
    (fixed,) = free_ports(1)
    task = app(tmp_path / "app", fixed)
    options = Options(task, COMMAND, 0, layer_tree, environment={"NAME": "app", "PORT": str(fixed)}, is_reloading=True)
    served: list[Served] = []
    with running(options, served.append) as now:
        for number in range(3):
            (task / "page").write_text("x" * number)
            assert get(now.gateway.address) == (200, f"app {fixed}")
    assert [line.environment for line in served] == [2, 3, 4]
