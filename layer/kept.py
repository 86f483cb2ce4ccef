"""Makes files once and keeps them until their inputs change."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path


def once(destination: Path, made_from: str, make: Callable[[Path], object], stamp: Path | None = None) -> Path:
    """``destination``, which ``make(draft)`` makes unless it exists and was made from the same."""
    stamp = stamp or destination.with_name(f"{destination.name}.made-from")
    if destination.exists() and stamp.exists() and stamp.read_text() == made_from:
        return destination
    stamp.unlink(missing_ok=True)
    replace(destination, make)
    stamp.write_text(made_from)
    return destination


def replace(destination: Path, make: Callable[[Path], object]) -> None:
    """Replace ``destination`` by what ``make`` leaves at the path it is given; half a thing never gets the name."""
    draft = destination.with_name(f".{destination.name}.draft")
    destination.parent.mkdir(parents=True, exist_ok=True)
    remove(draft)  # left by somebody who was interrupted
    make(draft)
    remove(destination)
    draft.rename(destination)


def remove(path: Path) -> None:
    """Remove a file or a directory with all it holds, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def digest(parts: Iterable[bytes | str]) -> str:
    """One checksum of ``parts`` in their order, as 64 hexadecimal digits."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d:%b" % (len(data), data))
    return whole.hexdigest()


def sha256(path: Path) -> str:
    """The checksum of one file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
