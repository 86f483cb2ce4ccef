"""Handlers that leave something behind: state, threads, tasks, signal handlers, output."""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Generator
from typing import Any

calls = 0
released = threading.Event()
tasks: list[asyncio.Task[str]] = []
loops: list[object] = []


def count(event: object, context: object) -> list[int]:
    global calls
    calls += 1
    return [calls, os.getpid()]


def thread(event: object, context: object) -> int:
    """Starts a thread that is not a daemon and waits for ever."""
    threading.Thread(target=released.wait).start()
    return threading.active_count()


async def task(event: str, context: object) -> Any:
    """Starts a task that goes on in the next invocation."""
    loops.append(asyncio.get_running_loop())
    if event == "start":
        waiting = asyncio.Event()
        tasks.append(asyncio.create_task(finish(waiting)))
        tasks[0].add_done_callback(lambda _: None)
        asyncio.get_running_loop().call_soon(waiting.set)
        return "started"
    return [await tasks[0], len(set(map(id, loops)))]


async def finish(waiting: asyncio.Event) -> str:
    await waiting.wait()
    return "finished"


class Lazy:
    """Awaitable, and no coroutine."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from asyncio.sleep(0).__await__()
        return "awaited"


def lazy(event: object, context: object) -> Awaitable[str]:
    return Lazy()


class Callable:
    async def __call__(self, event: object, context: object) -> object:
        await asyncio.sleep(0)
        return event


instance = Callable()


def on_sigterm(*_: object) -> None:
    print("the signal handler ran")
    sys.exit(0)


def end_politely(event: object, context: object) -> str:
    signal.signal(signal.SIGTERM, on_sigterm)
    atexit.register(print, "atexit ran")
    return "ready"


def ignore_once(event: object, context: object) -> str:
    signal.signal(signal.SIGTERM, lambda *_: print("not yet"))
    return "ready"


def fail_on_signal(event: object, context: object) -> str:
    def fail(*_: object) -> None:
        raise RuntimeError("in the signal handler")

    signal.signal(signal.SIGTERM, fail)
    return "ready"


async def end_by_loop(event: object, context: object) -> str:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_sigterm)
    return "ready"


def crash(event: object, context: object) -> None:
    print("before the crash")
    print("without a line end", end="")
    os.kill(os.getpid(), signal.SIGKILL)


def leave(event: object, context: object) -> None:
    print("before the end", end="")
    atexit.register(print, "atexit ran")
    sys.exit(3)
