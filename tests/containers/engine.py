"""A container engine: the one that is running, or a private dockerd that leaves nothing behind.

The private one lives in mount and process namespaces of its own, and in a network of its own too unless it needs this
machine's. They end with it: no mount, no process and no interface can be left, and with ``--kill-child`` and the death
signal that also holds when the tests are killed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker

from tests.fakes.children import child

START_S = 30.0
STOP_S = 30.0
# What a daemon has to itself. With this machine's network its containers reach archives, by ``--network host``.
MACHINES_NETWORK = ("--mount", "--pid")
OWN_NETWORK = (*MACHINES_NETWORK, "--net")
# The shell is the namespace's init: it takes over, and in the end kills, what dockerd's shims leave.
INIT = 'dockerd "$@" & daemon=$!; trap "kill -TERM $daemon" TERM; wait $daemon; wait $daemon'
NEEDED = ("dockerd", "containerd", "runc", "unshare", "setpriv")


class NoEngineError(Exception):
    """Says why there is none."""


@contextmanager
def engine() -> Iterator[str]:
    """The address (``DOCKER_HOST``) of an engine. Raises ``NoEngineError``."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    # The SDK's client leaves a socket open when it cannot connect, so it is only made when there is somebody.
    if not address.startswith("unix://") or _listens(Path(address.removeprefix("unix://"))):
        yield address
        return
    with daemon(f"no container engine is running at {address}", OWN_NETWORK) as own:
        yield own


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(str(path)) == 0


@contextmanager
def connected(address: str) -> Iterator[docker.DockerClient]:
    """The SDK's client of the engine at ``address``."""
    environment = {**os.environ, "DOCKER_HOST": address}
    client = docker.DockerClient.from_env(environment=environment, timeout=60)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def daemon(absence: str, namespaces: Sequence[str]) -> Iterator[str]:
    """The address of an engine that ends here, with all that it was given. Raises ``NoEngineError``."""
    if os.geteuid() != 0:
        raise NoEngineError(f"{absence}, and only root can start one")
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        raise NoEngineError(f"{absence}, and to start one {', '.join(missing)} would have to be installed")
    directory = Path(tempfile.mkdtemp(prefix="fairlead-engine-"))
    try:
        with (directory / "log").open("w") as log, _started(directory, namespaces, log.fileno()) as process:
            _await(directory / "socket", process, directory / "log", absence)
            yield f"unix://{directory}/socket"
    finally:
        shutil.rmtree(directory)
        remove_cgroups(directory.name)


@contextmanager
def _started(directory: Path, namespaces: Sequence[str], log: int) -> Iterator[subprocess.Popen[bytes]]:
    (directory / "daemon.json").write_text("{}")  # and not the machine's
    options = [
        *("--config-file", directory / "daemon.json", "--data-root", directory / "data"),
        *("--exec-root", directory / "run", "--pidfile", directory / "pid", "--host", f"unix://{directory}/socket"),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
        *("--cgroup-parent", f"/{directory.name}"),
    ]
    apart = ["unshare", *namespaces, "--fork", "--mount-proc", "--kill-child"]
    command = ["setpriv", "--pdeathsig", "KILL", *apart, "sh", "-c", INIT, "sh", *map(str, options)]
    with child(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            _end(process, directory)


def _end(process: subprocess.Popen[bytes], directory: Path) -> None:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for init in map(int, children):  # the namespace's init
        os.kill(init, 15)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise AssertionError(f"the engine did not end: {(directory / 'log').read_text()}") from error


def _await(path: Path, process: subprocess.Popen[bytes], log: Path, absence: str) -> None:
    """Returns when somebody listens on the socket: what is asked before the daemon is ready waits for it."""
    limit = time.monotonic() + START_S
    while not _listens(path):
        if process.poll() is not None or time.monotonic() > limit:
            lines = log.read_text().strip().splitlines() or ["it said nothing"]
            raise NoEngineError(f"{absence}, and dockerd could not be started: {lines[-1]}")
        time.sleep(0.02)


def cgroups(name: str) -> list[Path]:
    """The groups of that name, in every hierarchy."""
    roots = (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*"))
    return [root / name for root in roots if (root / name).is_dir()]


def remove_cgroups(name: str) -> None:
    """Remove what dockerd made for its containers. The kernel refuses it while a process is in there."""
    for group in cgroups(name):
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
