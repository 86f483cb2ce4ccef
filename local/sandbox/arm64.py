"""arm64 programs on this machine: qemu's emulation of the processor, known to the kernel inside one sandbox only.

Correctness only: no time taken under emulation says anything about Lambda's arm64.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ..cache import CACHE, once
from ..failures import LocalFailure
from . import rootfs

QEMU = "qemu-aarch64-static"
PACKAGE = "qemu-user-static"
# The beginning of an ELF file for 64-bit Arm, little-endian, executable or shared, as qemu's own registration has it.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# O, C: an executable is opened by the kernel, with its credentials. F: so is qemu, now, so that no sandbox needs to
# contain it. https://docs.kernel.org/admin-guide/binfmt-misc.html
FLAGS = "OCF"
# Since Linux 6.7 a user namespace may have a binfmt_misc of its own, which the ones below it inherit. The machine's is
# not touched, and root is not needed.
IN_A_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-ec")
REGISTER = """
mount -t binfmt_misc binfmt_misc "$0"
printf %s "$1" > "$0/register"
shift
exec "$@"
"""


def prefix(machine: str) -> list[str]:
    """The words before a command that make arm64 programs executable in it; none on an arm64 machine.

    Raises ``LocalFailure`` where the kernel or its policy does not let this user do it; found out by doing it.
    """
    if machine == "arm64":
        return []
    tool = once(CACHE / "tools" / f"{QEMU}-{machine}", lambda draft: _unpack(draft, machine))
    rule = f":{QEMU}:M::{MAGIC}:{MASK}:{tool / QEMU}:{FLAGS}"
    command = [*IN_A_NAMESPACE, REGISTER, str(tool / "mountpoint"), rule]
    try:
        trial = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=30)
    except FileNotFoundError as error:
        raise LocalFailure("arm64 functions need the command `unshare`, from the package util-linux") from error
    if trial.returncode:
        raise LocalFailure(
            "arm64 functions need Linux 6.7 or newer with binfmt_misc, and user namespaces; this machine does not "
            f"allow it ({trial.stderr.strip()})"
        )
    return command


def _unpack(draft: Path, machine: str) -> None:
    rootfs.unpack([PACKAGE], draft / "package", machine)
    (draft / "package/usr/bin" / QEMU).rename(draft / QEMU)
    shutil.rmtree(draft / "package")  # 300 MB: qemu for every other processor
    (draft / "mountpoint").mkdir()
