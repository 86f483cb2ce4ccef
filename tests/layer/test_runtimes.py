"""Layers with Bun, Deno and Node: what is in them, that Lambda could run it, and what keeps one from being made."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from layer import build, check, elf, merge, npm, programs, recipe, runtimes
from layer.failures import LayerError
from layer.package import load
from layer.programs import PROGRAMS, Pin, Program, called

from .conftest import BuildOne, runner, way_into
from .small_elf import program

EACH = [(name, architecture) for name in PROGRAMS for architecture in recipe.ARCHITECTURES]
PATH = os.environ["PATH"]


@pytest.fixture(scope="module", params=EACH, ids="-".join)
def made(request: pytest.FixtureRequest) -> tuple[Program, str, Path]:
    """A runtime, an architecture, and the tree of its layer."""
    name, architecture = request.param
    try:
        return PROGRAMS[name], architecture, runtimes.ensure(name, architecture)
    except LayerError as failure:
        pytest.skip(str(failure))


@pytest.mark.integration
class TestContents:
    def test_the_program_is_where_lambdas_path_finds_it(self, made: tuple[Program, str, Path]) -> None:
        runtime, architecture, tree = made
        assert runtime.path == f"bin/{runtime.name}"
        assert (tree / runtime.path).stat().st_mode & 0o777 == 0o755
        file = elf.read(tree / runtime.path)
        assert file is not None
        assert file.machine == recipe.ARCHITECTURES[architecture].machine

    def test_the_fit_check_finds_nothing(self, made: tuple[Program, str, Path]) -> None:
        _, _, tree = made
        assert check.problems(check.Upload(load("layer", tree), None, ())) == []

    def test_what_the_program_loads_is_lambdas_or_in_the_layer(self, made: tuple[Program, str, Path]) -> None:
        _, _, tree = made
        needed = {name for _, file in elf.files(tree) for name in file.needed}
        own = {path.name for path in (tree / "lib").glob("*")}
        assert {name for name in needed - own if not elf.OF_GLIBC.fullmatch(name)} <= {elf.OF_GCC}

    def test_the_manifest_names_each_package_as_pinned(self, made: tuple[Program, str, Path]) -> None:
        runtime, architecture, tree = made
        manifest = json.loads((tree / runtime.manifest).read_text())
        assert (manifest["runtime"], manifest["architecture"]) == (runtime.name, architecture)
        assert {(entry["name"], entry["version"], entry["integrity"]) for entry in manifest["npm"]} == {
            (pin.package, pin.version, pin.integrity)
            for pin in programs.pins()
            if pin.runtime == runtime.name and pin.architecture in (architecture, programs.BOTH)
        }
        assert {f"lib/{entry['library']}" for entry in manifest["libraries"]} == {
            path.relative_to(tree).as_posix() for path in (tree / "lib").glob("*")
        }

    def test_there_are_licences(self, made: tuple[Program, str, Path]) -> None:
        runtime, _, tree = made
        texts = list((tree / runtime.place / "licenses").iterdir())
        assert any(path.name.startswith(runtime.name) and path.stat().st_size > 1000 for path in texts)

    def test_beside_fairleads_layer_no_file_has_the_same_name(
        self, made: tuple[Program, str, Path], build_one: BuildOne
    ) -> None:
        _, architecture, tree = made
        ours = build_one(architecture).tree
        both = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (tree, ours)]
        assert both[0] & both[1] == set()

    def test_it_starts_beside_fairleads_layer(self, made: tuple[Program, str, Path], build_one: BuildOne) -> None:
        runtime, architecture, tree = made
        if architecture != recipe.native().name:
            pytest.skip("on this machine's system; tests/integration has another's, emulated")
        both = merge.merged([build_one(architecture).tree, tree])
        result = runner(way_into(both))(f"/opt/{runtime.path}", "--version")
        assert runtimes.version(runtime.name) in result.stdout, result.stderr


@pytest.mark.integration
def test_the_largest_layer_can_be_uploaded_directly(architecture: recipe.Architecture, tmp_path: Path) -> None:
    """Bun's: the limit is 50 MiB, and its program alone has twice that."""
    try:
        made = runtimes.make("bun", architecture.name, build.PLACES._replace(dist=tmp_path))
    except LayerError as failure:
        pytest.skip(str(failure))
    assert made.zip.name == f"fairlead-bun-{architecture.name}.zip"
    assert made.zip.stat().st_size <= check.DIRECT_UPLOAD
    assert check.problems(check.Upload(load("layer", made.zip), None, ())) == []


