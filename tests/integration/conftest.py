"""What the integration tests run in. Anything that cannot be had on this machine skips them and says why.

``LOCAL_ARCHITECTURE=arm64`` runs them out of the arm64 layer, emulated where the machine is another.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from layer import build
from layer.failures import LayerError
from local.environments.app_port import PORT_VARIABLES
from local.environments.function import Function
from local.failures import LocalFailure
from local.machine import architecture
from local.ports import free_ports
from local.runtime_api import emulator as rie
from local.sandbox import launcher, rootfs
from local.sandbox.mounts import Bind

T = TypeVar("T")
StartFunction = Callable[..., Function]


def chosen_architecture() -> str:
    return os.environ.get("LOCAL_ARCHITECTURE") or architecture()


def is_emulated() -> bool:
    """Whether programs run some thirty times slower than their processor would run them: be patient."""
    wanted = os.environ.get("LOCAL_ARCHITECTURE")
    return bool(wanted) and wanted != architecture()


def had(make: Callable[[str], T], wanted: str = "") -> T:
    """What ``make(architecture)`` gives."""
    try:
        return make(wanted or chosen_architecture())
    except (LayerError, LocalFailure) as failure:
        pytest.skip(str(failure))


# Of test_function.py; what is said there of the machine's own processor, test_arm64.py says of an emulated one.
NOT_EMULATED = {
    "test_the_layers_interpreter_is_the_one_that_runs": "to the kernel it is qemu that runs",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not is_emulated():
        return
    for item in items:
        if item.name in NOT_EMULATED and item.path.name == "test_function.py":
            item.add_marker(pytest.mark.skip(reason=f"emulated: {NOT_EMULATED[item.name]}"))


@pytest.fixture(scope="session")
def layer_tree() -> Path:
    """The built layer: what ``/opt`` is."""
    return had(build.ensure)


@pytest.fixture(scope="session")
def emulator() -> Path:
    """The emulator's executable."""
    return had(rie.ensure)


@pytest.fixture(scope="session")
def root() -> Path:
    """The stand-in for provided.al2023."""
    return had(rootfs.ensure)


def can_run(target: str) -> None:
    """Skips unless functions for the architecture ``target`` run in a sandbox here: as a process, they are no layer."""
    kind, _, reasons = had(lambda target: launcher.best(launcher.Code(Path(), Path(), target)), target)
    if kind == "process":
        pytest.skip("; ".join(reasons) or "LOCAL_SANDBOX=process")


@pytest.fixture(scope="session")
def sandbox_works(root: Path, emulator: Path) -> None:
    """This machine can run a sandbox."""
    can_run(chosen_architecture())


@pytest.fixture
def start_function(request: pytest.FixtureRequest, sandbox_works: None) -> Iterator[StartFunction]:
    """``start_function(app, layer=, memory_mb=, timeout_s=, extra_binds=, freeze=, suite=, **environment)`` gives a
    running ``Function``.

    The layer is the built one unless another is given; the app gets a port that is free. All end with the test.
    """
    with ExitStack() as stack:

        def start(
            app: Path,
            *,
            layer: Path | None = None,
            memory_mb: int = 1024,
            timeout_s: int = 30,
            extra_binds: tuple[Bind, ...] = (),
            freeze: bool = False,
            suite: str = rootfs.SUITE,
            **environment: str,
        ) -> Function:
            if not any(name in environment for name in PORT_VARIABLES):
                environment["PORT"] = str(free_ports(1)[0])
            tree = layer or request.getfixturevalue("layer_tree")
            function = Function(tree, app, environment, memory_mb, timeout_s, extra_binds, freeze=freeze, suite=suite)
            return stack.enter_context(function)

        yield start


@pytest.fixture
def unshare() -> None:
    """The command that gives a test a namespace in which something is forbidden."""
    if not shutil.which("unshare"):
        pytest.skip("needs the command `unshare`, from the package util-linux")
