"""What is in the layer, read from outside."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from layer import build, bundle, charsets, elf, interpreter, recipe
from layer.failures import LayerError

pytestmark = pytest.mark.integration

UNCHECKED_HASH = 1  # PEP 552: bit 0 = made from a hash, bit 1 = the source is to be checked
LIBRARY = "fairlead/lib/python3.13"


@pytest.fixture(scope="module")
def layer(each: tuple[recipe.Architecture, build.Layer]) -> build.Layer:
    return each[1]


@pytest.fixture(scope="module")
def architecture(each: tuple[recipe.Architecture, build.Layer]) -> recipe.Architecture:
    return each[0]


@pytest.fixture(scope="module")
def manifest(layer: build.Layer) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((layer.tree / build.MANIFEST).read_text())
    return document


def files(layer: build.Layer, pattern: str = "*") -> list[Path]:
    return sorted(path for path in layer.tree.rglob(pattern) if not path.is_dir())


def test_beside_bootstrap_everything_is_below_one_directory(layer: build.Layer) -> None:
    assert sorted(path.name for path in layer.tree.iterdir()) == ["bootstrap", "fairlead"]


def test_the_zip_holds_what_the_tree_holds(layer: build.Layer) -> None:
    with zipfile.ZipFile(layer.zip) as packed:
        entries = {entry.filename: entry for entry in packed.infolist()}
        assert sorted(entries) == sorted(str(path.relative_to(layer.tree)) for path in files(layer))
        for name, entry in entries.items():
            path = layer.tree / name
            assert packed.read(name) == path.read_bytes()
            assert entry.external_attr >> 16 == path.stat().st_mode


def test_programs_are_755_and_everything_else_644(layer: build.Layer, architecture: recipe.Architecture) -> None:
    programs = {path for path in files(layer) if stat.S_IMODE(path.lstat().st_mode) == 0o755}
    expected = {"bootstrap", "fairlead/bin/python", "fairlead/bin/python3", f"fairlead/lib/{architecture.loader}"}
    assert {str(path.relative_to(layer.tree)) for path in programs} == expected
    assert {path.lstat().st_mode for path in files(layer) if path not in programs} == {stat.S_IFREG | 0o644}


def test_bootstrap_is_the_repositorys(layer: build.Layer, checkout: Path) -> None:
    assert (layer.tree / "bootstrap").read_bytes() == (checkout / "bootstrap").read_bytes()


class TestManifest:
    def test_every_package_of_the_recipe_is_listed(self, manifest: dict[str, Any]) -> None:
        of = recipe.load()
        assert [package["name"] for package in manifest["packages"]] == sorted((*of.packages, *of.texts))

    def test_each_is_named_so_that_it_can_be_had_again(
        self, manifest: dict[str, Any], architecture: recipe.Architecture
    ) -> None:
        downloads = build.PLACES.packages / f"{manifest['debian']}-{architecture.debian}" / "packages"
        checksums = {hashlib.sha256(path.read_bytes()).hexdigest() for path in downloads.iterdir()}
        for package in manifest["packages"]:
            assert package["sha256"] in checksums
            assert package["architecture"] in {architecture.debian, "all"}
            assert re.fullmatch(r"[a-z0-9.+-]+=[0-9].*", package["source"])

    def test_each_licence_is_there(self, manifest: dict[str, Any], layer: build.Layer) -> None:
        for package in manifest["packages"]:
            assert (layer.tree / package["licence"]).stat().st_size > 500

    def test_licences_that_the_texts_refer_to_are_there(self, manifest: dict[str, Any], layer: build.Layer) -> None:
        common = {path.name for path in (layer.tree / interpreter.LICENCES / interpreter.COMMON_LICENCES).iterdir()}
        assert {"GPL-2", "GPL-3", "LGPL-2.1", "Apache-2.0"} <= common

    @pytest.mark.parametrize("name", ["GPL", "LGPL"])
    def test_a_licence_without_a_version_leads_to_the_newest(self, layer: build.Layer, name: str) -> None:
        common = layer.tree / interpreter.LICENCES / interpreter.COMMON_LICENCES
        assert f"is in {name}-3, beside" in (common / name).read_text()
        assert "Version 3, 29 June 2007" in (common / f"{name}-3").read_text()

    def test_fairleads_own_version_and_licence(
        self, manifest: dict[str, Any], layer: build.Layer, checkout: Path
    ) -> None:
        version = re.search(r'__version__ = "(.+)"', (checkout / "runtime/__init__.py").read_text())
        assert version
        assert manifest["fairlead"] == version[1]
        assert (layer.tree / interpreter.LICENCES / "fairlead").is_file()


@pytest.fixture(scope="module")
def compiled(layer: build.Layer) -> dict[str, bytes]:
    """All byte-code, also that of the encodings that are in a zip of their own."""
    with zipfile.ZipFile(layer.tree / LIBRARY / "encodings" / charsets.NAME) as zipped:
        in_zip = {name: zipped.read(name) for name in zipped.namelist()}
    return {**{str(path): path.read_bytes() for path in files(layer, "*.pyc")}, **in_zip}


class TestByteCode:
    def test_the_library_holds_no_sources(self, layer: build.Layer) -> None:
        assert not list((layer.tree / LIBRARY).rglob("*.py"))
        assert not list((layer.tree / LIBRARY).rglob("__pycache__"))

    def test_it_is_never_compared_with_a_source(self, compiled: dict[str, bytes]) -> None:
        assert {int.from_bytes(content[4:8], "little") for content in compiled.values()} == {UNCHECKED_HASH}

    def test_it_names_no_path_of_the_building_machine(self, compiled: dict[str, bytes], checkout: Path) -> None:
        places = [str(path).encode() for path in (recipe.REPOSITORY, checkout)]
        assert not [name for name, content in compiled.items() if any(place in content for place in places)]

    def test_the_sources_of_our_package_are_there_to_read(self, layer: build.Layer) -> None:
        readable = layer.tree / recipe.SOURCES / "fairlead"
        sources = {path.relative_to(readable).with_suffix("") for path in readable.rglob("*.py")}
        compiled_files = (layer.tree / LIBRARY / "fairlead").rglob("*.pyc")
        in_bundles = {Path(*module.split(".")) for module in bundle.replaced(bundle.Package(readable, readable))}
        assert {
            path.relative_to(layer.tree / LIBRARY / "fairlead").with_suffix("") for path in compiled_files
        } == sources - in_bundles
        assert Path("main") in sources & in_bundles


class TestElf:
    """``elf.check`` is what lets a build fail that would not start on Lambda."""

    @pytest.fixture
    def copy(self, layer: build.Layer, tmp_path: Path) -> Path:
        """The executable and the libraries, to be damaged."""
        for path in (layer.tree / "fairlead/bin/python3", *(layer.tree / "fairlead/lib").glob("*.so*")):
            target = tmp_path / path.relative_to(layer.tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        return tmp_path

    def test_the_built_layer_passes(self, layer: build.Layer, architecture: recipe.Architecture) -> None:
        elf.check(layer.tree, architecture)
        assert len(list(elf.files(layer.tree))) > 40

    def test_the_search_path_is_one_that_no_variable_overrides(self, layer: build.Layer) -> None:
        python = elf.read(layer.tree / "fairlead/bin/python3")
        assert python
        assert (python.rpath, python.runpath) == ("/opt/fairlead/lib", "")

    def test_a_missing_library_is_named(self, copy: Path, architecture: recipe.Architecture) -> None:
        (copy / "fairlead/lib/libz.so.1").unlink()
        with pytest.raises(LayerError, match=r"fairlead/bin/python3 needs libz\.so\.1, which is in none"):
            elf.check(copy, architecture)

    def test_a_search_path_that_a_variable_overrides_is_named(
        self, copy: Path, architecture: recipe.Architecture
    ) -> None:
        elf._patchelf("--set-rpath", "/opt/fairlead/lib", str(copy / "fairlead/lib/libssl.so.3"))
        with pytest.raises(LayerError, match=r"libssl\.so\.3 has the RUNPATH /opt/fairlead/lib"):
            elf.check(copy, architecture)

    def test_an_executable_of_the_systems_is_named(self, copy: Path, architecture: recipe.Architecture) -> None:
        elf._patchelf("--remove-rpath", str(copy / "fairlead/bin/python3"))
        elf._patchelf("--set-interpreter", "/lib/ld.so", str(copy / "fairlead/bin/python3"))
        with pytest.raises(LayerError, match=r"RPATH '' instead of '/opt/fairlead/lib'; .* interpreter /lib/ld\.so"):
            elf.check(copy, architecture)

    def test_a_file_for_another_processor_is_named(self, copy: Path, architecture: recipe.Architecture) -> None:
        other = next(each for each in recipe.ARCHITECTURES.values() if each != architecture)
        with pytest.raises(LayerError, match=rf"libc\.so\.6 is for {architecture.machine}"):
            elf.check(copy, other)

    def test_only_what_ends_a_thread_has_unwind_tables(
        self, layer: build.Layer, architecture: recipe.Architecture
    ) -> None:
        having = {path.name for path, _ in elf.files(layer.tree) if any(map(any, unwind_tables(path)))}
        assert having == {"libc.so.6", "libgcc_s.so.1", architecture.loader}

    @pytest.mark.parametrize("name", ["bin/python3", "lib/libcrypto.so.3"])
    def test_what_was_filled_with_zeros_is_still_there(self, layer: build.Layer, name: str) -> None:
        """The program headers lead to it: an unwinder has to find version 0, and not something else."""
        assert [len(table) > 50_000 for table in unwind_tables(layer.tree / "fairlead" / name)] == [True, True]

    def test_where_the_loader_puts_a_pointer_there_is_none_before(self, layer: build.Layer) -> None:
        pointers = {path.name: set(_own_pointers_in_file(path)) for path, _ in elf.files(layer.tree)}
        assert pointers["libcrypto.so.3"] == {0}
        assert set().union(*pointers.values()) == {0}


def unwind_tables(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [s.data() for s in ELFFile(file).iter_sections() if s.name in elf.UNWIND_TABLES]


def _own_pointers_in_file(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        parsed = ELFFile(file)
        sections = [s for s in parsed.iter_sections() if s["sh_type"] != "SHT_NOBITS" and s["sh_addr"]]
        for address in elf.own_pointers(parsed):
            section = next(s for s in sections if s["sh_addr"] <= address < s["sh_addr"] + s["sh_size"])
            file.seek(address - section["sh_addr"] + section["sh_offset"])
            yield int.from_bytes(file.read(elf.POINTER), "little")


def test_a_trim_that_trims_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from/os.py").write_text("")
    assert interpreter.copy_standard_library(tmp_path / "from", tmp_path / "to", ["os.py", "gone.py"]) == {"gone.py"}
