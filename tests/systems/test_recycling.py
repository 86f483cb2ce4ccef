"""Real servers that recycle or supervise themselves: 200 requests each, and none of them is lost.

tests/conformance/test_recycling.py has the rules one by one, with an app of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.cache import CACHE, once
from local.machine import LOADERS, TRIPLETS, architecture
from local.sandbox import rootfs
from tests.fakes import Answer, BootstrapProcess, FakeRuntimeApi, start_bootstrap

from .conftest import had

pytestmark = [pytest.mark.systems, pytest.mark.integration]

COUNT = 200
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b'"ok"'})
"""
WSGI = """
def app(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [("content-length", "4")])
    return [b'"ok"']
"""
# It ends as soon as an answer is on its way, without a word to the kept connection.
NODE = """
require("http").createServer((request, response) => {
  request.resume().on("end", () => response.end('"ok"', () => process.exit(0)));
}).listen(process.env.PORT, "127.0.0.1");
"""
NGINX = """
daemon off; pid nginx.pid; error_log /dev/null; worker_processes 2; events {}
http {
  access_log off; client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
  server { listen 127.0.0.1:PORT; location / { return 200 '"ok"'; } }
}
"""
NGINX_PACKAGES = ("nginx", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g")
PYTHON = f"exec {sysconfig.get_path('scripts')}/python"
GUNICORN = f"{PYTHON} -m gunicorn wsgi:app -b 127.0.0.1:$PORT --log-level warning -c /dev/null"
COMMANDS = {
    "uvicorn": f"{PYTHON} -m uvicorn asgi:app --port $PORT --log-level warning --limit-max-requests 5",
    "gunicorn": f"{GUNICORN} --max-requests 3 -w 1",
    "gunicorn with two workers": f"{GUNICORN} --max-requests 3 -w 2",
    "gunicorn with threads": f"{GUNICORN} --max-requests 3 -w 1 -k gthread --threads 4",
    "Node under a supervisor": "while :; do node one.js; done",
}


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    with FakeRuntimeApi() as fake:
        yield fake


def start(api: FakeRuntimeApi, folder: Path, command: str) -> BootstrapProcess:
    (folder / "asgi.py").write_text(ASGI)
    (folder / "wsgi.py").write_text(WSGI)
    (folder / "one.js").write_text(NODE)
    node = os.path.dirname(shutil.which("node") or "")
    path = f"{node}:/usr/local/bin:/usr/bin:/bin"
    return start_bootstrap(api, command=command, environment={"LAMBDA_TASK_ROOT": str(folder), "PATH": path})


def ask(api: FakeRuntimeApi, kind: str, number: int) -> Answer:
    event: dict[str, object] = {"Records": [{"eventSource": "aws:sqs"}]}
    if kind != "trigger":
        event = {"version": "2.0", "rawPath": "/", "requestContext": {"http": {"method": kind, "path": "/"}}}
    request_id = f"{kind}-{number}"
    api.add_event(json.dumps(event).encode(), request_id=request_id, deadline_ms=int((time.time() + 60) * 1000))
    return api.wait_answer(request_id, timeout=70)


def is_good(answer: Answer) -> bool:
    return answer.kind == "response" and (answer.body == b'"ok"' or answer.document["statusCode"] == 200)


@pytest.mark.parametrize("kind", ["GET", "trigger"])
@pytest.mark.parametrize("server", COMMANDS)
def test_a_server_that_recycles_itself_loses_nothing(
    api: FakeRuntimeApi, tmp_path: Path, server: str, kind: str
) -> None:
    if server.startswith("Node"):
        if not shutil.which("node"):
            pytest.skip("there is no node here")
        if kind == "trigger":
            pytest.skip("a POST to a process that is just ending may have been read: it is not sent again")
    process = start(api, tmp_path, COMMANDS[server])
    answers = [ask(api, kind, number) for number in range(COUNT)]
    assert [answer for answer in answers if not is_good(answer)] == []
    assert "[ERROR]\t20" not in process.stderr


def nginx() -> list[str]:
    """The command of Debian's nginx, without installing it."""
    machine = architecture()
    root = once(CACHE / "tools" / f"nginx-{machine}", lambda draft: rootfs.unpack(NGINX_PACKAGES, draft, machine))
    libraries = root / "usr/lib" / TRIPLETS[machine]
    return [str(root / LOADERS[machine]), "--library-path", str(libraries), str(root / "usr/sbin/nginx")]


def test_nginx_that_is_reloaded_loses_nothing(api: FakeRuntimeApi, tmp_path: Path) -> None:
    (tmp_path / "nginx.conf.in").write_text(NGINX)
    prefix = f"sed s/PORT/$PORT/ nginx.conf.in >nginx.conf; exec {' '.join(had(nginx))}"
    process = start(api, tmp_path, f"{prefix} -p {tmp_path} -c nginx.conf -e /dev/null")
    for number in range(COUNT):
        assert is_good(ask(api, "GET", number)), process.describe()
        if number % 10 == 5:
            os.kill(int((tmp_path / "nginx.pid").read_text()), signal.SIGHUP)


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_gets_to_its_exit_hooks(api: FakeRuntimeApi, tmp_path: Path, worker: str) -> None:
    """Its threads wait for kept connections, so ours is closed before SIGTERM."""
    hooks = "import os\ndef worker_exit(server, worker): os.write(2, b'worker_exit was called')\n"
    (tmp_path / "hooks.py").write_text(hooks)
    command = f"{PYTHON} -m gunicorn wsgi:app -b 127.0.0.1:$PORT -c hooks.py -k {worker} -w 1 --threads 2"
    process = start(api, tmp_path, command)
    assert is_good(ask(api, "GET", 0))
    api.wait_idle()
    process.terminate()
    assert process.wait(30) == 0
    assert "worker_exit was called" in process.stderr
