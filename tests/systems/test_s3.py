"""The AWS SDK for JavaScript under each runtime's layer, against a stand-in for S3 on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import boto3
import pytest
import urllib3
from moto.server import ThreadedMotoServer

from .conftest import running_or_skipped
from .system import System

pytestmark = [pytest.mark.integration, pytest.mark.systems]

APPS = Path(__file__).parent / "s3"
OBJECT = os.urandom(1_000_000)
KEY = "photos/2026/café & croissant+1.bin"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 with one bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {name.lower(): value for name, value in CREDENTIALS.items()}
    boto3.client("s3", "us-east-1", endpoint_url=address, **keys).create_bucket(Bucket="objects")
    yield address
    server.stop()


@pytest.fixture(scope="module", params=["bun", "deno", "node"])
def system(request: pytest.FixtureRequest, s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One app for all; what differs is how each runtime starts it, and its lock."""
    folder = tmp_path_factory.mktemp("s3") / f"s3-{request.param}"
    shutil.copytree(APPS / request.param, folder)
    shutil.copy(APPS / "app.mjs", folder)
    with running_or_skipped(folder, {"S3_ENDPOINT": s3, **CREDENTIALS}) as found:
        yield found


def target(key: str = KEY) -> str:
    return f"/{quote(key, safe='')}"


def test_an_object_is_put_and_got_byte_for_byte(system: System) -> None:
    stored = system.ask("PUT", target(), body=OBJECT)
    assert (stored.status, stored.data.decode()) == (200, f'"{hashlib.md5(OBJECT).hexdigest()}"'), system.output
    got = system.ask("GET", target())
    assert (got.status, got.headers["content-type"]) == (200, "image/x-test")
    assert got.data == OBJECT


def test_presigned_urls_work_without_credentials(system: System) -> None:
    other = OBJECT[::-1]
    urls = system.json("POST", target("other.bin"))
    assert "checksum-crc32" not in urls["put"]
    assert urllib3.request("PUT", urls["put"], body=other, retries=False).status == 200
    assert urllib3.request("GET", urls["get"], retries=False).data == other
    assert system.ask("GET", target("other.bin")).data == other


def test_an_error_of_s3_is_the_sdks(system: System) -> None:
    missing = system.ask("GET", target("no/such/key"))
    assert (missing.status, missing.data) == (404, b"NoSuchKey")
