"""Makes things once and keeps them in ``.cache``, safe when two processes want the same or one is interrupted."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CACHE = CHECKOUT / ".cache"


def once(destination: Path, make: Callable[[Path], None]) -> Path:
    """``destination``, which ``make(draft)`` builds unless it exists already.

    ``make`` gets the path of an empty draft directory beside it; the draft takes the destination's name only when
    ``make`` returns, so what is there is complete. Concurrent callers wait for the one that builds.
    """
    if destination.exists():
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    with _locked(destination.with_name(f".{destination.name}.lock")):
        if not destination.exists():
            draft = destination.with_name(f".{destination.name}.draft")
            shutil.rmtree(draft, ignore_errors=True)  # left by somebody who was killed while holding the lock
            draft.mkdir()
            make(draft)
            draft.rename(destination)
    return destination


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The lock file stays: removing it would let a waiter and a newcomer lock two different files of one name.
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
