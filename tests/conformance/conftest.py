"""What the black-box tests share: a fake Runtime API for each test, and the real ``./bootstrap`` against it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from layer import npm, runtimes
from layer.failures import LayerError
from local import machine
from local.cache import CACHE, once
from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap
from tests.fakes.process import CHECKOUT

PACKAGE, VERSION = "aws-lambda-ric", "3.3.0"  # the last one with callbacks, that of Lambda's Node 20 and 22
INTEGRITY = "sha512-9p06TbKVK4a050NY/vYOxhMHvnIiUu5o1W0//q6yNLSqA/c91pn4BOj3C3sRTpplkUNsGJdU5qWyU2STo6L8hA=="


@pytest.fixture
def api() -> Iterator[FakeRuntimeApi]:
    """A Runtime API; at the test's end every process that was started against it is gone."""
    with FakeRuntimeApi() as fake:
        yield fake


@pytest.fixture
def start(api: FakeRuntimeApi) -> Callable[..., BootstrapProcess]:
    """Starts ``bootstrap`` in web mode with one of ``tests/apps``; keyword arguments are environment variables."""

    def start_app(name: str = "faults.py", **environment: str | None) -> BootstrapProcess:
        return start_bootstrap(api, command=app(name), environment=environment)

    return start_app


@pytest.fixture(scope="module", params=["bun", "deno", "node"])
def engine(request: pytest.FixtureRequest) -> Path:
    """The program that runs JavaScript, out of the runtime layer: a test with it runs under each."""
    return engine_of(str(request.param))


def engine_of(name: str) -> Path:
    """The program of that name. Skips where it cannot be had."""
    try:
        return runtimes.ensure(name, machine.architecture()) / "bin" / name
    except LayerError as failure:
        pytest.skip(f"no {name} can be had: {failure}")


def javascript_environment(engine: Path, task: Path) -> dict[str, str]:
    """The variables of a function in ``task`` that is run by ``engine``."""
    return {
        "LAMBDA_TASK_ROOT": str(task),
        "PATH": f"{engine.parent}:{os.environ['PATH']}",
        "FAIRLEAD_JAVASCRIPT_RUNTIME": engine.name,
    }


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write the files of a function: shell scripts can be executed."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if name.endswith(".sh"):
            path.chmod(0o755)


@pytest.fixture(scope="session")
def managed_program() -> list[str]:
    """The command line that runs a handler under aws-lambda-ric, on the Node of our layer."""
    try:
        node = runtimes.ensure("node", machine.architecture()) / "bin" / "node"

        def make(draft: Path) -> None:
            with tarfile.open(npm.fetch(PACKAGE, VERSION, INTEGRITY, draft)) as archive:
                archive.extractall(draft, filter="data")
            shutil.copytree(
                CHECKOUT / "tests" / "javascript" / "rapid_client", draft / "package" / "dist" / "rapid-client.node"
            )

        package = once(CACHE / "apps" / f"{PACKAGE}-{VERSION}", make) / "package"
    except LayerError as failure:
        pytest.skip(f"no {PACKAGE} can be had: {failure}")
    return [str(node), str(package / "bin" / "index.mjs")]
