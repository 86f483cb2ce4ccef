"""A start that takes longer than the function's timeout: the reason stands beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import urllib3

from local.gateway.conversation import Served
from local.ports import free_ports
from local.run import Options, running

pytestmark = pytest.mark.integration

APP = """
import http.server
http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_a_timeout_names_the_port_on_which_the_app_listens(
    sandbox_works: None, layer_tree: Path, tmp_path: Path, log_format: str
) -> None:
    wanted, taken = free_ports(2)
    (tmp_path / "app.py").write_text(APP.format(port=taken))
    (tmp_path / "run.sh").write_text('#!/bin/sh\nexec /opt/fairlead/bin/python3 "$LAMBDA_TASK_ROOT/app.py"\n')
    (tmp_path / "run.sh").chmod(0o755)
    served: list[Served] = []
    environment = {"PORT": str(wanted), "AWS_LAMBDA_LOG_FORMAT": log_format}
    options = Options(app=tmp_path, port=0, layer=layer_tree, timeout_s=4, environment=environment)
    with running(options, served.append) as now:
        assert urllib3.request("GET", now.gateway.address, retries=False, timeout=60).status == 502
    problem = served[0].problem
    assert problem[0] == "Task timed out after 4.00 seconds"
    told = "\n".join(problem[1:])
    assert "the app was not ready: " in told
    assert f"It listens on 127.0.0.1:{taken}." in told
    assert f"make run ENV='FAIRLEAD_PORT={taken}'" in told
