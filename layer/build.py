"""Builds the Lambda layers; command.py is the command line.

Each step is made once and kept until what it is made from changes: the Debian packages unpacked; the interpreter's part
of the layer, which takes seconds; the layer itself, which is that part plus our own few files.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from runtime import __version__

from . import dist, interpreter, kept, recipe, wheels
from .debian import locked
from .failures import LayerError
from .origins import Debian, Origin
from .recipe import ARCHITECTURES, HOME, LIBRARIES, REPOSITORY, SOURCES, Architecture
from .toolchain import Toolchain

MANIFEST = f"{HOME}/MANIFEST.json"
# The time of every file in a zip, so that the same content is the same zip. Any would do: 2024-01-01.
DEFAULT_EPOCH = 1704067200
FIRST_ZIP_TIME = 315532800  # 1980-01-01, the first that a zip can hold
TREES_LAST_S = 24 * 3600
# Says what is in a layer, and not how it is made: a change here makes no other layer.
NOT_OF_THE_LAYER = {
    *(
        "check.py",
        "image.py",
        "markers.py",
        "merge.py",
        "needs.py",
        "npm.py",
        "package.py",
        "programs.py",
        "publish.py",
        "runtimes.py",
        "runtimes.txt",
    ),
    "wheels.txt",
}


class Places(NamedTuple):
    """``layers/ARCHITECTURE`` leads to what /opt will be, ``dist`` has the zips, ``packages`` the downloads.

    ``checkout`` is where ``bootstrap``, ``runtime`` and the licence are taken from.
    """

    layers: Path
    dist: Path
    packages: Path
    checkout: Path = REPOSITORY


PLACES = Places(REPOSITORY / ".cache/layer", REPOSITORY / "dist", REPOSITORY / ".cache/debian")


class Layer(NamedTuple):
    """``tree`` holds what the zip does, and stays as it is when a later build makes another."""

    tree: Path
    zip: Path


class Choice(NamedTuple):
    """The optional parts of a layer: packages of ``wheels.txt`` by name, and another interpreter (dist.py)."""

    packages: tuple[str, ...] = ()
    dist: str = ""


def chosen() -> Choice:
    """The choice of the environment's variables: ``LAYER_WITH=orjson,brotli``, ``PYTHON_DIST=DIRECTORY``."""
    packages = os.environ.get("LAYER_WITH", "").replace(",", " ").split()
    return Choice(tuple(packages), os.environ.get("PYTHON_DIST", ""))


def ensure(architecture: str = "x86_64") -> Path:
    """The layer's tree, built or brought up to date first: mount it on ``/opt``. Raises ``LayerError``."""
    with locked(PLACES.layers):
        return _Build(ARCHITECTURES[architecture], PLACES, chosen()).tree()


def build(architecture: str, places: Places = PLACES, choice: Choice | None = None) -> Layer:
    """The layer for ``architecture`` (``x86_64`` or ``arm64``), made anew as far as its inputs have changed."""
    with locked(places.layers):
        made = _Build(ARCHITECTURES[architecture], places, chosen() if choice is None else choice)
        return Layer(made.tree(), made.zip())


