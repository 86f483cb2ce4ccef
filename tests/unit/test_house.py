"""Rules of the house that a reader should be able to rely on: layers, start-up imports, documentation."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from runtime.config import SETTINGS
from runtime.dispatch import PLATFORM_VARIABLES

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "runtime"
LOCAL = ROOT / "local"

# From the bottom up: a module imports from the lines above its own only. `events` is one layer as a whole.
LAYERS = (
    {"__init__", "bundled", "standard", "values", "waiting"},
    {"errors", "messages", "invocation", "multiplexer"},
    {"json_codec", "http1"},
    {"javascript.module"},
    {"dispatch"},
    {"config"},
    {"events", "logs", "report", "connection"},
    {"response_stream"},
    {"runtime_api"},
    {"loop"},
    {"web.libzstd", "web.processes"},
    {"web.app_process"},
    {"pollers", "web.readiness"},
    {"web.app_client"},
    {"web.handler"},
    {"javascript.handler", "web.compression", "web.hooks", "web.observation", "web.reserved", "web.shared_app"},
    {"snapstart"},
    {"web.middleware"},
    {"web.mode"},
    {"python.codec", "python.event_loop", "python.log_records", "python.module"},
    {"python.lambda_context", "python.logs", "python.patchable", "python.stream"},
    {"python.handler"},
    {"python.web_callable", "python.wrapper"},
    {"python.asgi", "python.wsgi"},
    {"python.callable_mode"},
    {"python.mode"},
    {"main"},
)
SUBPACKAGES = ("web", "python", "javascript")
# Of `local/`, where a room with a line of its own is one layer as a whole.
LOCAL_LAYERS = (
    {"failures"},
    {"cache", "machine", "processes", "ports", "hosts"},
    {"sandbox.mounts", "sandbox.cgroup", "sandbox.rootfs", "sandbox.relocate"},
    {"tools", "sandbox.arm64"},
    {"sandbox.bubblewrap", "sandbox.plain_process"},
    {"sandbox.launcher"},
    {"sandbox.process"},
    {"runtime_api.streamed_answer"},
    {"runtime_api.reply"},
    {"runtime_api.emulator", "runtime_api.session"},
    {"runtime_api.server"},
    {"runtime_api.streaming"},
    {"app"},
    {"environments.app_port"},
    {"environments.function"},
    {"environments.pool"},
    {"sources"},
    {"gateway"},
    {"run"},
    {"smoke"},
)
LOCAL_SUBPACKAGES = ("environments", "runtime_api", "sandbox")
# What `import runtime.main` may load besides our own modules. Each entry is compiled into the interpreter or is one
# shared object; anything written in Python costs milliseconds of every cold start.
START_BUDGET = {
    "__future__",
    "_json",
    "_signal",
    "_socket",
    "_thread",
    "binascii",
    "errno",
    "gc",
    "posix",
    "select",
    "time",
    "_collections",
}


def modules() -> list[Path]:
    return sorted(RUNTIME.rglob("*.py"))


class House(NamedTuple):
    """A package, its layers from the bottom up, and its rooms whose modules have layers of their own."""

    root: Path
    layers: tuple[set[str], ...]
    subpackages: tuple[str, ...]

    def layer_of(self, name: str) -> int:
        return next(level for level, names in enumerate(self.layers) if name in names)

    def known_name(self, dotted: tuple[str, ...]) -> str:
        """How `layers` calls a module of the package: by one name, or by two in a subpackage."""
        return ".".join(dotted[:2] if dotted[0] in self.subpackages else dotted[:1])

    def own_name(self, path: Path) -> str:
        """The module's name in `layers`."""
        return self.known_name(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    def imported(self, path: Path) -> set[str]:
        """The names in `layers` of what a module imports, TYPE_CHECKING included."""
        package = path.relative_to(self.root).parts[:-1]
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            base = (*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                candidates = [(*base, alias.name), base]
                found |= {self.known_name(dotted) for dotted in candidates if dotted}
        return found & set().union(*self.layers)


HOUSES = (House(RUNTIME, LAYERS, SUBPACKAGES), House(LOCAL, LOCAL_LAYERS, LOCAL_SUBPACKAGES))


@pytest.mark.parametrize(
    ("house", "path"),
    [(house, path) for house in HOUSES for path in sorted(house.root.rglob("*.py"))],
    ids=lambda of: str(of.relative_to(ROOT)) if isinstance(of, Path) else "",
)
def test_imports_go_downward_only(house: House, path: Path) -> None:
    own = house.own_name(path)
    if own in (*house.subpackages, "__init__"):
        assert own == "__init__" or not house.imported(path)
        return
    upward = {name for name in house.imported(path) if name != own and house.layer_of(name) >= house.layer_of(own)}
    assert upward == set()


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.root.name)
def test_every_module_has_its_layer(house: House) -> None:
    names = {house.own_name(path) for path in house.root.rglob("*.py")} - {"__init__"}
    assert names - set(house.subpackages) == set().union(*house.layers) - {"__init__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(RUNTIME)))
def test_imports_inside_the_runtime_are_relative(path: Path) -> None:
    """It is installed as `fairlead`; `runtime` may be the user's own module."""
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names.isdisjoint({"runtime", "fairlead", "local", "layer"})


def test_the_tests_take_nothing_from_the_measurements() -> None:
    """Those of the measurements themselves apart; what both need is in `tests/`."""
    own = {"test_bench.py", "test_count.py", "test_instructions.py"}
    importing = {
        path.name
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"^\s*(from|import) bench\b", path.read_text(), re.MULTILINE)
    }
    assert importing == own


# Before the function's folders are in the path, or where they never are.
IMPORTS_BEFORE_USER_CODE = {"main.py", "config.py", "dispatch.py"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(RUNTIME)))
def test_late_imports_find_the_standard_library(path: Path) -> None:
    """The function's folder may have a module of any name (runtime/standard.py)."""
    if path.name in IMPORTS_BEFORE_USER_CODE:
        return
    tree = ast.parse(path.read_text())
    guarded = {
        inner
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and ast.unparse(block.items[0]) == "standard_library"
        for inner in ast.walk(block)
    }
    late = {
        inner
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(function)
        if isinstance(inner, ast.Import | ast.ImportFrom)
    }
    assert [ast.unparse(one) for one in late - guarded] == []


