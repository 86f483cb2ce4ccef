"""The encodings that few programs ask for, in one file: zipped, they take less than a third of the room.

They are a hundred modules of the package `encodings`, most of which hold the same 256 names of characters in another
order. A zip compresses each file alone, and so repeats itself a hundred times. In a zip of their own, stored there as
they are, they are one file to the layer's zip. Python imports modules from it as from a directory (PEP 273); the first
takes half a millisecond longer.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from . import archive

NAME = "others.zip"
_EPOCH = 315532800  # 1980-01-01, the first time that a zip can hold; nothing looks at it

_ANNOUNCEMENT = f"""
# Fairlead's: where the other encodings are.
__path__.append(f"{{__path__[0]}}/{NAME}")
"""


def announce(encodings: Path) -> None:
    """Let the source of the package, which is about to be compiled, say where else its modules are."""
    with (encodings / "__init__.py").open("a") as source:
        source.write(_ANNOUNCEMENT)


def gather(encodings: Path, kept: Sequence[str]) -> None:
    """Move the byte-code of the package into the zip, but for the modules whose names match one of ``kept``."""
    together = encodings / "others"
    together.mkdir()
    for path in encodings.glob("*.pyc"):
        if not any(fnmatch(path.stem, pattern) for pattern in kept):
            path.rename(together / path.name).chmod(0o644)  # a zip has modes, and this one is made before _set_modes
    archive.write(encodings / NAME, together, _EPOCH, deflate=lambda content: content)
    shutil.rmtree(together)
