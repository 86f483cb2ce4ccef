"""A handler in JavaScript or TypeScript: ``index.fetch`` or ``index.handler``, run by javascript/host.mjs.

The host is an app like any other: it is started, asked over HTTP, and watched. An event reaches ``fetch`` as a request,
and every other function as it is.
"""

from __future__ import annotations

from ..errors import InitFault
from ..json_codec import loads
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
_MANIFEST = "package.json"
# Of `exports` in package.json, in the order that it has them.
_CONDITIONS = ("node", "import", "require", "module-sync", "default")
_BUN_SETTINGS = "bunfig.toml"
_AUTO_INSTALL = ("auto", "install.auto")  # bunfig.toml's key; only its section [install] has one of that name
_DENO_SETTINGS = ("deno.json", "deno.jsonc")
_DENO_LOCK = "deno.lock"
_DENO_CACHE = "/.deno_dir"  # where `make run` has it too


class Module(NamedTuple):
    """A file that a handler may mean, and the name in it: ``handler``, or ``ns.handler`` for one inside an object."""

    file: str
    name: str


class Disk(NamedTuple):
    """Whether there is such a file or folder, and a file's content, ``""`` for none."""

    is_file: Callable[[str], bool]
    is_folder: Callable[[str], bool]
    text: Callable[[str], str]


class Host(NamedTuple):
    """How a module is run: the argument vector, and variables that it gets unless the function sets them itself."""

    command: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]


def modules_of(root: str, handler: str, disk: Disk) -> Iterator[Module]:
    """Yields what ``folder/module.name`` may mean, the likeliest first. None if it has not that form.

    The name begins at the first dot of the last segment, as on Lambda's Node runtime; a module may have dots too.
    """
    folder, slash, last = handler.rpartition("/")
    parts = last.split(".")
    for count in range(1, len(parts)):
        name = ".".join(parts[count:])
        if parts[0] and all(parts[count:]) and ":" not in name:
            path = f"{folder}{slash}{'.'.join(parts[:count])}"
            place = path if path.startswith("/") else f"{root}/{path}"
            folders = [place]
            if not path.startswith("/"):
                folders += [f"{packages}/{path}" for packages in (root + PACKAGES, *OF_LAYERS)]
            for suffix in SUFFIXES:
                yield Module(place + suffix, name)
            for one in folders:
                if disk.is_folder(one):
                    yield from (Module(file, name) for file in _main_of(one, disk))


def _main_of(folder: str, disk: Disk) -> Iterator[str]:
    """Yields what may be the module that a folder stands for: what package.json says, then the usual name."""
    try:
        manifest = loads(disk.text(f"{folder}/{_MANIFEST}").encode())
    except ValueError:  # there is none, or none that Node would take
        manifest = None
    said = manifest if isinstance(manifest, dict) else {}
    for main in (_exported(said.get("exports")), said.get("main")):
        if isinstance(main, str) and main:
            path = f"{folder}/{main.removeprefix('./')}"
            yield from (path + suffix for suffix in ("", *SUFFIXES))
            yield f"{path}/index.js"
    yield from (f"{folder}/index{suffix}" for suffix in SUFFIXES)


def _exported(exports: object) -> object:
    """Returns what a package exports under its own name (https://nodejs.org/api/packages.html#main-entry-point-export)."""
    found = exports
    if isinstance(exports, dict) and any(key.startswith(".") for key in exports):
        found = exports.get(".")
    while isinstance(found, dict):
        found = next((value for key, value in found.items() if key in _CONDITIONS), None)
    return found


def host_of(module: Module, root: str, handler: str, wanted: str, on_path: Callable[[str], str], disk: Disk) -> Host:
    """How the module is run. ``wanted`` is a runtime's name, or "auto" for the first that is there.

    ``on_path``: where a program is, ``""`` if it is nowhere. Raises ``InitFault`` ``Runtime.HandlerNotFound`` when
    there is no runtime.
    """
    names = RUNTIMES if wanted == "auto" else (wanted,)
    for name in names:
        program = on_path(name)
        if program:
            host = __file__.rpartition("/")[0] + "/host.mjs"
            command = (program, *_arguments(name, host, module.file, root, disk), module.file, module.name, handler)
            return Host(command, _variables(name, root, disk))
    raise InitFault(
        "Runtime.HandlerNotFound",
        f"the handler {handler!r} is {module.file}, and there is no {' or '.join(names)} on PATH to run it:"
        f" add a runtime layer (./build-layer.sh --with-runtime {names[0]})",
    )


def _arguments(runtime: str, host: str, file: str, root: str, disk: Disk) -> tuple[str, ...]:
    """Returns the runtime's arguments, with the function's own configuration: the host lies elsewhere.

    Nothing is downloaded when a function starts, but for a ``bunfig.toml`` that asks for it: without the network, and
    with a registry that is slow or has something else today, that ends in a timeout that nobody can explain.
    """
    if runtime == "deno":
        # The entry decides which deno.json, package.json and node_modules count, so that is the function's module.
        # Without a type in package.json an index.js may be CommonJS, as Node has it.
        found = _found_by_deno(file, root, disk)
        return ("run", "-A", "--no-prompt", "--unstable-detect-cjs", "--cached-only", *found, f"--preload={host}", file)
    if runtime == "bun":
        settings = f"{root}/{_BUN_SETTINGS}"
        lines = disk.text(settings).splitlines()
        installs = any(line.partition("=")[0].strip() in _AUTO_INSTALL for line in lines)
        given = (f"--config={settings}",) if disk.is_file(settings) else ()
        return (*given, *(() if installs else ("--no-install",)), host)
    if file.endswith(_TYPED):  # enums and namespaces have to be compiled, not only left out
        return ("--experimental-transform-types", "--disable-warning=ExperimentalWarning", host)
    return (host,)


def _found_by_deno(file: str, root: str, disk: Disk) -> Iterator[str]:
    """Yields options for what lies beside the module, or above it in the function.

    A function's folder cannot be written on Lambda, and Deno ends when it cannot write a lock file or link packages.
    """
    folders = list(_upwards(file, root))
    is_locked = any(disk.is_file(f"{folder}/{_DENO_LOCK}") for folder in folders)
    texts = (disk.text(f"{folder}/{name}") for folder in folders for name in _DENO_SETTINGS)
    yield "--frozen" if is_locked or any('"lock"' in text for text in texts) else "--no-lock"
    if any(disk.is_folder(folder + PACKAGES) for folder in folders):
        yield "--node-modules-dir=manual"


def _upwards(file: str, root: str) -> Iterator[str]:
    folder = file.rpartition("/")[0]
    while folder.startswith(f"{root}/"):
        yield folder
        folder = folder.rpartition("/")[0]
    yield root


def _variables(runtime: str, root: str, disk: Disk) -> tuple[tuple[str, str], ...]:
    """Returns those of Lambda's Node runtime, and what Deno should know.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
    """
    variables = [("NODE_PATH", ":".join((*OF_LAYERS, root)))]
    if runtime == "deno":
        variables.append(("NO_COLOR", "1"))  # it has colours for pipes too, which logs show as signs
        if disk.is_folder(root + _DENO_CACHE):
            variables.append(("DENO_DIR", root + _DENO_CACHE))
    return tuple(variables)
