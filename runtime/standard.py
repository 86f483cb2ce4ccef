"""Fairlead imports the standard library's modules, whatever the function's folders have under the same names.

A function may have a ``types.py`` or a ``queue.py`` beside its handler, and its folders come first in ``sys.path``.
Much of what Fairlead needs is imported later than that, or never. So each import in a function of ours is in a block::

    with standard_library:
        import traceback

In there this thread finds the standard library's modules and no others under their names, and so does what these
import in turn. After the block the user's modules have their names back, and what was loaded meanwhile has none where
the function has a module of that name.

For the user's own imports the rule is the managed runtime's, whose modules are loaded before the function's folders
are looked at: under the names of those come the standard library's, under all other names the function's come first.
"""

from __future__ import annotations

import sys
from _frozen_importlib import BuiltinImporter, FrozenImporter  # importlib.machinery is these, and a file to read
from _frozen_importlib_external import PathFinder
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
    import socket as socket
    from collections.abc import Iterable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any
else:
    # ``socket`` and ``signal`` without their Python halves: what those wrap, which is all that is used here. The
    # wrappers bring enums and selectors, 6 and 4 ms of a start that takes 7 ms in all (docs/decisions/0003). The names
    # have not changed in twenty years of CPython; if one ever does, the wrapper is loaded instead, and only time is
    # lost.
    try:
        import _signal as signal
        import _socket as socket
    except ImportError:
        import signal  # noqa: F401
        import socket  # noqa: F401

# What awslambdaric 4.2.2 and CPython 3.13's `site` have loaded when the handler's module is imported, as measured.
LOADED_BY_MANAGED_RUNTIME = frozenset(
    (
        *("__future__", "_abc", "_codecs", "_collections", "_collections_abc", "_colorize", "_decimal"),
        *("_frozen_importlib", "_frozen_importlib_external", "_functools", "_imp", "_io", "_json", "_operator"),
        *("_signal", "_sitebuiltins", "_sre", "_stat", "_string", "_thread", "_warnings", "_weakref", "_weakrefset"),
        *("abc", "atexit", "builtins", "codecs", "collections", "contextlib", "copyreg", "decimal", "encodings"),
        *("enum", "functools", "genericpath", "importlib", "io", "itertools", "json", "keyword", "linecache"),
        *("logging", "marshal", "math", "numbers", "operator", "os", "posix", "posixpath", "re", "reprlib", "site"),
        *("stat", "string", "sys", "textwrap", "threading", "time", "traceback", "types", "warnings", "weakref"),
        "zipimport",
    )
)
# What CPython is never built without. Debian compiles in more: `math`, `array`, `select`, `zlib`, files elsewhere.
BUILT_IN_EVERYWHERE = frozenset(
    (
        *("_abc", "_ast", "_codecs", "_collections", "_functools", "_imp", "_io", "_locale", "_operator", "_signal"),
        *("_sre", "_stat", "_string", "_suggestions", "_symtable", "_sysconfig", "_thread", "_tokenize"),
        *("_tracemalloc", "_typing", "_warnings", "_weakref", "atexit", "builtins", "errno", "faulthandler", "gc"),
        *("itertools", "marshal", "posix", "pwd", "sys", "time"),
    )
)
# Its functions import it again while they run: there can be only one, and that is the one that runs.
RUNNING = "asyncio"
NEVER_THE_USERS = LOADED_BY_MANAGED_RUNTIME | BUILT_IN_EVERYWHERE


