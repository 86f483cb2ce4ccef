"""``python -m layer.check [LAYER] [--function F] [--layer OTHER...]``: says what would fail on Lambda.

LAYER and OTHER are zips or directories that Lambda unpacks to /opt, F one that it unpacks to /var/task. The default of
LAYER is what this checkout builds for this machine's processor. Nothing else is changed and nothing leaves the machine.
The exit status is 1 when there are problems.

Limits: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from . import build, needs
from .elf import SYSTEM_GLIBC, dotted
from .failures import LayerError
from .needs import start_scripts
from .package import Entry, Package, load
from .programs import PROGRAMS, called
from .recipe import ARCHITECTURES, MOUNT, native

DIRECT_UPLOAD = 52_428_800  # 50 MiB
UNPACKED = 262_144_000  # 250 MiB: function and all layers together
BOOTSTRAP = "bootstrap"
START_SCRIPT = "run.sh"
NAMES_SHOWN = 3

LAMBDA_NAMES = {architecture.machine: architecture.name for architecture in ARCHITECTURES.values()}
# Directories by which packages that bring files for several platforms keep them apart (npm's "prebuilds/linux-arm64").
PLATFORM_NAMES = {
    "EM_X86_64": re.compile(r"(^|[^a-z0-9])(x64|x86[_-]64|amd64)([^a-z0-9]|$)", re.IGNORECASE),
    "EM_AARCH64": re.compile(r"(^|[^a-z0-9])(arm64|aarch64)([^a-z0-9]|$)", re.IGNORECASE),
}
SHELLS = re.compile(rb"#!\s*/\S*/(env\s+)?(ba|da)?sh\b")


class Upload(NamedTuple):
    """All that one function consists of; ``layer`` is the one with Fairlead in it, or a runtime's alone."""

    layer: Package
    function: Package | None
    others: tuple[Package, ...]

    @property
    def packages(self) -> tuple[Package, ...]:
        """All of them, in the order in which their problems are told."""
        return (self.layer, *([self.function] if self.function else []), *self.others)

    @property
    def layers(self) -> tuple[Package, ...]:
        """The layers that are unpacked to ``/opt``."""
        return (self.layer, *self.others)


def problems(upload: Upload) -> list[str]:
    """A sentence for each thing that would fail, in order of the rules; empty when nothing was found."""
    return [problem for rule in RULES for problem in rule(upload)]


def _has_bootstrap(upload: Upload) -> Iterator[str]:
    if any(BOOTSTRAP in layer.entries for layer in upload.layers):
        return
    if runtime := _runtime_of(upload.layer):
        if upload.function:
            yield f"layer: it has {runtime} alone, so Lambda has nothing to start: attach Fairlead's layer as well"
        return
    deeper = next((name for name in upload.layer.entries if name.endswith(f"/{BOOTSTRAP}")), "")
    found = f" (it is in {deeper}: zip what is inside of that folder, not the folder)" if deeper else ""
    yield f"layer: there is no {BOOTSTRAP} at its top, so Lambda has nothing to start{found}"


def _runtime_of(layer: Package) -> str:
    """The runtime that ``layer`` is for, ``""`` when it is none of runtimes.py."""
    return next((name for name, program in PROGRAMS.items() if program.manifest in layer.entries), "")


def _one_bootstrap(upload: Upload) -> Iterator[str]:
    if upload.function and BOOTSTRAP in upload.function.entries:
        yield (
            f"function: it holds a {BOOTSTRAP}, which Lambda starts instead of the layer's: rename it (to app, say), "
            "and make that name the function's handler"
        )
    for other in [layer for layer in upload.layers if BOOTSTRAP in layer.entries][1:]:
        yield f"{other.role}: it holds a {BOOTSTRAP} as well, and the layer named last wins: use one of them"


def _one_machine(upload: Upload) -> Iterator[str]:
    """A layer for one kind of processor with a function that was built on another is what fails most often."""
    machines = {file.machine for _, file in upload.layer.elves}
    wanted = machines.pop() if len(machines) == 1 else ""
    for package in upload.packages:
        yield from for_other_processors(package, wanted)


