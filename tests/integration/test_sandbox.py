"""The sandbox holds what it promises: read-only, another user, bounded, one invocation at a time, gone afterwards."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import urllib3

from local import smoke
from local.environments.function import Function
from local.failures import LocalFailure
from local.ports import free_ports
from local.sandbox import launcher
from local.sandbox.mounts import Bind

from .conftest import StartFunction
from .ends import all_gone, eventually, kill_driver, with_descendants
from .running import run

pytestmark = pytest.mark.integration

CHECKOUT = Path(__file__).parents[2]

# A runtime that takes each event for a shell command and answers with what it writes.
SHELL_BOOTSTRAP = r"""#!/bin/bash
host=${AWS_LAMBDA_RUNTIME_API%:*} port=${AWS_LAMBDA_RUNTIME_API#*:} api=/2018-06-01/runtime/invocation
while exec 3<>"/dev/tcp/$host/$port"; do
  printf 'GET %s/next HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$api" "$host" >&3
  while IFS=$': \r' read -r name value <&3 && [[ -n $name ]]; do
    case ${name,,} in lambda-runtime-aws-request-id) id=$value ;; content-length) length=$value ;; esac
  done
  answer=$(runtime=$$ bash -c "$(head -c "$length" <&3)" 2>&1)
  exec 3<>"/dev/tcp/$host/$port"
  printf 'POST %s/%s/response HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
    "$api" "$id" "$host" "${#answer}" "$answer" >&3
  cat <&3 >/dev/null
