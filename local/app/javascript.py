"""A JavaScript app's own files: which runtime it needs, which packages are installed, and whether it is built."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from ..failures import LocalFailure

MANIFEST = "package.json"
DENO_MANIFESTS = ("deno.json", "deno.jsonc")
# The first that is there decides.
SIGNS = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    **dict.fromkeys((*DENO_MANIFESTS, "deno.lock"), "deno"),
    "package-lock.json": "node",
    "npm-shrinkwrap.json": "node",
    MANIFEST: "node",
}
# Who installs from a lock file; where there are several, the first that is the runtime's own.
LOCKS = {
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "deno.lock": "deno",
    "npm-shrinkwrap.json": "npm",
    "package-lock.json": "npm",
}
INSTALLERS = {"bun": "bun", "deno": "deno", "node": "npm"}
HOW_TO_LOCK = {
    "bun": "`bun install --lockfile-only` makes bun.lock",
    "deno": "`deno install` makes deno.lock",
    "npm": "`npm install --package-lock-only` makes package-lock.json",
}
GROUPS = ("dependencies", "optionalDependencies", "devDependencies")
ELSEWHERE = ("file:", "link:", "portal:", "workspace:")
# Text is matched as well, so that what looks like a comment in it stays.
COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[]}])', re.DOTALL)


class Package(NamedTuple):
    """The part of ``package.json`` and ``deno.json`` that matters here; all is empty without them."""

    has_dependencies: bool = False
    has_dev_dependencies: bool = False
    build: str = ""  # the script of that name, or Deno's task
    is_several: bool = False  # some of its packages lie in the app's folder: workspaces, file:


def sign(app: Path) -> str:
    """The file by which the app says which runtime it needs, ``""`` when there is none."""
    return next((name for name in SIGNS if (app / name).is_file()), "")


def package(app: Path, runtime: str) -> Package:
    """Read the app's files as ``runtime`` does. Raises ``LocalFailure`` when one cannot be read."""
    found = _of_npm(_document(app / MANIFEST))
    if runtime != "deno":
        return found
    document = next((_document(app / name) for name in DENO_MANIFESTS if (app / name).is_file()), {})
    return found._replace(
        has_dependencies=found.has_dependencies or bool(document.get("imports")) or (app / "deno.lock").is_file(),
        build=_task(_member(document, "tasks").get("build")) or found.build,
        is_several=found.is_several or bool(document.get("workspace")),
    )


def names(app: Path, package: str) -> bool:
    """Whether the app's ``package.json`` names the package."""
    document = _document(app / MANIFEST)
    return any(package in _member(document, group) for group in GROUPS)


def _of_npm(document: dict[str, Any]) -> Package:
    groups = {name: _member(document, name) for name in GROUPS}
    versions = [str(version) for group in groups.values() for version in group.values()]
    return Package(
        has_dependencies=bool(groups["dependencies"] or groups["optionalDependencies"]),
        has_dev_dependencies=bool(groups["devDependencies"]),
        build=str(_member(document, "scripts").get("build", "")),
        is_several=bool(document.get("workspaces")) or any(version.startswith(ELSEWHERE) for version in versions),
    )


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text()
        if path.name in DENO_MANIFESTS:
            text = TRAILING_COMMA.sub(r"\1", COMMENT.sub(r"\1", text))
        document = json.loads(text)
    except ValueError as error:
        raise LocalFailure(f"{path} is no JSON ({error}): mend it") from error
    if not isinstance(document, dict):
        raise LocalFailure(f"{path} holds no JSON object: mend it")
    return document


def _member(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _task(task: object) -> str:
    return str(task.get("command", "")) if isinstance(task, dict) else str(task or "")


def _is_workspace(folder: Path) -> bool:
    if _document(folder / MANIFEST).get("workspaces"):
        return True
    return any(_document(folder / name).get("workspace") for name in DENO_MANIFESTS)


def locks(app: Path) -> list[str]:
    """The names of its lock files."""
    return [name for name in LOCKS if (app / name).is_file()]


def lock(app: Path, runtime: str) -> str:
    """The name of the lock file to install from. Raises ``LocalFailure``, which says how to make one."""
    installer = INSTALLERS[runtime]
    if there := sorted(locks(app), key=lambda name: LOCKS[name] != installer):
        return there[0]
    if whole := next((folder for folder in app.resolve().parents if locks(folder) and _is_workspace(folder)), None):
        member = app.resolve().relative_to(whole)
        raise LocalFailure(
            f"{app} is a member of the workspace {whole}, whose lock file says what to install: run all of it, with"
            f" APP={whole} HANDLER={member}/MODULE.FUNCTION (or CMD='cd {member} && ...')"
        )
    others = [name for name in ("yarn.lock", "pnpm-lock.yaml") if (app / name).is_file()]
    foreign = f" ({' and '.join(others)} cannot be used here)" if others else ""
    raise LocalFailure(
        f"{app} names packages and has no lock file{foreign}, so nobody knows which versions to install: "
        f"{HOW_TO_LOCK[installer]}, in that folder"
    )