class StandardLibrary:
    """A context manager for imports, and a finder in front of ``sys.meta_path`` from ``guard`` on."""

    def __init__(self) -> None:
        self._folders: tuple[str, ...] = ()  # empty: nothing of the user's can be in the way yet
        self._threads: list[int] = []  # which import for us, once for each block that they are in
        self._stashes: dict[int, dict[str, ModuleType]] = {}  # of such a thread, what it has taken from the user
        self._users: set[str] = set()  # the standard library's names under which the user has loaded other modules
        self._loaded: list[str] = []  # names that were looked for in a block
        self._hidden: dict[str, ModuleType] = {}  # ours, under names that are the user's

    def guard(self) -> None:
        """To be called before the first of the user's folders is in ``sys.path``."""
        if self._folders:
            return
        library = f"{sys.base_prefix}/{sys.platlibdir}/"
        self._folders = tuple(folder for folder in sys.path if folder.startswith(library)) or tuple(sys.path)
        sys.meta_path.insert(0, self)

    def give_way(self) -> None:
        """To be called once the user's folders are in ``sys.path``: what is loaded already is hidden from the user."""
        self._hide(name for name in sys.stdlib_module_names if name in sys.modules)

    def __enter__(self) -> None:
        if not self._folders:
            return
        thread = get_ident()
        self._threads.append(thread)
        if (self._users or self._hidden) and thread not in self._stashes:
            stash = self._stashes[thread] = self._loaded_under(self._users.union(self._hidden), is_standard=False)
            for name in stash:
                del sys.modules[name]
            sys.modules.update(self._hidden)

    def __exit__(self, *_: object) -> None:
        if not self._folders:
            return
        thread = get_ident()
        self._threads.remove(thread)
        if thread in self._threads:
            return
        if self._loaded or self._hidden:
            loaded, self._loaded = self._loaded, []
            self._hide([*loaded, *self._hidden])
        stash = self._stashes.pop(thread, {})
        is_running = RUNNING in sys.modules
        sys.modules.update(
            {name: module for name, module in stash.items() if not (is_running and name.partition(".")[0] == RUNNING)}
        )

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As finders have it. A submodule is where its package is."""
        if path is not None or name not in sys.stdlib_module_names:
            return None
        if get_ident() in self._threads:
            spec = self._standard_spec(name)
            if spec is None:  # one for another system, and not a file of the user's
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            self._loaded.append(name)
            return spec
        if name in LOADED_BY_MANAGED_RUNTIME:
            spec = self._standard_spec(name)
            if spec and spec.loader:
                loader: Any = _Loader(spec.loader, self._threads)
                spec.loader = loader
            return spec
        if is_inside_python(name):
            return None
        spec = self.users_spec(name)
        if spec:
            self._users.add(name)
        return spec

    def users_spec(self, name: str) -> ModuleSpec | None:
        """Where the function has that top-level module, if it has: in its folders, as far as those come first."""
        spec = self.users_place(name)
        return spec if spec and spec.loader else None

    def users_place(self, name: str) -> ModuleSpec | None:
        """Where that module is, or a folder of that name without ``__init__.py``, before which all modules come."""
        folders = []
        for folder in sys.path:
            if folder in self._folders:
                break
            folders.append(folder)
        return PathFinder.find_spec(name, folders)

    def is_taken(self, name: str) -> bool:
        """Whether an import of that name, wherever it stands, gives the standard library's module."""
        if name in LOADED_BY_MANAGED_RUNTIME or is_inside_python(name):
            return True
        return name in sys.modules and self._is_standard(sys.modules[name])

    def _standard_spec(self, name: str) -> ModuleSpec | None:
        found = BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name)
        return found or PathFinder.find_spec(name, self._folders)

    def _hide(self, names: Iterable[str]) -> None:
        """Take what is loaded under these names from where the user finds it, if the user has modules of the name."""
        tops = {name.partition(".")[0] for name in names} - NEVER_THE_USERS - {RUNNING}
        shadowed = {name for name in tops if name in sys.modules and self.users_spec(name)}
        if shadowed:
            for name, module in self._loaded_under(shadowed, is_standard=True).items():
                self._hidden[name] = module
                del sys.modules[name]

    def _loaded_under(self, names: set[str], *, is_standard: bool) -> dict[str, ModuleType]:
        """Modules of these names, and what is below them: the standard library's, or all others."""
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name.partition(".")[0] in names and self._is_standard(module) == is_standard
        }

    def _is_standard(self, module: ModuleType) -> bool:
        origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
        return origin in ("built-in", "frozen") or origin.startswith(tuple(f"{folder}/" for folder in self._folders))


def is_inside_python(name: str) -> bool:
    """Whether CPython has the module compiled in, whoever has built it, so that no file takes its place anywhere."""
    return name in BUILT_IN_EVERYWHERE or FrozenImporter.find_spec(name) is not None


class WrappedLoader:
    """A module's own loader, for subclasses that do something before or after the module is executed."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader  # as if nobody had come between
        self._loader.exec_module(module)


class _Loader(WrappedLoader):
    """The loader of a module that is the standard library's. What it imports in turn is so too."""

    def __init__(self, loader: Any, threads: list[int]) -> None:
        super().__init__(loader)
        self._threads = threads

    def exec_module(self, module: Any) -> None:
        thread = get_ident()
        self._threads.append(thread)
        try:
            super().exec_module(module)
        finally:
            self._threads.remove(thread)


standard_library = StandardLibrary()