def for_other_processors(package: Package, wanted: str) -> Iterator[str]:
    """Files of ``package`` that the processor ``wanted`` (as ELF calls it, "": any) cannot run."""
    names = _names_by_machine(package)
    if len(names) > 1:
        parts = "; ".join(f"{_lambda_name(machine)}: {_some(names[machine])}" for machine in sorted(names))
        yield f"{package.role}: holds files for different processors ({parts}): build it for one of them"
    elif names and wanted and wanted not in names:
        ((machine, files),) = names.items()
        other = _lambda_name(machine)
        yield (
            f"{package.role}: is built for {other} ({_some(files)}), and the layer for {_lambda_name(wanted)}: "
            f"build it for {_lambda_name(wanted)}, or take the {other} layer"
        )


def _names_by_machine(package: Package) -> dict[str, list[str]]:
    """ELF files by the processor they are for.

    Where there are several, those are left out that a directory named for their own platform keeps apart: they were put
    there for whom they concern.
    """
    names: dict[str, list[str]] = {}
    for entry, file in package.elves:
        names.setdefault(file.machine, []).append(entry.name)
    if len(names) < 2:
        return names
    loose = {machine: [name for name in files if not _kept_apart(name, machine)] for machine, files in names.items()}
    return {machine: files for machine, files in loose.items() if files}


def _kept_apart(name: str, machine: str) -> bool:
    pattern = PLATFORM_NAMES.get(machine)
    return bool(pattern and any(pattern.search(part) for part in PurePosixPath(name).parts[:-1]))


def _c_library(upload: Upload) -> Iterator[str]:
    """Amazon Linux 2023 has glibc 2.34; what was built on something newer does not start there."""
    ours = max((_newest(upload.layer, home) for home in _homes(upload.layer)), default=SYSTEM_GLIBC)
    for package in upload.packages:
        yield from newer_than_lambda(package, ours)


def newer_than_lambda(package: Package, ours: tuple[int, ...]) -> Iterator[str]:
    """Files of ``package`` that need a newer C library than Lambda gives them; ``ours`` is the layer's Python's."""
    homes = _homes(package)
    for entry, file in package.elves:
        if entry.name.startswith(homes) or file.interpreter.startswith(f"{MOUNT}/"):
            continue  # it comes with the C library that it was tested with
        limit = ours if _for_our_python(entry.name) else SYSTEM_GLIBC
        if file.glibc > limit:
            yield (
                f"{package.role}: {entry.name} needs the C library {dotted(file.glibc)}, and on Lambda it finds "
                f"{dotted(limit)}: build it on Amazon Linux 2023 or something older, or take a manylinux wheel"
            )


def _homes(package: Package) -> tuple[str, ...]:
    """The directories whose programs bring their own loader, and so their own C library."""
    loaders = {file.interpreter.removeprefix(f"{MOUNT}/") for _, file in package.elves} & set(package.entries)
    return tuple(sorted({f"{name.partition('/')[0]}/" for name in loaders if "/" in name}))


def _newest(package: Package, home: str) -> tuple[int, ...]:
    """A version that the C library below ``home`` has for certain, because something there asks for it."""
    return max(file.glibc for entry, file in package.elves if entry.name.startswith(home))


def _for_our_python(name: str) -> bool:
    """Whether only CPython 3.13 loads it: on ``provided.al2023`` that is the layer's."""
    return ".cpython-313-" in PurePosixPath(name).name


def _can_be_run(upload: Upload) -> Iterator[str]:
    for package in upload.packages:
        programs = [entry.name for entry, file in package.elves if file.is_program]
        started = [BOOTSTRAP] if BOOTSTRAP in package.entries else []
        for name in dict.fromkeys((*started, *programs)):
            if not package.entries[name].is_executable:
                yield f"{package.role}: {name} is not executable: chmod 755 {name}, and zip anew on Linux or macOS"
    for entry in _start_scripts(upload.function):
        # A *.sh without the bit is run by sh.
        if not entry.is_executable and not (entry.name.endswith(".sh") and SHELLS.match(entry.script)):
            yield f"function: {entry.name} is not executable: chmod 755 {entry.name}, and zip anew on Linux or macOS"


def _start_scripts(function: Package | None) -> list[Entry]:
    return start_scripts(function) if function else []


def _has_runtimes(upload: Upload) -> Iterator[str]:
    """Check the runtimes that ``run.sh`` calls by name. Not Node: functions on a managed runtime have it."""
    script = upload.function.entries.get(START_SCRIPT) if upload.function else None
    for name in called(script.script) if script else []:
        if name != "node" and not any(PROGRAMS[name].path in layer.entries for layer in upload.layers):
            yield (
                f"function: {START_SCRIPT} calls {name}, and no layer has it: attach the one that `./build-layer.sh "
                f"--with-runtime {name}` makes"
            )


