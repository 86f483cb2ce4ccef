"""No test waits for ever: each wait for a process, a thread or an event names its limit, in the local tools as well.

pytest's own limit (pyproject.toml) is the last resort: it says where a test stands, and not what it waited for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Programs that a test starts: whoever starts them ends them.
STARTED = ("tests/apps", "tests/handlers", "tests/handlers_logs", "tests/handlers_trackers", "tests/handlers_web")
RUN = {"call", "check_call", "check_output", "run"}
# A line that says "no limit" says why: what it waits for has an end of its own.
EXCUSE = "# no limit: "
# What these give has a `wait` that may last for ever. That of the suite's own processes has a limit by itself.
MAKERS = {"Condition", "Event", "Popen", "child", "killed_at_the_end"}


def sources() -> list[Path]:
    found = [path for folder in ("bench", "layer", "local", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if not str(path.relative_to(ROOT)).startswith(STARTED)]


class Waits(ast.NodeVisitor):
    """Collects the lines of a program that may wait for ever."""

    def __init__(self, text: str) -> None:
        self.found: list[int] = []
        self._lines = text.splitlines()
        self._scopes: list[set[str]] = []
        tree = ast.parse(text)
        # An attribute is seen in every method of its class.
        self._attributes = {name for node in ast.walk(tree) for name in _made(node) if "." in name}
        self._scope(tree)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        annotated = {arg.arg for arg in node.args.args if arg.annotation and "Popen" in ast.unparse(arg.annotation)}
        self._scope(node, annotated)

    def visit_Await(self, node: ast.Await) -> None:
        """What is awaited is in a program under test, or has a timeout around it."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "subprocess":  # its functions are to be called by their full names: that is what is found
            self.found.append(node.lineno)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if isinstance(item.context_expr, ast.Call) and _name(item.context_expr) == "Popen":
                self._note(item.context_expr)  # the end of the block waits for ever
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name, has_limit = _name(node), any(keyword.arg in ("timeout", None) for keyword in node.keywords)
        is_endless = not has_limit and (
            (name in RUN and _receiver(node) == "subprocess")
            or name == "communicate"
            or (name == "join" and not node.args)
            or (name == "wait" and not node.args and self._may_last(_receiver(node)))
            or (name == "create_connection" and len(node.args) < 2)
        )
        if is_endless:
            self._note(node)
        self.generic_visit(node)

    def _note(self, call: ast.Call) -> None:
        if EXCUSE not in self._lines[call.lineno - 1]:
            self.found.append(call.lineno)

    def _scope(self, scope: ast.AST, names: Iterable[str] = ()) -> None:
        self._scopes.append({*names, *(name for node in _own_nodes(scope) for name in _made(node))})
        self.generic_visit(scope)
        self._scopes.pop()

    def _may_last(self, receiver: str) -> bool:
        return receiver in self._attributes or any(receiver in names for names in self._scopes)


def _made(node: ast.AST) -> Iterator[str]:
    """The names that the node gives to what one of ``MAKERS`` makes."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        value, targets = node.value, node.targets if isinstance(node, ast.Assign) else [node.target]
    elif isinstance(node, ast.withitem):
        value, targets = node.context_expr, [node.optional_vars] if node.optional_vars else []
    else:
        return
    if isinstance(value, ast.Call) and _name(value) in MAKERS:
        yield from map(ast.unparse, targets)


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Everything in the scope except what is in functions within it."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef):
            yield from _own_nodes(node)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _receiver(call: ast.Call) -> str:
    """What the method is called of."""
    return ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_wait_is_without_a_limit(path: Path) -> None:
    assert Waits(path.read_text()).found == []


ENDLESS = [
    "subprocess.run(['x'])",
    "subprocess.check_output(['x'], text=True)",
    "with subprocess.Popen(['x']) as child: pass",
    "child.communicate()",
    "child.communicate(b'input')",
    "child = subprocess.Popen(['x'])\nchild.wait()",
    "come = threading.Event()\ncome.wait()",
    "def test():\n    with child(['x']) as process:\n        process.wait()",
    "def end(process: subprocess.Popen[bytes]) -> None:\n    process.wait()",
    "class A:\n    def __init__(self): self.child = subprocess.Popen([])\n    def end(self): self.child.wait()",
    "thread.join()",
    "socket.create_connection(('127.0.0.1', 80))",
    "from subprocess import run",
]
LIMITED = [
    "subprocess.run(['x'], timeout=60)",
    "subprocess.run(['x'], **options)",
    "child = subprocess.Popen(['x'])\nchild.wait(60)",
    "child.communicate(timeout=60)",
    "process = start_bootstrap(api)\nprocess.wait()",
    "def one():\n    with child([]) as process: pass\ndef two():\n    process = start()\n    process.wait()",
    "', '.join(words)",
    "come = threading.Event()\ncome.wait()  # no limit: the listener sets it at its end",
    "socket.create_connection(('127.0.0.1', 80), 30)",
]


@pytest.mark.parametrize("text", ENDLESS)
def test_a_wait_without_a_limit_is_found(text: str) -> None:
    assert Waits(text).found == [text.count("\n") + 1]


@pytest.mark.parametrize("text", LIMITED)
def test_a_wait_with_a_limit_is_not_found(text: str) -> None:
    assert Waits(text).found == []
