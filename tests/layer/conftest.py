"""The layer of this machine's architecture, and ways to run things inside it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from layer import build, recipe

# What Lambda gives every function: the system's directories come first, and must not be used.
LAMBDA_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
}
PYTHON = "/opt/fairlead/bin/python3"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def architecture() -> recipe.Architecture:
    return recipe.native()


@pytest.fixture(scope="session")
def layer(architecture: recipe.Architecture) -> build.Layer:
    """The built layer, brought up to date."""
    if not shutil.which("apt-get"):
        pytest.skip("a layer is built from Debian packages, and this machine has no apt-get")
    return build.build(architecture.name)


@pytest.fixture(scope="session")
def run(layer: build.Layer) -> Run:
    """Runs a command with the layer mounted on /opt, in Lambda's environment or the one given."""
    into = _way_into(layer.tree)

    def run(*command: str, environment: dict[str, str] = LAMBDA_ENVIRONMENT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*into, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture(scope="session")
def python(run: Run) -> Callable[..., str]:
    """Runs a program in the layer's interpreter, and gives what it printed; it has to succeed."""

    def python(program: str, *options: str, **environment: str) -> str:
        result = run(PYTHON, *options, "-c", program, environment={**LAMBDA_ENVIRONMENT, **environment})
        assert result.returncode == 0, result.stderr
        return result.stdout

    return python


def _way_into(tree: Path) -> Sequence[str]:
    """A command prefix that mounts ``tree`` on /opt for one command, without touching this machine's /opt."""
    ways = (
        ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(tree), "/opt", "--"],
        ["unshare", "-Urm", "sh", "-c", 'mount --bind "$0" /opt && exec "$@"', str(tree)],
    )
    for way in ways:
        if shutil.which(way[0]) and subprocess.run([*way, "true"], capture_output=True).returncode == 0:
            return way
    pytest.skip("nothing can be mounted on /opt here: neither bwrap nor unshare -Urm works, or there is no /opt")
