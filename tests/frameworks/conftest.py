"""Frameworks' own Lambda handlers, from npm: ``make test-frameworks``. Without it one that is small is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.conftest import managed_program  # noqa: F401
from tests.integration.conftest import emulator, layer_tree, root, sandbox_works, start_function  # noqa: F401

HERE = Path(__file__).parent
IS_COMPLETE = os.environ.get("FRAMEWORKS") == "all"
ALWAYS = "hono"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if IS_COMPLETE or "frameworks" in config.option.markexpr:
        return
    left_out = [item for item in items if item.path.is_relative_to(HERE) and _is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    if not item.get_closest_marker("frameworks"):
        return False
    callspec = getattr(item, "callspec", None)
    return callspec is None or callspec.params["name"] != ALWAYS
