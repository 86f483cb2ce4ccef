"""A directory as a zip whose bytes depend on names, contents and modes only.

Run as a program by the Debian interpreter (bytecode.py): ``archive.py TARGET TREE EPOCH [BASE]``. It must not import
the rest of this package, and nothing but the standard library.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import zipfile
from pathlib import Path

UNIX = 3  # zip's name for the system whose modes the entries carry


def write(target: Path, tree: Path, epoch: int, base: Path | None = None) -> None:
    """Pack ``tree`` into ``target``; what is in the zip ``base`` already is taken over as it is, compressed.

    Entries are in order of name, those of ``base`` first. ``epoch`` is the time of each, in Unix seconds (from 1980).
    """
    draft = target.with_name(f".{target.name}.draft")
    draft.unlink(missing_ok=True)
    if base:
        shutil.copyfile(base, draft)
    with zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED) as archive:
        present = set(archive.namelist())
        for path in sorted(path for path in tree.rglob("*") if not path.is_dir()):
            name = path.relative_to(tree).as_posix()
            if name not in present:
                archive.writestr(_entry(name, path, epoch), path.read_bytes(), compresslevel=9)
    os.replace(draft, target)


def _entry(name: str, path: Path, epoch: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.gmtime(epoch)[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = UNIX
    entry.external_attr = path.lstat().st_mode << 16
    return entry


if __name__ == "__main__":
    target, tree, epoch, *base = sys.argv[1:]
    write(Path(target), Path(tree), int(epoch), *map(Path, base))