@pytest.mark.parametrize("module", ["runtime.main", "runtime.web.mode", "runtime.python.mode"])
def test_start_up_imports_stay_within_the_budget(module: str) -> None:
    """What else a handler's start loads, its own module apart, is counted in tests/conformance/test_handler_init.py."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import {module};"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-ISB", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    foreign = {name for name in done.stdout.split() if name.split(".")[0] != "runtime"}
    assert foreign <= START_BUDGET


def test_each_variable_that_is_read_while_user_code_runs_is_kept_for_that() -> None:
    """dispatch.py and config.py read the whole environment, before. All else reads what is left of it then."""
    read = set()
    for path in modules():
        if path.name not in ("dispatch.py", "config.py", "wsgi.py"):
            text = path.read_text()
            read |= set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', text))
            read |= {f"AWS_LAMBDA_{name}" for name in re.findall(r'\bvalue\("([A-Z_]+)"\)', text)}
    assert {"LAMBDA_TASK_ROOT", "AWS_LAMBDA_LOG_GROUP_NAME"} < read
    assert read - set(PLATFORM_VARIABLES) == set()


def documented_rows(page: str) -> dict[str, list[str]]:
    """First cell without backquotes -> the other cells, of every table row of a page in docs/."""
    rows = [
        line.strip().strip("|").split("|") for line in (ROOT / "docs" / page).read_text().splitlines() if "|" in line
    ]
    return {cells[0].strip(" `").split("`")[0]: [cell.strip() for cell in cells[1:]] for cells in rows}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.variables[0])
def test_each_setting_is_documented_with_its_aliases_and_default(setting) -> None:
    aliases, default, meaning = documented_rows("settings.md")[setting.variables[0]]
    assert re.findall(r"`([^`]+)`", aliases) == [
        name for name in setting.variables[1:] if name not in setting.old_names
    ]
    if setting.field not in ("readiness.port", "app.host_header"):  # "the app's port", "the app's address" in words
        assert default.strip("`") == setting.default
    assert meaning


def test_no_documented_setting_is_unknown() -> None:
    documented = {name for name in documented_rows("settings.md") if name.startswith("FAIRLEAD_")}
    assert documented == {setting.variables[0] for setting in SETTINGS}


def error_types_in_the_source() -> set[str]:
    text = "".join(path.read_text() for path in modules())
    return set(re.findall(r'"((?:Runtime|Function)\.[A-Z][A-Za-z]+)"', text))


def test_each_error_type_is_documented() -> None:
    found = error_types_in_the_source()
    assert found  # the pattern still matches how they are written
    assert found - set(documented_rows("errors.md")) == set()


# ---- docs/architecture.md


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_of_the_rooms_shows_files_that_exist() -> None:
    picture = ARCHITECTURE.split("```text\n")[1].split("```")[0]
    folders = [RUNTIME]
    missing = []
    for line in picture.splitlines():
        depth = (len(line) - len(line.lstrip(" │├└─"))) // 3
        for word in re.findall(r"[\w/]+\.py\b|\b\w+/(?= )", line):
            place = RUNTIME / word.removeprefix("runtime/")
            if word.endswith("/"):
                folders = [place, RUNTIME]
            elif not any((folder / place.name).is_file() for folder in folders):
                missing.append(word)
        if depth <= 1 and not re.search(r"\b\w+/ ", line):
            folders = [RUNTIME]
    assert missing == []


def test_the_ways_name_functions_and_files_that_exist() -> None:
    """Each name in code font is a file of the project, or a function or a class of `runtime/` and `local/`."""
    ways = ARCHITECTURE.split("## Three rules")[1]
    defined = set()
    for path in (*modules(), *LOCAL.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                defined |= {node.name, *(f"{node.name}.{inner.name}" for inner in node.body if hasattr(inner, "name"))}
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                defined.add(node.name)
    inherited = {"OwnedApp.ask": "AppClient.ask", "OwnedApp.begin": "AppClient.begin"}
    unknown = []
    for name in re.findall(r"`([^`\n]+)`", ways):
        is_file = "/" in name and (ROOT / name).exists()
        if not is_file and inherited.get(name, name) not in defined and not name.startswith("make "):
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_each_room_of_the_local_tools_is_named(page: str) -> None:
    lines = [line for line in (ROOT / page).read_text().splitlines() if "`local/" in line and line.startswith("|")]
    named = {name.removeprefix("local/") for line in lines for name in re.findall(r"`((?:local/)?\w+/)`", line)}
    rooms = {f"{path.parent.name}/" for path in LOCAL.glob("*/__init__.py")}
    assert named - {"local/", ""} == rooms


@pytest.mark.parametrize(
    "path",
    [path for folder in ("runtime", "local", "layer", "bench") for path in sorted((ROOT / folder).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_docstrings_say_what_a_thing_does(path: Path) -> None:
    """Not "What ...", "The same ...", "As X has it" or "As X": a first-time reader has to read these twice."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [
        ast.get_docstring(node) or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)
    ]
    assert [text for text in texts if re.match(r"What |The same|As .* has it\.$|As `+[\w.]+`+\.$", text)] == []


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(RUNTIME)))
def test_no_name_of_a_module_means_two_things(path: Path) -> None:
    names: list[str] = []
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [inner.id for target in node.targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
    assert sorted(set(names)) == sorted(names)
