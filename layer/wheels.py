"""Packages from PyPI in a layer (``--with orjson,brotli``), pinned by ``wheels.txt``.

``python -m layer.wheels NAME==VERSION...`` adds packages to that list, or moves them to another version.
"""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from packaging.requirements import Requirement

from . import interpreter, markers, recipe
from .elf import SYSTEM_GLIBC
from .failures import LayerError
from .kept import sha256
from .limited import run
from .recipe import ARCHITECTURES, HERE, LIBRARIES, REPOSITORY, Architecture
from .toolchain import Toolchain

LOCK = HERE / "wheels.txt"
CACHE = REPOSITORY / ".cache/wheels"
PYTHON = markers.PYTHON
OLDEST_GLIBC_MINOR = 5  # manylinux1, whose wheels are still about
LICENCE_NAMES = re.compile(r"(?i)(licen[sc]e|copying|notice|authors)")
LEFT_OUT = re.compile(r"[^/]+\.data/.*|[^/]+\.dist-info/(RECORD|direct_url\.json)|.*\.py[ci]")


class Pin(NamedTuple):
    """One line of ``wheels.txt``; ``architecture`` is ``any`` when the wheel serves both."""

    name: str
    version: str
    architecture: str
    sha256: str


class Wheel(NamedTuple):
    """A downloaded wheel, checked."""

    pin: Pin
    path: Path


def normal(name: str) -> str:
    """The package's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def pins(lock: Path = LOCK) -> list[Pin]:
    """The entries of ``wheels.txt``."""
    found = []
    for line in recipe.lines(lock):
        requirement, architecture, checksum = line.split()
        name, version = requirement.split("==")
        found.append(Pin(normal(name), version, architecture, checksum))
    return found


def choose(names: Sequence[str], architecture: Architecture, lock: Path = LOCK) -> list[Pin]:
    """The pins of ``names``, in order of name. Raises ``LayerError`` for a name that has none."""
    wanted = sorted({normal(name) for name in names if name.strip()})
    known = {pin.name: pin for pin in pins(lock) if pin.architecture in (architecture.name, "any")}
    if unknown := [name for name in wanted if name not in known]:
        raise LayerError(
            f"layer/wheels.txt does not know {', '.join(unknown)} for {architecture.name} (it knows "
            f"{', '.join(sorted(known))}): add it with `.venv/bin/python -m layer.wheels {unknown[0]}==VERSION`"
        )
    return [known[name] for name in wanted]


def fetch(chosen: Sequence[Pin], architecture: Architecture, cache: Path = CACHE) -> list[Wheel]:
    """The wheels of ``chosen``, out of ``cache`` or downloaded by pip, which checks them. Raises ``LayerError``."""
    if missing := [pin for pin in chosen if not _cached(pin, cache)]:
        with TemporaryDirectory() as directory:
            requirements = Path(directory) / "requirements.txt"
            requirements.write_text("".join(f"{p.name}=={p.version} --hash=sha256:{p.sha256}\n" for p in missing))
            _pip(["--require-hashes", "--requirement", str(requirements)], architecture, Path(directory))
            for arrival in Path(directory).glob("*.whl"):
                (cache / sha256(arrival)).mkdir(parents=True, exist_ok=True)
                shutil.move(arrival, cache / sha256(arrival) / arrival.name)
    wheels = [Wheel(pin, path) for pin in chosen if (path := _cached(pin, cache))]
    _require_dependencies(wheels, architecture)
    return wheels


def _cached(pin: Pin, cache: Path) -> Path | None:
    return next((path for path in (cache / pin.sha256).glob("*.whl") if sha256(path) == pin.sha256), None)


def _pip(what: Sequence[str], architecture: Architecture, destination: Path) -> None:
    machine = architecture.triplet.partition("-")[0]
    minors = range(SYSTEM_GLIBC[1], OLDEST_GLIBC_MINOR - 1, -1)
    platforms = [word for minor in minors for word in ("--platform", f"manylinux_2_{minor}_{machine}")]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON, *platforms),
        *("--dest", str(destination), *what),
    ]
    result = run(command, capture_output=True)
    if result.returncode:
        raise LayerError(f"pip could not download {' '.join(what)} for {architecture.name}:\n{result.stderr.strip()}")


def _require_dependencies(wheels: Sequence[Wheel], architecture: Architecture) -> None:
    present = {wheel.pin.name for wheel in wheels}
    lacking = {
        f"{wheel.pin.name} needs {requirement.name}"
        for wheel in wheels
        for requirement in _requirements(wheel, architecture)
        if normal(requirement.name) not in present
    }
    if lacking:
        raise LayerError(f"{'; '.join(sorted(lacking))}: name that in --with as well")


def _requirements(wheel: Wheel, architecture: Architecture) -> Iterator[Requirement]:
    """The requirements of ``wheel`` that count for the layer's Python, whatever Python runs this."""
    environment = {**markers.environment(architecture.name), "extra": ""}
    with zipfile.ZipFile(wheel.path) as archive:
        metadata = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
        for line in archive.read(metadata).decode().partition("\n\n")[0].splitlines():
            if line.startswith("Requires-Dist:"):
                requirement = Requirement(line.partition(":")[2].strip())
                if not requirement.marker or requirement.marker.evaluate(environment):
                    yield requirement


