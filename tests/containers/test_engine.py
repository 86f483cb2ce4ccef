"""The tests' own engine leaves nothing behind."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

import pytest

from .engine import OWN_NETWORK, NoEngineError, cgroups, connected, daemon

pytestmark = pytest.mark.containers


def directories() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("fairlead-engine-*"))


def test_an_engine_that_ends_with_a_running_container_leaves_nothing(emulator: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(emulator, "emulator")  # a program without libraries, which runs until it is ended
    before = directories()
    try:
        with daemon("not looked for", OWN_NETWORK) as address, connected(address) as client:
            (directory,) = directories() - before
            client.api.import_image_from_data(archive.getvalue(), repository="own", tag="image")
            container = client.containers.run("own:image", ["/emulator", "/emulator"], detach=True, network_mode="none")
            container.reload()
            assert container.status == "running"
            assert cgroups(directory.name), "the container is in a group below this one"
    except NoEngineError as reason:
        pytest.skip(str(reason))
    assert directories() == before
    assert cgroups(directory.name) == [], "it could not be removed if a process were left"
    assert directory.name not in Path("/proc/mounts").read_text()
