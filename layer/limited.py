"""Programs of others, run to their end, which comes within a limit."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .failures import LayerError

LIMIT_S = 15 * 60  # for a download over a slow line; what hangs is told, instead of a prompt that never comes back


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """``subprocess.run`` with text. Raises ``LayerError`` when the program has not ended within ``LIMIT_S``."""
    try:
        return subprocess.run(command, text=True, timeout=LIMIT_S, **options)
    except subprocess.TimeoutExpired as error:
        shown = " ".join([Path(command[0]).name, *map(str, command[1:4])])
        raise LayerError(f"`{shown} ...` has not ended after {LIMIT_S // 60} minutes: check the network") from error