class _Build:
    def __init__(self, architecture: Architecture, places: Places, choice: Choice) -> None:
        self.architecture = architecture
        self.places = places
        self.epoch = epoch()
        self.own = _own_files(places.checkout)
        self.is_ordinary = choice == Choice()
        parts = places.layers / "parts"
        self.origin = _origin(architecture, places, choice)
        if choice.packages and self.origin.python != f"python{wheels.PYTHON}":
            raise LayerError(f"--with has packages for Python {wheels.PYTHON}, and PYTHON_DIST is {self.origin.python}")
        self.wheels = wheels.fetch(wheels.choose(choice.packages, architecture), architecture)
        self.base = parts / architecture.name / f"{'dist-' if choice.dist else ''}interpreter"
        self.base_made_from = kept.digest([*self.origin.identity, str(self.epoch), *_own_logic()])
        self.made_from = kept.digest(
            [
                self.base_made_from,
                *(wheel.pin.sha256 for wheel in self.wheels),
                *(f"{path} {kept.sha256(path)}" for path in self.own),
            ]
        )

    def tree(self) -> Path:
        # A tree of its own for each content: somebody may have the previous one mounted, and goes on undisturbed. It
        # costs next to nothing, because what they have in common is hard-linked.
        tree = self.places.layers / "trees" / f"{self.architecture.name}-{self.made_from[:16]}"
        if not tree.exists():
            kept.once(self.base, self.base_made_from, self._make_interpreter)
            kept.replace(tree, self._make_layer)
        forget_unused(tree)
        if self.is_ordinary:
            _point(self.places.layers / self.architecture.name, tree)
        return tree

    def zip(self) -> Path:
        pack, base = self.origin.toolchain.pack, self.base.with_name(f"{self.base.name}.zip")
        target = self.places.dist / f"fairlead-{self.architecture.name}.zip"
        stamp = target.with_name(f".{target.name}.made-from")
        if target.exists() and stamp.exists() and stamp.read_text() == self.made_from:
            return target
        kept.once(self.base, self.base_made_from, self._make_interpreter)
        kept.once(base, self.base_made_from, lambda draft: pack(draft, self.base, self.epoch))
        return kept.once(target, self.made_from, lambda draft: pack(draft, self.tree(), self.epoch, base), stamp)

    def _make_interpreter(self, tree: Path) -> None:
        facts = self.origin.assemble(tree)
        (tree / MANIFEST).write_text(_manifest(self.architecture, facts))
        _set_modes(tree, self.architecture)

    def _make_layer(self, tree: Path) -> None:
        shutil.copytree(self.base, tree, copy_function=os.link)
        if self.wheels:
            self._add_wheels(tree)
        for source, name in self.own.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tree / name)
        # Docstrings are in the sources. Without them there is a sixth less to read at each cold start.
        self.origin.toolchain.compile(tree, tree / SOURCES, optimize=2)
        self.origin.toolchain.bundle(tree, f"{SOURCES}/fairlead")
        # The .pyc goes where it is imported from and the .py stays where it is read: beside each other, each import
        # would have to look at the .py first. The .pyc names the .py, so tracebacks show its lines.
        # JavaScript is run as it is written, from where Python finds it.
        for used in sorted([*(tree / SOURCES).rglob("*.pyc"), *(tree / SOURCES).rglob("*.mjs")]):
            place = tree / LIBRARIES / self.origin.python / used.relative_to(tree / SOURCES)
            place.parent.mkdir(parents=True, exist_ok=True)
            used.rename(place)
        _set_modes(tree, self.architecture)

    def _add_wheels(self, tree: Path) -> None:
        facts = json.loads((tree / MANIFEST).read_text())
        facts["wheels"] = wheels.install(self.wheels, tree, self.origin.python, self.origin.toolchain)
        (tree / MANIFEST).unlink()  # it is the interpreter's, by a hard link
        (tree / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n")
        self.origin.check(tree)


def _origin(architecture: Architecture, places: Places, choice: Choice) -> Origin:
    parts = places.layers / "parts"
    return dist.Dist(choice.dist, architecture, parts) if choice.dist else Debian(architecture, parts, places.packages)


def toolchain(places: Places = PLACES) -> Toolchain:
    """The tools that pack zips on this machine. Raises ``LayerError``."""
    with locked(places.layers):
        return _origin(recipe.native(), places, chosen()).toolchain


def _own_files(checkout: Path) -> dict[Path, str]:
    """The files of the repository that go into a layer, and their places there."""
    runtime = checkout / "runtime"
    package = sorted([*runtime.rglob("*.py"), *runtime.rglob("*.mjs")])
    files = {
        checkout / "bootstrap": "bootstrap",
        recipe.HERE / "python.sh": f"{HOME}/bin/python",
        checkout / "LICENSE": f"{interpreter.LICENCES}/fairlead",
        recipe.HERE / "sitecustomize.py": f"{SOURCES}/sitecustomize.py",
        **{path: f"{SOURCES}/fairlead/{path.relative_to(runtime)}" for path in package},
    }
    if missing := [path.name for path in files if not path.is_file()]:
        raise LayerError(f"this checkout lacks what the layer is made of: {', '.join(missing)}")
    return files


def _own_logic() -> Iterator[bytes]:
    """The files that say how the interpreter's part is made."""
    files = sorted(path for path in recipe.HERE.iterdir() if path.suffix in {".py", ".toml", ".txt"})
    return (path.read_bytes() for path in files if path.name not in NOT_OF_THE_LAYER)


def _manifest(architecture: Architecture, facts: dict[str, object]) -> str:
    document = {"fairlead": __version__, "architecture": architecture.name, **facts}
    return json.dumps(document, indent=2) + "\n"


def _set_modes(tree: Path, architecture: Architecture) -> None:
    """Readable by all (Lambda runs functions as a user of its own), whatever this user's umask is."""
    ours = {tree / "bootstrap", tree / HOME / "bin/python"}
    programs = {*ours, tree / HOME / "bin/python3", tree / LIBRARIES / architecture.loader}
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path in programs else 0o644)


def _point(link: Path, tree: Path) -> None:
    draft = link.with_name(f".{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(tree.relative_to(link.parent))
    draft.replace(link)


def forget_unused(tree: Path, pattern: str = "*") -> None:
    """Remove others beside ``tree``, called like ``pattern``, that nobody has asked for since yesterday."""
    os.utime(tree)
    for other in tree.parent.glob(pattern):
        if not other.name.startswith(tree.name) and time.time() - other.stat().st_mtime > TREES_LAST_S:
            kept.remove(other)


def epoch() -> int:
    """The time of every file in a zip, in Unix seconds. Raises ``LayerError``."""
    text = os.environ.get("SOURCE_DATE_EPOCH") or str(DEFAULT_EPOCH)
    if not text.isdecimal() or int(text) < FIRST_ZIP_TIME:
        raise LayerError(f"SOURCE_DATE_EPOCH is {text!r}: it takes Unix seconds from {FIRST_ZIP_TIME} (1980) on")
    return int(text)
