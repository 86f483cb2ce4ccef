"""Several layers as one tree, as ``/opt`` is on Lambda: unpacked in order, each file in the place of an earlier one.

https://docs.aws.amazon.com/lambda/latest/dg/chapter-layers.html
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import build, kept
from .debian import locked
from .failures import LayerError

TREES = build.PLACES.layers / "merged"


def merged(layers: Sequence[Path]) -> Path:
    """One tree with the files of all ``layers``, the last one's where several have the same. Raises ``LayerError``.

    It is made of hard links, and made anew when a file of a layer has changed. A single layer is its own tree.
    """
    if len(layers) == 1:
        return layers[0]
    place = TREES / kept.digest(line for layer in layers for line in _listing(layer.resolve()))[:16]
    with locked(TREES):
        if not place.exists():
            kept.replace(place, lambda draft: _merge(layers, draft))
        build.forget_unused(place, "[0-9a-f]*")
    return place


def _listing(layer: Path) -> Iterator[str]:
    yield str(layer)
    for path in sorted(layer.rglob("*")):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            yield f"{path.relative_to(layer)} {status.st_ino} {status.st_mode} {status.st_size} {status.st_mtime_ns}"


def _merge(layers: Sequence[Path], tree: Path) -> None:
    tree.mkdir()
    for layer in layers:
        for path in sorted(layer.resolve().rglob("*")):
            target = tree / path.relative_to(layer.resolve())
            is_directory = path.is_dir() and not path.is_symlink()
            if is_directory != (target.is_dir() and not target.is_symlink()) and os.path.lexists(target):
                name = target.relative_to(tree)
                raise LayerError(f"{name} is a folder in one layer and none in another: they cannot be used together")
            if is_directory:
                target.mkdir(exist_ok=True)
            else:
                target.unlink(missing_ok=True)
                _link(path, target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # on another file system, or somebody else's
        shutil.copy2(source, target, follow_symlinks=False)
