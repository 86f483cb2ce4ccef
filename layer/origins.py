"""Where a layer's interpreter comes from: Debian's packages, or a directory that holds another one (dist.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from . import elf, interpreter, recipe
from .debian import Package, fetch
from .kept import digest, once
from .recipe import Architecture, Recipe
from .toolchain import Toolchain, of_debian


class Origin(Protocol):
    """``python`` is like ``python3.13``; ``identity`` changes whenever what comes out of ``assemble`` may change."""

    python: str
    toolchain: Toolchain
    identity: tuple[str, ...]

    def assemble(self, tree: Path) -> dict[str, object]:
        """Make the interpreter's part of a layer at ``tree``; what the manifest says about it."""

    def check(self, tree: Path) -> None:
        """Raise ``LayerError`` unless all that the files of ``tree`` load is there."""


class Debian:
    """The packages of ``recipe.toml``, downloaded to ``packages`` and unpacked below ``parts``."""

    def __init__(self, architecture: Architecture, parts: Path, packages: Path) -> None:
        self._recipe = recipe.load()
        self._architecture = architecture
        self._downloads = packages
        self.python = self._recipe.python
        native = recipe.native()
        of = self._recipe
        self._packages = self._fetch((*of.packages, *of.texts), architecture)
        self._debian = self._unpacked(self._packages, parts / architecture.name / "debian")
        native_packages, native_debian = self._packages, self._debian
        if native != architecture:
            native_packages = self._fetch((*of.packages, *of.texts), native)
            native_debian = self._unpacked(native_packages, parts / native.name / "debian")
        tools = self._fetch(of.tools, native)
        tree = self._unpacked(tools, parts / native.name / "tools")
        self.toolchain = of_debian(native_debian, tree, of.python, native)
        self.identity = tuple(package.sha256 for package in (*self._packages, *native_packages, *tools))

    def assemble(self, tree: Path) -> dict[str, object]:
        interpreter.assemble(self._debian, tree, self._recipe, self._architecture, self.toolchain)
        licences = interpreter.copy_licences(self._debian, tree, self._packages)
        return _facts(self._recipe, self._packages, licences)

    def check(self, tree: Path) -> None:
        elf.check(tree, self._architecture)

    def _fetch(self, names: Sequence[str], architecture: Architecture) -> list[Package]:
        return fetch(names, suite=self._recipe.suite, architecture=architecture.debian, cache=self._downloads)

    def _unpacked(self, packages: Sequence[Package], root: Path) -> Path:
        made_from = digest(package.sha256 for package in packages)
        return once(root, made_from, lambda draft: interpreter.unpack_all(packages, draft))


def _facts(of: Recipe, packages: Sequence[Package], licences: dict[str, str]) -> dict[str, object]:
    version = next(package.version for package in packages if package.name == f"{of.python}-minimal")
    return {
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
