"""Packages of a Python app are chosen for the interpreter that imports them, not for the one that pip runs on."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from packaging.markers import default_environment

from layer import markers
from local.app import python_packages
from local.failures import LocalFailure
from local.machine import architecture

# Each package and what it requires; a requirement that does not count must not even be looked for.
OFFERED = {
    "audioop-lts": (),
    "tomli": (),
    "outer": (
        'inner-new; python_version >= "3.13"',
        'inner-old; python_version < "3.12"',
        'inner-windows; sys_platform == "win32"',
        'inner-x86; platform_machine == "x86_64"',
        'inner-arm; platform_machine == "aarch64"',
        'inner-pypy; implementation_name == "pypy"',
    ),
    "inner-new": ('deepest-new; python_full_version >= "3.13.0"', 'deepest-old; python_full_version < "3.13"'),
    "inner-old": (),
    "inner-windows": (),
    "inner-x86": (),
    "inner-arm": (),
    "inner-pypy": (),
    "deepest-new": (),
    "deepest-old": (),
}
# What their own metadata say of the Python that they run on.
PYTHONS = {"audioop-lts": ">=3.13", "tomli": "<3.12", "inner-new": ">=3.13", "deepest-new": ">=3.13"}
NEW = {"inner-new", "deepest-new"}

CASES: dict[str, tuple[str, str, set[str]]] = {
    "needed-from-3.13-on": ("x86_64", 'audioop-lts; python_version >= "3.13"', {"audioop-lts"}),
    "needed-before-3.12": ("x86_64", 'tomli; python_version < "3.12"', set()),
    "transitively": ("x86_64", "outer", {"outer", "inner-x86", *NEW}),
    "transitively-on-arm64": ("arm64", "outer", {"outer", "inner-arm", *NEW}),
    "in-a-file-that-is-included": ("x86_64", "-r more.txt", {"audioop-lts"}),
    "nothing-but-comments": ("x86_64", "# nothing yet\n\n   # really\n", set()),
    "empty": ("x86_64", "", set()),
}


@pytest.fixture(scope="module")
def offers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each package."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, requires in OFFERED.items():
        module = name.replace("-", "_")
        lines = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
        lines += f"Requires-Python: {PYTHONS[name]}\n" if name in PYTHONS else ""
        content = {
            f"{module}.py": "",
            f"{module}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{lines}",
            f"{module}-1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
            "Tag: py3-none-any\n",
            f"{module}-1.dist-info/RECORD": "",
        }
        with zipfile.ZipFile(folder / f"{module}-1-py3-none-any.whl", "w") as wheel:
            for file, text in content.items():
                wheel.writestr(file, text)
    return folder


Install = Callable[[str, str], "set[str]"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/more.txt").write_text('audioop-lts; python_version >= "3.13"\n')
    return tmp_path / "app"


@pytest.fixture
def kept(offers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where packages are installed; pip gets them from ``offers`` alone."""
    monkeypatch.setattr(python_packages, "CACHE", tmp_path / "cache")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(offers), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cache/apps"


def installed(folder: Path | None) -> set[str]:
    assert folder is not None
    return {path.stem.replace("_", "-") for path in folder.glob("*.py")}


@pytest.mark.parametrize(("target", "requirements", "expected"), CASES.values(), ids=CASES)
def test_what_the_layers_python_needs_is_installed_and_nothing_else(
    app: Path, kept: Path, tmp_path: Path, target: str, requirements: str, expected: set[str]
) -> None:
    (app / "requirements.txt").write_text(requirements)
    (tmp_path / "layer").mkdir()  # without a Python: Fairlead's own is meant
    folder = python_packages.ensure(app, tmp_path / "layer", target)
    assert installed(folder) == expected
    assert folder is not None
    assert folder.name.endswith(f"-{target}-3.13")


def test_an_included_file_that_has_changed_is_installed_again(app: Path, kept: Path, tmp_path: Path) -> None:
    (app / "requirements.txt").write_text("-r more.txt\n")
    (tmp_path / "layer").mkdir()
    assert installed(python_packages.ensure(app, tmp_path / "layer", "x86_64")) == {"audioop-lts"}
    (app / "more.txt").write_text("inner-old\n")
    assert installed(python_packages.ensure(app, tmp_path / "layer", "x86_64")) == {"inner-old"}


def test_a_package_that_does_not_run_on_the_layers_python_is_refused(app: Path, kept: Path, tmp_path: Path) -> None:
    (app / "requirements.txt").write_text("tomli\n")
    (tmp_path / "layer").mkdir()
    with pytest.raises(LocalFailure, match=r"requires a different Python: 3\.13\.0 not in '<3\.12'"):
        python_packages.ensure(app, tmp_path / "layer", "x86_64")


def test_a_package_that_nobody_has_is_named(app: Path, kept: Path, tmp_path: Path) -> None:
    (app / "requirements.txt").write_text("nobody-has-this\n")
    (tmp_path / "layer").mkdir()
    with pytest.raises(LocalFailure, match=r"pip could not install .*requirements\.txt:\n.*nobody-has-this"):
        python_packages.ensure(app, tmp_path / "layer", "x86_64")


def test_a_layer_on_another_python_is_asked_which(app: Path, kept: Path, tmp_path: Path) -> None:
    """``PYTHON_DIST`` makes such layers: their interpreter has no loader of its own."""
    layer = layer_with(tmp_path, f'exec {sys.executable} "$@"')
    (app / "requirements.txt").write_text('tomli; python_version < "3.12"\nouter')
    mine = default_environment()
    folder = python_packages.ensure(app, layer, architecture())
    assert folder is not None
    assert folder.name.endswith(f"-{mine['python_version']}")
    expected = {name for name in ("inner-new", "inner-old") if (name == "inner-new") == (sys.version_info >= (3, 13))}
    assert installed(folder) & {"inner-new", "inner-old"} <= expected
    assert ("tomli" in installed(folder)) == (sys.version_info < (3, 12))
    assert list(folder.glob("__pycache__/outer*.pyc"))


def test_a_python_of_the_layer_that_does_not_start_is_said(app: Path, kept: Path, tmp_path: Path) -> None:
    layer = layer_with(tmp_path, "echo 'no such loader' >&2; exit 127")
    (app / "requirements.txt").write_text("")
    with pytest.raises(LocalFailure, match="the layer's Python does not start: no such loader"):
        python_packages.ensure(app, layer, architecture())


def layer_with(folder: Path, python: str) -> Path:
    program = folder / "layer/fairlead/bin/python3"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\nunset PYTHONHOME\n{python}\n")
    program.chmod(0o755)
    return folder / "layer"


def asked(command: Sequence[str]) -> dict[str, str]:
    result = subprocess.run([*command, "-c", markers.PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(result.stdout)
    return found


def test_an_interpreter_says_what_packaging_would_say_of_it() -> None:
    theirs = {str(name): str(value) for name, value in default_environment().items()}
    assert asked([sys.executable]) == {**theirs, "platform_release": "", "platform_version": ""}
    assert asked([sys.executable]).keys() == markers.environment("arm64").keys()


@pytest.mark.integration
def test_fairleads_own_python_says_what_is_taken_for_granted_of_it() -> None:
    from layer import build
    from layer.failures import LayerError

    try:
        layer = build.ensure(architecture())
    except LayerError as failure:
        pytest.skip(str(failure))
    found = python_packages.interpreter(layer, architecture()).markers
    patch = {name: found[name] for name in ("implementation_version", "python_full_version")}
    assert found == {**markers.environment(architecture()), **patch}
    assert all(version.startswith(f"{markers.PYTHON}.") for version in patch.values())
