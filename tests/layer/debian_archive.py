"""A small Debian archive in a directory, signed with a key of its own: what debian.py meets, without a network."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from email.utils import formatdate
from pathlib import Path
from tempfile import mkdtemp

SUITE = "sid"  # the one suite that has no updates and no security archive beside it


class DebianArchive:
    """``url`` is what DEBIAN_MIRROR takes, ``keyring`` what KEYRING takes."""

    def __init__(self, root: Path, suite: str = SUITE) -> None:
        self._root = root
        self._suite = suite
        root.mkdir(parents=True)
        self._gnupg = Path(mkdtemp())  # not below root: the agent's socket has to have a short path
        self._gpg("--passphrase", "", "--quick-generate-key", "archive", "ed25519", "sign", "never")
        self.keyring = root / "keyring.gpg"
        self.keyring.write_bytes(self._gpg("--export"))
        self.url = f"copy:{root}"
        self._stanzas: dict[str, str] = {}

    def add(self, name: str, version: str, depends: str = "", files: tuple[str, ...] = ()) -> Path:
        """Build a package whose files hold their own path, and list it; an older version's file disappears."""
        for superseded in self._root.glob(f"pool/{name}_*.deb"):
            superseded.unlink()
        content = self._root / "build" / f"{name}-{version.replace(':', '-')}"
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n"
        control += f"Source: {name}-source\n" + (f"Depends: {depends}\n" if depends else "")
        (content / "DEBIAN").mkdir(parents=True)
        (content / "DEBIAN/control").write_text(control)
        for file in files:
            (content / file).parent.mkdir(parents=True, exist_ok=True)
            (content / file).write_text(file)
        pool = self._root / "pool"
        pool.mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", content, pool], check=True, capture_output=True, timeout=600
        )
        package = next(pool.glob(f"{name}_*.deb"))
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        place = f"Filename: pool/{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
        self._stanzas[name] = control + place
        return package

    def publish(self, *, signed: bool = True) -> None:
        """Write the lists, so that apt sees what was added."""
        lists = self._root / "dists" / self._suite
        packages = lists / "main/binary-amd64/Packages"
        packages.parent.mkdir(parents=True, exist_ok=True)
        content = "\n".join(self._stanzas.values()).encode()
        packages.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        release = lists / "Release"
        release.write_text(
            f"Suite: {self._suite}\nCodename: {self._suite}\nComponents: main\nArchitectures: amd64\n"
            f"Date: {formatdate(usegmt=True)}\nSHA256:\n {digest} {len(content)} main/binary-amd64/Packages\n"
        )
        (lists / "InRelease").unlink(missing_ok=True)
        if signed:
            (lists / "InRelease").write_bytes(self._gpg("--clearsign", "--output", "-", str(release)))

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self._gnupg), "--quiet", "--batch", *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=600).stdout

    def close(self) -> None:
        """End the agent that gpg started, and forget its keys."""
        subprocess.run(
            ["gpgconf", "--homedir", str(self._gnupg), "--kill", "gpg-agent"], capture_output=True, timeout=600
        )
        shutil.rmtree(self._gnupg, ignore_errors=True)  # the agent removes its sockets at the same time
