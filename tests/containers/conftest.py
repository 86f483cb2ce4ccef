"""The engine, the images that the tests share, and containers that end with their test."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import docker
import pytest
from docker.models.containers import Container
from docker.models.images import Image

from layer import build, image, recipe
from layer.failures import LayerError
from local.failures import LocalFailure
from local.runtime_api import emulator as rie
from local.sandbox import rootfs

from .engine import NoEngineError, connected, engine

EXAMPLE = recipe.REPOSITORY / "examples/container"
PYTHON = "/opt/fairlead/bin/python3"
EMULATOR = "/emulator"
EMULATOR_PORT = 9000  # its own default is the app's
INVOCATIONS = f"http://127.0.0.1:{EMULATOR_PORT}/2015-03-31/functions/function/invocations"
# Runs inside of the container, so that it needs no network: two arguments, the address and a body or nothing. Only what
# is refused is tried again, since nothing listens before the start is over.
CLIENT = """
import sys, time, urllib.error, urllib.request
limit = time.monotonic() + 20
while True:
    try:
        with urllib.request.urlopen(sys.argv[1], sys.argv[2].encode() or None, 20) as answer:
            sys.exit(sys.stdout.write(answer.read().decode()) and 0)
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > limit:
            raise
        time.sleep(0.01)
"""


class Running:
    """A container of an image, asked from its inside."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def get(self, path: str, port: int = 8080) -> str:
        """What the app answers to an ordinary request."""
        return self._ask(f"http://127.0.0.1:{port}{path}", "")

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The payload that the emulator answers."""
        return json.loads(self._ask(INVOCATIONS, json.dumps(event)))

    def _ask(self, address: str, body: str) -> str:
        status, output = self.container.exec_run([PYTHON, "-ISB", "-c", CLIENT, address, body])
        assert status == 0, f"{output.decode()}\nThe container says:\n{self.output}"
        return str(output.decode())

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return int(self.container.wait(timeout=30)["StatusCode"])

    @property
    def output(self) -> str:
        return str(self.container.logs().decode())


Run = Callable[..., Running]


class Images(NamedTuple):
    """The two examples: on a base with a shell, and on nothing."""

    shell: Image
    no_shell: Image


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """An engine's, for as long as the tests run."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(engine())
        except NoEngineError as reason:
            pytest.skip(str(reason))
        yield running


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[docker.DockerClient]:
    """That engine's."""
    with connected(address) as client:
        yield client


@pytest.fixture(scope="session")
def architecture() -> recipe.Architecture:
    return recipe.native()


@pytest.fixture(scope="session")
def emulator(architecture: recipe.Architecture) -> Path:
    """The emulator's executable."""
    try:
        return rie.ensure(architecture.name)
    except LocalFailure as failure:
        pytest.skip(str(failure))


@pytest.fixture(scope="session")
def tag() -> str:
    """A name that is nobody else's, for what these tests leave in a running engine until they end."""
    return f"fairlead-test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def archive(architecture: recipe.Architecture, tag: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make image`` makes, for this machine's architecture only."""
    try:
        tree = build.ensure(architecture.name)
    except LayerError as failure:
        pytest.skip(str(failure))
    target = tmp_path_factory.mktemp("image") / "image.tar"
    image.write(target, {architecture.name: tree}, build.DEFAULT_EPOCH, tag)
    return target


@pytest.fixture(scope="session")
def fairlead(client: docker.DockerClient, architecture: recipe.Architecture, tag: str, archive: Path) -> Iterator[str]:
    """The name of it, loaded."""
    with loaded(client, archive):
        yield f"{tag}:{architecture.debian}"


@contextmanager
def loaded(client: docker.DockerClient, target: Path) -> Iterator[list[Image]]:
    """The images that ``docker load`` finds in ``target``."""
    with target.open("rb") as file:
        found = list({image.id: image for image in client.images.load(file)}.values())
    yield found
    for one in found:
        client.images.remove(one.id, force=True)


@pytest.fixture(scope="session")
def base(client: docker.DockerClient, architecture: recipe.Architecture, tag: str) -> Iterator[str]:
    """The name of an image with bash and without Python, made from the stand-in for provided.al2023."""
    try:
        root = rootfs.ensure(architecture.name)
    except (LocalFailure, LayerError) as failure:
        pytest.skip(str(failure))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(root, ".")
    client.api.import_image_from_data(archive.getvalue(), repository=tag, tag="base")
    yield f"{tag}:base"
    client.images.remove(f"{tag}:base", force=True)


@pytest.fixture(scope="session")
def images(client: docker.DockerClient, fairlead: str, base: str, tag: str) -> Iterator[Images]:
    """The example, built by both of its files. The SDK builds as DOCKER_BUILDKIT=0 does: no BuildKit is needed."""
    with (
        built(client, tag, "Dockerfile", fairlead, base) as shell,
        built(client, tag, "no-shell.Dockerfile", fairlead, base) as no_shell,
    ):
        yield Images(shell, no_shell)


@contextmanager
def built(client: docker.DockerClient, tag: str, file: str, fairlead: str, base: str) -> Iterator[Image]:
    arguments = {"FAIRLEAD": fairlead, "BASE": base}
    made, _ = client.images.build(
        path=str(EXAMPLE), dockerfile=file, tag=f"{tag}:{file.lower()}", buildargs=arguments, rm=True, forcerm=True
    )
    yield made
    client.images.remove(made.id, force=True)


@pytest.fixture
def run(client: docker.DockerClient) -> Iterator[Run]:
    """``run(image, **options)`` starts a container without a network; ``options`` are docker-py's. It ends with the
    test, whatever the outcome."""
    with ExitStack() as stack:

        def run(image: Image, **options: Any) -> Running:
            options = {"network_mode": "none", **options}
            container = client.containers.create(image, **options)
            stack.callback(container.remove, force=True, v=True)
            container.start()
            return Running(container)

        yield run


@pytest.fixture
def run_function(run: Run, emulator: Path) -> Run:
    """The same as on Lambda: the image's own entry point and command under the emulator, and ``/tmp`` to write to."""

    def run_function(image: Image, **options: Any) -> Running:
        entry, command = image.attrs["Config"]["Entrypoint"], image.attrs["Config"]["Cmd"]
        address = f"127.0.0.1:{EMULATOR_PORT}"
        return run(
            image,
            **{
                "entrypoint": [EMULATOR, "--runtime-interface-emulator-address", address, *entry],
                "command": command,
                "volumes": [f"{emulator}:{EMULATOR}:ro"],
                "tmpfs": {"/tmp": "mode=1777"},
                **options,
            },
        )

    return run_function
