"""Compares what an app's own files name (packages, scripts, builds) with what is there.

Each rule yields a sentence for each thing that would fail on Lambda.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement

from . import markers
from .package import SOURCES, Entry, Package

REQUIREMENTS, PROJECT, PACKAGE = "requirements.txt", "pyproject.toml", "package.json"
NODE_MODULES = "node_modules"
OUR_PYTHON = b"/opt/fairlead/bin/python3"
NAMES_SHOWN = 3

# A package's metadata (PEP 376): flask-3.1.3.dist-info.
METADATA = re.compile(r"(.+?)(?:-\d[^-]*)?(?:-py\d.*)?\.(?:dist|egg)-info")
INCLUDES = re.compile(r"(?:-r|--requirement)(?:\s+|=|(?<=-r))(\S+)")
OPTION = re.compile(r"\s--\w.*$")  # of one requirement: --hash=sha256:...
# What is imported by its bare name: from "express", import("express/x"), require('express').
IMPORTS = r"""(?:\bfrom|\bimport|\brequire\s*\(|\bimport\s*\()\s*["'](%s)(?:/[^"']*)?["']"""
# A command in a start script that is a file of the app.
CALLED = re.compile(
    rb"(?:^|[;&|({]|\b(?:exec|then|do|else|env|command)\s)\s*(?:[A-Za-z_]\w*=\S*\s+)*"
    rb"""["']?(?:(\./)|(?:\$LAMBDA_TASK_ROOT|\$\{LAMBDA_TASK_ROOT\}|/var/task)["']?/)([\w./@+-]+)""",
    re.MULTILINE,
)
COMMENT = re.compile(rb"(?:^|\s)#.*$", re.MULTILINE)
CHANGES_DIRECTORY = re.compile(rb"(?:^|[;&|({\s])(?:cd|pushd)\s", re.MULTILINE)
EXTENSION_MODULE = re.compile(r"(?P<module>.+)\.cpython-(?P<python>3\d+)(?:-[\w-]+)?\.so")
OF_MACOS = re.compile(r"\.cpython-3\d+-darwin\.so$")
OF_WINDOWS = re.compile(r"\.pyd$")


def start_scripts(function: Package) -> list[Entry]:
    """The scripts at the function's top, each of which may be its handler."""
    return [entry for entry in function.entries.values() if entry.script and entry.name != "bootstrap"]


def called_files(function: Package) -> Iterator[tuple[Entry, str]]:
    """Each file of its own that a start script starts by its path, with that script."""
    for script in start_scripts(function):
        body = COMMENT.sub(b"", script.script.partition(b"\n")[2])
        moves = bool(CHANGES_DIRECTORY.search(body))
        for relative, path in CALLED.findall(body):
            if not (relative and moves):  # after cd, ./app is somewhere else
                yield script, str(PurePosixPath(path.decode()))


def python_packages(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """Packages that the function's ``requirements.txt`` or ``pyproject.toml`` names and nothing brings."""
    function, wanted = packages[0], list[str]()
    file = REQUIREMENTS if REQUIREMENTS in function.entries else PROJECT
    if file not in function.entries:
        return
    lines = _required(function) if file == REQUIREMENTS else _project_requires(function.entries[PROJECT].text)
    environment = {**markers.environment(architecture), "extra": ""}
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # a path, an address or an option: nothing here could tell whether it is there
        if not requirement.marker or requirement.marker.evaluate(environment):
            wanted.append(requirement.name)
    if next(_distributions(function), None) is None:  # or the files that say their names were left out to save room
        modules = set(_modules(function))
        if any(_normal(name) in modules for name in wanted):
            return
    present = {name for package in packages for name in _distributions(package)}
    if lacking := [name for name in dict.fromkeys(wanted) if _normal(name) not in present]:
        yield (
            f"{function.role}: {file} names {_some(lacking)}, and neither the function nor a layer has "
            f"{'it' if len(lacking) == 1 else 'them'}: put the packages into its folder python, as `make run` does in "
            ".cache/apps (docs/local.md, Apps in Python)"
        )


def _required(function: Package) -> Iterator[str]:
    """The requirements of ``requirements.txt`` and of the files at the top that it includes."""
    waiting, seen = [REQUIREMENTS], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in function.entries:
            continue
        seen.add(name)
        text = function.entries[name].text.decode(errors="replace").replace("\\\r\n", " ").replace("\\\n", " ")
        for line in text.splitlines():
            stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
            if included := INCLUDES.match(stripped):
                waiting.append(str(PurePosixPath(name).parent / included[1]))
            elif stripped and not stripped.startswith("-"):
                yield OPTION.sub("", stripped)


def _project_requires(text: bytes) -> Iterator[str]:
    try:
        project = tomllib.loads(text.decode(errors="replace")).get("project")
    except tomllib.TOMLDecodeError:
        return
    lines = project.get("dependencies") if isinstance(project, dict) else None
    yield from (line for line in lines if isinstance(line, str)) if isinstance(lines, list) else ()


def _distributions(package: Package) -> Iterator[str]:
    for name in package.entries:
        for part in name.split("/"):
            if part.endswith("-info") and (match := METADATA.fullmatch(part)):
                yield _normal(match[1])


def _modules(package: Package) -> Iterator[str]:
    for name in package.entries:
        if NODE_MODULES not in name:
            yield from (_normal(part.partition(".")[0]) for part in name.split("/"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def node_packages(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """Dependencies of ``package.json`` that the function's own sources import and no ``node_modules`` has.

    A bundle has its dependencies in itself and imports none of them, whatever ``package.json`` says.
    """
    function = packages[0]
    if PACKAGE not in function.entries or any(name.startswith(".deno_dir/") for name in function.entries):
        return
    lacking = [name for name in _dependencies(function.entries[PACKAGE].text) if not _is_installed(name, packages)]
    if not lacking:
        return
    pattern = re.compile(IMPORTS % "|".join(map(re.escape, lacking)))
    imported = dict[str, str]()
    for entry in function.entries.values():
        if entry.name.endswith(SOURCES) and NODE_MODULES not in entry.name.split("/"):
            for name in pattern.findall(entry.text.decode(errors="replace")):
                imported.setdefault(name, entry.name)
    if imported:
        file = next(iter(imported.values()))
        yield (
            f"{function.role}: {file} imports {_some(list(imported))}, and there is no "
            f"{NODE_MODULES}/{next(iter(imported))}: install the packages into the folder that you zip, for Linux "
            "(docs/local.md, Apps in JavaScript)"
        )


def _dependencies(text: bytes) -> list[str]:
    try:
        found = json.loads(text).get("dependencies")
    except (ValueError, AttributeError):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []


def _is_installed(name: str, packages: Sequence[Package]) -> bool:
    # npm and Bun may have it deeper, beside who needs it; layers have it below nodejs/.
    wanted = f"{NODE_MODULES}/{name}/"
    return any(f"/{entry}/".find(f"/{wanted}") >= 0 for package in packages for entry in package.entries)


def builds(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """A Next.js build that cannot run by itself."""
    entries = packages[0].entries
    has_build = any(name.startswith(".next/") for name in entries)
    stands_alone = "server.js" in entries or any(name.startswith(".next/standalone/") for name in entries)
    if has_build and not stands_alone and not _is_installed("next", packages):
        yield (
            f'{packages[0].role}: .next was built without output: "standalone", so it needs all of node_modules: say '
            "that in next.config, build again, and zip what is in .next/standalone, with public and .next/static in it"
        )


def scripts(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """Files that a start script starts by their path and that are not executable."""
    function = packages[0]
    for script, name in dict.fromkeys(called_files(function)):
        entry = function.entries.get(name)
        if entry and not (entry.is_directory or entry.is_link or entry.is_executable or entry.elf):
            yield (
                f"{function.role}: {script.name} starts {name}, which is not executable: chmod 755 {name}, and zip "
                "anew on Linux or macOS"
            )


def line_endings(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """Scripts deeper in the function that could be started and have Windows' line ends.

    Files in ``node_modules`` do not count: npm mends those that it links.
    """
    function = packages[0]
    called = {name for _, name in called_files(function)}
    for entry in function.entries.values():
        first, is_whole, _ = entry.text.partition(b"\n")
        if not entry.is_script or "/" not in entry.name or not is_whole or not first.endswith(b"\r"):
            continue
        if entry.name in called or (entry.is_executable and NODE_MODULES not in entry.name.split("/")):
            name, role = entry.name, function.role
            yield f"{role}: {name} has Windows line ends (CRLF), and Linux cannot run it: sed -i 's/\\r$//' {name}"


def extension_modules(packages: Sequence[Package], architecture: str) -> Iterator[str]:
    """Modules of packages that were installed for another Python or another system than the one that imports them."""
    function = packages[0]
    names = [PurePosixPath(name) for name in function.entries]
    for system, pattern in (("macOS", OF_MACOS), ("Windows", OF_WINDOWS)):
        if found := [str(name) for name in names if pattern.search(name.name)]:
            yield f"{function.role}: holds packages for {system} ({_some(found)}): {INSTALL_ANEW}"
    started = start_scripts(function)
    if started and not any(OUR_PYTHON in script.script for script in started):
        return  # another Python of the app's own, or of a managed runtime
    matches = [(name, match) for name in names if (match := EXTENSION_MODULE.fullmatch(name.name))]
    ours = markers.PYTHON.replace(".", "")
    fitting = {name.parent / match["module"] for name, match in matches if match["python"] == ours}
    if other := [
        (name, match)
        for name, match in matches
        if match["python"] != ours and name.parent / match["module"] not in fitting
    ]:
        version = f"3.{other[0][1]['python'][1:]}"
        yield (
            f"{function.role}: holds packages for Python {version} ({_some([str(name) for name, _ in other])}), and "
            f"the layer has {markers.PYTHON}: {INSTALL_ANEW}"
        )


INSTALL_ANEW = (
    f"install them with `pip install --target python --only-binary :all: --python-version {markers.PYTHON} --platform "
    "manylinux2014_x86_64 -r requirements.txt` (manylinux2014_aarch64 for arm64), or take what `make run` has installed"
)

# Each gets the function, then its layers, and the architecture as Lambda spells it.
RULES: tuple[Callable[[Sequence[Package], str], Iterable[str]], ...] = (
    python_packages,
    node_packages,
    builds,
    scripts,
    line_endings,
    extension_modules,
)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
