"""The arm64 layer, under the arm64 emulator; on another machine each program is emulated in turn, by qemu.

A small part of what the other tests do; ``make test-arm64`` runs all of test_function.py like this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from layer import build
from local.environments.function import Function
from local.failures import LocalFailure
from local.machine import architecture, architecture_of
from local.ports import free_ports
from local.runtime_api import emulator
from local.sandbox import arm64, rootfs
from tests.conformance.test_app_faults import function_url

from .apps import COMMAND, shell_app
from .conftest import can_run, had
from .test_function import APPS, ECHO, EVENTS, FAULTS, as_request, beside, bootstrap_pid, document, expected_body

pytestmark = pytest.mark.integration

REGISTERED = Path("/proc/sys/fs/binfmt_misc")


@pytest.fixture(scope="module")
def layer() -> Path:
    for make in (rootfs.ensure, emulator.ensure):
        had(make, "arm64")
    can_run("arm64")
    return had(build.ensure, "arm64")


@pytest.fixture(scope="module")
def function(layer: Path) -> Iterator[Function]:
    # Emulated, all takes seconds on a busy machine. An app is given up after 8 of them, the emulator waits for 20.
    variables = {"FAIRLEAD_COMMAND": FAULTS, "PORT": str(free_ports(1)[0]), "FAIRLEAD_DEADLINE_MARGIN_MS": "12000"}
    with Function(layer, APPS, variables, 512, 20, architecture="arm64") as function:
        yield function


def test_what_a_layer_is_made_for_is_read_from_its_programs(layer: Path, tmp_path: Path) -> None:
    assert architecture_of(layer) == "arm64"
    assert architecture_of(had(build.ensure, "x86_64")) == "x86_64"
    assert architecture_of(tmp_path) == architecture()


def test_an_event_is_answered(function: Function) -> None:
    event = b'{ "Records" : [], "big": 12345678901234567890123 }'
    assert function.invoke(event).body == event


def test_it_is_the_layers_interpreter_for_arm64_that_runs(function: Function) -> None:
    """Emulated, the kernel sees the emulator run; the files that it has mapped are the program's."""
    function.invoke(b"[]")
    maps = Path(f"/proc/{bootstrap_pid(function)}/maps").read_text().splitlines()
    mapped = {line.split()[-1] for line in maps if ".so" in line or "python3" in line}
    assert "/opt/fairlead/bin/python3" in mapped
    assert {path for path in mapped if not path.startswith("/opt/fairlead/")} == set()
    with (function_root(function) / "opt/fairlead/bin/python3").open("rb") as file:
        assert file.read(20)[18:] == b"\xb7\0"


def function_root(function: Function) -> Path:
    return Path(f"/proc/{function.sandbox.program_pid}/root")


def test_the_app_gets_the_request_of_a_real_event(layer: Path) -> None:
    variables = {"FAIRLEAD_COMMAND": ECHO, "PORT": str(free_ports(1)[0]), "FAIRLEAD_CONTEXT_HEADERS": "false"}
    with Function(layer, APPS, variables) as function:
        for event in (EVENTS / source / "complete-post.json" for source in ("function-url", "http-api-2", "alb")):
            payload = document(function.invoke(event.read_bytes()))
            head, _, body = beside(event, ".http").read_text().partition("\n\n")
            assert as_request(json.loads(payload["body"])) == (head + "\n\n", expected_body(event, body)), event


@pytest.mark.parametrize(("path", "status"), [("/die", 502), ("/garbage", 502), ("/silence", 504), ("/headers/9", 200)])
def test_a_misbehaving_app_costs_one_answer(function: Function, path: str, status: int) -> None:
    assert document(function.invoke(function_url(path, "POST", "x" * 100_000)))["statusCode"] == status
    assert function.invoke(b'{"next":1}').body == b'{"next":1}'


def test_broken_json_is_an_invocation_error(function: Function) -> None:
    assert document(function.invoke(b"{"))["errorType"] == "Runtime.UnmarshalError"


def test_the_app_and_what_it_starts_are_arm64_too(layer: Path, tmp_path: Path) -> None:
    variables = {"FAIRLEAD_COMMAND": COMMAND, "PORT": str(free_ports(1)[0])}
    with Function(layer, shell_app(tmp_path / "app"), variables) as function:
        assert document(function.invoke(b'"uname -m; id -u"')) == "aarch64\n993"
        function.stop()
        assert "goodbye" in function.output


def test_the_machine_knows_nothing_of_it(function: Function) -> None:
    """Nothing is registered outside of the sandbox, so a program for arm64 runs nowhere else."""
    function.invoke(b"[]")
    if architecture() == "arm64":
        pytest.skip("on this machine nothing is emulated")
    assert arm64.QEMU not in (os.listdir(REGISTERED) if REGISTERED.is_dir() else [])
    assert b"binfmt_misc " + bytes(arm64.QEMU, "ascii") not in Path("/proc/self/mounts").read_bytes()


def test_without_user_namespaces_it_is_refused_in_a_sentence(layer: Path, unshare: None) -> None:
    if architecture() == "arm64":
        pytest.skip("on this machine nothing is emulated")
    forbid = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" "$@"'
    script = f"from local.sandbox import arm64; arm64.prefix({architecture()!r})"
    before = ["unshare", "--user", "--map-root-user", "/bin/sh", "-c", forbid]
    result = subprocess.run([*before, sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert f"{LocalFailure.__name__}: arm64 functions need Linux 6.7 or newer" in result.stderr
