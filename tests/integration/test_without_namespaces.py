"""``make run`` where nobody may make a user namespace: a plain container, a chroot, Ubuntu's AppArmor rule."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from layer.recipe import MOUNT
from local.app.python_packages import ensure as packages_of
from local.cache import CHECKOUT
from local.failures import LocalFailure
from local.ports import free_ports
from local.sandbox import relocate
from tests.fakes.children import child

from .ends import eventually

pytestmark = pytest.mark.integration

FORBID = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" "$@"'
EXAMPLE = CHECKOUT / "examples/fastapi"
IMPORTS = "import ctypes, decimal, json, sqlite3, ssl, sys; print(sys.executable, sys.prefix)"


def forbidden() -> list[str]:
    """The start of a command line that forbids user namespaces to the rest; empty where there are none anyway."""
    into = ["unshare", "--user", "--map-root-user"]
    is_allowed = subprocess.run([*into, "true"], capture_output=True, timeout=30).returncode == 0
    return [*into, "/bin/sh", "-c", FORBID] if is_allowed else []


@contextmanager
def make_run(app: Path, layer: Path, *options: str) -> Iterator[tuple[str, list[str]]]:
    """Where it serves, and what it has shown until then."""
    command = [
        *(*forbidden(), sys.executable, "-m", "local.run"),
        *("--app", str(app), "--layer", str(layer), "--port", "0", "--env", f"PORT={free_ports(1)[0]}", *options),
    ]
    with child(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            shown: list[str] = []
            for line in program.stdout:
                shown.append(line)
                if match := re.search(r"http://\S+", line):
                    yield match[0], shown
                    return
            raise AssertionError(shown)
        finally:
            program.terminate()
            try:
                program.communicate(timeout=30)
            finally:
                program.kill()


def test_the_example_runs_and_the_start_says_what_is_missing(unshare: None, layer_tree: Path, emulator: Path) -> None:
    try:
        packages_of(EXAMPLE, layer_tree, "x86_64" if os.uname().machine == "x86_64" else "arm64")
    except LocalFailure as failure:
        pytest.skip(str(failure))
    with make_run(EXAMPLE, layer_tree) as (address, shown):
        response = urllib3.request("GET", address, retries=False, timeout=60)
        assert response.status == 200, shown
        assert b"<h1>It runs.</h1>" in response.data
    notices = "".join(shown)
    assert "note: there is no sandbox: the app runs as an ordinary process" in notices
    assert "note: the sandbox needs user namespaces, and this machine does not allow them" in notices
    assert "allow them with `sudo sysctl -w user.max_user_namespaces=15000`" in notices


APP = f"""#!{MOUNT}/fairlead/bin/python3
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        import it
        seen = [it.NAME, sys.executable, sys.prefix, os.environ["LAMBDA_TASK_ROOT"], os.getcwd(), __file__]
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_the_paths_of_lambda_in_scripts_and_variables_become_those_of_this_machine(
    unshare: None, layer_tree: Path, emulator: Path, tmp_path: Path
) -> None:
    app = tmp_path / "an app with blanks"
    (app / "lib").mkdir(parents=True)
    (app / "lib/it.py").write_text("NAME = 'imported'")
    (app / "bin").mkdir()
    for name, content in {"bin/serve": APP, "run.sh": "#!/bin/sh\nexec /var/task/bin/serve\n"}.items():
        (app / name).write_text(content)
        (app / name).chmod(0o755)
    with make_run(app, layer_tree, "--env", "PYTHONPATH=/var/task/lib") as (address, shown):
        response = urllib3.request("GET", address, retries=False, timeout=60)
        assert response.status == 200, shown
        name, executable, prefix, root, folder, file = response.json()
        assert name == "imported"
        assert executable == f"{prefix}/bin/python3"
        assert Path(executable).is_file()
        assert (folder, file) == (root, f"{root}/bin/serve")
    assert eventually(lambda: not Path(root).exists())
    assert (app / "bin/serve").read_text() == APP, "the app's own files are not touched"


def test_the_layers_python_runs_from_where_it_lies(layer_tree: Path) -> None:
    place = relocate.relocate(layer_tree)
    python = place / "fairlead/bin/python3"
    result = subprocess.run([python, "-c", IMPORTS], env={}, capture_output=True, text=True, timeout=60)
    assert result.stdout == f"{python} {place}/fairlead\n", result.stderr
    maps = "print(open('/proc/self/maps').read())"
    libraries = subprocess.run(
        [python, "-c", f"import ssl; {maps}"], env={}, capture_output=True, text=True, timeout=60
    )
    loaded = {line.split()[-1] for line in libraries.stdout.splitlines() if ".so" in line}
    assert loaded
    assert [name for name in loaded if not name.startswith(str(layer_tree.resolve()))] == []
    assert relocate.relocate(layer_tree) == place
