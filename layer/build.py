"""Builds the Lambda layers: ``python -m layer.build [x86_64|arm64 ...]`` (``./build-layer.sh`` sets up what it needs).

Three steps, each made once and kept until what it is made from changes: the Debian packages unpacked; the interpreter's
part of the layer, which takes seconds; the layer itself, which is that part plus our own few files.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runtime import __version__

from . import interpreter, recipe
from .bytecode import DebianPython
from .debian import Package, fetch
from .failures import LayerError
from .recipe import ARCHITECTURES, HOME, LIBRARIES, REPOSITORY, SOURCES, Architecture, Recipe

MANIFEST = f"{HOME}/MANIFEST.json"
DEFAULT_ARCHITECTURES = ("x86_64",)
# The time of every file in a zip, so that the same content is the same zip. Any would do: 2024-01-01.
DEFAULT_EPOCH = 1704067200
FIRST_ZIP_TIME = 315532800  # 1980-01-01, the first that a zip can hold
TREES_LAST_S = 24 * 3600


class Places(NamedTuple):
    """``layers/ARCHITECTURE`` leads to what /opt will be, ``dist`` has the zips, ``packages`` the downloads."""

    layers: Path
    dist: Path
    packages: Path


PLACES = Places(REPOSITORY / ".cache/layer", REPOSITORY / "dist", REPOSITORY / ".cache/debian")


class Layer(NamedTuple):
    """``tree`` holds what the zip does, and stays as it is when a later build makes another."""

    tree: Path
    zip: Path


def ensure(architecture: str = "x86_64") -> Path:
    """The layer's tree, built or brought up to date first: mount it on ``/opt``. Raises ``LayerError``."""
    return build(architecture).tree


def build(architecture: str, places: Places = PLACES) -> Layer:
    """The layer for ``architecture`` (``x86_64`` or ``arm64``), made anew as far as its inputs have changed."""
    with _locked(places.layers):
        return _Build(ARCHITECTURES[architecture], places).run()


class _Build:
    def __init__(self, architecture: Architecture, places: Places) -> None:
        self.architecture = architecture
        self.places = places
        self.recipe = recipe.load()
        self.epoch = _epoch()
        self.own = _own_files()

    def run(self) -> Layer:
        native = recipe.native()
        packages = _fetch(self.recipe, self.architecture, self.places)
        native_packages = packages if native == self.architecture else _fetch(self.recipe, native, self.places)
        compiler = DebianPython(self._debian(native, native_packages), self.recipe, native)
        debian = self._debian(self.architecture, packages)

        inputs: list[bytes | str] = [
            *(package.sha256 for package in (*packages, *native_packages)),
            str(self.epoch),
            *_own_logic(),
        ]
        parts = self.places.layers / "parts" / self.architecture.name
        base, base_zip = parts / "interpreter", parts / "interpreter.zip"
        made_from = _digest(inputs)
        _once(base, made_from, lambda draft: self._make_interpreter(draft, debian, packages, compiler))
        _once(base_zip, made_from, lambda draft: self._pack(compiler, draft, base))

        made_from = _digest((made_from, *(f"{path} {_digest((path.read_bytes(),))}" for path in self.own)))
        # A tree of its own for each content: somebody may have the previous one mounted, and goes on undisturbed. It
        # costs next to nothing, because what they have in common is hard-linked.
        tree = self.places.layers / "trees" / f"{self.architecture.name}-{made_from[:16]}"
        target = self.places.dist / f"fairlead-{self.architecture.name}.zip"
        if not tree.exists():
            _make(tree, lambda draft: self._make_layer(draft, base, compiler))
        _point(self.places.layers / self.architecture.name, tree)
        _once(
            target, made_from, lambda draft: self._pack(compiler, draft, tree, base_zip), stamp=parts / "zip.made-from"
        )
        return Layer(tree, target)

    def _debian(self, architecture: Architecture, packages: Sequence[Package]) -> Path:
        root = self.places.layers / "parts" / architecture.name / "debian"
        made_from = _digest(package.sha256 for package in packages)
        _once(root, made_from, lambda draft: interpreter.unpack_all(packages, draft))
        return root

    def _make_interpreter(self, tree: Path, debian: Path, packages: Sequence[Package], compiler: DebianPython) -> None:
        interpreter.assemble(debian, tree, self.recipe, self.architecture, compiler)
        licences = interpreter.copy_licences(debian, tree, packages)
        (tree / MANIFEST).write_text(_manifest(self.recipe, self.architecture, packages, licences))
        _set_modes(tree, self.architecture)

    def _make_layer(self, tree: Path, base: Path, compiler: DebianPython) -> None:
        shutil.copytree(base, tree, copy_function=os.link)
        for source, name in self.own.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tree / name)
        library = tree / LIBRARIES / self.recipe.python
        compiler.compile(tree / SOURCES, tree)
        # The .pyc goes where it is imported from and the .py stays where it is read: beside each other, each import
        # would have to look at the .py first. The .pyc names the .py, so tracebacks show its lines.
        for compiled in sorted((tree / SOURCES).rglob("*.pyc")):
            place = library / compiled.relative_to(tree / SOURCES)
            place.parent.mkdir(parents=True, exist_ok=True)
            compiled.rename(place)
        _set_modes(tree, self.architecture)

    def _pack(self, packer: DebianPython, target: Path, tree: Path, *base: Path) -> None:
        packer.run(recipe.HERE / "archive.py", target, tree, str(self.epoch), *base)


