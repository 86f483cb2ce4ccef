"""A Python handler of each kind, and all else of a function's that Fairlead calls, each of which looks below itself."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

from reach import look

look("import")
atexit.register(look, "atexit")
_caught: list[BaseException] = []
_loop_handle: list[object] = []


class Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        look("formatter")
        return super().format(record)


def _filter(record: logging.LogRecord) -> bool:
    look("filter")
    return True


logging.getLogger().handlers[0].setFormatter(Formatter())
logging.getLogger().handlers[0].addFilter(_filter)


def _on_signal(*_: object) -> None:
    look("signal")
    sys.exit(0)


signal.signal(signal.SIGTERM, _on_signal)
signal.signal(signal.SIGUSR1, lambda *_: look("signal in an invocation"))
if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
    import snapshot_restore_py

    snapshot_restore_py.register_before_snapshot(look, "before the snapshot")
    snapshot_restore_py.register_after_restore(look, "after the restore")


class _Returned:
    """Looks when it is encoded."""

    def _asdict(self) -> dict[str, object]:
        look("encoding")
        return {"ok": True}


class _Shown(Exception):
    def __str__(self) -> str:
        look("str of an exception")
        return "shown"

    @property
    def __notes__(self) -> list[str]:
        look("notes of an exception")
        return ["a note"]


def handler(event: Any, context: Any) -> object:
    """Does what the event names."""
    return globals()[f"_{event}"](context)


def _call(context: Any) -> object:
    look("call")
    os.kill(os.getpid(), signal.SIGUSR1)
    try:
        raise ValueError("caught")
    except ValueError as error:
        look("call with an exception", error)
        logging.exception("logged")
        _caught.append(error)
    return _Returned()


def _again(context: Any) -> object:
    look("exceptions of earlier calls", *_caught)
    return "ok"


def _failing(context: Any) -> object:
    error = _Shown()
    _caught.append(error)
    raise error


def _ours(context: Any) -> object:
    """Exceptions that Fairlead raises."""
    out = context.response_stream()
    for wrong in (context.response_stream, lambda: out.write(1), lambda: setattr(out, "prelude", {"statusCode": "x"})):
        try:
            wrong()
            out.write("x")
        except Exception as error:
            look("an exception of Fairlead's", error)
    return None


def _generator(context: Any) -> Iterator[str]:
    try:
        look("generator")
        yield "piece"
    finally:
        look("end of a generator")


async def _async_generator(context: Any) -> AsyncIterator[str]:
    try:
        look("async generator")
        yield "piece"
    finally:
        look("end of an async generator")


def _writer(context: Any) -> None:
    with context.response_stream(content_type="text/plain") as out:
        out.write("piece")
        look("writer", context, out)


async def _awaited(context: Any) -> str:
    look("awaited")
    asyncio.get_running_loop().call_soon(look, "callback of the event loop")
    await asyncio.create_task(_task())
    return "ok"


async def _task() -> None:
    look("task")


def _exit(context: Any) -> None:
    sys.exit(3)
