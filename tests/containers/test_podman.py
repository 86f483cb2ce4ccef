"""podman loads the image, builds the example and runs it: as root, and in namespaces that end with all it leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from layer import image, recipe
from tests.fakes.children import child

from .conftest import CLIENT, EXAMPLE, PYTHON
from .engine import remove_cgroups
from .test_image import EPOCH, PLATFORMS, small_tree

pytestmark = pytest.mark.containers

# podman's own defaults for a container's limits are more than root may set where it has no CAP_SYS_RESOURCE, and
# crun, its own choice, takes no machine that has cgroups of both versions.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""
# Where podman writes. What is there ends with the namespace, and so do the processes that it leaves in the background.
PLACES = ("/run", "/var/lib/containers", "/var/tmp")
APART = f"""
mkdir -p {" ".join(PLACES)}
for place in {" ".join(PLACES)}; do mount -t tmpfs tmpfs $place || exit; done
echo ready
exec sleep infinity
"""
NEEDED = ("podman", "runc", "unshare", "nsenter", "setpriv")
Podman = Callable[..., str]


@pytest.fixture(scope="module")
def apart(tag: str) -> Iterator[int]:
    """The process whose namespaces podman runs in."""
    if os.geteuid() != 0 or not all(map(shutil.which, NEEDED)):
        pytest.skip(f"needs root and {', '.join(NEEDED)}")
    unshare = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    command = ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", "-c", APART]
    with child(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("needs to be allowed to mount")
        init = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text())
        yield init
        os.kill(init, signal.SIGKILL)  # it ends when all others in its namespace have
    remove_cgroups(tag)


@pytest.fixture(scope="module")
def podman(apart: int, tmp_path_factory: pytest.TempPathFactory) -> Podman:
    """``podman(*arguments)`` gives what it writes."""
    configuration = tmp_path_factory.mktemp("podman") / "containers.conf"
    configuration.write_text(CONFIGURATION)
    environment = {**os.environ, "CONTAINERS_CONF": str(configuration)}

    def podman(*arguments: str | Path) -> str:
        command = ["nsenter", "--target", str(apart), "--mount", "--pid", "podman", *map(str, arguments)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, f"{arguments}: {result.stderr}"
        return result.stdout

    try:
        podman("info")
    except AssertionError as failure:
        pytest.skip(f"podman does not work here: {failure}")
    return podman


@pytest.fixture(scope="module")
def small(podman: Podman, tag: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image of small layers, loaded."""
    folder = tmp_path_factory.mktemp("small")
    trees = {name: small_tree(folder / name, name) for name in PLATFORMS}
    image.write(folder / "image.tar", trees, EPOCH, f"{tag}-small")
    podman("load", "--input", folder / "image.tar")
    return f"{tag}-small"


def test_both_architectures_are_loaded_by_name(podman: Podman, small: str) -> None:
    names = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert {f"localhost/{small}:{platform}" for platform in PLATFORMS.values()} <= set(names)


@pytest.mark.parametrize("platform", PLATFORMS.values())
def test_the_platform_and_the_layer_are_chosen_together(podman: Podman, small: str, platform: str) -> None:
    chosen = ("--platform", f"linux/{platform}", "--build-arg", f"FAIRLEAD={small}:{platform}")
    podman("build", "--tag", platform, *chosen, "--file", EXAMPLE / "no-shell.Dockerfile", EXAMPLE)
    assert podman("image", "inspect", platform, "--format", "{{.Architecture}}").strip() == platform


def test_the_example_is_built_and_answers(podman: Podman, archive: Path, tag: str) -> None:
    podman("load", "--input", archive)
    layer = f"FAIRLEAD={tag}:{recipe.native().debian}"
    podman("build", "--tag", "example", "--build-arg", layer, "--file", EXAMPLE / "no-shell.Dockerfile", EXAMPLE)
    as_on_lambda = ("--network", "none", "--read-only", "--user", "993:990")
    podman("run", "--detach", "--name", "it", "--cgroup-parent", f"/{tag}", *as_on_lambda, "example")
    answer = podman("exec", "it", PYTHON, "-ISB", "-c", CLIENT, "http://127.0.0.1:8080/a%2Fb", "")
    assert answer == "GET /a%2Fb, as user 993\n"
