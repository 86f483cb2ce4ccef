"""The gateway before real functions: each source, several environments at a time, an app that changes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from local import smoke
from local.gateway.conversation import Served
from local.run import Options, Running, open_gateway, running
from local.sources import SOURCES
from tests.fakes.children import child

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]
COMMAND = "exec /opt/fairlead/bin/python3 /var/task/app.py"
APP = '''
import json, os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/":  # is it ready?
            return self.answer([])
        _, what, number = self.path.split("/")
        self.answer(getattr(self, what)(int(number)))

    def meet(self, port):
        """Says at ``port`` that this request is here, and answers when it is told to."""
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.recv(1)
        return []

    def nest(self, depth):
        """Calls itself through the gateway, ``depth`` times in each other."""
        if not depth:
            return []
        with urlopen(f"http://{self.headers['host']}/nest/{depth - 1}", timeout=20) as response:
            return json.load(response)

    def answer(self, ports):
        body = json.dumps([os.environ["PORT"], *ports]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
'''


@pytest.fixture(scope="module")
def example(sandbox_works: None, layer_tree: Path) -> Iterator[Running]:
    """The FastAPI example, for all sources: what it is behind is the gateway's affair alone."""
    with running(Options(port=0, layer=layer_tree)) as now:
        yield now


@pytest.mark.parametrize("source", SOURCES)
def test_the_example_app_is_right_behind_each_source(example: Running, source: str) -> None:
    served: list[Served] = []
    with (
        open_gateway(example.environments.submit, smoke.options_for(source), served.append) as gateway,
        urllib3.PoolManager(retries=False) as client,
    ):
        lines = smoke.run_checks(smoke.asker(client, gateway.address), source)
    assert [line for line in lines if not line.is_right] == []
    assert {line.environment for line in served} == {1}


@pytest.fixture
def task(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    return tmp_path / "app"


def body_of(url: str) -> object:
    response = urllib3.request("GET", url, retries=False, timeout=30)
    assert response.status == 200, response.data
    return json.loads(response.data)


def test_as_many_requests_run_at_a_time_as_there_are_environments(task: Path, layer_tree: Path) -> None:
    """Eight at once and four environments: four run, each in one of its own, and when these are done the other four."""
    served: list[Served] = []
    with (
        running(Options(task, COMMAND, 0, layer_tree), served.append) as now,
        socket.create_server(("127.0.0.1", 0)) as turnstile,
        ThreadPoolExecutor(8) as callers,
    ):
        turnstile.settimeout(30)
        url = f"{now.gateway.address}/meet/{turnstile.getsockname()[1]}"
        answers = [callers.submit(body_of, url) for _ in range(8)]
        for _ in range(2):
            here = [turnstile.accept()[0] for _ in range(4)]  # none of them goes on before all four are there
            for connection in here:
                connection.sendall(b"!")
                connection.close()
        ports = Counter(str(answer.result(30)) for answer in answers)
    assert Counter(line.environment for line in served) == {1: 2, 2: 2, 3: 2, 4: 2}
    assert Counter(line.is_cold for line in served) == {True: 4, False: 4}
    assert sorted(ports.values()) == [2, 2, 2, 2]  # each environment's app has a port of its own


def test_an_app_that_calls_itself_through_the_gateway_gets_its_answer(task: Path, layer_tree: Path) -> None:
    served: list[Served] = []
    with running(Options(task, COMMAND, 0, layer_tree, environments=3), served.append) as now:
        ports = body_of(now.gateway.address + "/nest/2")
    assert isinstance(ports, list)
    assert len(set(ports)) == 3
    assert [(line.target, line.environment) for line in served] == [("/nest/0", 3), ("/nest/1", 2), ("/nest/2", 1)]


def test_a_changed_app_is_served_by_a_new_environment(sandbox_works: None, task: Path, layer_tree: Path) -> None:
    """Through the command line, and read from its JSON lines."""
    (task / "page").write_text("before")
    command = [
        *(sys.executable, "-m", "local.run", "--app", str(task), "--layer", str(layer_tree), "--port", "0"),
        *("--reload", "--json", "--environments", "2"),
        *("--cmd", 'exec /opt/fairlead/bin/python3 -c "$SERVER"', "--env", f"SERVER={AS_IT_WAS_AT_THE_START}"),
    ]
    with child(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        lines = (json.loads(line) for line in driver.stdout)
        address = next(line["address"] for line in lines if line["type"] == "address")
        seen = [urllib3.request("GET", address, retries=False).data for _ in range(2)]
        (task / "page").write_text("after, which is longer")
        seen += [urllib3.request("GET", address, retries=False).data for _ in range(2)]
        driver.terminate()
        shown = list(lines)
    assert seen == [b"before"] * 2 + [b"after, which is longer"] * 2
    requests = [(line["environment"], line["is_cold"]) for line in shown if line["type"] == "request"]
    assert requests == [(1, True), (1, False), (2, True), (2, False)]
    assert [line["text"] for line in shown if line["type"] == "note" and "changed" in line["text"]] == [
        "page has changed: new environments from here on"
    ]
    assert driver.returncode == 0


AS_IT_WAS_AT_THE_START = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
page = open("/var/task/page", "rb").read()
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_start_script_that_cannot_run_any_more_is_named_and_a_mended_one_runs(task: Path, layer_tree: Path) -> None:
    script = task / "run.sh"
    script.write_text(f"#!/bin/sh\n{COMMAND}\n")
    script.chmod(0o755)
    served: list[Served] = []
    with running(Options(task, "", 0, layer_tree, is_reloading=True), served.append) as now:
        assert body_of(now.gateway.address + "/nest/0")
        good = script.read_bytes()
        script.write_bytes(good.replace(b"\n", b"\r\n"))
        assert urllib3.request("GET", now.gateway.address + "/nest/0", retries=False).status == 502
        script.write_bytes(good + b"# mended\n")
        assert body_of(now.gateway.address + "/nest/0")
    assert [line.status for line in served] == [200, 502, 200]
    assert re.search("run.sh has Windows line ends", served[1].problem[0])


def test_ending_does_not_wait_for_what_runs(task: Path, layer_tree: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as turnstile:
        turnstile.settimeout(30)
        with running(Options(task, COMMAND, 0, layer_tree, timeout_s=600)) as now:
            url = f"{now.gateway.address}/meet/{turnstile.getsockname()[1]}"
            caller = threading.Thread(target=lambda: urllib3.request("GET", url, retries=False), daemon=True)
            caller.start()
            connection, _ = turnstile.accept()
        connection.close()
        caller.join(30)
    assert not caller.is_alive()
