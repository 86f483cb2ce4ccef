"""The layers of both architectures, and ways to run things inside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from layer import build, recipe
from layer.failures import LayerError
from local.failures import LocalFailure
from local.sandbox import arm64, bubblewrap

# What Lambda gives every function: the system's directories come first, and must not be used.
LAMBDA_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
}
PYTHON = "/opt/fairlead/bin/python3"
# Where Amazon Linux keeps the certificates that it trusts.
BUNDLE = "/etc/pki/tls/certs/ca-bundle.crt"

Run = Callable[..., "subprocess.CompletedProcess[str]"]
BuildOne = Callable[..., build.Layer]


@pytest.fixture(scope="session")
def architecture() -> recipe.Architecture:
    """This machine's."""
    return recipe.native()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes into a layer as it is now, so that nobody who saves a file meanwhile makes two builds differ."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(recipe.REPOSITORY / "runtime", copy / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("bootstrap", "LICENSE"):
        shutil.copy(recipe.REPOSITORY / name, copy)
    return copy


@pytest.fixture(scope="session")
def build_one(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildOne:
    """Builds a layer out of what is kept in ``.cache``, and leaves the zips in ``dist`` alone."""

    def build_one(architecture: str, choice: build.Choice = build.Choice()) -> build.Layer:  # noqa: B008
        if not shutil.which("apt-get"):
            pytest.skip("a layer is built from Debian packages, and this machine has no apt-get")
        places = build.PLACES._replace(dist=tmp_path_factory.mktemp("dist"), checkout=checkout)
        return build.build(architecture, places, choice)

    return build_one


@pytest.fixture(scope="session")
def layer(architecture: recipe.Architecture, build_one: BuildOne) -> build.Layer:
    """The built layer of this machine's architecture, brought up to date."""
    return build_one(architecture.name)


@pytest.fixture(scope="session", params=recipe.ARCHITECTURES)
def each(request: pytest.FixtureRequest, build_one: BuildOne) -> tuple[recipe.Architecture, build.Layer]:
    """The built layer of each architecture."""
    return recipe.ARCHITECTURES[request.param], build_one(request.param)


@pytest.fixture(scope="session")
def run(layer: build.Layer) -> Run:
    """Runs a command with the layer mounted on /opt, in Lambda's environment or the one given."""
    return runner(way_into(layer.tree))


@pytest.fixture(scope="session")
def run_each(each: tuple[recipe.Architecture, build.Layer]) -> Run:
    """The same in the layer of each architecture; the other one's is emulated where the machine allows that."""
    return runner(way_into(each[1].tree, each[0]))


@pytest.fixture(scope="session")
def python(run: Run) -> Callable[..., str]:
    """Runs a program in the layer's interpreter, and gives what it printed; it has to succeed."""

    def python(program: str, *options: str, **environment: str) -> str:
        result = run(PYTHON, *options, "-c", program, environment={**LAMBDA_ENVIRONMENT, **environment})
        assert result.returncode == 0, result.stderr
        return result.stdout

    return python


def runner(into: Sequence[str]) -> Run:
    """Runs commands behind the prefix ``into``."""

    def run(*command: str, environment: dict[str, str] = LAMBDA_ENVIRONMENT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*into, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
        )

    return run


def way_into(tree: Path, architecture: recipe.Architecture | None = None, bundle: Path | None = None) -> list[str]:
    """A command prefix that mounts ``tree`` on /opt for one command, without touching this machine's /opt.

    With ``bundle``, /etc holds nothing but that file, where Amazon Linux has its certificates.
    """
    emulated = _emulation(architecture) if architecture and architecture != recipe.native() else []
    etc = ["--tmpfs", "/etc", "--ro-bind", str(bundle), BUNDLE] if bundle else []
    script = 'mount --bind "$0" /opt && '
    if bundle:
        script += f'cp "$1" /tmp/.bundle.$$ && mount -t tmpfs none /etc && mkdir -p "{Path(BUNDLE).parent}" && '
        script += f"mv /tmp/.bundle.$$ {BUNDLE} && shift && "
    ways = (
        [*_bubblewrap(), "--dev-bind", "/", "/", "--ro-bind", str(tree), "/opt", *etc, "--"],
        ["unshare", "-Urm", "sh", "-c", script + 'exec "$@"', str(tree), *([str(bundle)] if bundle else [])],
    )
    for way in ways:
        trial = [*emulated, *way, "true"]
        if shutil.which(way[0]) and subprocess.run(trial, capture_output=True, timeout=600).returncode == 0:
            return trial[:-1]
    pytest.skip("nothing can be mounted on /opt here: neither bwrap nor unshare -Urm works, or there is no /opt")


def _bubblewrap() -> list[str]:
    """The machine's, else the one that `make run` uses; a command that does not exist where neither works."""
    try:
        return bubblewrap.command(recipe.native().name)
    except LocalFailure:
        return ["bwrap"]


def _emulation(architecture: recipe.Architecture) -> list[str]:
    if architecture.name != "arm64":
        pytest.skip(f"{architecture.name} programs are not emulated on {recipe.native().name}")
    try:
        return arm64.prefix(recipe.native().name)
    except (LocalFailure, LayerError) as failure:
        pytest.skip(str(failure))
