"""Put the modules of a start into one file each: ``bundle.py SOURCES MOUNTED``.

Run by the Python that compiles a layer (toolchain.py). ``SOURCES`` is the folder of our package, ``MOUNTED`` the same
as it is seen below /opt. Beside the sources of three packages it writes an ``__init__.pyc``, which does what the
source says and then imports the modules that it holds: what every start needs is in the package at the top, what web
mode and handler mode need beyond that is in theirs. runtime/bundled.py is what unpacks them.
"""

from __future__ import annotations
import __future__

import ast
import importlib.util
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

# Which package gets the modules that this one of it needs.
STARTS = {"": "main", "web": "web.mode", "python": "python.mode"}
UNPACKER = "bundled"
# Executed in the package. The strings are placeholders: code cannot be written into source.
_INIT = 'exec("OWN", globals()); exec("UNPACKER", unpacker := {}); unpacker["unpack"]("PARTS", "PACKAGE"); del unpacker'
_UNCHECKED_HASH = (1).to_bytes(4, "little")


class Package:
    """Our package in ``folder``, whose modules have names relative to it: ``web.mode``, and "" for itself."""

    def __init__(self, folder: Path, mounted: Path) -> None:
        self.name = folder.name
        self._folder = folder
        self._mounted = mounted

    def path(self, module: str) -> Path:
        """Its source."""
        place = self._folder.joinpath(*module.split("."))
        return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")

    def is_package(self, module: str) -> bool:
        return self.path(module).name == "__init__.py"

    def code(self, module: str) -> CodeType:
        """Its byte-code, as compileall would have made it, but for what is there for the compiler and for checkers.

        Annotations are objects that are made with each function, and nobody looks at them
        (docs/decisions/0022). The import of ``__future__`` is one more file for a start.
        """
        path = self.path(module)
        shown = str(self._mounted / path.relative_to(self._folder))
        tree = ast.fix_missing_locations(Stripper().visit(ast.parse(path.read_bytes())))
        flags = __future__.annotations.compiler_flag
        code: CodeType = compile(tree, shown, "exec", flags, dont_inherit=True, optimize=2)
        return code

    def order(self, module: str) -> list[str]:
        """The module and all that are imported with it, each after those that it imports itself."""
        found: list[str] = []
        self._visit(module, found, set())
        return found

    def _visit(self, module: str, found: list[str], seen: set[str]) -> None:
        if module in seen:
            return
        seen.add(module)
        for imported in self.imports(module):
            self._visit(imported, found, seen)
        found.append(module)

    def imports(self, module: str) -> Iterator[str]:
        """The modules of ours that its first lines import. Imports within functions do not belong to the start."""
        base = module.split(".") if self.is_package(module) else module.split(".")[:-1]
        for statement in _executed(ast.parse(self.path(module).read_bytes()).body):
            if isinstance(statement, ast.ImportFrom) and statement.level:
                above = base[: len(base) - statement.level + 1]
                named = [*above, *(statement.module or "").split(".")] if statement.module else above
                for place in (named, *([*named, alias.name] for alias in statement.names)):
                    if (imported := ".".join(place)) and self.path(imported).is_file():
                        yield imported


class Stripper(ast.NodeTransformer):
    """Removes annotations and what stands below ``if TYPE_CHECKING``. The fields of value types stay as they are."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        return node.orelse if _is_for_types(node) else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        node.body = node.body or [ast.Pass()]
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]  # noqa: N815 (NodeVisitor's name)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
            node.body = [one if isinstance(one, ast.AnnAssign) else self.visit(one) for one in node.body]
        else:
            self.generic_visit(node)
            node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)


def _is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _executed(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those for the type checker left out."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _executed(statement.orelse if _is_for_types(statement) else [*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            yield from _executed(statement.body)
        else:
            yield statement


def shared_out(package: Package) -> dict[str, list[str]]:
    """Which modules the bundle of each package holds, in the order of their import."""
    orders = {bundle: package.order(start) for bundle, start in STARTS.items()}
    shared = [module for module in orders["web"] if module in orders["python"]]
    top = [*orders[""], *(module for module in shared if module not in orders[""])]
    # A bundle's own package is being imported while it is unpacked.
    return {
        bundle: [module for module in (top if not bundle else order) if bundle == "" or module not in top]
        for bundle, order in orders.items()
    }


def replaced(package: Package) -> set[str]:
    """The modules that need no file of their own: nobody can import them before the package that holds them."""
    return {
        module
        for bundle, modules in shared_out(package).items()
        for module in modules
        if not package.is_package(module) and (not bundle or module.startswith(f"{bundle}."))
    }


def write(package: Package) -> None:
    """Write the ``__init__.pyc`` files, and remove those that they replace."""
    for bundle, modules in shared_out(package).items():
        parts = tuple(
            (f"{package.name}.{module}", package.is_package(module), package.code(module))
            for module in modules
            if module != bundle
        )
        values = {
            "OWN": package.code(bundle),
            "UNPACKER": package.code(UNPACKER),
            "PARTS": parts,
            "PACKAGE": package.name,
        }
        code = compile(_INIT, package.code(bundle).co_filename, "exec", dont_inherit=True)
        constants = (values.get(one, one) if isinstance(one, str) else one for one in code.co_consts)
        code = code.replace(co_consts=tuple(constants))
        source_hash = importlib.util.source_hash(package.path(bundle).read_bytes())
        octets = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + source_hash + marshal.dumps(code)
        package.path(bundle).with_suffix(".pyc").write_bytes(octets)
    for module in replaced(package):
        package.path(module).with_suffix(".pyc").unlink()


if __name__ == "__main__":
    write(Package(Path(sys.argv[1]), Path(sys.argv[2])))
