"""A handler in JavaScript or TypeScript: ``index.fetch`` or ``index.handler``, run by javascript/host.mjs.

The host is an app like any other: it is started, asked over HTTP, and watched. An event reaches ``fetch`` as a request,
and every other function as it is.
"""

from __future__ import annotations

import posix

from ..errors import InitFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SUFFIXES = (".mjs", ".js", ".mts", ".ts", ".cjs", ".cts", ".jsx", ".tsx")
# The first that is there. Bun and Deno start sooner than Node (docs/systems.md) and take TypeScript as it is.
RUNTIMES = {"bun": ("bun",), "deno": ("deno", "run", "-A"), "node": ("node",)}
FETCH = "fetch"


def file_of(root: str, handler: str) -> str:
    """The module that ``path.function`` means, if it is JavaScript; else ``""``."""
    path, _, function = handler.rpartition(".")
    if not path or not function.isidentifier():
        return ""
    return next((name for suffix in SUFFIXES if _is_file(name := f"{root}/{path}{suffix}")), "")


def command_of(file: str, handler: str, wanted: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The argument vector of the host. ``wanted`` is a runtime's name, or "auto" for the first that is there.

    Raises ``InitFault`` ``Runtime.HandlerNotFound`` when there is none.
    """
    names = tuple(RUNTIMES) if wanted == "auto" else (wanted,)
    for name in names:
        program = _on_path(name, environ.get("PATH", ""))
        if program:
            host = __file__.rpartition("/")[0] + "/host.mjs"
            return (program, *RUNTIMES[name][1:], host, file, handler.rpartition(".")[2])
    raise InitFault(
        "Runtime.HandlerNotFound",
        f"the handler {handler!r} is {file}, and there is no {' or '.join(names)} on PATH to run it:"
        f" add a runtime layer (./build-layer.sh --with-runtime {names[0]})",
    )


def _on_path(name: str, path: str) -> str:
    candidates = (f"{folder}/{name}" for folder in path.split(":") if folder)
    return next((found for found in candidates if _is_file(found) and posix.access(found, posix.X_OK)), "")


def _is_file(path: str) -> bool:
    try:
        return posix.stat(path).st_mode & 0o170000 == 0o100000
    except (OSError, ValueError):
        return False
