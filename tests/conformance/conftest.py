"""What the black-box tests share: a fake Runtime API for each test, and the real ``./bootstrap`` against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.fakes import BootstrapProcess, FakeRuntimeApi, app, start_bootstrap


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