def install(wheels: Sequence[Wheel], tree: Path, python: str, toolchain: Toolchain) -> list[dict[str, object]]:
    """Put ``wheels`` among the standard library of ``tree``, as byte-code; what the manifest says about them.

    There and not in a directory of their own: Fairlead's process starts without ``site`` and looks nowhere else, and
    for an app what PYTHONPATH names comes before it.
    """
    library = tree / LIBRARIES / python
    facts: list[dict[str, object]] = []
    for wheel in wheels:
        names = _unpack(wheel.path, library)
        sources = sorted({library / Path(name).parts[0] for name in names if name.endswith(".py")})
        if sources:
            interpreter.compile_in_place(toolchain, tree, *sources)
        licences = _move_licences(wheel, names, library, tree)
        pin = wheel.pin
        facts.append(
            {
                "name": pin.name,
                "version": pin.version,
                "file": wheel.path.name,
                "sha256": pin.sha256,
                "licences": licences,
            }
        )
    return facts


def _unpack(wheel: Path, library: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not LEFT_OUT.fullmatch(name)]
        for top in sorted({Path(name).parts[0] for name in names}):
            module = top.partition(".")[0]
            if (library / top).exists() or (library / f"{module}.pyc").exists():
                raise LayerError(f"{wheel.name} brings {top}, which the layer has already: it cannot be added")
        for name in names:
            archive.extract(name, library)
    return names


def _move_licences(wheel: Wheel, names: Sequence[str], library: Path, tree: Path) -> list[str]:
    places = []
    for name in names:
        _, found, below = name.partition(".dist-info/")
        if not found or not (below.startswith("licenses/") or LICENCE_NAMES.match(below)):
            continue
        place = f"{interpreter.LICENCES}/{wheel.pin.name}/{below.removeprefix('licenses/')}"
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (library / name).rename(tree / place)
        places.append(place)
    if not places:
        raise LayerError(f"{wheel.path.name} has no licence text, so it cannot be handed on in a layer")
    return places


def lock(requirements: Sequence[str], path: Path = LOCK) -> list[Pin]:
    """Write the wheels of ``requirements`` (``NAME==VERSION``) into ``wheels.txt``; the lines that are new."""
    new: list[Pin] = []
    for requirement in requirements:
        name, equals, version = requirement.partition("==")
        if not equals or not version:
            raise LayerError(f"{requirement!r} names no version: write it like orjson==3.13.0")
        new += _found(normal(name), version)
    replaced = {pin.name for pin in new}
    comments = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    lines = sorted({*new, *(pin for pin in pins(path) if pin.name not in replaced)})
    path.write_text(comments + "".join(f"{p.name}=={p.version} {p.architecture} {p.sha256}\n" for p in lines))
    return new


def _found(name: str, version: str) -> list[Pin]:
    checksums = {}
    for architecture in ARCHITECTURES.values():
        with TemporaryDirectory() as directory:
            _pip([f"{name}=={version}"], architecture, Path(directory))
            (wheel,) = Path(directory).glob("*.whl")
            checksums[architecture.name] = sha256(wheel)
    if len(set(checksums.values())) == 1:
        checksums = {"any": next(iter(checksums.values()))}
    return [Pin(name, version, architecture, checksum) for architecture, checksum in checksums.items()]


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print("usage: python -m layer.wheels NAME==VERSION...", file=sys.stderr)
        return 2
    try:
        for pin in lock(arguments):
            print(*pin)
    except LayerError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
