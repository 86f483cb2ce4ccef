"""Where nothing can be mounted: the app's scripts and variables get this machine's paths in place of Lambda's."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from local.sandbox.relocate import compose, relocate, replace_paths

TEXTS = {
    "a program": (b"exec /opt/fairlead/bin/python3 -m app", b"exec OPT/fairlead/bin/python3 -m app"),
    "an interpreter": (b"#!/opt/fairlead/bin/python3\n", b"#!OPT/fairlead/bin/python3\n"),
    "a search path": (b"/usr/bin:/opt/bin:/var/task/bin", b"/usr/bin:OPT/bin:TASK/bin"),
    "the folder itself": (b"cd /var/task", b"cd TASK"),
    "quoted": (b"ls '/opt' \"/var/task\"", b"ls 'OPT' \"TASK\""),
    "assigned": (b"PYTHONPATH=/var/task/python sh", b"PYTHONPATH=TASK/python sh"),
    "substituted": (b"$(/opt/bin/bun --version)", b"$(OPT/bin/bun --version)"),
    "deeper": (b"/srv/opt/x ./opt $HOME/opt ${HOME}/opt ~/opt", b"/srv/opt/x ./opt $HOME/opt ${HOME}/opt ~/opt"),
    "longer": (b"/optional /opt-in /var/tasks", b"/optional /opt-in /var/tasks"),
    "in an address": (b"http://example.com/opt/x", b"http://example.com/opt/x"),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_paths_are_replaced_and_nothing_that_looks_like_them(text: bytes, expected: bytes) -> None:
    assert replace_paths(text, "OPT", "TASK") == expected


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "app/sub").mkdir(parents=True)
    (tmp_path / "app/main.py").write_text("x = '/opt/stays'")
    (tmp_path / "app/link").symlink_to("main.py")
    (tmp_path / "app/run.sh").write_text("#!/bin/sh\nexec ./server\n")
    return tmp_path / "app"


def test_an_app_that_needs_no_change_is_used_as_it_is(app: Path, tmp_path: Path) -> None:
    assert compose(app, tmp_path / "copy", "/o", {}) == app
    assert not (tmp_path / "copy").exists()


def test_a_script_below_is_changed_in_a_copy_and_keeps_its_mode(app: Path, tmp_path: Path) -> None:
    script = app / "sub/serve"
    script.write_text("#!/opt/fairlead/bin/python3\n")
    script.chmod(0o751)
    copy = compose(app, tmp_path / "copy", "/o", {})
    assert (copy / "sub/serve").read_text() == "#!/o/fairlead/bin/python3\n"
    assert (copy / "sub/serve").stat().st_mode & 0o777 == 0o751
    assert script.read_text() == "#!/opt/fairlead/bin/python3\n"
    assert (copy / "main.py").read_text() == "x = '/opt/stays'", "only scripts are changed"
    assert os.readlink(copy / "link") == "main.py"


def test_what_is_bound_into_the_app_hides_what_it_has_there(app: Path, tmp_path: Path) -> None:
    (app / "python").mkdir()
    (app / "python/old").touch()
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed/new").touch()
    inside = {"python": tmp_path / "installed", "deep/er/file": app / "main.py"}
    copy = compose(app, tmp_path / "copy", "/o", inside)
    assert [path.name for path in (copy / "python").iterdir()] == ["new"]
    assert (copy / "deep/er/file").read_text() == "x = '/opt/stays'"
    assert [path.name for path in (app / "python").iterdir()] == ["old"]


def test_what_is_no_file_is_left_out(app: Path, tmp_path: Path) -> None:
    os.mkfifo(app / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(app)  # a socket's path is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        copy = compose(app, app / "sub/copy", "/o", {"python": tmp_path})
    assert sorted(path.name for path in copy.iterdir()) == ["link", "main.py", "python", "run.sh"]


def test_a_layer_of_scripts_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local.sandbox.relocate.CACHE", tmp_path / "cache")
    layer = tmp_path / "layer"
    for name in ("bin", "fairlead/lib", "fairlead/bin"):
        (layer / name).mkdir(parents=True)
    (layer / "bootstrap").write_text("#!/bin/sh\n")
    (layer / "fairlead/lib/it").touch()
    (layer / "bin/tool").write_text("data")
    (layer / "bin/alias").symlink_to("../fairlead/bin/tool")
    place = relocate(layer)
    assert (place / "bootstrap").read_text() == "#!/bin/sh\n"
    assert not (place / "bootstrap").is_symlink(), "it looks for its interpreter beside itself"
    assert (place / "fairlead/lib").resolve() == (layer / "fairlead/lib").resolve()
    assert os.readlink(place / "bin/alias") == "../fairlead/bin/tool"
    assert (place / "bin/tool").read_text() == "data"
