"""Checks before the start whether there is something to run; the runtime checks it again, with less room for advice."""

from __future__ import annotations

import os
import re
from pathlib import Path

from layer.programs import called
from runtime.javascript import module as javascript_module

from ..failures import LocalFailure
from . import javascript

START_SCRIPT = "run.sh"
ELF = b"\x7fELF"
MODULE = re.compile(r"[\w./-]+[.:][A-Za-z_]\w*")


def check(app: Path, command: str, handler: str = START_SCRIPT) -> list[str]:
    """Sentences that the developer should know about the app's start, often none.

    Raises ``LocalFailure`` when there is nothing to run, or something that cannot run.
    """
    check_folder(app)
    if command:
        return []
    if is_module(app, handler):
        return _check_module(app, handler)
    return _check_script(app / handler, handler)


def is_module(app: Path, handler: str) -> bool:
    """Whether ``handler`` names a function in a module, as ``app.handler`` and ``main:app`` do, and not a file."""
    if (app / handler).is_file() or handler.endswith(".sh"):
        return False
    return bool(MODULE.fullmatch(handler)) or module_file(app, handler) is not None


def module_file(app: Path, handler: str) -> Path | None:
    """The file in which the function is looked for."""
    if not re.search("[.:]", handler):
        return None
    path = re.split("[.:]", handler[::-1], maxsplit=1)[1][::-1]
    folder = app / path.replace(".", "/")
    candidates = (
        app / f"{path.replace('.', '/')}.py",
        folder / "__init__.py",
        *(Path(module.file) for module in javascript_module.modules_of(str(app), handler, _disk_of(app))),
    )
    return next((file for file in candidates if file.is_file() and file.is_relative_to(app)), None)


def _disk_of(app: Path) -> javascript_module.Disk:
    """The files below the app's folder alone: this machine's ``/opt`` is not the function's."""

    def text(path: str) -> str:
        return Path(path).read_text(errors="replace") if os.path.isfile(path) else ""

    return javascript_module.Disk(
        os.path.isfile, lambda path: Path(path).is_relative_to(app) and os.path.isdir(path), text
    )


def _check_module(app: Path, handler: str) -> list[str]:
    if module_file(app, handler) is None and not javascript.names(app, handler.partition(".")[0]):
        raise LocalFailure(
            f"the handler {handler} is a function in a module, and {app} has no such file: HANDLER takes"
            " module.function or module:app for Python, index.fetch or index.handler for JavaScript, or a start script"
        )
    return []


def check_folder(app: Path) -> None:
    """Raises ``LocalFailure`` when there is no such folder."""
    if not app.is_dir():
        raise LocalFailure(f"there is no folder {app}: --app takes the folder that has your app in it")


def lacking(app: Path, command: str, layer: Path, handler: str = START_SCRIPT) -> list[str]:
    """A sentence for each runtime that the start calls and ``layer``, the tree of ``/opt``, does not have."""
    script = app / handler
    text = command.encode() if command else script.read_bytes() if script.is_file() else b""
    if not text and (file := module_file(app, handler)) and file.suffix != ".py":
        programs = [name for name in javascript_module.RUNTIMES if (layer / "bin" / name).exists()]
        message = f"{file.name} is JavaScript, and no layer has what runs it: say RUNTIME=bun, deno or node"
        return [] if programs else [message]
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
            "on 127.0.0.1:$PORT, or say CMD='COMMAND' (--cmd), or name a function: HANDLER=module.function (--handler)"
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
