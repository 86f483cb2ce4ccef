"""The functions of ``functions/``: installed by their lock files and put together as they would lie on Lambda."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from layer import kept, runtimes
from local import machine
from local.app import node_modules
from local.cache import CACHE, once

HERE = Path(__file__).parent / "functions"
SHARED = HERE / "steps.mjs"
NPM = "node"  # whose installer they have
OPENNEXT = "opennext"
BUILT = Path(".open-next/server-functions")  # where OpenNext leaves its functions


def made(name: str) -> Path:
    """The function's folder in the cache, with its packages. Raises ``LocalFailure`` or ``LayerError``."""
    source = HERE / name
    wish = node_modules.Wish(machine.architecture(), with_dev=True)
    packages = node_modules.ensure(source, NPM, wish).folders
    files = [path for path in sorted(source.rglob("*")) if path.is_file()] + [SHARED]
    made_by = Path(__file__).read_bytes()
    digest = kept.digest([str(packages), made_by, *(part for path in files for part in (path.name, path.read_bytes()))])

    def make(draft: Path) -> None:
        place = draft / "app"  # where the Next.js app is built; all that is kept of it is what OpenNext makes
        place = place if name == OPENNEXT else draft
        shutil.copytree(source, place, dirs_exist_ok=True)
        shutil.copyfile(SHARED, place / SHARED.name)
        for folder in packages:
            shutil.copytree(folder, place / folder.name, copy_function=os.link, symlinks=True)
        if name == OPENNEXT:
            build(place)
            (place / BUILT).rename(draft / BUILT.name)
            shutil.rmtree(place)

    return once(CACHE / "frameworks" / f"{name}-{digest[:16]}", make)


def build(folder: Path) -> None:
    """Build the Next.js app and OpenNext's functions of it, by the Node of our layer."""
    node = runtimes.ensure("node", machine.architecture()) / "bin"
    node_modules.run(
        [str(node / "node"), "node_modules/@opennextjs/aws/dist/index.js", "build"],
        folder,
        "the Next.js app could not be built",
        PATH=f"{node}:{os.environ['PATH']}",
        NEXT_TELEMETRY_DISABLED="1",
        CI="1",
    )


def versions(name: str) -> dict[str, str]:
    """The packages that the function names, with the versions that its lock file has."""
    wanted = json.loads((HERE / name / "package.json").read_text())
    locked = json.loads((HERE / name / "package-lock.json").read_text())["packages"]
    names = [*wanted.get("dependencies", {}), *wanted.get("devDependencies", {})]
    return {package: locked[f"node_modules/{package}"]["version"] for package in names}
