"""Agents of tracing vendors, from their registry, in functions out of the real layer: ``make test-agents``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import emulator, layer_tree, root, sandbox_works, start_function  # noqa: F401

from .collector import Collector

HERE = Path(__file__).parent
# Set by make test-agents: the table is written.
IS_COMPLETE = os.environ.get("AGENTS") == "all"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """They are left out unless they are asked for: what they install is large."""
    if IS_COMPLETE or "agents" in config.option.markexpr:
        return
    left_out = [item for item in items if item.path.is_relative_to(HERE)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector().running() as running:
        yield running
