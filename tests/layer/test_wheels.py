"""Packages that ``--with`` adds: pinned, whole, and importable by whoever runs on the layer's interpreter."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

from layer import build, interpreter, recipe, wheels
from layer.failures import LayerError

from .conftest import PYTHON, BuildOne, runner, way_into

ADDED = ("orjson", "pybase64", "Brotli")
USE = """
import brotli, importlib.metadata, orjson, pybase64, sys
assert orjson.loads(orjson.dumps({"rope": 1})) == {"rope": 1}
assert pybase64.b64decode(pybase64.b64encode(b"rope")) == b"rope"
assert brotli.decompress(brotli.compress(b"rope" * 99)) == b"rope" * 99
print(importlib.metadata.version("orjson"), orjson.__spec__.origin)
"""
X86_64 = recipe.ARCHITECTURES["x86_64"]


@pytest.fixture(scope="module", params=recipe.ARCHITECTURES)
def extended(request: pytest.FixtureRequest, build_one: BuildOne) -> tuple[recipe.Architecture, build.Layer]:
    try:
        layer = build_one(request.param, build.Choice(packages=ADDED))
    except LayerError as failure:
        if "pip could not download" in str(failure):
            pytest.skip(str(failure))
        raise
    return recipe.ARCHITECTURES[request.param], layer


@pytest.mark.integration
class TestAdded:
    @pytest.mark.parametrize(
        "options", [pytest.param(["-ISBXutf8"], id="as-fairlead-starts"), pytest.param([], id="as-an-app-starts")]
    )
    def test_they_are_imported(self, extended: tuple[recipe.Architecture, build.Layer], options: list[str]) -> None:
        architecture, layer = extended
        result = runner(way_into(layer.tree, architecture))(PYTHON, *options, "-c", USE)
        assert result.returncode == 0, result.stderr
        version, origin = result.stdout.split()
        assert f"orjson=={version} " in wheels.LOCK.read_text()
        assert origin == "/opt/fairlead/lib/python3.13/orjson/__init__.pyc"

    def test_the_manifest_and_the_licences_name_them(self, extended: tuple[recipe.Architecture, build.Layer]) -> None:
        architecture, layer = extended
        listed = json.loads((layer.tree / build.MANIFEST).read_text())["wheels"]
        assert [wheel["name"] for wheel in listed] == ["brotli", "orjson", "pybase64"]
        pinned = {pin.sha256 for pin in wheels.choose(ADDED, architecture)}
        assert {wheel["sha256"] for wheel in listed} == pinned
        for wheel in listed:
            assert all(place.startswith(f"{interpreter.LICENCES}/{wheel['name']}/") for place in wheel["licences"])
            assert all((layer.tree / place).stat().st_size > 500 for place in wheel["licences"])

    def test_they_are_byte_code_alone(self, extended: tuple[recipe.Architecture, build.Layer]) -> None:
        library = extended[1].tree / "fairlead/lib/python3.13"
        assert not list(library.rglob("*.py"))
        assert (library / "pybase64/__init__.pyc").is_file()

    def test_the_ordinary_layer_has_none(
        self, extended: tuple[recipe.Architecture, build.Layer], build_one: BuildOne
    ) -> None:
        ordinary = build_one(extended[0].name)
        assert "wheels" not in json.loads((ordinary.tree / build.MANIFEST).read_text())
        assert not (ordinary.tree / "fairlead/lib/python3.13/orjson").exists()


def test_the_list_names_each_package_for_both_architectures() -> None:
    for pin in wheels.pins():
        assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
    known = [{pin.name for pin in wheels.choose([pin.name for pin in wheels.pins()], a)} for a in _architectures()]
    assert known[0] == known[1] == {pin.name for pin in wheels.pins()}


def _architectures() -> list[recipe.Architecture]:
    return list(recipe.ARCHITECTURES.values())


class TestOneSentenceSaysWhatToDo:
    def test_unknown_package(self) -> None:
        with pytest.raises(LayerError, match=r"not know left-pad for x86_64 .*: add it with `.* left-pad==VERSION`"):
            wheels.choose(["orjson", "left_pad"], X86_64)

    def test_a_package_whose_dependency_is_not_there(self, tmp_path: Path) -> None:
        wheel = _wheel(tmp_path, {"it.py": ""}, requires="Requires-Dist: rope>=2\nRequires-Dist: frill; extra == 'f'\n")
        with pytest.raises(LayerError, match=r"^it needs rope: name that in --with as well$"):
            wheels._require_dependencies([wheel], X86_64)

    @pytest.mark.parametrize(
        ("marker", "needing"),
        {
            'platform_machine == "aarch64"': ["arm64"],
            'platform_machine == "x86_64"': ["x86_64"],
            'python_version >= "3.13"': ["arm64", "x86_64"],
            'implementation_version < "3.12"': [],
            'python_version < "3.12" or sys_platform == "win32"': [],
        }.items(),
    )
    def test_a_dependency_counts_for_the_layers_interpreter_and_not_for_this_one(
        self, tmp_path: Path, marker: str, needing: list[str]
    ) -> None:
        wheel = _wheel(tmp_path, {"it.py": ""}, requires=f"Requires-Dist: rope; {marker}\n")
        found = [name for name, each in recipe.ARCHITECTURES.items() if [*wheels._requirements(wheel, each)]]
        assert sorted(found) == needing

    def test_a_package_that_would_replace_a_module_of_the_layer(self, tmp_path: Path) -> None:
        (tmp_path / "library").mkdir()
        (tmp_path / "library/json.pyc").write_text("")
        wheel = _wheel(tmp_path, {"json/__init__.py": ""})
        with pytest.raises(LayerError, match="brings json, which the layer has already"):
            wheels._unpack(wheel.path, tmp_path / "library")

    def test_a_package_without_a_licence(self, tmp_path: Path) -> None:
        wheel = _wheel(tmp_path, {"it.py": ""})
        names = wheels._unpack(wheel.path, tmp_path / "library")
        with pytest.raises(LayerError, match="has no licence text"):
            wheels._move_licences(wheel, names, tmp_path / "library", tmp_path)

    def test_a_version_is_needed_to_add_one(self) -> None:
        with pytest.raises(LayerError, match=r"'orjson' names no version: write it like orjson==3\.13\.0"):
            wheels.lock(["orjson"])


def _wheel(folder: Path, files: dict[str, str], requires: str = "") -> wheels.Wheel:
    path = folder / "it-1-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: it\nVersion: 1\n{requires}\nIt is a test.\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, "it-1.dist-info/METADATA": metadata, "it-1.dist-info/RECORD": ""}.items():
            archive.writestr(name, content)
    return wheels.Wheel(wheels.Pin("it", "1", "any", ""), path)
