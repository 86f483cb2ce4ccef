"""What the black-box tests are made with: a scripted Lambda Runtime API, and the real ``./bootstrap`` under watch."""

from __future__ import annotations

from .process import BootstrapProcess, app, start_bootstrap
from .runtime_api import Answer, FakeRuntimeApi
from .wire import RecordedRequest, Reply, Wire

__all__ = [
    "Answer",
    "BootstrapProcess",
    "FakeRuntimeApi",
    "RecordedRequest",
    "Reply",
    "Wire",
    "app",
    "start_bootstrap",
]
