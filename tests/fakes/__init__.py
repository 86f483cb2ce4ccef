"""What the black-box tests are made with: a scripted Lambda Runtime API, and the real ``./bootstrap`` under watch."""

from __future__ import annotations

from .process import BootstrapProcess, app, is_running, start_bootstrap
from .runtime_api import WAIT_SECONDS, Answer, FakeRuntimeApi
from .wire import RecordedRequest, Reply, Wire

__all__ = [
    "WAIT_SECONDS",
    "Answer",
    "BootstrapProcess",
    "FakeRuntimeApi",
    "RecordedRequest",
    "Reply",
    "Wire",
    "app",
    "is_running",
    "start_bootstrap",
]
