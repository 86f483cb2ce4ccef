"""What ``./build-layer.sh`` makes: twice the same, and only anew what has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layer import build, kept, recipe

from .conftest import BuildOne

REPOSITORY = recipe.REPOSITORY


class TestOnce:
    """``kept.once`` decides what is rebuilt."""

    def test_it_is_not_made_again_from_the_same(self, tmp_path: Path) -> None:
        kept.once(tmp_path / "it", "inputs", lambda draft: draft.write_text("first"))
        kept.once(tmp_path / "it", "inputs", lambda draft: pytest.fail("made again"))
        assert (tmp_path / "it").read_text() == "first"

    def test_it_is_made_again_from_something_else(self, tmp_path: Path) -> None:
        kept.once(tmp_path / "it", "inputs", lambda draft: draft.write_text("first"))
        kept.once(tmp_path / "it", "others", lambda draft: draft.write_text("second"))
        assert (tmp_path / "it").read_text() == "second"

    def test_what_failed_half_way_is_not_there_and_leaves_no_trace(self, tmp_path: Path) -> None:
        def make(draft: Path) -> None:
            draft.mkdir()
            (draft / "half").write_text("")
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            kept.once(tmp_path / "it", "inputs", make)
        assert not (tmp_path / "it").exists()
        kept.once(tmp_path / "it", "inputs", lambda draft: draft.mkdir())
        assert list((tmp_path / "it").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        pytest.param(["sparc"], {}, "no such architecture: sparc (Lambda has x86_64, arm64)", id="architecture"),
        pytest.param([], {"SOURCE_DATE_EPOCH": "now"}, "SOURCE_DATE_EPOCH is 'now': it takes", id="epoch"),
        pytest.param([], {"PATH": "/nonexistent"}, "no apt-get on this machine", id="no-apt"),
        pytest.param(["--with", "left-pad"], {}, "layer/wheels.txt does not know left-pad for", id="unknown-package"),
        pytest.param(["--with-runtime", "bun,perl"], {}, "no runtime 'perl': choose of bun, deno, no", id="no-runtime"),
        pytest.param([], {"PYTHON_DIST": "/nonexistent"}, "PYTHON_DIST names /nonexistent, which is", id="no-dist"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments: list[str], environment: dict[str, str], message: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "layer.command", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module", params=recipe.ARCHITECTURES)
def elsewhere(
    request: pytest.FixtureRequest, layer: build.Layer, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, build.Places]:
    folder = tmp_path_factory.mktemp("elsewhere")
    return request.param, build.Places(folder / "layers", folder / "dist", build.PLACES.packages, checkout)


@pytest.fixture(scope="module")
def again(elsewhere: tuple[str, build.Places]) -> tuple[str, build.Layer]:
    """A second build of each architecture, from nothing but the downloaded packages."""
    architecture, places = elsewhere
    return architecture, build.build(architecture, places, build.Choice())


@pytest.mark.integration
class TestReproducible:
    def test_a_build_in_another_place_gives_the_same_bytes(
        self, again: tuple[str, build.Layer], build_one: BuildOne
    ) -> None:
        architecture, copy = again
        assert copy.zip.read_bytes() == build_one(architecture).zip.read_bytes()

    def test_the_other_architecture_is_not_built(
        self, elsewhere: tuple[str, build.Places], again: tuple[str, build.Layer]
    ) -> None:
        architecture, places = elsewhere
        assert [path.name for path in places.dist.glob("*.zip")] == [f"fairlead-{architecture}.zip"]
        assert [path.parent.name for path in places.layers.glob("parts/*/interpreter")] == [architecture]

    def test_only_our_own_files_are_redone_when_only_they_have_changed(
        self, elsewhere: tuple[str, build.Places], again: tuple[str, build.Layer]
    ) -> None:
        (architecture, copy), (_, places) = again, elsewhere
        interpreter = places.layers / "parts" / architecture / "interpreter.zip"
        made, bytes_of_zip = interpreter.stat().st_mtime_ns, copy.zip.read_bytes()
        shutil.rmtree(copy.tree)
        copy.zip.unlink()
        assert build.build(architecture, places, build.Choice()).zip.read_bytes() == bytes_of_zip
        assert interpreter.stat().st_mtime_ns == made

    def test_nothing_is_redone_when_nothing_has_changed(
        self, elsewhere: tuple[str, build.Places], again: tuple[str, build.Layer]
    ) -> None:
        (architecture, copy), (_, places) = again, elsewhere
        before = (copy.zip.stat().st_mtime_ns, copy.tree.stat().st_ino)
        build.build(architecture, places, build.Choice())
        assert (copy.zip.stat().st_mtime_ns, copy.tree.stat().st_ino) == before

    def test_the_path_without_a_checksum_leads_to_the_newest_tree(
        self, elsewhere: tuple[str, build.Places], again: tuple[str, build.Layer]
    ) -> None:
        (architecture, copy), (_, places) = again, elsewhere
        assert (places.layers / architecture).resolve() == copy.tree.resolve()

    def test_trees_that_nobody_asked_for_since_yesterday_are_forgotten(
        self, elsewhere: tuple[str, build.Places], again: tuple[str, build.Layer]
    ) -> None:
        (architecture, copy), (_, places) = again, elsewhere
        for name, age_s in (("yesterdays", 25 * 3600), ("this-mornings", 3600)):
            (copy.tree.parent / name).mkdir(exist_ok=True)
            os.utime(copy.tree.parent / name, (time.time() - age_s,) * 2)
        build.build(architecture, places, build.Choice())
        assert not (copy.tree.parent / "yesterdays").exists()
        assert (copy.tree.parent / "this-mornings").exists()


@pytest.mark.integration
def test_a_layer_has_at_most_12_million_bytes(each: tuple[recipe.Architecture, build.Layer]) -> None:
    assert each[1].zip.stat().st_size <= 12_000_000