# What a registry would give, for a runtime that does not exist.

TINY = Program("tiny", "package/bin/tiny", {"x86_64": "tiny-x64", "arm64": "tiny-arm64"}, "MIT", ("bun.txt",))
Registry = Callable[..., Path]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Puts an ``npm`` before the machine's that packs the given files, and pins the runtime ``tiny`` to them."""

    def publish(files: dict[str, bytes], integrity: str = "", architecture: str = "x86_64") -> Path:
        folder = tmp_path / "registry"
        folder.mkdir(exist_ok=True)
        tarball = folder / "tiny-1.0.0.tgz"
        with tarfile.open(tarball, "w:gz") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        client = folder / "npm"
        client.write_text(f'#!/bin/sh\n[ "$1" = pack ] && cp "{tarball}" "$4/"\n')
        client.chmod(0o755)
        lock = folder / "runtimes.txt"
        pin = Pin("tiny", architecture, f"tiny-{architecture}", "1.0.0", integrity or npm.integrity_of(tarball))
        lock.write_text(f"# comment\n{pin}\n")
        monkeypatch.setenv("PATH", f"{folder}:{PATH}")
        monkeypatch.setitem(PROGRAMS, "tiny", TINY)
        monkeypatch.setattr(programs.pins, "__defaults__", (lock,))
        return lock

    return publish


def places(folder: Path) -> build.Places:
    return build.Places(folder / "layers", folder / "dist", build.PLACES.packages)


GOOD = {"package/bin/tiny": program(glibc="2.34"), "package/README.md": b"", "package/LICENSE": b"a licence"}


