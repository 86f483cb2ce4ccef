"""A handler in JavaScript or TypeScript: ``index.fetch`` or ``index.handler``, run by javascript/host.mjs.

The host is an app like any other: it is started, asked over HTTP, and watched. An event reaches ``fetch`` as a request,
and every other function as it is.
"""

from __future__ import annotations

from ..errors import InitFault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIXES = (".mjs", ".js", ".mts", ".ts", ".cjs", ".cts", ".jsx", ".tsx")
# The first that is there. Bun and Deno start sooner than Node (docs/systems.md) and take TypeScript as it is.
RUNTIMES = {"bun": ("bun",), "deno": ("deno", "run", "-A"), "node": ("node",)}
FETCH = "fetch"


def files_of(root: str, handler: str) -> tuple[str, ...]:
    """The modules that ``path.function`` may mean: the first that is there. None if it has not that form."""
    path, _, function = handler.rpartition(".")
    if not path or not function.isidentifier():
        return ()
    return tuple(f"{root}/{path}{suffix}" for suffix in SUFFIXES)


def command_of(file: str, handler: str, wanted: str, on_path: Callable[[str], str]) -> tuple[str, ...]:
    """The argument vector of the host. ``wanted`` is a runtime's name, or "auto" for the first that is there.

    ``on_path``: where a program is, ``""`` if it is nowhere. Raises ``InitFault`` ``Runtime.HandlerNotFound`` when
    there is no runtime.
    """
    names = tuple(RUNTIMES) if wanted == "auto" else (wanted,)
    for name in names:
        program = on_path(name)
        if program:
            host = __file__.rpartition("/")[0] + "/host.mjs"
            return (program, *RUNTIMES[name][1:], host, file, handler.rpartition(".")[2])
    raise InitFault(
        "Runtime.HandlerNotFound",
        f"the handler {handler!r} is {file}, and there is no {' or '.join(names)} on PATH to run it:"
        f" add a runtime layer (./build-layer.sh --with-runtime {names[0]})",
    )
