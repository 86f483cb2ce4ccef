"""Which sandbox this machine can give: bubblewrap, namespaces made by Python, or only an ordinary process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from layer.failures import LayerError

from ..failures import LocalFailure
from ..machine import DEBIAN_NAMES, architecture
from ..runtime_api import emulator as rie
from . import arm64, bubblewrap, namespaces, plain_process, rootfs
from .mounts import EMULATOR, Bind, Files

CHOICE = "LOCAL_SANDBOX"  # the variable by which a test or a developer chooses one of them


class Enclosure(NamedTuple):
    """A command line in two parts, between which ``--info-fd N`` fits; and what the emulator's own begins with."""

    kind: str
    program: list[str]
    arguments: list[str]
    emulator: list[str]
    bootstrap: list[str]  # nothing: the emulator finds the layer's
    notices: list[str]


class Function(NamedTuple):
    """What is to run, as paths of this machine, and for which ``architecture`` and on which Debian ``suite``."""

    layer: Path
    task: Path
    architecture: str
    suite: str = rootfs.SUITE


def best(function: Function) -> tuple[str, list[str], list[str]]:
    """The best of ``KINDS`` that this machine allows, its program, and what keeps it from the better ones.

    Raises ``LocalFailure`` when none is possible, or not the one that ``LOCAL_SANDBOX`` chooses.
    """
    chosen = os.environ.get(CHOICE, "")
    if chosen and chosen not in KINDS:
        raise LocalFailure(f"{CHOICE} is {chosen!r}: it takes {', '.join(KINDS)}")
    if function.architecture not in DEBIAN_NAMES:
        raise LocalFailure(f"Lambda has no architecture {function.architecture!r}: choose {' or '.join(DEBIAN_NAMES)}")
    reasons: list[str] = []
    for kind in (chosen,) if chosen else KINDS:
        try:
            return kind, PROGRAMS[kind](function), reasons
        except (LocalFailure, LayerError) as failure:
            reasons.append(str(failure))
    raise LocalFailure("; ".join(reasons))


def enclosure(function: Function, environment: Mapping[str, str], binds: Sequence[Bind] = ()) -> Enclosure:
    """What runs ``function`` here. Raises ``LocalFailure``, for a bind that has no place too."""
    kind, program, reasons = best(function)
    emulator = rie.ensure(function.architecture)
    if kind == "process":
        unseen = [bind.target for bind in binds if not plain_process.place(bind)]
        notices = [plain_process.NOTICE, *(f"nothing is at {target}: that takes a sandbox" for target in unseen)]
        arguments = plain_process.arguments(function.layer, function.task, environment, binds)
        started = str(plain_process.bootstrap(function.layer))
        return Enclosure(kind, program, arguments, [str(emulator)], [started], notices + reasons)
    files = Files(_root(function), function.layer, function.task, emulator)
    arguments = ARGUMENTS[kind](files, environment, binds)
    return Enclosure(kind, program, arguments, [EMULATOR], [], [])


def _root(function: Function) -> Path:
    return rootfs.ensure(function.architecture, function.suite)


def _bubblewrap(function: Function) -> list[str]:
    _root(function)
    return [*_translated(function), *bubblewrap.command(architecture())]


def _namespaces(function: Function) -> list[str]:
    return [*_translated(function), *namespaces.command(_root(function))]


def _process(function: Function) -> list[str]:
    if function.architecture != architecture():
        raise LocalFailure(f"a function for {function.architecture} needs a sandbox, to run on this machine")
    return plain_process.command()


def _translated(function: Function) -> list[str]:
    if function.architecture == architecture():
        return []
    if function.architecture != "arm64":
        raise LocalFailure(f"functions for {function.architecture} run on no machine of another kind")
    return arm64.prefix(architecture())


PROGRAMS: dict[str, Callable[[Function], list[str]]] = {
    "bubblewrap": _bubblewrap,
    "namespaces": _namespaces,
    "process": _process,
}
ARGUMENTS: dict[str, Callable[[Files, Mapping[str, str], Sequence[Bind]], list[str]]] = {
    "bubblewrap": bubblewrap.arguments,
    "namespaces": namespaces.arguments,
}
KINDS = tuple(PROGRAMS)
