"""Child processes that end with the block that started them, with everything that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENDS_WITHIN_S = 60.0  # what ends by itself or was told to; several times what a busy machine needs
IS_KILLED_WITHIN_S = 10.0


@contextmanager
def child(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """``subprocess.Popen`` in a session of its own. The block has to see to it that it ends.

    Raises AssertionError if it runs on for ``ENDS_WITHIN_S`` after the block. When the block raises it is told to end
    (SIGTERM). What is left of its session's process group is killed in any case.
    """
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        try:
            yield process
        except BaseException:
            process.terminate()
            _has_ended(process, IS_KILLED_WITHIN_S)
            raise
        assert _has_ended(process, ENDS_WITHIN_S), f"{command} did not end within {ENDS_WITHIN_S} s"
    finally:
        _kill_group(process)


@contextmanager
def killed_at_the_end(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """The same for a child that never ends by itself."""
    process = subprocess.Popen(command, start_new_session=True, **options)
    try:
        yield process
    finally:
        _kill_group(process)


def _has_ended(process: subprocess.Popen[Any], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: subprocess.Popen[Any]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody left
    process.wait(IS_KILLED_WITHIN_S)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
