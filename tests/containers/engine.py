"""A container engine: the one that is running, or a private dockerd that leaves nothing behind.

The private one lives in mount, process and network namespaces of its own, which end with it: no mount, no process and
no interface can be left, and with ``--kill-child`` and the death signal that also holds when the tests are killed.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

START_S = 30.0
STOP_S = 30.0
OWN_NAMESPACES = ("unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child")
# The shell is the namespace's init: it takes over, and in the end kills, what dockerd's shims leave.
INIT = 'dockerd "$@" & daemon=$!; trap "kill -TERM $daemon" TERM; wait $daemon; wait $daemon'
NEEDED = ("dockerd", "containerd", "runc", "unshare", "setpriv")


class NoEngineError(Exception):
    """Says why there is none."""


@contextmanager
def engine() -> Iterator[docker.DockerClient]:
    """A client of an engine. Raises ``NoEngineError``."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    # The SDK's client leaves a socket open when it cannot connect, so it is only made when there is somebody.
    if not address.startswith("unix://") or _listens(Path(address.removeprefix("unix://"))):
        with _client(address) as running:
            yield running
        return
    with private(f"no container engine is running at {address}") as own:
        yield own


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as trial:
        return trial.connect_ex(str(path)) == 0


@contextmanager
def _client(address: str) -> Iterator[docker.DockerClient]:
    environment = {**os.environ, "DOCKER_HOST": address}
    client = docker.DockerClient.from_env(environment=environment, timeout=60)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def private(absence: str) -> Iterator[docker.DockerClient]:
    """A client of an engine that ends here, with all that it was given. Raises ``NoEngineError``."""
    if os.geteuid() != 0:
        raise NoEngineError(f"{absence}, and only root can start one")
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        raise NoEngineError(f"{absence}, and to start one {', '.join(missing)} would have to be installed")
    directory = Path(tempfile.mkdtemp(prefix="fairlead-engine-"))
    try:
        with (directory / "log").open("w") as log, _daemon(directory, log.fileno()) as daemon:
            _await(directory / "socket", daemon, directory / "log", absence)
            with _client(f"unix://{directory}/socket") as client:
                yield client
    finally:
        shutil.rmtree(directory)
        remove_cgroups(directory.name)


@contextmanager
def _daemon(directory: Path, log: int) -> Iterator[subprocess.Popen[bytes]]:
    (directory / "daemon.json").write_text("{}")  # and not the machine's
    options = [
        *("--config-file", directory / "daemon.json", "--data-root", directory / "data"),
        *("--exec-root", directory / "run", "--pidfile", directory / "pid", "--host", f"unix://{directory}/socket"),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
        *("--cgroup-parent", f"/{directory.name}"),
    ]
    command = ["setpriv", "--pdeathsig", "KILL", *OWN_NAMESPACES, "sh", "-c", INIT, "sh", *map(str, options)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as daemon:
        try:
            yield daemon
        finally:
            _end(daemon, directory)


def _end(daemon: subprocess.Popen[bytes], directory: Path) -> None:
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
    for child in map(int, children):  # the namespace's init
        os.kill(child, 15)
    try:
        daemon.wait(STOP_S)
    except subprocess.TimeoutExpired as error:
        daemon.kill()
        raise AssertionError(f"the engine did not end: {(directory / 'log').read_text()}") from error


def _await(path: Path, daemon: subprocess.Popen[bytes], log: Path, absence: str) -> None:
    """Returns when somebody listens on the socket: what is asked before the daemon is ready waits for it."""
    limit = time.monotonic() + START_S
    while not _listens(path):
        if daemon.poll() is not None or time.monotonic() > limit:
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
