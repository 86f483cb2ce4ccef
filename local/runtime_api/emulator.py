"""AWS's Runtime Interface Emulator (RIE), Apache-2.0: the binary that the SAM CLI's wheel on PyPI carries."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from ..cache import CACHE, once
from ..failures import LocalFailure

WHEEL = "aws-sam-cli==1.170.0"
MEMBER = "samcli/local/rapid/aws-lambda-rie-"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}


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
