"""A JavaScript app that has a ``build`` script (Deno: task), built in a copy: the app's folder stays as it is."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from layer import kept, npm, runtimes

from ..cache import CACHE, once
from ..machine import architecture as machine
from . import javascript, node_modules
from .javascript import Package
from .node_modules import DENO_FOLDER, FOLDERS, NOTE, Installed, Wish

# What is in an app's folder without being its source.
LEFT_OUT = {*FOLDERS, ".git"}
BUILDS_LAST_S = 24 * 3600
# Tools that would otherwise tell their makers.
QUIET = {"ASTRO_TELEMETRY_DISABLED": "1", "NEXT_TELEMETRY_DISABLED": "1", "DO_NOT_TRACK": "1"}
COMMANDS = {"bun": "bun --bun run build", "deno": "deno task build", "node": "npm run build"}


def ensure(app: Path, runtime: str, package: Package, wish: Wish) -> Path:
    """A folder to be ``/var/task``: the app with what its build makes, and with the packages that it needs to run.

    Built once for a given content of the app's files, by the runtime of the layer. Packages that only development needs
    are there for the build, and gone after it. Raises ``LocalFailure`` or ``LayerError``.
    """
    content = kept.digest(_content(app.resolve(), str(wish), runtime, runtimes.version(runtime)))
    prefix = f"{app.resolve().name}-copy"
    destination = CACHE / "apps" / f"{prefix}-{content[:16]}-{wish.architecture}"

    def make(draft: Path) -> None:
        shutil.copytree(app, draft, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
        # A workspace's members have dependencies, and are linked to one another, whatever its own package.json says.
        # Those of Deno's are found without links.
        is_linked = package.is_several and (runtime != "deno" or bool(javascript.locks(app)))
        has_any = package.has_dependencies or package.has_dev_dependencies or is_linked
        # On this machine the build runs; what is left afterwards runs on the layer's.
        for_build = Wish(machine(), package.has_dev_dependencies, wish.with_scripts) if package.build else wish
        if has_any:
            _add_packages(app, draft, runtime, package, for_build)
        added = list(_package_folders(draft))  # noted now: a build may make such folders for what it has bundled
        note = (draft / NOTE).read_bytes() if has_any else b""
        if package.build:
            print(f"building {app}: {COMMANDS[runtime]}", file=sys.stderr, flush=True)
            _build(runtime, draft, app)
        if has_any and for_build != wish:
            for folder in added:
                shutil.rmtree(folder, ignore_errors=True)
            _add_packages(app, draft, runtime, package, wish)
            (draft / NOTE).write_bytes(note)  # of all that was installed, for the build too

    once(destination, make)
    _forget_others(destination, prefix)
    return destination


def packages(folder: Path) -> Installed | None:
    """The packages that were installed in a folder of ``ensure``; None when it has none."""
    return node_modules.read_note(folder) if (folder / NOTE).exists() else None


def _add_packages(app: Path, draft: Path, runtime: str, package: Package, wish: Wish) -> None:
    if package.is_several:  # its packages link to one another, so they are installed where they lie
        node_modules.install(draft, app / javascript.lock(app, runtime), wish)
        return
    installed = node_modules.ensure(app, runtime, wish)
    for folder in installed.folders:
        # Deno writes in its databases, which therefore cannot be links to the kept ones.
        how = shutil.copy2 if folder.name == DENO_FOLDER else os.link
        shutil.copytree(folder, draft / folder.name, symlinks=True, copy_function=how)
    shutil.copyfile(installed.note, draft / NOTE)


def _package_folders(draft: Path) -> Iterator[Path]:
    for directory, directories, _ in os.walk(draft):
        found = [name for name in directories if name in FOLDERS]
        yield from (Path(directory) / name for name in found)
        directories[:] = [name for name in directories if name not in found]


def _build(runtime: str, draft: Path, app: Path) -> None:
    program, *arguments = COMMANDS[runtime].split()
    programs = runtimes.ensure(runtime, machine()) / "bin"
    found = npm.command("npm runs the build script") if program == "npm" else str(programs / program)
    # The runtime that will run it builds it, whatever else this machine has.
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    settings = {"PATH": path, "DENO_DIR": str(draft / DENO_FOLDER), **QUIET}
    node_modules.run([found, *arguments], draft, f"{app} could not be built", **settings)


def _content(app: Path, *settings: str) -> Iterator[bytes | str]:
    yield from settings
    for directory, directories, files in os.walk(app):
        directories[:] = sorted(name for name in directories if name not in LEFT_OUT)
        for name in sorted((*files, *(name for name in directories if (Path(directory) / name).is_symlink()))):
            path = Path(directory) / name
            mode = path.lstat().st_mode
            yield f"{path.relative_to(app)} {mode:o}"
            if stat.S_ISLNK(mode):
                yield os.readlink(path)
            elif stat.S_ISREG(mode):
                yield path.read_bytes()


def _forget_others(built: Path, prefix: str) -> None:
    """Remove the builds of the app's former states that nobody has used for a day."""
    os.utime(built)
    for other in built.parent.glob(f"{prefix}-*"):
        if time.time() - other.stat().st_mtime > BUILDS_LAST_S:
            shutil.rmtree(other, ignore_errors=True)