def _own_files() -> dict[Path, str]:
    """What of the repository goes into a layer, and where to."""
    runtime = REPOSITORY / "runtime"
    files = {
        REPOSITORY / "bootstrap": "bootstrap",
        REPOSITORY / "LICENSE": f"{interpreter.LICENCES}/fairlead",
        recipe.HERE / "sitecustomize.py": f"{SOURCES}/sitecustomize.py",
        **{path: f"{SOURCES}/fairlead/{path.relative_to(runtime)}" for path in sorted(runtime.rglob("*.py"))},
    }
    if missing := [str(path.relative_to(REPOSITORY)) for path in files if not path.is_file()]:
        raise LayerError(f"this checkout lacks what the layer is made of: {', '.join(missing)}")
    return files


def _own_logic() -> Iterator[bytes]:
    """The files that say how the interpreter's part is made."""
    return (path.read_bytes() for path in sorted(recipe.HERE.iterdir()) if path.suffix in {".py", ".toml", ".txt"})


def _fetch(of: Recipe, architecture: Architecture, places: Places) -> list[Package]:
    names = (*of.packages, *of.texts)
    return fetch(names, suite=of.suite, architecture=architecture.debian, cache=places.packages)


def _manifest(of: Recipe, architecture: Architecture, packages: Sequence[Package], licences: dict[str, str]) -> str:
    version = next(package.version for package in packages if package.name == f"{of.python}-minimal")
    document = {
        "fairlead": __version__,
        "architecture": architecture.name,
        "python": version.partition("-")[0],
        "debian": of.suite,
        "packages": [
            {
                "name": package.name,
                "version": package.version,
                "architecture": package.architecture,
                "sha256": package.sha256,
                "source": package.source,
                "licence": licences[package.name],
            }
            for package in packages
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _set_modes(tree: Path, architecture: Architecture) -> None:
    """Readable by all (Lambda runs functions as a user of its own), whatever this user's umask is."""
    programs = {tree / "bootstrap", tree / HOME / "bin/python3", tree / LIBRARIES / architecture.loader}
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)


def _once(destination: Path, made_from: str, make: Callable[[Path], object], stamp: Path | None = None) -> None:
    """Make ``destination``, unless it exists and was made from the same."""
    stamp = stamp or destination.with_name(f"{destination.name}.made-from")
    if destination.exists() and stamp.exists() and stamp.read_text() == made_from:
        return
    stamp.unlink(missing_ok=True)
    _make(destination, make)
    stamp.write_text(made_from)


def _make(destination: Path, make: Callable[[Path], object]) -> None:
    """Replace ``destination`` by what ``make`` leaves at the path it is given; half a thing never gets the name."""
    draft = destination.with_name(f".{destination.name}.draft")
    destination.parent.mkdir(parents=True, exist_ok=True)
    _remove(draft)  # left by somebody who was interrupted
    make(draft)
    _remove(destination)
    draft.rename(destination)


def _point(link: Path, tree: Path) -> None:
    """Let ``link`` lead to ``tree``, and forget the trees that nobody has asked for since yesterday."""
    draft = link.with_name(f".{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(tree.relative_to(link.parent))
    draft.replace(link)
    os.utime(tree)
    for other in tree.parent.iterdir():
        if time.time() - other.stat().st_mtime > TREES_LAST_S:
            _remove(other)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digest(parts: Iterable[bytes | str]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(b"%d:%b" % (len(data), data))
    return whole.hexdigest()


def _epoch() -> int:
    text = os.environ.get("SOURCE_DATE_EPOCH") or str(DEFAULT_EPOCH)
    if not text.isdecimal() or int(text) < FIRST_ZIP_TIME:
        raise LayerError(f"SOURCE_DATE_EPOCH is {text!r}: it takes Unix seconds from {FIRST_ZIP_TIME} (1980) on")
    return int(text)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="build-layer.sh", description="Build the Lambda layers into dist/. No root, compiler or Docker is needed."
    )
    parser.add_argument(
        "architectures", nargs="*", metavar="ARCHITECTURE", help=f"{' or '.join(ARCHITECTURES)}; default: x86_64"
    )
    wanted = parser.parse_args(arguments).architectures or DEFAULT_ARCHITECTURES
    if unknown := [name for name in wanted if name not in ARCHITECTURES]:
        parser.error(f"no such architecture: {', '.join(unknown)} (Lambda has {', '.join(ARCHITECTURES)})")
    try:
        for architecture in wanted:
            _report(build(architecture))
    except LayerError as failure:
        print(f"build-layer.sh: {failure}", file=sys.stderr)
        return 1
    return 0


def _report(layer: Layer) -> None:
    unpacked = sum(path.stat().st_size for path in layer.tree.rglob("*") if path.is_file())
    zipped = layer.zip.stat().st_size
    print(f"{layer.zip.relative_to(REPOSITORY)}  {zipped / 1e6:.2f} MB, {unpacked / 1e6:.1f} MB unpacked")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