done
"""


@pytest.fixture
def shell_layer(tmp_path: Path) -> Path:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "bootstrap").write_text(SHELL_BOOTSTRAP)
    (layer / "bootstrap").chmod(0o755)
    return layer


@pytest.fixture
def task(tmp_path: Path) -> Path:
    task = tmp_path / "task"
    (task / "folder").mkdir(parents=True)
    (task / "file").write_text("the app's own")
    (task / "link").symlink_to("file")
    return task


@pytest.fixture
def shell(start_function: StartFunction, shell_layer: Path, task: Path) -> Function:
    return start_function(task, layer=shell_layer, GREETING="hello")


def said(function: Function, command: str) -> str:
    reply = function.invoke(command.encode())
    assert reply.status == 200, f"{reply}\n" + "\n".join(function.output)
    return reply.body.decode()


@pytest.mark.parametrize("place", ["/", "/etc", "/usr/bin", "/opt", "/var/task", "/dev/shm"])
def test_only_tmp_can_be_written(shell: Function, place: str) -> None:
    assert "Read-only file system" in said(shell, f"touch {place}/x")
    assert said(shell, "touch /tmp/x && echo written") == "written"


def test_it_runs_as_lambdas_user_without_capabilities(shell: Function) -> None:
    assert said(shell, "id -u; id -g; id -un") == "993\n990\nsbx_user1051"
    assert said(shell, "grep CapEff /proc/self/status").split()[1] == "0" * 16


def test_there_is_no_python_and_no_perl(shell: Function, root: Path) -> None:
    assert said(shell, "command -v python python3 perl || echo none") == "none"
    assert [path.name for path in (root / "usr/bin").iterdir() if re.match("python|perl", path.name)] == []


def test_certificates_are_where_amazon_linux_has_them(shell: Function) -> None:
    assert int(said(shell, "grep -c BEGIN /etc/pki/tls/certs/ca-bundle.crt")) > 100


def test_tmp_is_bounded(shell: Function) -> None:
    assert "No space left on device" in said(shell, "head -c 600000000 /dev/zero >/tmp/x; rm /tmp/x")


def test_the_environment_is_lambdas_and_the_functions_own(shell: Function) -> None:
    variables = dict(line.split("=", 1) for line in said(shell, "env").splitlines())
    expected = {
        "LAMBDA_TASK_ROOT": "/var/task",
        "TZ": ":UTC",
        "LANG": "en_US.UTF-8",
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "_HANDLER": "run.sh",
        "GREETING": "hello",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert variables.keys().isdisjoint({"HOME", "AWS_EXECUTION_ENV", "AWS_LAMBDA_MAX_CONCURRENCY"})


def test_the_app_is_seen_as_it_is(shell: Function) -> None:
    assert said(shell, "pwd; ls; readlink link; cat link") == "/var/task\nfile\nfolder\nlink\nfile\nthe app's own"


def test_more_can_be_bound_into_the_app_and_stays_read_only(
    start_function: StartFunction, shell_layer: Path, task: Path, tmp_path: Path
) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "module").write_text("installed elsewhere")
    binds = (Bind(tmp_path / "extra", "/var/task/python"), Bind(tmp_path / "extra", "/mnt/files"))
    function = start_function(task, layer=shell_layer, extra_binds=binds)
    assert said(function, "cat python/module /mnt/files/module link") == "installed elsewhere" * 2 + "the app's own"
    assert said(function, "touch x python/x folder/x /mnt/x 2>&1").count("Read-only file system") == 4
    assert sorted(path.name for path in task.iterdir()) == ["file", "folder", "link"]


def test_a_bind_that_has_no_place_is_refused(
    start_function: StartFunction, shell_layer: Path, task: Path, tmp_path: Path
) -> None:
    with pytest.raises(LocalFailure, match="/nowhere"):
        start_function(task, layer=shell_layer, extra_binds=(Bind(tmp_path, "/nowhere"),))


def test_the_process_table_is_private(shell: Function) -> None:
    seen = said(shell, "for process in /proc/[0-9]*; do cat $process/comm; done").splitlines()
    assert set(seen) <= {"bwrap", "ld-linux-x86-64", "aws-lambda-rie", "bootstrap", "bash", "cat"}


def test_memory_is_limited_or_the_notices_say_that_it_is_not(
    start_function: StartFunction, shell_layer: Path, task: Path
) -> None:
    function = start_function(task, layer=shell_layer, memory_mb=128)
    hungry = said(function, "head -c 300000000 /dev/zero | tail >/dev/null; echo ${PIPESTATUS[1]}")
    if function.sandbox.memory_limit:
        assert hungry.endswith("137")
    else:
        assert "memory limit of 128 MB is not enforced" in function.notices[0]


def test_the_first_invocation_is_cold_and_so_is_the_one_after_a_crash(shell: Function) -> None:
    assert shell.invoke(b"true").is_cold
    assert not shell.invoke(b"true").is_cold
    assert shell.invoke(b"kill -9 $runtime").status == 502
    assert shell.invoke(b"true").is_cold


def test_a_timeout_is_told_and_survived(start_function: StartFunction, shell_layer: Path, task: Path) -> None:
    function = start_function(task, layer=shell_layer, timeout_s=3)
    assert function.invoke(b"sleep 60").body == b"Task timed out after 3.00 seconds"
    assert said(function, "echo again") == "again"


def test_parallel_invocations_wait_for_each_other(shell: Function) -> None:
    with ThreadPoolExecutor(4) as callers:
        replies = list(
            callers.map(lambda _: shell.invoke(b"echo + >>/tmp/log; sleep 0.05; echo - >>/tmp/log"), range(8))
        )
    assert [reply.status for reply in replies] == [200] * 8
    assert said(shell, "cat /tmp/log").split() == ["+", "-"] * 8


def test_what_the_function_writes_is_captured(shell: Function) -> None:
    shell.invoke(b"echo to the log >/proc/$runtime/fd/1")
    assert eventually(lambda: "to the log" in shell.output)


def test_nothing_is_left_after_stop(start_function: StartFunction, shell_layer: Path, task: Path) -> None:
    function = start_function(task, layer=shell_layer)
    function.invoke(b"set -m; sleep 600 >/dev/null 2>&1 &")  # what outlives its process group, and on Lambda a freeze
    processes, limit = with_descendants(function.sandbox.pid), function.sandbox.memory_limit
    assert len(processes) >= 5
    function.stop()
    assert all_gone(processes)
    assert limit is None or not limit.directory.exists()
    with pytest.raises(LocalFailure):
        function.invoke(b"true")


DRIVER = """
import json, sys
from pathlib import Path
from local.environments.function import Function
with Function(Path(sys.argv[1]), Path(sys.argv[2]), {"PORT": sys.argv[3]}) as function:
    function.invoke(b"set -m; sleep 600 >/dev/null 2>&1 &")
    limit = function.sandbox.memory_limit.directory if function.sandbox.memory_limit else ""
    print(json.dumps([function.sandbox.pid, str(limit)]), flush=True)
    sys.stdin.read()
