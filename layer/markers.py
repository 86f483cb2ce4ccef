"""Environment markers (PEP 508) of the layer's Python: which of a package's requirements count for it.

``python_version < "3.12"`` means the interpreter that will import the package, not the one that installs it.
"""

from __future__ import annotations

from .recipe import ARCHITECTURES

PYTHON = "3.13"  # Fairlead's, for who has no layer at hand to ask

# Run by an interpreter, it prints its own values as a JSON object. What concerns the kernel is left empty: here it is
# this machine's, and not Lambda's.
PROGRAM = """
import json, os, platform, sys
def version(of):
    level = "" if of.releaselevel == "final" else of.releaselevel[0] + str(of.serial)
    return "{0.major}.{0.minor}.{0.micro}".format(of) + level
print(json.dumps({
    "implementation_name": sys.implementation.name,
    "implementation_version": version(sys.implementation.version),
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": "",
    "platform_system": platform.system(),
    "platform_version": "",
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}))
"""


def environment(architecture: str) -> dict[str, str]:
    """The markers of Fairlead's Python on ``architecture`` (``x86_64``, ``arm64``), as ``Marker.evaluate`` takes them.

    None is left out: what is not given, ``packaging`` would fill in for the interpreter that it runs on.
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{PYTHON}.0",
        "os_name": "posix",
        "platform_machine": ARCHITECTURES[architecture].triplet.partition("-")[0],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
    }
