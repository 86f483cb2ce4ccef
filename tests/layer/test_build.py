"""What ``./build-layer.sh`` makes: twice the same, and only anew what has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from layer import build, recipe

REPOSITORY = recipe.REPOSITORY


class TestOnce:
    """``_once`` decides what is rebuilt."""

    def test_it_is_not_made_again_from_the_same(self, tmp_path: Path) -> None:
        build._once(tmp_path / "it", "inputs", lambda draft: draft.write_text("first"))
        build._once(tmp_path / "it", "inputs", lambda draft: pytest.fail("made again"))
        assert (tmp_path / "it").read_text() == "first"

    def test_it_is_made_again_from_something_else(self, tmp_path: Path) -> None:
        build._once(tmp_path / "it", "inputs", lambda draft: draft.write_text("first"))
        build._once(tmp_path / "it", "others", lambda draft: draft.write_text("second"))
        assert (tmp_path / "it").read_text() == "second"

    def test_what_failed_half_way_is_not_there_and_leaves_no_trace(self, tmp_path: Path) -> None:
        def make(draft: Path) -> None:
            draft.mkdir()
            (draft / "half").write_text("")
            raise OSError("no space left")

        with pytest.raises(OSError, match="no space left"):
            build._once(tmp_path / "it", "inputs", make)
        assert not (tmp_path / "it").exists()
        build._once(tmp_path / "it", "inputs", lambda draft: draft.mkdir())
        assert list((tmp_path / "it").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        pytest.param(["sparc"], {}, "no such architecture: sparc (Lambda has x86_64, arm64)", id="architecture"),
        pytest.param([], {"SOURCE_DATE_EPOCH": "now"}, "SOURCE_DATE_EPOCH is 'now': it takes", id="epoch"),
        pytest.param([], {"PATH": "/nonexistent"}, "no apt-get on this machine", id="no-apt"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments: list[str], environment: dict[str, str], message: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "layer.build", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert message in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def elsewhere(layer: build.Layer, tmp_path_factory: pytest.TempPathFactory) -> build.Places:
    folder = tmp_path_factory.mktemp("elsewhere")
    return build.Places(folder / "layers", folder / "dist", build.PLACES.packages)


@pytest.fixture(scope="module")
def again(elsewhere: build.Places, architecture: recipe.Architecture) -> build.Layer:
    """A second build, from nothing but the downloaded packages."""
    return build.build(architecture.name, elsewhere)


@pytest.mark.integration
class TestReproducible:
    def test_a_build_in_another_place_gives_the_same_bytes(
        self, architecture: recipe.Architecture, again: build.Layer
    ) -> None:
        here = build.build(architecture.name)  # not the fixture's: our own files may have been edited since
        assert again.zip.read_bytes() == here.zip.read_bytes()

    def test_only_our_own_files_are_redone_when_only_they_have_changed(
        self, architecture: recipe.Architecture, elsewhere: build.Places, again: build.Layer
    ) -> None:
        interpreter = elsewhere.layers / "parts" / architecture.name / "interpreter.zip"
        made, bytes_of_zip = interpreter.stat().st_mtime_ns, again.zip.read_bytes()
        shutil.rmtree(again.tree)
        again.zip.unlink()
        assert build.build(architecture.name, elsewhere).zip.read_bytes() == bytes_of_zip
        assert interpreter.stat().st_mtime_ns == made

    def test_nothing_is_redone_when_nothing_has_changed(
        self, architecture: recipe.Architecture, elsewhere: build.Places, again: build.Layer
    ) -> None:
        before = (again.zip.stat().st_mtime_ns, again.tree.stat().st_ino)
        build.build(architecture.name, elsewhere)
        assert (again.zip.stat().st_mtime_ns, again.tree.stat().st_ino) == before

    def test_the_path_without_a_checksum_leads_to_the_newest_tree(
        self, architecture: recipe.Architecture, elsewhere: build.Places, again: build.Layer
    ) -> None:
        assert (elsewhere.layers / architecture.name).resolve() == again.tree.resolve()

    def test_trees_that_nobody_asked_for_since_yesterday_are_forgotten(
        self, architecture: recipe.Architecture, elsewhere: build.Places, again: build.Layer
    ) -> None:
        for name, age_s in (("yesterdays", 25 * 3600), ("this-mornings", 3600)):
            (again.tree.parent / name).mkdir()
            os.utime(again.tree.parent / name, (time.time() - age_s,) * 2)
        build.build(architecture.name, elsewhere)
        assert not (again.tree.parent / "yesterdays").exists()
        assert (again.tree.parent / "this-mornings").exists()
