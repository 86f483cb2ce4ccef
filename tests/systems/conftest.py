"""Whole systems: examples out of the real layers, as ``make run APP=examples/NAME`` runs them.

How a test file uses this (``test_examples.py`` does the same)::

    from .conftest import examples

    pytestmark = examples("astro-bun", "astro-node")             # or examples("astro-bun", fast=True)

    def test_the_page_is_served(system: System) -> None:
        response = system.ask("GET", "/", headers={"accept": "text/html"})
        assert response.status == 200, system.output

    def test_figures(system: System, figures: Figures) -> None:
        figures(system, runtime="Bun 1.4.5", target="/")          # a row of docs/systems.md

    def test_it_ends_when_told(system: System) -> None:           # the last test of the file: nothing runs after it
        assert system.has_said_at_its_end("stopped")

All tests of a file share one sandbox per example, in the order of the file. ``system.ask`` gives urllib3's response,
``system.json`` the document of a 200, ``system.invoke`` what an event gets that is no HTTP request. For another folder
or other variables: ``with started(folder, {"NAME": "value"}) as system`` (``system.py``).

Only examples that are named ``fast`` are part of ``make test``; ``make test-systems`` runs all and writes the table.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest

from layer.failures import LayerError
from local.app.start_script import START_SCRIPT
from local.failures import LocalFailure
from local.machine import architecture
from local.sandbox import launcher

from .figures import Row, measured, written
from .system import CHECKOUT, EXAMPLES, System, started

PAGE = CHECKOUT / "docs" / "systems.md"
# Set by make test-systems: the table is written, and what cannot run is a failure instead of a skip.
IS_COMPLETE = os.environ.get("SYSTEMS") == "all"
FAILED = pytest.StashKey[set[str]]()  # the examples of which a test has failed

T = TypeVar("T")
Figures = Callable[..., Row]


def examples(*names: str, fast: tuple[str, ...] | bool = ()) -> list[pytest.MarkDecorator]:
    """A file's ``pytestmark``: its tests run for each of the examples. Those in ``fast`` are part of ``make test``."""
    chosen = names if fast is True else fast or ()
    cases = [
        pytest.param(name, marks=() if name in chosen else pytest.mark.systems, id=name.replace(" ", "-"))
        for name in names
    ]
    return [pytest.mark.integration, pytest.mark.parametrize("system", cases, indirect=True, scope="module")]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those marked ``systems`` are left out unless they are asked for; figures are for a complete run alone."""
    if IS_COMPLETE:
        return
    is_asked_for = "systems" in config.option.markexpr
    left_out = [item for item in items if _takes_figures(item) or (not is_asked_for and _is_slow(item))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("systems") is not None


def _takes_figures(item: pytest.Item) -> bool:
    return "figures" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """The example that the test's file asked for, running; ``NAME HANDLER`` is one with a handler of that name."""
    name, _, handler = request.param.partition(" ")
    with running_or_skipped(EXAMPLES / name, handler=handler or START_SCRIPT) as found:
        yield found


def had(make: Callable[[], T]) -> T:
    """What ``make()`` gives. What cannot be had here skips the test and says why."""
    try:
        return make()
    except (LocalFailure, LayerError) as failure:
        if IS_COMPLETE:
            raise
        pytest.skip(str(failure))


def require_sandbox() -> None:
    """Raises ``LocalFailure`` where the function would be an ordinary process: then it is not as on Lambda."""
    kind, _, reasons = launcher.best(launcher.Code(Path(), Path(), architecture()))
    if kind == "process":
        raise LocalFailure("; ".join(reasons) or f"{launcher.CHOICE}=process")


@contextmanager
def running_or_skipped(app: Path, environment: Mapping[str, str] | None = None, **more: str) -> Iterator[System]:
    """``started(app, environment, ...)``; what cannot be had here skips the test and says why."""
    had(require_sandbox)
    with ExitStack() as stack:
        yield had(lambda: stack.enter_context(started(app, environment, **more)))  # type: ignore[arg-type]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        item.config.stash.setdefault(FAILED, set()).add(str(item.callspec.params.get("system")))
    return report


def _case(row: Row) -> str:
    """The case of ``system`` that the row is of."""
    return row.example if row.handler == START_SCRIPT else f"{row.example} {row.handler}"


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Iterator[list[Row]]:
    """The table's lines, written at the end of a complete run. It has what was run in it, and nothing that failed."""
    collected: list[Row] = []
    yield collected
    failed = request.config.stash.get(FAILED, set())
    if request.config.args == ["tests/systems"] and not request.config.option.keyword:
        load = f"load average {os.getloadavg()[2]:.1f}"
        note = f"{datetime.now(UTC):%d %B %Y}, {platform.machine()}, {os.cpu_count()} cores, {load}."
        lines = [row for row in collected if _case(row) not in failed]
        PAGE.write_text(written(PAGE.read_text(), lines, note))


@pytest.fixture
def figures(rows: list[Row]) -> Figures:
    """``figures(system, runtime="Bun 1.4.5", target="/")`` measures and adds a row."""

    def add(system: System, runtime: str, target: str = "/api/request") -> Row:
        rows.append(measured(system, runtime, target))
        return rows[-1]

    return add
