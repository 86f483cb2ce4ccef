"""``python -m local.app.pip_for MARKERS ARGUMENT...``: this machine's pip, choosing for another interpreter.

``MARKERS`` is a JSON object with the other interpreter's environment markers (PEP 508). pip's own ``--python-version``
and ``--platform`` choose files, and leave the rest to the interpreter that pip runs on: ``tomli; python_version <
"3.12"`` is installed because this machine's Python is older, whatever the layer's is, and a package for Python 3.13 and
newer is refused. pip has no option for that, so what it asks is replaced.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run pip; returns its exit status."""
    from pip._internal.cli.main import main as pip

    text, *rest = arguments
    try:
        _choose_for(json.loads(text))
    except (ImportError, AttributeError) as error:
        print(f"this pip does not choose packages in a way that is known here ({error})", file=sys.stderr)
        return 1
    return pip(rest)


def _choose_for(environment: dict[str, str]) -> None:
    from pip._internal.resolution.resolvelib import candidates, factory
    from pip._vendor.packaging import markers

    numbers = re.findall(r"\d+", environment["python_full_version"])[:3]
    version = tuple(map(int, numbers))

    class RequiresPython(candidates.RequiresPythonCandidate):
        """The Python that a package's ``Requires-Python`` is compared with."""

        def __init__(self, py_version_info: tuple[int, ...] | None = None) -> None:
            super().__init__(py_version_info or version)

    for module, name, replacement in (
        (markers, "default_environment", lambda: dict(environment)),
        (factory, "RequiresPythonCandidate", RequiresPython),
    ):
        getattr(module, name)  # or nothing would be replaced, without a word
        setattr(module, name, replacement)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