"""


def test_nothing_is_left_when_the_driver_is_killed(sandbox_works: None, shell_layer: Path, task: Path) -> None:
    kill_driver(DRIVER, str(shell_layer), str(task), str(free_ports(1)[0]))


FORBIDDEN = """
echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -c '
from local import machine
from local.sandbox import bubblewrap
bubblewrap.command(machine.architecture())'
"""


def test_forbidden_user_namespaces_are_explained(sandbox_works: None, unshare: None) -> None:
    command = ["unshare", "--user", "--map-root-user", "/bin/sh", "-c", FORBIDDEN, sys.executable]
    result = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert "LocalFailure: the sandbox needs user namespaces" in result.stderr
    assert "max_user_namespaces" in result.stderr


HUNGRY = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        eaten = b"x" * (300 << 20 if self.path == "/eat" else 1)
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
SERVER = 'echo the app starts; exec /opt/fairlead/bin/python3 -m http.server --bind 127.0.0.1 "$PORT"'


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where temporary files go, and nothing may be in the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_serves_an_app_until_it_is_told_to_end(
    sandbox_works: None, layer_tree: Path, task: Path, temporary: Path, number: signal.Signals
) -> None:
    """The start script is missing, so the command has to be what runs."""
    with run(task, layer_tree, "--cmd", SERVER, TMPDIR=str(temporary)) as running:
        response = urllib3.request("GET", running.address + "/file", retries=False)
        processes = with_descendants(running.program.pid)
        shown = running.ended(number)
    assert (response.status, response.data) == (200, b"the app's own")
    assert running.program.returncode == 0
    assert "the app starts" in shown
    assert re.search(r"GET /file  200  13 B  [\d.,]+ ms  cold", shown)
    assert "RequestId" not in shown
    assert all_gone(processes)
    assert list(temporary.iterdir()) == []


def test_run_without_a_sandbox_leaves_no_temporary_file(layer_tree: Path, emulator: Path, temporary: Path) -> None:
    """The app's own go with those of the program that ends it."""
    write = 'touch "$TMPDIR/left" && exec python3 -m http.server --bind 127.0.0.1 "$PORT"'
    variables = {"TMPDIR": str(temporary), launcher.CHOICE: "process"}
    with run(temporary, layer_tree, "--cmd", write, **variables) as running:
        assert urllib3.request("GET", running.address + "/", retries=False).status == 200
        assert [path.name for path in temporary.glob("*/left")] == ["left"]
        running.ended()
    assert eventually(lambda: list(temporary.iterdir()) == [])


def test_an_app_that_ends_at_once_is_502_with_its_reason_on_the_terminal(
    sandbox_works: None, layer_tree: Path, task: Path
) -> None:
    with run(task, layer_tree, "--cmd", "echo no database >&2; exit 3") as running:
        response = urllib3.request("GET", running.address + "/", retries=False)
        shown = running.ended()
    assert (response.status, response.data) == (502, b"Internal Server Error")
    assert "Runtime.AppExited" in shown
    assert "no database" in shown


def test_an_app_that_needs_more_memory_than_it_has_is_502_with_its_reason_on_the_terminal(
    start_function: StartFunction, shell_layer: Path, layer_tree: Path, task: Path
) -> None:
    if not start_function(task, layer=shell_layer).sandbox.memory_limit:
        pytest.skip("no memory limit can be set here")
    (task / "hungry.py").write_text(HUNGRY)
    with run(task, layer_tree, "--memory", "128", "--cmd", "exec /opt/fairlead/bin/python3 hungry.py") as running:
        statuses = [urllib3.request("GET", running.address + path, retries=False).status for path in ("/", "/eat", "/")]
        shown = running.ended()
    assert statuses == [200, 502, 200], shown
    assert "the function ran out of its 128 MB of memory: the kernel killed one of its processes" in shown


def test_the_example_app_answers_every_kind_of_request(
    sandbox_works: None,
    layer_tree: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)  # or the folder chosen before is used again
    result = smoke.main()
    assert result == 0, capsys.readouterr().out
    assert list(temporary.iterdir()) == []
