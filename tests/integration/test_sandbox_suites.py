"""The layer on Debian's C libraries below and above the one of Amazon Linux 2023, which is 2.34."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from layer.failures import LayerError
from local.failures import LocalFailure
from local.sandbox import rootfs

from .apps import COMMAND, shell_app
from .conftest import StartFunction, chosen_architecture

pytestmark = pytest.mark.integration

GLIBC = {"bullseye": "glibc 2.31", "bookworm": "glibc 2.36"}


@pytest.mark.parametrize("suite", GLIBC)
def test_the_layer_runs_whatever_the_systems_c_library(
    start_function: StartFunction, tmp_path: Path, suite: str
) -> None:
    try:
        rootfs.ensure(chosen_architecture(), suite)
    except (LayerError, LocalFailure) as failure:
        pytest.skip(str(failure))
    function = start_function(shell_app(tmp_path / "app"), suite=suite, FAIRLEAD_COMMAND=COMMAND)

    def said(command: str) -> str:
        return str(json.loads(function.invoke(json.dumps(command).encode()).body))

    assert said("getconf GNU_LIBC_VERSION") == GLIBC[suite]
    assert said("/opt/fairlead/bin/python3 -c 'import os; print(os.confstr(\"CS_GNU_LIBC_VERSION\"))'") == "glibc 2.41"
    assert said("/opt/fairlead/bin/python3 -c 'import ssl, sqlite3, ctypes, zlib; print(ssl.PROTOCOL_TLS)'") != ""
    # What an app starts is the system's, and its libraries too: nothing of the layer's leaks into it.
    assert said("printf 'a b' | grep -o b; ls /opt") == "b\nbootstrap\nfairlead"
