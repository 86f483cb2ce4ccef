"""Is there something to run? The runtime asks the same, later; here nothing is started yet and advice is easier."""

from __future__ import annotations

import os
from pathlib import Path

from layer.programs import called

from .failures import LocalFailure

START_SCRIPT = "run.sh"
ELF = b"\x7fELF"


def check(app: Path, command: str, handler: str = START_SCRIPT) -> list[str]:
    """What the developer should know about the app's start, often nothing.

    Raises ``LocalFailure`` when there is nothing to run, or something that cannot run.
    """
    check_folder(app)
    return [] if command else _check_script(app / handler, handler)


def check_folder(app: Path) -> None:
    """Raises ``LocalFailure`` when the app's folder is none."""
    if not app.is_dir():
        raise LocalFailure(f"there is no folder {app}: --app takes the folder that has your app in it")


def lacking(app: Path, command: str, layer: Path, handler: str = START_SCRIPT) -> list[str]:
    """A sentence for each runtime that the start calls and ``layer``, the tree of ``/opt``, does not have."""
    script = app / handler
    text = command.encode() if command else script.read_bytes() if script.is_file() else b""
    where = "the command" if command else handler
    return [
        f"{where} calls {name}, and no layer has it: say RUNTIME={name} (--runtime {name}), and on Lambda attach the "
        f"layer that `./build-layer.sh --with-runtime {name}` makes"
        for name in called(text)
        if not (layer / "bin" / name).exists()
    ]


def _check_script(script: Path, name: str) -> list[str]:
    if not script.is_file():
        raise LocalFailure(
            f"{script.parent} has no {name} and no command was given: add an executable {name} that starts your server "
            "on 127.0.0.1:$PORT, or say --cmd 'COMMAND'"
        )
    with script.open("rb") as file:
        first_line = file.readline(256)
    if first_line.endswith(b"\r\n"):
        raise LocalFailure(f"{script} has Windows line ends, which no shell takes: sed -i 's/\\r$//' {script}")
    if not os.access(script, os.X_OK):
        if script.suffix != ".sh":
            raise LocalFailure(f"{script} is not executable: chmod +x {script}")
        return [f"{script} is not executable, so /bin/sh runs it whatever its first line says: chmod +x {script}"]
    if not first_line.startswith((b"#!", ELF)):
        raise LocalFailure(f"{script} does not say what runs it: its first line should be #!/bin/sh")
    return []
