"""The same content is the same zip, whatever the machine, the clock and the order of creation."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from layer import archive

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
    archive.write(tmp_path / "one.zip", tree(tmp_path / "one", names, 10**9), EPOCH)
    archive.write(tmp_path / "two.zip", tree(tmp_path / "two", names[::-1], 2 * 10**9), EPOCH)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_entries_are_sorted_and_carry_mode_and_time(tmp_path: Path) -> None:
    archive.write(tmp_path / "it.zip", tree(tmp_path / "it", ("lib/a.so", "bin/run"), 0), EPOCH)
    with zipfile.ZipFile(tmp_path / "it.zip") as packed:
        entries = packed.infolist()
    assert [entry.filename for entry in entries] == ["bin/run", "lib/a.so"]
    assert [oct(entry.external_attr >> 16) for entry in entries] == ["0o100755", "0o100644"]
    assert {entry.date_time for entry in entries} == {(2024, 1, 1, 0, 0, 0)}


def test_the_base_comes_first_and_only_what_is_new_is_added(tmp_path: Path) -> None:
    archive.write(tmp_path / "base.zip", tree(tmp_path / "it", ("lib/a.so", "notes"), 0), EPOCH)
    tree(tmp_path / "it", ("bin/run",), 0)
    archive.write(tmp_path / "whole.zip", tmp_path / "it", EPOCH, tmp_path / "base.zip")
    with zipfile.ZipFile(tmp_path / "whole.zip") as packed:
        assert packed.namelist() == ["lib/a.so", "notes", "bin/run"]
        assert packed.testzip() is None
    with zipfile.ZipFile(tmp_path / "base.zip") as base:
        size = base.start_dir
    assert (tmp_path / "whole.zip").read_bytes()[:size] == (tmp_path / "base.zip").read_bytes()[:size]
