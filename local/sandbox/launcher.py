"""How a program is started for a function: in bubblewrap's sandbox, or as an ordinary process where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from layer.failures import LayerError

from ..failures import LocalFailure
from ..machine import DEBIAN_NAMES, architecture
from . import arm64, bubblewrap, plain_process, rootfs
from .mounts import Bind

CHOICE = "LOCAL_SANDBOX"  # the variable by which a test or a developer chooses one of them


class Code(NamedTuple):
    """A layer and an app, as paths of this machine; the ``architecture`` and the Debian ``suite`` they run on."""

    layer: Path
    task: Path
    architecture: str
    suite: str = rootfs.SUITE


class Launcher(NamedTuple):
    """A command line in two parts, between which ``--info-fd N`` fits; the program in the sandbox comes after it."""

    kind: str
    command: list[str]
    arguments: list[str]
    place: str  # where the program of this machine that was asked for is seen
    bootstrap: list[str]  # the layer's, where that is not at /opt
    notices: list[str]


def best(code: Code) -> tuple[str, list[str], list[str]]:
    """The best of ``KINDS`` that this machine allows, its command, and what keeps it from the better ones.

    Raises ``LocalFailure`` when none is possible, or not the one that ``LOCAL_SANDBOX`` chooses.
    """
    chosen = os.environ.get(CHOICE, "")
    if chosen and chosen not in KINDS:
        raise LocalFailure(f"{CHOICE} is {chosen!r}: it takes {', '.join(KINDS)}")
    if code.architecture not in DEBIAN_NAMES:
        raise LocalFailure(f"Lambda has no architecture {code.architecture!r}: choose {' or '.join(DEBIAN_NAMES)}")
    reasons: list[str] = []
    for kind in (chosen,) if chosen else KINDS:
        try:
            return kind, COMMANDS[kind](code), reasons
        except (LocalFailure, LayerError) as failure:
            reasons.append(str(failure))
    raise LocalFailure("; ".join(reasons))


def launcher(
    code: Code, environment: Mapping[str, str], binds: Sequence[Bind], needed: Callable[[], Bind | None]
) -> Launcher:
    """Runs ``code`` here, with the program that is ``needed`` in the sandbox too, which may be fetched first.

    Without a sandbox that program stays in its place. Raises ``LocalFailure``, for a bind without a place too.
    """
    kind, command, reasons = best(code)
    program = needed()
    if kind == "process":
        unseen = [bind.target for bind in binds if not plain_process.place(bind)]
        notices = [plain_process.NOTICE, *(f"nothing is at {target}: that takes a sandbox" for target in unseen)]
        arguments = plain_process.arguments(code.layer, code.task, environment, binds)
        started = str(plain_process.bootstrap(code.layer))
        return Launcher(kind, command, arguments, str(program.source) if program else "", [started], notices + reasons)
    seen = [Bind(code.layer, "/opt"), *([program] if program else []), *binds]
    arguments = bubblewrap.arguments(rootfs.ensure(code.architecture, code.suite), code.task, environment, seen)
    return Launcher(kind, command, arguments, program.target if program else "", [], [])


def _bubblewrap(code: Code) -> list[str]:
    rootfs.ensure(code.architecture, code.suite)
    return [*_emulation(code), *bubblewrap.command(architecture())]


def _process(code: Code) -> list[str]:
    if code.architecture != architecture():
        raise LocalFailure(f"a function for {code.architecture} needs a sandbox, to run on this machine")
    return plain_process.command()


def _emulation(code: Code) -> list[str]:
    if code.architecture == architecture():
        return []
    if code.architecture != "arm64":
        raise LocalFailure(f"functions for {code.architecture} run on no machine of another kind")
    return arm64.prefix(architecture())


COMMANDS: dict[str, Callable[[Code], list[str]]] = {"bubblewrap": _bubblewrap, "process": _process}
KINDS = tuple(COMMANDS)
