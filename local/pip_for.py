"""``python -m local.pip_for MARKERS ARGUMENT...``: this machine's pip, choosing for another interpreter.

``MARKERS`` is a JSON object with the other interpreter's environment markers (PEP 508). pip's own ``--python-version``
and ``--platform`` choose wheels, and leave markers to the interpreter that pip runs on: ``tomli; python_version <
"3.12"`` would be installed because this machine's Python is older, whatever the layer's is. pip has no option for it,
so the function that it asks is replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """pip's exit status."""
    from pip._internal.cli.main import main as pip
    from pip._vendor.packaging import markers

    text, *rest = arguments
    environment = json.loads(text)
    if not hasattr(markers, "default_environment"):
        print("this pip evaluates environment markers in a way that is not known here", file=sys.stderr)
        return 1
    markers.default_environment = lambda: dict(environment)
    return pip(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
