"""``layer/in-container.sh``: which engine is taken, and what is said when none answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from layer.recipe import REPOSITORY

# Answers as an engine does, and shows what it was asked to run and what it was given to read.
ENGINE = '#!/bin/bash\n[[ $1 != info ]] || exit {status}\nprintf "%s\\n" "${{0##*/}}" "$@"; echo "$(</dev/stdin)" >&2\n'


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    for name in ("bash", "timeout", "mkdir", "dirname"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    return tmp_path


def engine(folder: Path, name: str, *, answers: bool) -> None:
    path = folder / name
    path.write_text(ENGINE.format(status=0 if answers else 1))
    path.chmod(0o755)


def in_container(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/bash", REPOSITORY / "layer/in-container.sh", *arguments]
    return subprocess.run(
        command, env={"PATH": str(folder), **environment}, capture_output=True, text=True, timeout=600
    )


@pytest.mark.parametrize("there", [(), ("docker",), ("docker", "podman")], ids=["none", "docker-off", "both-off"])
def test_when_no_engine_answers_that_is_said(engines: Path, there: tuple[str, ...]) -> None:
    for name in there:
        engine(engines, name, answers=False)
    result = in_container(engines)
    assert result.returncode == 1
    assert result.stderr.startswith("in-container.sh: no container engine answers: install docker or podman and start")


@pytest.mark.parametrize(
    ("docker", "podman", "taken"),
    [pytest.param(True, True, "docker", id="docker-first"), pytest.param(False, True, "podman", id="podman-else")],
)
def test_the_engine_that_answers_is_taken(engines: Path, docker: bool, podman: bool, taken: str) -> None:
    engine(engines, "docker", answers=docker)
    engine(engines, "podman", answers=podman)
    result = in_container(engines, "arm64", LAYER_WITH="orjson")
    assert result.returncode == 0, result.stderr
    name, *arguments = result.stdout.splitlines()
    assert name == taken
    assert arguments[-1] == "arm64"
    assert f"{REPOSITORY}:/checkout:ro" in arguments
    assert arguments[arguments.index("--env") + 1] == "LAYER_WITH"


def test_a_named_engine_that_does_not_answer_is_named(engines: Path) -> None:
    engine(engines, "docker", answers=True)
    engine(engines, "nerdctl", answers=False)
    result = in_container(engines, CONTAINER_ENGINE="nerdctl")
    assert result.returncode == 1
    assert "nerdctl (CONTAINER_ENGINE) does not answer" in result.stderr


def test_more_options_come_before_the_image(engines: Path) -> None:
    engine(engines, "docker", answers=True)
    arguments = in_container(engines, CONTAINER_IMAGE="mine", CONTAINER_OPTIONS="--network host").stdout.splitlines()
    assert arguments[arguments.index("--network") + 1] == "host"
    assert arguments.index("--network") < arguments.index("mine") < arguments.index("bash")


def test_the_certificates_that_pip_trusts_are_trusted_in_the_container(engines: Path, tmp_path: Path) -> None:
    engine(engines, "docker", answers=True)
    (tmp_path / "company.pem").write_text("the company's")
    certificates = {"PIP_CERT": str(tmp_path / "company.pem"), "SSL_CERT_FILE": "/nonexistent"}
    assert in_container(engines, **certificates).stderr == "the company's\n"
