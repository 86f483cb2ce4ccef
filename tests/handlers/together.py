"""Handlers for several pollers, and for SnapStart."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

IMPORTED_BY = os.getpid()
if os.environ.get("FAIL_AT_IMPORT"):
    raise LookupError("no configuration")

steps: list[str] = []
if os.environ.get("SNAPSHOT_HOOKS"):
    import snapshot_restore_py as hooks

    random.seed(1)

    @hooks.register_before_snapshot
    def before_1() -> None:
        print("B1", flush=True)

    hooks.register_before_snapshot(print, "B2", flush=True)
    hooks.register_after_restore(print, "A1", flush=True)

    @hooks.register_after_restore
    def after_2() -> None:
        print("A2", flush=True)
        if os.environ["SNAPSHOT_HOOKS"] == "fail after":
            raise ConnectionError("no database")

    if os.environ["SNAPSHOT_HOOKS"] == "fail before":

        @hooks.register_before_snapshot
        def never() -> None:
            raise ConnectionError("cannot let go")


def where(event: object, context: object) -> dict[str, Any]:
    """Which process this is, and what it knows of the invocation."""
    return {
        "pid": os.getpid(),
        "imported_by": IMPORTED_BY,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "id": context.aws_request_id,  # type: ignore[attr-defined]
    }


def meet(event: dict[str, Any], context: object) -> str:
    """An answer when so many are there at the same time, each with a file in the folder."""
    folder = Path(event["folder"])
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < event["count"]:
        time.sleep(0.001)
    return "met"


def leave(event: object, context: object) -> None:
    """Ends the process."""
    raise SystemExit(3)


def draw(event: object, context: object) -> float:
    """A number that depends on the seed."""
    return random.random()
