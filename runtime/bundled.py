"""The modules of a start out of one file: a layer's build puts their byte-code into the ``__init__.pyc`` of a package.

A module by itself is a search along three finders, and a file that is looked for, opened and read. All together are one
file, and a third of the time (docs/decisions/0015). A checkout has no bundle, and imports each by itself.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType

    Part = tuple[str, bool, CodeType]
    """A module's full name, whether it is a package, and its byte-code."""


def unpack(parts: Sequence[Part], package: str) -> None:
    """Import the parts, of which each comes after those that it imports. ``package`` is the one at the top."""
    library = sys.modules[package].__path__[0].removesuffix(package)
    module_type = type(sys)
    for name, is_package, _ in parts:
        module = sys.modules[name] = module_type(name)
        path = library + name.replace(".", "/")
        if is_package:
            module.__path__ = [path]
            module.__package__, module.__file__ = name, f"{path}/__init__.pyc"
        else:
            module.__package__, module.__file__ = name.rpartition(".")[0], f"{path}.pyc"
    for name, _, code in parts:
        module = sys.modules[name]
        exec(code, module.__dict__)
        parent, _, own = name.rpartition(".")
        setattr(sys.modules[parent], own, module)
