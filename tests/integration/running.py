"""``make run`` as a program of its own, in the way of a developer: an address to ask, and a terminal to read."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from local.cache import CHECKOUT
from local.ports import free_ports
from tests.fakes.children import child


class Running(NamedTuple):
    """The program, and where its gateway is."""

    program: subprocess.Popen[str]
    address: str

    def ended(self, number: signal.Signals = signal.SIGINT) -> str:
        """What it still shows, when it has ended by the signal ``number``."""
        self.program.send_signal(number)
        return self.program.communicate(timeout=30)[0]


@contextmanager
def run(app: Path, layer: Path, *options: str, **variables: str) -> Iterator[Running]:
    """The program with ``options``, when it has said its address; ``variables`` are its own, not the function's."""
    command = [
        *(sys.executable, "-m", "local.run", "--app", str(app), "--layer", str(layer), "--port", "0"),
        *("--env", f"PORT={free_ports(1)[0]}", *options),
    ]
    environment = {**os.environ, **variables}
    with child(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            yield Running(
                program, next(match[0] for line in program.stdout if (match := re.search(r"http://\S+", line)))
            )
        finally:
            program.kill()
