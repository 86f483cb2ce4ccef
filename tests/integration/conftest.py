"""What the integration tests run in. Anything that cannot be had on this machine skips them and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from layer import build
from layer.failures import LayerError
from local import bubblewrap, rootfs
from local import emulator as rie
from local.failures import LocalFailure
from local.machine import architecture
from local.ports import free_ports
from local.sandbox import PORT_VARIABLES, Sandbox

T = TypeVar("T")
StartFunction = Callable[..., Sandbox]


def had(make: Callable[[str], T]) -> T:
    try:
        return make(architecture())
    except (LayerError, LocalFailure) as failure:
        pytest.skip(str(failure))


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


@pytest.fixture(scope="session")
def sandbox_works(root: Path, emulator: Path) -> None:
    """This machine can run a sandbox."""
    had(bubblewrap.command)


@pytest.fixture
def start_function(request: pytest.FixtureRequest, sandbox_works: None) -> Iterator[StartFunction]:
    """``start_function(app, layer=, memory_mb=, timeout_s=, extra_binds=, **environment)`` gives a running ``Sandbox``.

    The layer is the built one unless another is given; the app gets a port that is free. All end with the test.
    """
    with ExitStack() as stack:

        def start(
            app: Path,
            *,
            layer: Path | None = None,
            memory_mb: int = 1024,
            timeout_s: int = 30,
            extra_binds: tuple[bubblewrap.Bind, ...] = (),
            **environment: str,
        ) -> Sandbox:
            if not any(name in environment for name in PORT_VARIABLES):
                environment["PORT"] = str(free_ports(1)[0])
            tree = layer or request.getfixturevalue("layer_tree")
            return stack.enter_context(Sandbox(tree, app, environment, memory_mb, timeout_s, extra_binds))

        yield start
