"""The examples as BuildKit builds them; what conftest.py builds is built as by DOCKER_BUILDKIT=0."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest
from docker.models.images import Image

from layer import build, debian, image, recipe
from layer.failures import LayerError
from local.cache import CACHE, once

from .conftest import EXAMPLE, Run, loaded
from .test_image import EPOCH, LONG_NAME, PLATFORMS, small_tree

pytestmark = pytest.mark.containers

PLUGIN = "usr/libexec/docker/cli-plugins/docker-buildx"
Build = Callable[..., Image]


@pytest.fixture(scope="module")
def buildx(architecture: recipe.Architecture) -> Path:
    """The client of BuildKit: the machine's, else Debian's, which is unpacked and not installed."""
    installed = Path("/", PLUGIN)
    if installed.exists():
        return installed

    def unpack(draft: Path) -> None:
        packages = debian.fetch(
            ("docker-buildx",), suite="trixie", architecture=architecture.debian, cache=build.PLACES.packages
        )
        for package in packages:
            debian.unpack(package, draft)

    try:
        return once(CACHE / "tools" / f"docker-buildx-{architecture.name}", unpack) / PLUGIN
    except LayerError as failure:
        pytest.skip(str(failure))


@pytest.fixture
def buildkit(client: docker.DockerClient, address: str, buildx: Path, tag: str, tmp_path: Path) -> Iterator[Build]:
    """``buildkit(file, *options)`` builds an example in the engine; the image ends with the test."""
    environment = {**os.environ, "DOCKER_HOST": address, "DOCKER_CONFIG": str(tmp_path / "docker")}
    name = f"{tag}:buildkit"

    def buildkit(file: str, *options: str) -> Image:
        command = [buildx, "build", "--tag", name, "--file", EXAMPLE / file, *options, EXAMPLE]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stderr
        return client.images.get(name)

    yield buildkit
    client.images.remove(name, force=True)
    shutil.rmtree(tmp_path / "docker", ignore_errors=True)


def argument(name: str, value: str) -> tuple[str, str]:
    return "--build-arg", f"{name}={value}"


@pytest.mark.parametrize("file", ["Dockerfile", "no-shell.Dockerfile"])
def test_the_example_is_built_and_answers(buildkit: Build, fairlead: str, base: str, run: Run, file: str) -> None:
    built = buildkit(file, *argument("FAIRLEAD", fairlead), *argument("BASE", base))
    assert run(built).get("/a%2Fb") == "GET /a%2Fb, as user 0\n"


@pytest.mark.parametrize("platform", PLATFORMS.values())
def test_the_platform_chooses_the_layer(
    client: docker.DockerClient, buildkit: Build, tag: str, tmp_path: Path, platform: str
) -> None:
    """``--platform`` is enough: without ``FAIRLEAD``, the file takes the layer of the platform that is built for."""
    name = f"{tag}-platform"
    trees = {name: small_tree(tmp_path / name, name) for name in PLATFORMS}
    image.write(tmp_path / "image.tar", trees, EPOCH, name)
    example = (EXAMPLE / "no-shell.Dockerfile").read_text()
    (tmp_path / "Dockerfile").write_text(example.replace("=fairlead:", f"={name}:"))
    with loaded(client, tmp_path / "image.tar"):
        built = buildkit(str(tmp_path / "Dockerfile"), "--platform", f"linux/{platform}")
    assert built.attrs["Architecture"] == platform
    content = read_from(client, built, f"/opt/fairlead/lib/{LONG_NAME}").decode()
    assert PLATFORMS[content] == platform


def read_from(client: docker.DockerClient, image: Image, path: str) -> bytes:
    """A file of an image whose programs need not run here."""
    container = client.containers.create(image)
    try:
        chunks, _ = container.get_archive(path)
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            file = tar.extractfile(Path(path).name)
            assert file is not None
            return file.read()
    finally:
        container.remove()
