"""Who is compared: Fairlead and its peers, each as the platform would start it.

In front of an app that is the AWS Lambda Web Adapter, around a Python handler awslambdaric, the client of Lambda's own
Python runtime.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runtime import __version__

from .failures import BenchError, output_of
from .mount import Mounted

CHECKOUT = Path(__file__).parents[1]
PEER_CRATE, PEER_VERSION, PEER_PROGRAM = "lambda_web_adapter", "1.0.0-rc1", "lambda-adapter"
PEER_ROOT = CHECKOUT / ".cache/peer"


class Contestant(NamedTuple):
    """One runtime. ``starts_app``: it is given the command; else the platform starts the app beside it."""

    key: str
    name: str
    command: tuple[str, ...]
    starts_app: bool
    variables: Mapping[str, str] = {}  # of its own

    def environment(self, port: int, app_command: str) -> Mapping[str, str]:
        """The variables about the app, beyond the platform's. Without ``app_command`` there is a handler, no app."""
        if not app_command:
            return self.variables
        if self.starts_app:
            return {**self.variables, "FAIRLEAD_PORT": str(port), "FAIRLEAD_COMMAND": f"exec {app_command}"}
        return {**self.variables, "AWS_LWA_PORT": str(port)}


def fairlead(mounted: Mounted) -> Contestant:
    """The layer on ``/opt``, or the checkout where that could not be had."""
    if mounted.tree:
        facts = json.loads((mounted.tree / "fairlead/MANIFEST.json").read_text())
        name = f"Fairlead {__version__} (layer, CPython {facts['python']})"
        return Contestant("ours", name, ("/opt/bootstrap",), True)
    name = f"Fairlead {__version__} (checkout, this machine's Python {sys.version.split()[0]})"
    return Contestant("ours", name, (str(CHECKOUT / "bootstrap"),), True)


def peer() -> Contestant | None:
    """``$PEER``, or the one in ``.cache/peer``, built there first where cargo is; None where there is no way to it."""
    given = os.environ.get("PEER")
    if given:
        program = Path(given).resolve()
        if not os.access(program, os.X_OK):
            raise BenchError(f"PEER={given} is no program: build {PEER_CRATE}, or leave PEER unset")
    else:
        program = PEER_ROOT / "bin" / PEER_PROGRAM
        if not program.exists() and not _install():
            return None
    return Contestant("peer", f"AWS Lambda Web Adapter {_version_of(program)}", (str(program),), False)


def _install() -> bool:
    cargo = shutil.which("cargo")
    if not cargo:
        return False
    print(f"building {PEER_CRATE} {PEER_VERSION} (a minute or two, once)", file=sys.stderr, flush=True)
    command = [cargo, "install", PEER_CRATE, "--version", PEER_VERSION, "--locked", "--root", str(PEER_ROOT)]
    try:
        output_of(command)
    except BenchError as failure:
        raise BenchError(f"{failure}\nOr set PEER=PROGRAM.") from failure
    return True


def _version_of(program: Path) -> str:
    """As cargo noted it beside the program; a program from elsewhere is known by its content."""
    notes = program.parents[1] / ".crates.toml"
    found = re.search(rf'"{PEER_CRATE} (\S+) ', notes.read_text()) if notes.exists() else None
    return found[1] if found else f"of unknown version, sha256 {hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