def _line_endings(upload: Upload) -> Iterator[str]:
    """With Windows' line ends the kernel looks for an interpreter whose name ends in a carriage return."""
    bootstraps = [(package.role, package.entries.get(BOOTSTRAP)) for package in upload.packages]
    scripts = [("function", entry) for entry in _start_scripts(upload.function)]
    for role, entry in (*bootstraps, *scripts):
        if entry and b"\r\n" in entry.script:
            name = entry.name
            yield f"{role}: {name} has Windows line ends (CRLF), and Linux cannot run it: sed -i 's/\\r$//' {name}"


def _has_what_it_names(upload: Upload) -> Iterator[str]:
    """Packages, scripts and builds that the app's own files name and that are not there."""
    if not upload.function:
        return
    packages = (upload.function, *upload.layers)
    machines = {file.machine for _, file in upload.layer.elves}
    architecture = next((LAMBDA_NAMES[machine] for machine in machines if machine in LAMBDA_NAMES), "x86_64")
    for rule in needs.RULES:
        yield from rule(packages, architecture)


def _readable(upload: Upload) -> Iterator[str]:
    """Lambda runs a function as a user of its own, who is in nobody's group."""
    for package in upload.packages:
        closed = [entry.name for entry in package.entries.values() if not _open_to_all(entry)]
        if closed:
            yield f"{package.role}: not readable by all: {_some(closed)}: chmod -R a+rX, and zip anew"


def _open_to_all(entry: Entry) -> bool:
    if entry.mode is None or entry.is_link:
        return True
    wanted = 0o005 if entry.is_directory else 0o004
    return entry.mode & wanted == wanted


def _proper_names(upload: Upload) -> Iterator[str]:
    for package in upload.packages:
        for name in package.entries:
            if name.startswith("/") or re.match(r"[A-Za-z]:", name):
                yield f"{package.role}: the name {name} is absolute: zip from inside of the folder"
            elif "\\" in name:
                yield f"{package.role}: the name {name} has backslashes, which make no folders: zip with another tool"
            elif ".." in name.split("/"):
                yield f"{package.role}: the name {name} leads out of the folder: zip from inside of it"


def _sizes(upload: Upload) -> Iterator[str]:
    for package in upload.packages:
        if package.zipped is not None and package.zipped > DIRECT_UPLOAD:
            yield (
                f"{package.role}: {package.path.name} has {package.zipped:,} bytes, and {DIRECT_UPLOAD:,} (50 MiB) can "
                "be uploaded directly: put it into an S3 bucket and name it there, or leave something out"
            )
    total = sum(package.unpacked for package in upload.packages)
    if total > UNPACKED:
        parts = ", ".join(f"{package.role} {package.unpacked:,}" for package in upload.packages)
        yield (
            f"unpacked, all together has {total:,} bytes ({parts}), and Lambda allows {UNPACKED:,} (250 MiB): leave "
            "something out, or make it a container image"
        )


RULES: tuple[Callable[[Upload], Iterator[str]], ...] = (
    _has_bootstrap,
    _one_bootstrap,
    _one_machine,
    _c_library,
    _can_be_run,
    _has_runtimes,
    _line_endings,
    _has_what_it_names,
    _readable,
    _proper_names,
    _sizes,
)


def _lambda_name(machine: str) -> str:
    return LAMBDA_NAMES.get(machine, machine)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m layer.check", description="Would it run on Lambda?")
    parser.add_argument(
        "layer",
        type=Path,
        nargs="?",
        metavar="LAYER",
        help="the layer with Fairlead in it, or one with a runtime alone: a zip or a directory (default: built here)",
    )
    parser.add_argument("--function", type=Path, metavar="DIR_OR_ZIP", help="your function's code")
    parser.add_argument(
        *("--layer", "--layers"), dest="others", nargs="+", action="extend", type=Path, default=[], metavar="OTHER"
    )
    options = parser.parse_args(arguments)
    try:
        upload = Upload(
            load("layer", options.layer or build.ensure(native().name)),
            load("function", options.function) if options.function else None,
            tuple(load(f"layer {path.name}", path) for path in options.others),
        )
        found = problems(upload)
    except LayerError as failure:
        found = [str(failure)]
    for problem in found:
        print(problem)
    if not found:
        sizes = ", ".join(f"{package.role} {package.unpacked / 1e6:.1f} MB" for package in upload.packages)
        print(f"nothing found that would fail on Lambda (unpacked: {sizes})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
