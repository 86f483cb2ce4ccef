"""``python -m local.tools shellcheck FILE...``: tools of a contributor that are not on PyPI, without installing them.

The machine's own is used where there is one; else Debian's, unpacked into ``.cache/tools``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

from layer.failures import LayerError

from .cache import CACHE, once
from .failures import LocalFailure
from .machine import LOADERS, TRIPLETS, architecture
from .sandbox import rootfs

# A tool's package and the libraries it needs. libc6 too: a tool then runs on any distribution, by its own loader.
PACKAGES = {
    "bwrap": ("bubblewrap", "libc6", "libcap2", "libpcre2-8-0", "libselinux1"),
    "shellcheck": ("shellcheck", "libc6", "libffi8", "libgmp10"),
    "strace": ("strace", "libc6", "liblzma5", "libunwind8"),
}


def command(tool: str, machine: str) -> list[str]:
    """The start of a command line that runs ``tool``, on a machine of the architecture ``machine``."""
    return next(commands(tool, machine))


def commands(tool: str, machine: str) -> Iterator[list[str]]:
    """Each way to run ``tool``, the machine's own first. Debian's is fetched when it is asked for."""
    if installed := shutil.which(tool):
        yield [installed]
    root = once(CACHE / "tools" / f"{tool}-{machine}", lambda draft: rootfs.unpack(PACKAGES[tool], draft, machine))
    libraries = root / "usr/lib" / TRIPLETS[machine]
    # The loader is told, and not the environment: LD_LIBRARY_PATH would reach whatever the tool starts.
    yield [str(root / LOADERS[machine]), "--library-path", str(libraries), str(root / "usr/bin" / tool)]


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] not in PACKAGES:
        print(f"usage: python -m local.tools {{{','.join(PACKAGES)}}} ARGUMENT...", file=sys.stderr)
        return 2
    try:
        line = [*command(arguments[0], architecture()), *arguments[1:]]
    except (LocalFailure, LayerError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return subprocess.run(line).returncode  # no limit: the developer ends it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
