"""A layer that works from where it lies, for machines on which nothing can be mounted on ``/opt``.

The layer's own Python is linked for ``/opt/fairlead/lib``: its loader and its libraries are looked for there and
nowhere else. A copy of that one file is linked for another directory; all the rest is reached by links.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from layer import elf, kept
from layer.recipe import HOME, MOUNT

from ..cache import CACHE, once

BOOTSTRAP = "bootstrap"
LINKED = (f"{HOME}/lib", f"{HOME}/share")  # whole: nothing in them names /opt where it matters
SCRIPT_BYTES = 1 << 20
# A path of Lambda's in a script or a variable. `./opt`, `/srv/opt`, `http://host/opt` and `/optional` are none.
PATHS = re.compile(rb"(?<![\w./}$~-])(/opt|/var/task)(?=[/\s:;,\"'()&|<>=]|$)")


def relocate(layer: Path) -> Path:
    """A tree that is to be used where ``layer``'s would be ``/opt``; made once for a given layer."""
    layer = layer.resolve()
    program = layer / HOME / "bin/python3"
    contents = [path.read_bytes() for path in (layer / BOOTSTRAP, program) if path.is_file()]
    destination = CACHE / "relocated" / f"{layer.name}-{kept.digest([os.fsencode(layer), *contents])[:12]}"

    def make(draft: Path) -> None:
        for directory, directories, files in os.walk(layer):
            place = draft / Path(directory).relative_to(layer)
            place.mkdir(exist_ok=True)
            for name in list(directories):
                source = Path(directory) / name
                if source.is_symlink() or str(source.relative_to(layer)) in LINKED:
                    directories.remove(name)
                    _link(source, place / name)
            for name in files:
                _take(Path(directory) / name, place / name, destination)

    return once(destination, make)


def _link(source: Path, target: Path) -> None:
    """A link to ``source``, or what it links to itself: that may be a file of this tree."""
    target.symlink_to(os.readlink(source) if source.is_symlink() else source)


def _take(source: Path, target: Path, home: Path) -> None:
    if source.is_symlink():
        _link(source, target)
        return
    with source.open("rb") as file:
        head = file.read(len(elf.MAGIC))
    if head.startswith(b"#!"):  # copied: a script may look for its neighbours where it really lies
        shutil.copy2(source, target)
    elif head == elf.MAGIC and (program := elf.read(source)) and program.interpreter.startswith(f"{MOUNT}/"):
        shutil.copy2(source, target)
        elf.move(target, str(home))
    else:
        target.symlink_to(source)


def replace_paths(text: bytes, opt: str, task: str) -> bytes:
    """``text`` with Lambda's paths replaced by those of this machine."""
    places = {b"/opt": os.fsencode(opt), b"/var/task": os.fsencode(task)}
    return PATHS.sub(lambda match: places[match[1]], text)


def compose(app: Path, destination: Path, opt: str, inside: dict[str, Path]) -> Path:
    """The folder to use in place of ``/var/task``: ``app`` if it needs no change, else a copy at ``destination``.

    ``inside`` has what is to be seen in it under these names. In the copy, scripts have ``opt`` in place of ``/opt``.
    """
    scripts = [path for path in _scripts(app) if PATHS.search(path.read_bytes())]
    if not inside and not scripts:
        return app
    shutil.copytree(
        app,
        destination,
        symlinks=True,
        ignore=lambda directory, names: {
            name for name in names if _is_left_out(app, Path(directory) / name, destination, inside)
        },
        copy_function=_link_or_copy,
    )
    for path in scripts:
        copy = destination / path.relative_to(app)
        if copy.exists():
            copy.unlink()  # it is the app's own file until now
            copy.write_bytes(replace_paths(path.read_bytes(), opt, str(destination)))
            shutil.copymode(path, copy)
    for name, source in inside.items():
        (destination / name).parent.mkdir(parents=True, exist_ok=True)
        (destination / name).symlink_to(source)
    return destination


def _scripts(app: Path) -> list[Path]:
    found = []
    for directory, directories, files in os.walk(app):
        directories[:] = [name for name in directories if name not in ("node_modules", ".git", "python")]
        for name in files:
            path = Path(directory) / name
            if path.is_symlink() or not path.is_file() or path.stat().st_size > SCRIPT_BYTES:
                continue
            if not os.access(path, os.R_OK):
                continue
            with path.open("rb") as file:
                if file.read(2) == b"#!":
                    found.append(path)
    return found


def _is_left_out(app: Path, path: Path, destination: Path, inside: dict[str, Path]) -> bool:
    if str(path.relative_to(app)) in inside or path.name == ".git" or path in destination.parents:
        return True
    return not (path.is_symlink() or path.is_file() or path.is_dir())  # a socket or a FIFO is nobody's file


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
