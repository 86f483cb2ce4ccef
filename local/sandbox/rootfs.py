"""A small root directory that stands in for ``provided.al2023``.

Debian packages are only unpacked, as an ordinary user: nothing is installed and no maintainer script runs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from layer import debian

from ..cache import CACHE, once
from ..machine import DEBIAN_NAMES

# Its glibc is 2.36; Amazon Linux 2023 has 2.34, and both have the merged /usr. bullseye has 2.31: what runs there and
# here runs between them.
SUITE = "bookworm"

# What provided.al2023 has, as far as an app or the layer can tell: a shell, coreutils, the C and C++ libraries, CA
# certificates, time zones. No Python and no Perl: a layer that leaned on the machine's would pass here and fail on
# Lambda. They are named one by one because the dependencies of ca-certificates (openssl, debconf) would bring Perl.
ROOT_PACKAGES = (
    *("base-files", "bash", "coreutils", "dash", "findutils", "grep", "sed"),
    *("libc6", "libc-bin", "libgcc-s1", "libstdc++6", "zlib1g", "ca-certificates"),
    *("libacl1", "libattr1", "libgmp10", "libpcre2-8-0", "libselinux1", "libtinfo6", "tzdata"),
)
MORE_PACKAGES = {"bullseye": ("libpcre3",)}  # its grep is linked with the older one
UNUSED = ("doc", "gcc", "gdb", "info", "lintian", "locale", "man")
# Lambda runs the function as this user.
UID, GID = 993, 990
PASSWD = f"root:x:0:0:root:/root:/bin/bash\nsbx_user1051:x:{UID}:{GID}::/home/sbx_user1051:/sbin/nologin\n"
GROUP = f"root:x:0:\nsbx_user1051:x:{GID}:\n"

# bubblewrap can bind onto what exists in a read-only root, and on nothing else.
MOUNT_POINTS = ("dev", "mnt", "opt", "proc", "sys", "tmp", "var/runtime", "var/task")
MOUNT_FILES = ("etc/hosts", "etc/resolv.conf", "usr/local/bin/aws-lambda-rie")


def ensure(architecture: str, suite: str = SUITE) -> Path:
    """The root directory for ``architecture`` out of a Debian ``suite``: 4 s and 40 MB the first time, then nothing."""
    # What this file says is in it is part of the name: a root that an older checkout has made is not taken for it.
    made_from = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    name = f"{suite}-{architecture}-{made_from}"
    return once(CACHE / "root" / name, lambda draft: _build(draft, architecture, suite))


def _build(draft: Path, architecture: str, suite: str) -> None:
    unpack((*ROOT_PACKAGES, *MORE_PACKAGES.get(suite, ())), draft, architecture, suite)
    for name in UNUSED:
        shutil.rmtree(draft / "usr/share" / name, ignore_errors=True)
    for name in MOUNT_POINTS:
        (draft / name).mkdir(parents=True, exist_ok=True)
    for name in MOUNT_FILES:
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).touch()
    _write_certificates(draft)
    (draft / "etc/passwd").write_text(PASSWD)
    (draft / "etc/group").write_text(GROUP)
    (draft / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def unpack(packages: Sequence[str], root: Path, architecture: str, suite: str = SUITE) -> None:
    """The files of Debian ``packages``, and nothing that these depend on, below ``root``."""
    # Packages of that age still carry /bin and /lib; the merged /usr is made first, so that they land in it.
    for name in ("bin", "lib", "lib64", "sbin"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in debian.fetch(packages, suite=suite, architecture=DEBIAN_NAMES[architecture], cache=CACHE / "debian"):
        debian.unpack(package, root)


def _write_certificates(root: Path) -> None:
    """One bundle, where Debian's software looks for it and where Amazon Linux's does."""
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    certificates = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    bundle.write_bytes(b"".join(certificate.read_bytes() for certificate in certificates))
    alias = root / "etc/pki/tls/certs/ca-bundle.crt"
    alias.parent.mkdir(parents=True, exist_ok=True)
    alias.symlink_to(os.path.relpath(bundle, alias.parent))
