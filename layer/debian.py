"""Debian packages without root: resolved, downloaded and unpacked by the machine's own ``apt-get`` and ``dpkg-deb``.

Nothing is installed and the machine's apt state is not touched: lists, cache and dpkg status are private ones below the
given cache directory. What the machine's configuration says about reaching an archive (proxy, credentials,
certificates) stays in force, and what it says about *this machine* (sources, pins, architectures, hooks) does not.

Signatures are checked by apt against the Debian archive keyring, from the Release file down to each package's SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import unquote

from .failures import LayerError
from .limited import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# What apt says of a file that it could not fetch; the second says that the archive answers and does not have it.
FAILED_TO_FETCH = re.compile(r"^E: Failed to fetch (\S+)\s+(.+?)\s*$", re.MULTILINE)
GONE = re.compile(r"\b(404|410|Not Found|File not found|No such file)\b")
LISTS_LAST_S = 12 * 3600  # a security update is picked up the same day, and a day's builds need one refresh

# What a stable release gets beside its own suite, as (archive, suite). Testing and unstable have neither.
POCKETS = {
    "bullseye": (("main", "bullseye-updates"), ("security", "bullseye-security")),
    "bookworm": (("main", "bookworm-updates"), ("security", "bookworm-security")),
    "trixie": (("main", "trixie-updates"), ("security", "trixie-security")),
}


class Package(NamedTuple):
    """One downloaded package; ``source`` is what ``apt-get source`` takes to get its source, as ``name=version``."""

    name: str
    version: str
    architecture: str
    path: Path
    sha256: str
    source: str


class DebianError(LayerError):
    """The message is complete: it names what is wrong and what to do, and is shown without a traceback."""


def fetch(
    packages: Sequence[str], *, suite: str, architecture: str, cache: Path, with_dependencies: bool = False
) -> list[Package]:
    """The newest version of each package in ``suite`` (its updates and security updates included), in order of name.

    ``architecture`` is Debian's word (``amd64``, ``arm64``) and need not be the machine's. ``with_dependencies`` adds
    what ``apt-get install --no-install-recommends`` would install into an empty system. With lists less than 12 hours
    old and the packages in the cache, no network is used. A package whose file the archive does not have, though its
    lists name it, is replaced by the next older version of another suite, and a line on stderr says so.
    Raises ``DebianError``.
    """
    _require_tools()
    archive = _PrivateApt(cache.resolve() / f"{suite}-{architecture}", suite, architecture)
    with locked(archive.root):
        archive.configure()
        refreshed = archive.refresh_lists()
        wanted = archive.resolve(packages, with_dependencies)
        if not refreshed and archive.lacking(wanted):
            # The archive drops a package's file as soon as a newer one is there, so lists of this morning can be too
            # old.
            try:
                return archive.download(wanted, or_older=False)
            except DebianError:
                archive.refresh_lists(at_once=True)
                wanted = archive.resolve(packages, with_dependencies)
        return archive.download(wanted)


def unpack(package: Package, destination: Path) -> None:
    """Lay the package's files into ``destination``, which is made if missing; no maintainer script runs."""
    destination.mkdir(parents=True, exist_ok=True)
    # Where /lib is a link to usr/lib (a usr-merged root), a package's own directory /lib must not replace the link.
    into = ["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "--no-same-permissions", "-C", str(destination)]
    packing = ["dpkg-deb", "--fsys-tarfile", str(package.path)]
    with subprocess.Popen(packing, stdout=subprocess.PIPE) as packed:  # no limit: it ends with its reader
        unpacked = run(into, stdin=packed.stdout, umask=0o022)
    if packed.returncode or unpacked.returncode:
        raise DebianError(f"{package.path.name} cannot be unpacked into {destination}; delete that file and try again")


class _Wanted(NamedTuple):
    file: str
    sha256: str
    uri: str

    @property
    def name(self) -> str:
        """The name that apt takes, with the architecture where the package has one."""
        name, _, architecture = self.file.removesuffix(".deb").split("_")
        return name if architecture == "all" else f"{name}:{architecture}"

    @property
    def version(self) -> str:
        return unquote(self.file.split("_")[1])

    @property
    def request(self) -> str:
        """Name and version, as ``apt-get download`` takes them."""
        return f"{self.name}={self.version}"


class _PrivateApt:
    """One suite and architecture as apt sees it, in a directory of its own."""

    def __init__(self, root: Path, suite: str, architecture: str) -> None:
        self.root = root
        self.suite = suite
        self.architecture = architecture
        self._sources = root / "sources.list"
        self._refreshed = root / "refreshed"
        self._mirrors: dict[str, str] = {}

    def configure(self) -> None:
        for name in ("lists/partial", "cache/archives/partial", "packages"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "status").write_text("")
        (self.root / "apt.conf").write_text(_CONFIGURATION.format(root=self.root, architecture=self.architecture))
        sources = self._source_lines()
        if not self._sources.exists() or self._sources.read_text() != sources:
            self._refreshed.unlink(missing_ok=True)  # another mirror: its lists are others
            self._sources.write_text(sources)

    def _source_lines(self) -> str:
        mirrors = self._mirrors = _mirrors()
        if not mirrors["main"]:
            raise DebianError(
                "no Debian archive in this machine's apt sources, as on Ubuntu: install debian-archive-keyring and set "
                "DEBIAN_MIRROR (http://.../debian), or make the layers with `make layers-in-container`"
            )
        keyring = os.environ.get("KEYRING") or KEYRING
        if not os.access(keyring, os.R_OK):
            raise DebianError(f"no keyring at {keyring}: install the package debian-archive-keyring, or set KEYRING")
        # Only the package lists: a desktop's apt would fetch the icons and the descriptions of everything as well.
        options = f"[arch={self.architecture} target=Packages signed-by={keyring}]"
        pockets = (("main", self.suite), *POCKETS.get(self.suite, ()))
        return "".join(f"deb {options} {mirrors[of]} {suite} main\n" for of, suite in pockets if mirrors[of])

    def refresh_lists(self, *, at_once: bool = False) -> bool:
        """Whether the package lists were fetched anew."""
        age = time.time() - self._refreshed.stat().st_mtime if self._refreshed.exists() else None
        if age is not None and age < LISTS_LAST_S and not at_once:
            return False
        _say(f"fetching the package lists of Debian {self.suite} ({self.architecture})")
        if not self._mirrors["security"] and "DEBIAN_SECURITY_MIRROR" not in os.environ and self.suite in POCKETS:
            _say_once("no Debian security archive is known, so its updates are left out: set DEBIAN_SECURITY_MIRROR")
        result = self._apt("update", "-qq", "-o", "APT::Update::Error-Mode=any")
        if result.returncode == 0:
            self._refreshed.touch()
            return True
        reason = _reason(result.stderr)
        if any(word in result.stderr for word in ("not signed", "NO_PUBKEY", "EXPKEYSIG", "BADSIG", "no longer valid")):
            raise DebianError(
                f"apt-get refuses the archive: {reason}; a newer debian-archive-keyring (or KEYRING), "
                "or a mirror that is up to date (DEBIAN_MIRROR) is needed"
            )
        if age is None:
            raise DebianError(
                f"the package lists cannot be fetched: {reason}; check the network, or set DEBIAN_MIRROR "
                "and DEBIAN_SECURITY_MIRROR to archives that have Debian " + self.suite
            )
        _say(f"going on with the package lists of {age / 3600:.0f} hours ago; fetching newer ones failed: {reason}")
        return False

    def resolve(self, packages: Sequence[str], with_dependencies: bool) -> list[_Wanted]:
        command = ["install", "--no-install-recommends"] if with_dependencies else ["download"]
        result = self._apt(*command, "-y", "--print-uris", *packages)
        if result.returncode:
            raise DebianError(
                f"Debian {self.suite} ({self.architecture}) cannot give {' '.join(packages)}: {_reason(result.stderr)}"
            )
        return sorted(_listed(result.stdout))

    def lacking(self, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """The packages that are not in the cache."""
        return [file for file in wanted if not self._has(file)]

    def download(self, wanted: Sequence[_Wanted], *, or_older: bool = True) -> list[Package]:
        """``wanted``, out of the cache or the archive.

        Where ``or_older``, another suite's version takes the place of a file that the archive does not have.
        """
        if missing := self.lacking(wanted):
            _say(f"downloading {len(missing)} packages of Debian {self.suite} ({self.architecture})")
            failures = self._download(missing)
            lost = self.lacking(missing)
            if lost and not all(or_older and GONE.search(_reason_of(file, failures)) for file in lost):
                raise self._undelivered(lost[0], failures)
            found = {file: self._older(file, failures) for file in lost}
            wanted = sorted(found.get(file, file) for file in wanted)
        # dpkg-deb leaves what it unpacks when it is interrupted, and where there is no `rm`.
        with TemporaryDirectory(dir=self.root) as scratch:
            return [self._package(file, scratch) for file in wanted]

    def _older(self, lost: _Wanted, failures: Mapping[str, str]) -> _Wanted:
        """The newest version of ``lost`` that another suite really has, downloaded."""
        versions = self._apt("madison", lost.name, program="apt-cache").stdout
        # Newest first, as apt lists them: name | version | archive suite/component architecture Packages
        others = list(dict.fromkeys(re.findall(r"^[^|]+\| *(\S+) *\|", versions, re.MULTILINE)))
        for version in others[others.index(lost.version) + 1 :] if lost.version in others else ():
            listed = self._apt("download", "-y", "--print-uris", f"{lost.name}={version}")
            for other in _listed(listed.stdout):
                if self.lacking([other]):
                    self._download([other])
                if not self.lacking([other]):
                    _say(
                        f"{lost.file} is not in the archive, though its lists name it: {other.file} is used instead "
                        f"({self._setting(lost.uri)} can name an archive that has it)"
                    )
                    return other
        raise self._undelivered(lost, failures)

    def _undelivered(self, file: _Wanted, failures: Mapping[str, str]) -> DebianError:
        return DebianError(
            f"packages cannot be downloaded: {file.file}: {_reason_of(file, failures)} ({file.uri}); check the network "
            f"and try again, or set {self._setting(file.uri)} to an archive that has it"
        )

    def _setting(self, uri: str) -> str:
        """The variable that names the archive which ``uri`` is in."""
        security = self._mirrors["security"]
        is_there = bool(security) and (uri.startswith(f"{security}/") or "/debian-security/" in uri)
        return "DEBIAN_SECURITY_MIRROR" if is_there else "DEBIAN_MIRROR"

    def _download(self, missing: Sequence[_Wanted]) -> dict[str, str]:
        """Download into the cache what can be had: what apt says of the other URIs, and of none ("")."""
        with TemporaryDirectory(dir=self.root) as arrivals:
            result = self._apt("download", "-qq", *(file.request for file in missing), directory=Path(arrivals))
            for file in missing:
                arrival = Path(arrivals) / file.file
                if arrival.exists() and _sha256(arrival) == file.sha256:
                    arrival.replace(self.root / "packages" / file.file)
        if not result.returncode:
            return {}
        return {"": _reason(result.stderr), **dict(FAILED_TO_FETCH.findall(result.stderr))}

    def _has(self, wanted: _Wanted) -> bool:
        path = self.root / "packages" / wanted.file
        return path.exists() and _sha256(path) == wanted.sha256

    def _package(self, wanted: _Wanted, scratch: str) -> Package:
        path = self.root / "packages" / wanted.file
        fields = "${Package}\n${Version}\n${Architecture}\n${source:Package}=${source:Version}"
        shown = run(
            ["dpkg-deb", "--show", f"--showformat={fields}", str(path)],
            env={**os.environ, "TMPDIR": scratch},
            capture_output=True,
            check=True,
        )
        name, version, architecture, source = shown.stdout.split("\n")
        return Package(name, version, architecture, path, wanted.sha256, source)

    def _apt(
        self, *arguments: str, directory: Path | None = None, program: str = "apt-get"
    ) -> subprocess.CompletedProcess[str]:
        return run(
            [program, "-c", str(self.root / "apt.conf"), *arguments],
            cwd=directory or self.root,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )


def _listed(printed: str) -> set[_Wanted]:
    """Parses the output of ``apt-get --print-uris``."""
    lines = re.findall(r"^'([^']+)' (\S+\.deb) \d+ SHA256:([0-9a-f]{64})$", printed, re.MULTILINE)
    return {_Wanted(file, sha256, uri) for uri, file, sha256 in lines}


def _reason_of(file: _Wanted, failures: Mapping[str, str]) -> str:
    return failures.get(file.uri) or failures.get("", "it did not arrive as the archive describes it")


# Given by -c, which is read after the machine's configuration and so overrides it. The hooks are cleared because
# container images use them to empty the machine's cache.
_CONFIGURATION = """\
#clear APT::Architectures;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Default-Release "";
APT::Sandbox::User "";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::ForceHash "SHA256";
Acquire::Retries "2";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}/cache";
Dir::Cache::archives "{root}/cache/archives";
Dir::Cache::pkgcache "{root}/cache/pkgcache.bin";
Dir::Cache::srcpkgcache "{root}/cache/srcpkgcache.bin";
"""


def _require_tools() -> None:
    for tool in ("apt-get", "dpkg-deb", "tar"):
        if not shutil.which(tool):
            raise DebianError(
                f"no {tool} on this machine: run this on Debian or Ubuntu, or in a container of theirs "
                "(`make layers-in-container` does that for the layers)"
            )


def _mirrors() -> dict[str, str]:
    """The archive roots, ``main`` and ``security``: what the environment says, else the machine's own, else ``""``."""
    given = {"main": os.environ.get("DEBIAN_MIRROR"), "security": os.environ.get("DEBIAN_SECURITY_MIRROR")}
    own = {} if None not in given.values() else _own_mirrors()
    return {of: (own.get(of, "") if mirror is None else mirror.rstrip("/")) for of, mirror in given.items()}


def _own_mirrors() -> dict[str, str]:
    # Without the machine's lists, which take apt a third of a second to read and say nothing that is asked here.
    bare = ["-o", "Dir::State::lists=/nonexistent", "-o", "Dir::State::status=/dev/null", "--no-release-info"]
    listed = run(
        ["apt-get", *bare, "indextargets", "--format", "$(COMPONENT) $(REPO_URI)"],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
    )
    # By the last part of the path and the component, since others call a folder "debian" too; Debian's own cloud
    # images name a list of mirrors (mirror+file:/etc/apt/mirrors/debian.list).
    found = re.findall(r"^main (\S+/debian(-security)?(?:\.list)?)/?$", listed.stdout, re.MULTILINE)
    return {"security" if security else "main": uri for uri, security in reversed(found)}


def _reason(messages: str) -> str:
    """apt's first error in its own words (the later ones only repeat that something failed)."""
    lines = [re.sub(r"\s+", " ", line).strip().rstrip(".") for line in messages.splitlines() if line.strip()]
    for mark in ("E: ", "W: ", ""):
        for line in lines:
            if line.startswith(mark):
                return line.removeprefix(mark)
    return "it gave no reason"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time work in ``directory``, which is made if it is not there."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


@cache
def _say_once(message: str) -> None:
    _say(message)
