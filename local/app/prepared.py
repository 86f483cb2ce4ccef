"""An app's folder as a function needs it: which layers, what is built, and what is installed beside it.

::

    app = prepare(Path("examples/bun"), build.ensure())
    with Function(app.layer, app.task, extra_binds=app.binds) as function: ...
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from layer import check, elf, merge, needs, programs, runtimes
from layer.check import UNPACKED
from layer.package import load
from layer.recipe import ARCHITECTURES, MOUNT

from ..cache import CHECKOUT
from ..failures import LocalFailure
from ..machine import architecture_of
from ..sandbox.mounts import TASK_ROOT, Bind
from . import built_copy, javascript, node_modules, python_packages, start_script
from .node_modules import FOLDER, VENDORED, Installed, Wish

UNFIT = (needs.scripts, needs.line_endings, needs.extension_modules)
AUTO, NONE = "auto", "none"
RUNTIMES = (AUTO, *programs.PROGRAMS, NONE)


class Prepared(NamedTuple):
    """``layer`` is to be ``/opt``, ``task`` ``/var/task`` with ``binds`` in it; ``notices`` says how it was made."""

    layer: Path
    task: Path
    binds: list[Bind]
    notices: list[str]
    is_copy: bool = False  # ``task`` has packages that were installed into it


def prepare(
    app: Path,
    layer: Path,
    runtime: str = AUTO,
    *,
    command: str = "",
    handler: str = start_script.START_SCRIPT,
    with_install_scripts: bool = False,
) -> Prepared:
    """Install and build ``app`` as its files say. Results are kept; the app's folder is not touched.

    ``layer`` is Fairlead's tree, ``runtime`` one of ``RUNTIMES``, ``command`` what replaces the app's start script.
    Raises ``LocalFailure`` or ``LayerError``, whose message says what to do.
    """
    notices = start_script.check(app, command, handler)
    architecture = architecture_of(layer)
    name, why = _runtime(app, runtime)
    layers, task, binds = [layer], app, list[Bind]()
    if name:
        layers.append(runtimes.ensure(name, architecture))
        task, binds, more = _javascript(app, name, Wish(architecture, with_scripts=with_install_scripts))
        notices += [f"the layer with {name} is on /opt too ({why})", *more]
    if installed := python_packages.ensure(app, layer, architecture):
        binds.append(Bind(installed, f"{TASK_ROOT}/{python_packages.FOLDER}"))
    opt = merge.merged(layers)
    lacking = start_script.lacking(task, command, opt, handler)
    if lacking and runtime != NONE:  # who chooses none may have it elsewhere: that is only worth a note
        raise LocalFailure("; ".join(lacking))
    return Prepared(opt, task, binds, [*notices, *lacking], is_copy=task != app)


def _runtime(app: Path, wanted: str) -> tuple[str, str]:
    """Which one the app needs, "" for none, and why it is that."""
    if wanted != AUTO:
        return ("" if wanted == NONE else wanted), "as you said"
    sign = javascript.sign(app)
    return javascript.SIGNS.get(sign, ""), f"{sign} asks for it; RUNTIME=none leaves it out"


def unpacked(app: Prepared) -> dict[str, int]:
    """The bytes of what Lambda unpacks for the function, by what they are of."""
    hidden = {bind.target.removeprefix(f"{TASK_ROOT}/") for bind in app.binds}
    return {
        "the layers": _size(app.layer, set()),
        "the app": _size(app.task, {*hidden, ".git"}),
        **{Path(bind.target).name: _size(bind.source, set()) for bind in app.binds},
    }


def oversize(app: Prepared) -> list[str]:
    """A sentence when all of it together is more than Lambda unpacks for a function."""
    sizes = unpacked(app)
    if (total := sum(sizes.values())) <= UNPACKED:
        return []
    parts = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
    return [
        f"unpacked, this has {total:,} bytes ({parts}), and Lambda allows {UNPACKED:,} (250 MiB): leave packages out, "
        "bundle the app, or make it a container image"
    ]


def unfit(app: Prepared) -> list[str]:
    """A sentence for each thing in the app's own files that runs on this machine at best, and not on Lambda.

    What was installed or built here is left out: it is chosen for Lambda.
    """
    architecture = architecture_of(app.layer)
    installed = {bind.target.removeprefix(f"{TASK_ROOT}/") for bind in app.binds}
    if app.is_copy:
        installed |= {FOLDER, node_modules.DENO_FOLDER}
    function = load("the app", app.task, {*installed, ".git"})
    python = app.layer / python_packages.PYTHON
    own = elf.read(python) if python.is_file() else None
    glibc = own.glibc if own and own.interpreter.startswith(f"{MOUNT}/") else elf.SYSTEM_GLIBC
    return [
        *check.for_other_processors(function, ARCHITECTURES[architecture].machine),
        *check.newer_than_lambda(function, glibc),
        *(problem for rule in UNFIT for problem in rule((function,), architecture)),
    ]


def _size(folder: Path, left_out: set[str]) -> int:
    """The bytes of its files, without the entries ``left_out`` at its top."""
    total = 0
    for directory, directories, files in os.walk(folder):
        if directory == str(folder):
            directories[:] = [name for name in directories if name not in left_out]
        total += sum(os.lstat(f"{directory}/{name}").st_size for name in files)
    return total


def _javascript(app: Path, runtime: str, wish: Wish) -> tuple[Path, list[Bind], list[str]]:
    package = javascript.package(app, runtime)
    if package.build or package.is_several:
        folder = built_copy.ensure(app, runtime, package, wish)
        how = f", built by `{built_copy.COMMANDS[runtime]}` ({package.build})" if package.build else ""
        where = os.path.relpath(folder, CHECKOUT)
        return folder, [], [f"{TASK_ROOT} is a copy of the app in {where}{how}", *_told(built_copy.packages(folder))]
    if not package.has_dependencies:
        return app, [], []
    if (app / FOLDER).is_dir() and not javascript.locks(app):
        return app, [], [f"the app's own {FOLDER} is used, whatever is in it: there is no lock file to install from"]
    installed = node_modules.ensure(app, runtime, wish)
    folders = [folder for folder in installed.folders if folder.name != VENDORED or not (app / VENDORED).exists()]
    return app, [Bind(folder, f"{TASK_ROOT}/{folder.name}") for folder in folders], _told(installed)


def _told(installed: Installed | None) -> list[str]:
    if installed is None or not installed.unrun:
        return []
    return [f"install scripts did not run, of {', '.join(installed.unrun)}: INSTALL_SCRIPTS=1 lets them"]
