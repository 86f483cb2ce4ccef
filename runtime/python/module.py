"""The user's module and the function in it: imported once, and every way in which that can fail has a name."""

from __future__ import annotations

import posix
import sys
from _frozen_importlib import ModuleSpec, module_from_spec  # importlib.util is a file to read
from _frozen_importlib_external import spec_from_file_location

from ..errors import InitFault
from ..report import foreign_libraries, name_of, text_of, user_fault
from ..standard import standard_library

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    HandlerFunction = Callable[[Any, Any], Any]

# One of these is in the folder of a function in JavaScript.
JAVASCRIPT_PROJECT = ("package.json", "deno.json", "deno.jsonc", "bunfig.toml", "tsconfig.json")
EXIT_ERROR = "Runtime.ExitError"  # what the platform calls an end that nobody has reported
INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
# What the managed runtime has on its path and this one has not, and the name under which pip knows it.
BROUGHT_BY_MANAGED_RUNTIME = {
    "boto3": "boto3",
    "botocore": "boto3",
    "s3transfer": "boto3",
    "jmespath": "boto3",
    "dateutil": "python-dateutil",
    "six": "six",
    "urllib3": "urllib3",
}
_MISSING = object()
# What a handler's module is called whose own name is that of a module which Python needs itself.
ALIAS = "handler_{}"


def load(handler: str) -> HandlerFunction:
    """Imports and returns what the handler names. Raises ``InitFault``."""
    path, _, name = handler.rpartition(":" if ":" in handler else ".")
    module, function = _import(path.replace("/", "."), name, path)
    if function is _MISSING:
        message = f"Handler '{name}' missing on module '{path}'{_where(module)}"
        raise InitFault("Runtime.HandlerNotFound", message)
    if not callable(function):
        message = f"Handler '{name}' on module '{path}' is not callable: it is {type(function).__name__}"
        raise InitFault("Runtime.HandlerNotFound", message)
    found: HandlerFunction = function
    return found


def _where(module: ModuleType) -> str:
    """From which file, if that is not the user's: the name is taken by something that comes with Python.

    Or from which folder: any is a package to Python (PEP 420), and one may hold a handler in JavaScript.
    """
    if getattr(module, "__file__", None) is None and (folders := [*getattr(module, "__path__", ())]):
        return f" (which is a folder without __init__.py or index.js, {folders[0]})"
    path = getattr(module, "__file__", None) or "Python itself"
    is_the_users = path.startswith(sys.path[0] + "/")
    return "" if is_the_users else f" (which comes from {path})"


def _import(name: str, attribute: str, shown: str) -> tuple[ModuleType, object]:
    """The module, and the attribute or ``_MISSING``. Whatever the user's code does meanwhile is an ``InitFault``."""
    try:
        name = _importable(name, shown)
        __import__(name)
        module = sys.modules[name]
        found: object = module
        for part in attribute.split("."):  # of module:callable; in module.function there is one
            found = getattr(found, part, _MISSING)
        return module, found
    except InitFault:
        raise
    except ImportError as error:
        said = text_of(error)
        message = f"Unable to import module '{shown}': {said}{foreign_libraries(said)}{_remedy(error, name, shown)}"
        raise user_fault(InitFault, error, "Runtime.ImportModuleError", message) from None
    except SyntaxError as error:
        message = f"Syntax error in module '{shown}': {text_of(error)}"
        fault = user_fault(InitFault, error, "Runtime.UserCodeSyntaxError", message)
        fault.stack += (f'  File "{error.filename}" Line {error.lineno}\n    {error.text}',)
        raise fault from None
    except Exception as error:  # an OSError, where it is ctypes that loads a library
        said = text_of(error)
        raise user_fault(InitFault, error, message=said + foreign_libraries(said)) from None
    except BaseException as error:
        exit_code, error_type, message = ending(error, "the module")
        fault = user_fault(InitFault, error, error_type, message)
        fault.exit_code = exit_code or 1
        raise fault from None


def _importable(name: str, shown: str) -> str:
    """The name under which the user's module ``name`` is to be imported: another one, where Python needs that itself.

    Raises ``InitFault`` when it is a module of Python's that the user has not, and whatever the user's code raises.
    """
    top, dot, rest = name.partition(".")
    if top not in sys.stdlib_module_names:
        return name
    spec = standard_library.users_place(top)
    if spec is None and top in sys.builtin_module_names:
        message = f"Cannot use built-in module {shown} as a handler module"
        raise InitFault("Runtime.BuiltInModuleConflict", message)
    if spec is None or (spec.loader and not standard_library.is_taken(top)):
        return name
    alias = ALIAS.format(top)
    _import_from(spec, alias)
    return alias + dot + rest


def _import_from(place: ModuleSpec, alias: str) -> None:
    """Import a file, or a folder, under a name that is not its own."""
    folders = place.submodule_search_locations
    spec: Any
    if place.loader:
        spec = spec_from_file_location(alias, place.origin, submodule_search_locations=folders)
    else:
        spec = ModuleSpec(alias, None, is_package=True)
        spec.submodule_search_locations += folders
    sys.modules[alias] = module_from_spec(spec)
    if spec.loader:
        spec.loader.exec_module(sys.modules[alias])


def _remedy(error: ImportError, name: str, shown: str) -> str:
    """Returns what may help, in parentheses: for who comes from the managed runtime, or has a handler in JavaScript."""
    missing = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError):
        return ""
    if missing == name.partition(".")[0]:
        return _javascript_looked_for(shown)
    package = BROUGHT_BY_MANAGED_RUNTIME.get(missing)
    if not package:
        return ""
    return (
        f" (Lambda's managed runtime brings {package} along, Fairlead does not: put it beside your code with"
        f" pip install --target . {package}; docs/handlers.md has the line for another machine's architecture)"
    )


def _javascript_looked_for(shown: str) -> str:
    """Returns which files a JavaScript handler could have been, in a folder that looks like a JavaScript project."""
    with standard_library:
        from ..javascript.module import SUFFIXES  # only when the handler's module is nowhere

    root = sys.path[0]
    if not any(posix.access(f"{root}/{file}", posix.F_OK) for file in JAVASCRIPT_PROJECT):
        return ""
    files = shown.replace(".", "/") + ", ".join(SUFFIXES)
    return f" (nor is there {files} in {root}: is the app built, and the handler's folder right?)"


def ending(error: BaseException, what: str) -> tuple[int | None, str, str]:
    """Exit code (None: the process goes on), error type and message for an exception that is no ``Exception``.

    An empty error type and message stand for the exception's own.
    """
    if isinstance(error, SystemExit):
        code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
        return code & 0xFF, EXIT_ERROR, f"{what} ended the process with sys.exit({_argument(error.code)})"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, EXIT_ERROR, f"{what} was interrupted (KeyboardInterrupt)"
    # asyncio.CancelledError: something was cancelled that the handler waited for, and nobody wants the process to end.
    return (None if name_of(error) == "CancelledError" else 1), "", ""


def _argument(code: object) -> str:
    try:
        return "" if code is None else repr(code)
    except Exception:
        return "..."


def exit_status_of(error: SystemExit | KeyboardInterrupt) -> int:
    """The exit status that the user's code asks for, where nothing else is to be told of it."""
    return ending(error, "a signal handler")[0] or 0
