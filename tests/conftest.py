"""What holds for each test: an end to its time, and no process that outlives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .fakes.leftovers import Leftovers
from .fakes.process import MARK

HERE = Path(__file__).parent
# Seconds for a test with its fixtures, where those build layers, start sandboxes or engines. For the others the limit
# stands in pyproject.toml. Each is several times what the slowest test needs while the machine does other things.
LIMITS_S = {"agents": 1200, "containers": 1200, "frameworks": 1200, "integration": 900, "layer": 1200, "systems": 1200}
LEFTOVERS = pytest.StashKey[Leftovers]()
LONGER = {"module", "package", "session"}


def pytest_configure(config: pytest.Config) -> None:
    os.environ[MARK] = f"{os.getpid()}-run"
    config.stash[LEFTOVERS] = Leftovers()


# These share builds, sandboxes and ports of the machine: one of several workers runs them all, and begins with them.
OF_ONE_WORKER = ("integration", "systems", "layer", "containers", "frameworks")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("dist", "no") != "no":
        items.sort(key=lambda item: item.path.relative_to(HERE).parts[0] not in OF_ONE_WORKER)
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        # The tests of a file share what they have started.
        item.add_marker(pytest.mark.xdist_group("machine" if folder in OF_ONE_WORKER else str(item.path)))
        if folder in LIMITS_S and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMITS_S[folder]))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[None]:
    """What a fixture of a longer life starts may live as long as it does."""
    if fixturedef.scope not in LONGER:
        return (yield)
    leftovers = request.config.stash[LEFTOVERS]
    leftovers.note("function")
    try:
        return (yield)
    finally:
        leftovers.note(fixturedef.scope)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Fails the test of which a process is left, or the last test of what has left it."""
    leftovers = item.config.stash[LEFTOVERS]
    if item.get_closest_marker("keeps_processes"):
        leftovers.note("module")
    try:
        return (yield)
    finally:
        over = {"function", "class"}
        if nextitem is None or nextitem.path != item.path:
            over.add("module")
        if nextitem is None:
            over |= LONGER
        if left := leftovers.take(over):
            pytest.fail(f"still running after {item.nodeid} (killed now):\n" + "\n".join(left), pytrace=False)
