"""``make run`` says what of an app's own files runs here at best, and not on Lambda."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from local.app import prepared
from local.app.prepared import Prepared
from local.machine import architecture
from local.sandbox.mounts import Bind
from tests.layer.small_elf import library, program

HERE, OTHER = (architecture(), {"x86_64": "arm64", "arm64": "x86_64"}[architecture()])
SCRIPT = b"#!/bin/sh\nexec ./app\n"

CASES: dict[str, tuple[Mapping[str, bytes], tuple[str, ...]]] = {
    "nothing": ({"app": program(HERE, glibc="2.34")}, ()),
    "newer-c-library": (
        {"app": program(HERE, glibc="2.36")},
        ("the app: app needs the C library 2.36, and on Lambda it finds 2.34: build it on Amazon Linux 2023 or",),
    ),
    "newer-c-library-of-a-module": (
        {"python/it.cpython-313-x86_64-linux-gnu.so": library(HERE, glibc="2.38")},
        (),  # the layer's Python brings a C library of its own
    ),
    "another-processor": (
        {"app": program(OTHER)},
        (f"the app: is built for {OTHER} (app), and the layer for {HERE}: build it for {HERE}, or take",),
    ),
    "crlf-below": (
        {"bin/serve": SCRIPT.replace(b"\n", b"\r\n")},
        ("the app: bin/serve has Windows line ends (CRLF), and Linux cannot run it: sed -i ",),
    ),
    "packages-of-another-python": (
        {"python/it.cpython-312-x86_64-linux-gnu.so": library(HERE)},
        ("the app: holds packages for Python 3.12 (",),
    ),
    "packages-are-installed-by-make-run": (
        {"requirements.txt": b"flask\n", "package.json": b'{"dependencies": 1}'},
        (),
    ),
    "what-was-installed-here-is-not-looked-at": ({"node_modules/it/it.node": library(OTHER, glibc="2.99")}, ()),
}


@pytest.mark.parametrize(("files", "says"), CASES.values(), ids=CASES)
def test_what_would_not_run_on_lambda_is_said(
    tmp_path: Path, files: Mapping[str, bytes], says: tuple[str, ...]
) -> None:
    layer, task = tmp_path / "layer", tmp_path / "task"
    python = layer / "fairlead/bin/python3"
    python.parent.mkdir(parents=True)
    python.write_bytes(program(HERE, interpreter="/opt/fairlead/lib/ld-linux.so", glibc="2.38"))
    for name, content in files.items():
        (task / name).parent.mkdir(parents=True, exist_ok=True)
        (task / name).write_bytes(content)
        (task / name).chmod(0o755)
    binds = [Bind(tmp_path, "/var/task/node_modules")]
    said = prepared.unfit(Prepared(layer, task, binds, []))
    assert len(said) == len(says)
    assert [part for part, line in zip(says, said, strict=True) if part not in line] == [], said


def test_a_script_that_the_start_script_starts_has_to_be_executable(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_bytes(b"#!/bin/sh\nexec ./serve\n")
    (tmp_path / "serve").write_bytes(SCRIPT)
    (sentence,) = prepared.unfit(Prepared(tmp_path, tmp_path, [], []))
    assert sentence.startswith("the app: run.sh starts serve, which is not executable: chmod 755 serve")
