"""The same content is the same zip, whatever the machine, the clock and the order of creation."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from layer import archive, build

EPOCH = 1704067200


def tree(root: Path, names: tuple[str, ...], time: int) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 100)
        path.chmod(0o755 if name == "bin/run" else 0o644)
        os.utime(path, (time, time))
    return root


def test_order_of_creation_and_times_leave_no_trace(tmp_path: Path) -> None:
    names = ("bin/run", "lib/b.so", "lib/a.so", "notes")
    archive.write(tmp_path / "one.zip", tree(tmp_path / "one", names, 10**9), EPOCH, archive.zlib_deflate)
    archive.write(tmp_path / "two.zip", tree(tmp_path / "two", names[::-1], 2 * 10**9), EPOCH, archive.zlib_deflate)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_entries_are_sorted_and_carry_mode_and_time(tmp_path: Path) -> None:
    archive.write(tmp_path / "it.zip", tree(tmp_path / "it", ("lib/a.so", "bin/run"), 0), EPOCH, archive.zlib_deflate)
    with zipfile.ZipFile(tmp_path / "it.zip") as packed:
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == ["bin/run", "lib/a.so"]
    assert [oct(entry.external_attr >> 16) for entry in entries] == ["0o100755", "0o100644"]
    assert {entry.date_time for entry in entries} == {(2024, 1, 1, 0, 0, 0)}


def test_what_the_base_holds_is_taken_over_unless_it_has_changed(tmp_path: Path) -> None:
    it = tree(tmp_path / "it", ("lib/a.so", "notes"), 0)
    archive.write(tmp_path / "base.zip", it, EPOCH, archive.zlib_deflate)
    tree(it, ("bin/run",), 0)
    (it / "notes").write_text("other notes " * 100)
    compressed: list[bytes] = []

    def deflate(content: bytes) -> bytes:
        compressed.append(content)
        return archive.zlib_deflate(content)

    archive.write(tmp_path / "whole.zip", it, EPOCH, deflate, tmp_path / "base.zip")
    assert sorted(compressed) == sorted([(it / "bin/run").read_bytes(), (it / "notes").read_bytes()])
    with zipfile.ZipFile(tmp_path / "whole.zip") as packed:
        assert packed.namelist() == ["bin/run", "lib/a.so", "notes"]
        assert packed.read("notes") == (it / "notes").read_bytes()
        assert packed.testzip() is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("empty", b"", id="empty"),
        pytest.param("random", bytes(range(256)), id="incompressible-is-stored"),
        pytest.param("na\u00efve/\u00fc.txt", b"name", id="name-beyond-ascii"),
    ],
)
def test_any_file_comes_out_as_it_went_in(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / "it" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    archive.write(tmp_path / "it.zip", tmp_path / "it", EPOCH, archive.zlib_deflate)
    with zipfile.ZipFile(tmp_path / "it.zip") as packed:
        assert packed.namelist() == [name]
        assert packed.read(name) == content
        assert packed.infolist()[0].compress_type == zipfile.ZIP_STORED


@pytest.mark.integration
def test_the_layers_compressor_is_smaller_than_zlib(layer: build.Layer) -> None:
    content = (layer.tree / "bootstrap").read_bytes()
    with zipfile.ZipFile(layer.zip) as packed:
        assert packed.getinfo("bootstrap").compress_size < len(archive.zlib_deflate(content))
