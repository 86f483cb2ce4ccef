"""Packages of the npm registry, by its own client: so the user's registry, proxy, certificates and credentials hold."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

from .failures import LayerError
from .recipe import REPOSITORY

PATIENCE_S = 600


def command(why: str) -> str:
    """npm's program. Raises ``LayerError``, which says what it is needed for (``why``) when there is none."""
    program = shutil.which("npm")
    if program is None:
        raise LayerError(f"{why}, and there is no npm here: install Node.js with npm (Debian: apt-get install npm)")
    return program


def fetch(package: str, version: str, integrity: str, destination: Path) -> Path:
    """The tarball of a package in the directory ``destination``, checked. Raises ``LayerError``."""
    tarball = pack(package, version, destination)
    if integrity != (found := integrity_of(tarball)):
        raise LayerError(
            f"npm's {package}@{version} has the integrity {found}, and layer/runtimes.txt wants {integrity}: it was "
            "changed on the way, or the registry that npm is set to has another package of that name"
        )
    return tarball


def pack(package: str, version: str, destination: Path) -> Path:
    """The tarball of a package as the registry has it, unchecked. Raises ``LayerError``."""
    program = command(f"{package} comes from npm")
    # In the checkout: an .npmrc here counts, as it would by hand.
    try:
        result = subprocess.run(
            [program, "pack", "--loglevel=error", "--pack-destination", str(destination), f"{package}@{version}"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise LayerError(f"npm has not downloaded {package}@{version} after {PATIENCE_S // 60} minutes") from error
    tarballs = list(destination.glob("*.tgz"))
    if result.returncode or len(tarballs) != 1:
        reason = (result.stderr or result.stdout).strip() or "it gave no reason; `npm ping` tells whether it can work"
        raise LayerError(f"npm could not download {package}@{version}: {reason}")
    return tarballs[0]


def integrity_of(path: Path) -> str:
    """``sha512-`` and the checksum in base64, as npm writes it."""
    with path.open("rb") as file:
        return "sha512-" + base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
