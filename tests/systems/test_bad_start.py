"""A start that cannot work: what is wrong is said in words, with the file or the setting in which to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.app.prepared import NONE
from local.failures import LocalFailure
from local.ports import free_ports

from .conftest import running_or_skipped
from .system import started

pytestmark = pytest.mark.integration

PATIENCE = {"FAIRLEAD_READINESS_CHECK_TIMEOUT_SECONDS": "5"}
LISTEN = """#!/bin/sh
exec /opt/fairlead/bin/python3 -c '
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("{}", {}), SimpleHTTPRequestHandler).serve_forever()'
"""


def app(folder: Path, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.sh").write_text(script)
    (folder / "run.sh").chmod(0o755)
    return folder


def problem(folder: Path, environment: dict[str, str] | None = None, runtime: str = NONE) -> str:
    """What the developer reads below the first request's line; the client gets 502."""
    with running_or_skipped(folder, environment, runtime=runtime) as system:
        assert system.ask("GET", "/").status == 502
        return "\n".join(system.served[0].problem)


def test_a_runtime_that_no_layer_has_is_named_before_anything_starts(tmp_path: Path) -> None:
    folder = app(tmp_path / "app", "#!/bin/sh\nexec bun server.ts\n")
    with pytest.raises(LocalFailure) as caught, started(folder):
        pass
    assert "run.sh calls bun, and no layer has it" in str(caught.value)
    assert "./build-layer.sh --with-runtime bun" in str(caught.value)


def test_on_lambda_it_is_the_shell_that_names_what_is_missing(tmp_path: Path) -> None:
    """There nobody looks beforehand; the shell's words reach the error, with the file and the line."""
    said = problem(app(tmp_path / "app", "#!/bin/sh\nexec bun server.ts\n"))
    assert "Runtime.AppExited: the app exited with status 127 (a program that it calls was not found" in said
    assert "/var/task/run.sh: 2: exec: bun: not found" in said


def test_an_interpreter_that_is_missing_is_laid_to_the_script(tmp_path: Path) -> None:
    said = problem(app(tmp_path / "app", "#!/usr/bin/ruby\n"))
    assert "Runtime.AppExited" in said
    assert "/var/task/run.sh" in said


def test_an_app_on_another_port_is_told_which_port_was_asked(tmp_path: Path) -> None:
    wanted, other = free_ports(2)
    folder = app(tmp_path / "app", LISTEN.format("127.0.0.1", other))
    said = problem(folder, {**PATIENCE, "PORT": str(wanted)})
    assert "Runtime.AppNotReady: the app was not ready within" in said
    assert f"nothing listens at http://127.0.0.1:{wanted}/" in said
    assert f"It listens on 127.0.0.1:{other}." in said
    assert "FAIRLEAD_PORT" in said


def test_an_app_on_another_interface_is_told_which_address_was_asked(tmp_path: Path) -> None:
    (wanted,) = free_ports(1)
    folder = app(tmp_path / "app", LISTEN.format("127.0.0.2", wanted))
    said = problem(folder, {**PATIENCE, "PORT": str(wanted)})
    assert f"nothing listens at http://127.0.0.1:{wanted}/" in said
    assert f"It listens on 127.0.0.2:{wanted}." in said
    assert "FAIRLEAD_HOST" in said


def test_an_app_on_all_interfaces_is_fine(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    folder = app(tmp_path / "app", LISTEN.format("0.0.0.0", port))
    with running_or_skipped(folder, {"PORT": str(port)}) as system:
        assert system.ask("GET", "/run.sh").status == 200
