"""A handler in JavaScript or TypeScript: ``index.fetch`` or ``index.handler``, run by javascript/host.mjs.

The host is an app like any other: it is started, asked over HTTP, and watched. An event reaches ``fetch`` as a request,
and every other function as it is.
"""

from __future__ import annotations

from ..errors import InitFault
from ..values import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The first that is there; those of Lambda's Node runtime in its order, then the others.
SUFFIXES = (".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx")
# The first that is there. Bun and Deno start sooner than Node (docs/systems.md) and take TypeScript as it is.
RUNTIMES = ("bun", "deno", "node")
FETCH = "fetch"
# Where a handler may be a package: what wraps handlers (agents that trace functions) mostly is one, in a layer.
PACKAGES = "/node_modules"
OF_LAYERS = ("/opt/nodejs/node_modules",)
_TYPED = (".ts", ".mts", ".cts")
_BUN_SETTINGS = "bunfig.toml"


class Module(NamedTuple):
    """A file that a handler may mean, and the name in it: ``handler``, or ``ns.handler`` for one inside an object."""

    file: str
    name: str


def modules_of(root: str, handler: str) -> Iterator[Module]:
    """Yields what ``folder/module.name`` may mean, the likeliest first. None if it has not that form.

    The name begins at the first dot of the last segment, as on Lambda's Node runtime; a module may have dots too.
    """
    folder, slash, last = handler.rpartition("/")
    parts = last.split(".")
    for count in range(1, len(parts)):
        name = ".".join(parts[count:])
        if parts[0] and all(part.isidentifier() for part in parts[count:]):
            path = f"{folder}{slash}{'.'.join(parts[:count])}"
            place = path if path.startswith("/") else f"{root}/{path}"
            yield from (Module(place + suffix, name) for suffix in SUFFIXES)
            if not path.startswith("/"):
                yield from (Module(f"{packages}/{path}/index.js", name) for packages in (root + PACKAGES, *OF_LAYERS))


def command_of(
    module: Module, root: str, handler: str, wanted: str, on_path: Callable[[str], str], is_file: Callable[[str], bool]
) -> tuple[str, ...]:
    """The argument vector of the host. ``wanted`` is a runtime's name, or "auto" for the first that is there.

    ``on_path``: where a program is, ``""`` if it is nowhere. Raises ``InitFault`` ``Runtime.HandlerNotFound`` when
    there is no runtime.
    """
    names = RUNTIMES if wanted == "auto" else (wanted,)
    for name in names:
        program = on_path(name)
        if program:
            host = __file__.rpartition("/")[0] + "/host.mjs"
            return (program, *_arguments(name, host, module.file, root, is_file), module.file, module.name, handler)
    raise InitFault(
        "Runtime.HandlerNotFound",
        f"the handler {handler!r} is {module.file}, and there is no {' or '.join(names)} on PATH to run it:"
        f" add a runtime layer (./build-layer.sh --with-runtime {names[0]})",
    )


def _arguments(runtime: str, host: str, file: str, root: str, is_file: Callable[[str], bool]) -> tuple[str, ...]:
    """Returns the runtime's arguments, with the function's own configuration: the host lies elsewhere."""
    if runtime == "deno":
        # The entry decides which deno.json, package.json and node_modules count, so that is the function's module.
        # Without a type in package.json an index.js may be CommonJS, as Node has it.
        return ("run", "-A", "--no-prompt", "--unstable-detect-cjs", f"--preload={host}", file)
    if runtime == "bun":
        settings = f"{root}/{_BUN_SETTINGS}"
        return (*((f"--config={settings}",) if is_file(settings) else ()), host)
    if file.endswith(_TYPED):  # enums and namespaces have to be compiled, not only left out
        return ("--experimental-transform-types", "--disable-warning=ExperimentalWarning", host)
    return (host,)