class TestMade:
    def test_it_has_the_program_and_the_licences_and_nothing_else(self, registry: Registry, tmp_path: Path) -> None:
        registry(GOOD)
        tree = runtimes.ensure("tiny", "x86_64", places(tmp_path))
        assert {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()} == {
            "bin/tiny",
            "fairlead/runtimes/tiny/MANIFEST.json",
            "fairlead/runtimes/tiny/licenses/bun.txt",
            "fairlead/runtimes/tiny/licenses/tiny-LICENSE",
        }

    def test_it_is_downloaded_once(self, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        registry(GOOD)
        tree = runtimes.ensure("tiny", "x86_64", places(tmp_path))
        monkeypatch.setenv("PATH", "/nonexistent")
        assert runtimes.ensure("tiny", "x86_64", places(tmp_path)) == tree

    @pytest.mark.integration
    def test_two_builds_give_the_same_bytes(
        self, registry: Registry, tmp_path: Path, layer: build.Layer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        registry(GOOD)
        made = []
        for name in ("one", "other"):
            here = build.Places(tmp_path / name / "layers", tmp_path / name / "dist", build.PLACES.packages)
            # What packs it is unpacked already for the ordinary layer.
            here.layers.mkdir(parents=True)
            (here.layers / "parts").symlink_to(build.PLACES.layers / "parts")
            previous = os.umask(0o077 if name == "one" else 0o022)
            try:
                made.append(runtimes.make("tiny", "x86_64", here).zip.read_bytes())
            finally:
                os.umask(previous)
        assert made[0] == made[1]


REFUSED = {
    "changed-on-the-way": (
        GOOD,
        "sha512-AAAA",
        "has the integrity sha512-.*, and layer/runtimes.txt wants sha512-AAAA",
    ),
    "no-program": ({"package/tiny": b"elsewhere"}, "", "has no package/bin/tiny"),
    "another-processor": ({"package/bin/tiny": program("arm64")}, "", "bin/tiny is for EM_AARCH64"),
    "newer-c-library": (
        {"package/bin/tiny": program(glibc="2.38")},
        "",
        r"bin/tiny needs the C library 2\.38, and Lambda has 2\.34",
    ),
}


@pytest.mark.parametrize(("files", "integrity", "words"), REFUSED.values(), ids=REFUSED)
def test_what_would_not_start_is_not_made(
    files: dict[str, bytes], integrity: str, words: str, registry: Registry, tmp_path: Path
) -> None:
    registry(files, integrity)
    with pytest.raises(LayerError, match=words):
        runtimes.ensure("tiny", "x86_64", places(tmp_path))
    assert list((tmp_path / "layers/runtimes").glob("tiny-*")) == []


def test_without_npm_it_is_said_what_to_install(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry(GOOD)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LayerError, match=r"comes from npm, and there is no npm here: install Node\.js with npm"):
        runtimes.ensure("tiny", "x86_64", places(tmp_path))


def test_npms_own_words_are_handed_on(registry: Registry, tmp_path: Path) -> None:
    lock = registry(GOOD)
    (lock.parent / "npm").write_text("#!/bin/sh\necho 'npm error code E404' >&2\nexit 1\n")
    with pytest.raises(LayerError, match=r"npm could not download tiny-x86_64@1\.0\.0: npm error code E404"):
        runtimes.ensure("tiny", "x86_64", places(tmp_path))


class TestLock:
    def test_another_version_replaces_the_lines_of_that_runtime_alone(self, registry: Registry) -> None:
        lock = registry(GOOD)
        other = Pin("deno", "arm64", "@deno/it", "1.0.0", "sha512-other")
        lock.write_text(f"{lock.read_text()}{other}\n")
        runtimes.lock(["tiny==2.0.0"], lock)
        pins = programs.pins(lock)
        assert lock.read_text().startswith("# comment\n")
        assert other in pins
        assert {(pin.architecture, pin.package, pin.version) for pin in pins if pin.runtime == "tiny"} == {
            ("arm64", "tiny-arm64", "2.0.0"),
            ("x86_64", "tiny-x64", "2.0.0"),
        }

    def test_a_version_is_asked_for(self, registry: Registry) -> None:
        with pytest.raises(LayerError, match=r"'tiny' names no version: write it like tiny==1\.0\.0"):
            runtimes.lock(["tiny"], registry(GOOD))

    def test_each_runtime_is_pinned_for_both_architectures(self) -> None:
        pinned = {(pin.runtime, pin.architecture, pin.package) for pin in programs.pins()}
        wanted = {(name, of, package) for name, it in PROGRAMS.items() for of, package in it.packages.items()}
        assert pinned == wanted
        versions = {(pin.runtime, pin.version) for pin in programs.pins()}
        assert len(versions) == len(PROGRAMS), "one version of each"


CALLS = {
    "exec": (b"#!/bin/sh\nexec bun run fetch.ts\n", ["bun"]),
    "alone": (b"deno serve app.ts", ["deno"]),
    "with-variables": (b"#!/bin/sh\nHOST=127.0.0.1 DENO_DIR=/tmp/x exec deno run main.ts\n", ["deno"]),
    "exec-after-variables": (b"HOST=127.0.0.1 exec bun dist/server/entry.mjs", ["bun"]),
    "after-others": (b"cp -r a /tmp && exec node server.js\n", ["node"]),
    "in-a-condition": (b"if true; then node a.js; fi\n", ["node"]),
    "by-env": (b"exec env PORT=1 node a.js\n", ["node"]),
    "bunx-is-bun": (b"exec bunx astro preview\n", ["bun"]),
    "several": (b"node build.js; exec bun run it.ts\n", ["node", "bun"]),
    "first-line": (b"#!/usr/bin/env bun\nBun.serve({})\n", ["bun"]),
    "first-line-split": (b"#!/usr/bin/env -S deno run --allow-net\n", ["deno"]),
    "by-path": (b"exec ./bun run it.ts\nexec /opt/bin/bun it.ts\n", []),
    "by-variable": (b'exec "$BUN" run it.ts\n', []),
    "an-argument": (b"exec ./start --with bun --runtime node\n", []),
    "part-of-a-name": (b"exec node_modules/.bin/next start\nbundle exec puma\nnodemon x\n", []),
    "comment": (b"#!/bin/sh\n# bun is in the layer\nexec ./app # node comes later\n", []),
    "own-path": (b"PATH=/var/task/bin:$PATH\nexec node it.js\n", []),
    "own-path-exported": (b'export PATH="$PWD/bin:$PATH"\nexec node it.js\n', []),
}


@pytest.mark.parametrize(("script", "names"), CALLS.values(), ids=CALLS)
def test_which_runtimes_a_start_script_calls(script: bytes, names: list[str]) -> None:
    assert called(script) == names


class TestMerged:
    def tree(self, folder: Path, files: dict[str, str]) -> Path:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        return folder

    def content(self, tree: Path) -> dict[str, str]:
        return {path.relative_to(tree).as_posix(): path.read_text() for path in tree.rglob("*") if path.is_file()}

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(merge, "TREES", tmp_path / "merged")

    def test_the_later_layers_file_is_there(self, tmp_path: Path) -> None:
        one = self.tree(tmp_path / "one", {"bin/a": "1", "bin/both": "1", "lib/x": "1"})
        other = self.tree(tmp_path / "other", {"bin/both": "2", "bin/b": "2"})
        assert self.content(merge.merged([one, other])) == {"bin/a": "1", "bin/b": "2", "bin/both": "2", "lib/x": "1"}
        assert self.content(one)["bin/both"] == "1", "a layer itself stays as it is"

    def test_one_layer_is_itself(self, tmp_path: Path) -> None:
        assert merge.merged([tmp_path]) == tmp_path

    def test_nothing_is_made_again_until_a_file_changes(self, tmp_path: Path) -> None:
        layers = [self.tree(tmp_path / name, {f"bin/{name}": "1"}) for name in ("one", "other")]
        before = merge.merged(layers)
        assert merge.merged(layers) == before
        (layers[0] / "bin/one").unlink()
        (layers[0] / "bin/one").write_text("changed")
        assert self.content(merge.merged(layers)) == {"bin/one": "changed", "bin/other": "1"}
        assert self.content(before)["bin/one"] == "1", "whoever has it mounted goes on undisturbed"

    def test_links_stay_links(self, tmp_path: Path) -> None:
        one = self.tree(tmp_path / "one", {"bin/a": "1"})
        (one / "bin/alias").symlink_to("a")
        both = merge.merged([one, self.tree(tmp_path / "other", {"lib/x": "2"})])
        assert os.readlink(both / "bin/alias") == "a"

    def test_a_folder_and_a_file_of_one_name_are_refused(self, tmp_path: Path) -> None:
        layers = [self.tree(tmp_path / "one", {"bin/a": "1"}), self.tree(tmp_path / "other", {"bin": "2"})]
        with pytest.raises(LayerError, match="bin is a folder in one layer and none in another"):
            merge.merged(layers)


def test_the_command_lines_runtimes_may_be_a_list_and_repeated() -> None:
    assert runtimes.chosen(["bun,deno", "node", "bun"]) == ["bun", "deno", "node"]


def test_the_pin_command_says_what_it_takes() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "layer.runtimes"], cwd=recipe.REPOSITORY, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 2
    assert "NAME==VERSION" in result.stderr
