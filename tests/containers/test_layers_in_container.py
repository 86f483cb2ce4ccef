"""``make layers-in-container`` under a real engine, in a Debian that is made here because no registry is asked.

More than a minute, so only ``make test-containers`` (``CONTAINERS=all``) does it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from layer import build, recipe
from tests.fakes.children import child

from .engine import MACHINES_NETWORK, NoEngineError, connected, daemon

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.environ.get("CONTAINERS") != "all", reason="takes two minutes: make test-containers"),
]

IMAGE = "debian-of-the-tests:12"
# As debian:12 is: the essential packages and apt. The archives that it names are the ones that it was made from.
RECIPE = ("mmdebstrap", "--quiet", "--variant=apt", "--mode=root", "bookworm", "-")
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".cache", "dist", "__pycache__", ".*_cache", ".hypothesis")
SOMEBODY = 1234  # who built nothing here, and has a dist/ of their own
STARTS_WITHIN_S = 60.0
ENDS_WITHIN_S = 20.0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A daemon's that has this machine's network and the image ``IMAGE``."""
    if not shutil.which(RECIPE[0]):
        pytest.skip(f"needs {RECIPE[0]}, Debian's package of that name")
    with ExitStack() as stack:
        try:
            address = stack.enter_context(daemon("another one may have no Debian 12", MACHINES_NETWORK))
        except NoEngineError as reason:
            pytest.skip(str(reason))
        client = stack.enter_context(connected(address))
        repository, tag = IMAGE.split(":")
        mirrors = [os.environ["DEBIAN_MIRROR"]] if os.environ.get("DEBIAN_MIRROR") else []
        with child([*RECIPE, *mirrors], stdout=subprocess.PIPE) as made:
            assert made.stdout is not None
            client.api.import_image_from_stream(made.stdout, repository=repository, tag=tag)
        if made.returncode:
            pytest.skip(f"{RECIPE[0]} could not make a Debian system (its reason is above)")
        yield address


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, so that neither this checkout's ``dist`` nor its ``.venv`` is touched."""
    copy = Path(shutil.copytree(recipe.REPOSITORY, tmp_path / "checkout", symlinks=True, ignore=NOT_COPIED))
    (copy / "dist").mkdir()
    os.chown(copy / "dist", SOMEBODY, SOMEBODY)
    return copy


def in_container(checkout: Path, address: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    settings = {"DOCKER_HOST": address, "CONTAINER_IMAGE": IMAGE, "CONTAINER_OPTIONS": "--network host"}
    command = [checkout / "layer/in-container.sh", "x86_64", "arm64"]
    return child(command, env={**os.environ, **settings})


def packages(path: Path) -> object:
    with zipfile.ZipFile(path) as layer:
        return json.loads(layer.read(build.MANIFEST))["packages"]


def build_here(checkout: Path) -> Path:
    """The folder with the zips that the same checkout gives without a container; the packages are not fetched again."""
    (checkout / ".venv").symlink_to(recipe.REPOSITORY / ".venv")
    (checkout / ".cache").mkdir()
    (checkout / ".cache/debian").symlink_to(build.PLACES.packages)
    result = subprocess.run(
        [checkout / "build-layer.sh", "x86_64", "arm64"], capture_output=True, text=True, timeout=600
    )
    if result.returncode:
        pytest.skip(f"made in the container, but here there is nothing to compare: {result.stderr}")
    return checkout / "dist"


def test_the_layers_are_those_that_are_built_without_a_container_and_belong_to_whom_dist_does(
    address: str, checkout: Path, tmp_path: Path
) -> None:
    with in_container(checkout, address) as builder:
        assert builder.wait(600) == 0
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".cache").exists()
    made = {path.name: path for path in (checkout / "dist").rename(tmp_path / "made").iterdir()}
    assert sorted(made) == ["fairlead-arm64.zip", "fairlead-x86_64.zip"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made.values()} == {(SOMEBODY, SOMEBODY)}
    here = build_here(checkout)
    for name, there in made.items():
        if packages(here / name) != packages(there):
            pytest.skip("made in the container, but from newer packages than this machine has lists of")
        assert there.read_bytes() == (here / name).read_bytes()


def test_control_c_ends_the_container(address: str, checkout: Path) -> None:
    with connected(address) as client, in_container(checkout, address) as builder:
        limit = time.monotonic() + STARTS_WITHIN_S
        while not any(container.logs() for container in client.containers.list()):
            assert builder.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        builder.send_signal(signal.SIGINT)
        assert builder.wait(ENDS_WITHIN_S) == 128 + signal.SIGINT
        assert client.containers.list(all=True) == []


def test_a_build_that_fails_fails_here_too(address: str, checkout: Path) -> None:
    (checkout / "build-layer.sh").write_text("#!/bin/sh\nexit 7\n")
    with in_container(checkout, address) as builder:
        assert builder.wait(300) == 7
    assert list((checkout / "dist").iterdir()) == []
