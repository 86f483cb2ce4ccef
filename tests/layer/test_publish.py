"""``make publish`` against an AWS of this machine (moto's server), which can be told to fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from moto.backends import get_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from layer import build, publish, recipe, runtimes
from layer.publish import Plan, Zip
from runtime import __version__

ZIPS = [Zip("x86_64", b"PK one"), Zip("arm64", b"PK other")]
REGIONS = ["eu-west-1", "us-east-1"]


class Fault(NamedTuple):
    """The next request of ``method`` to ``region`` whose path ends with ``path`` is answered with this error."""

    region: str
    method: str
    path: str
    status: int
    code: str


class Aws:
    """What the tests see of it: requests as (region, method, path), and the faults that are to come."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self.faults: list[Fault] = []
        self.owners: list[str] = []  # whose bucket each request to S3 expects, "" where it does not say
        self.contents: list[dict[str, str]] = []  # what Lambda was told to publish
        self.before_publishing: Callable[[], object] = bool
        self._application = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        region = scope[1] if scope else ""
        self.requests.append((region, method, path))
        is_storage = "/s3/" in environ.get("HTTP_AUTHORIZATION", "")
        if is_storage:
            self.owners.append(environ.get("HTTP_X_AMZ_EXPECTED_BUCKET_OWNER", ""))
        if method == "POST" and path.endswith("/versions"):
            body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            environ["wsgi.input"] = BytesIO(body)
            self.contents.append(json.loads(body)["Content"])
            self.before_publishing()
        for fault in self.faults:
            if (fault.region, fault.method) == (region, method) and path.endswith(fault.path):
                self.faults.remove(fault)
                # Or the connection, which is kept, would go on with the rest of the body.
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                start_response(f"{fault.status} Error", [("x-amzn-errortype", fault.code)])
                if is_storage:
                    return [f"<Error><Code>{fault.code}</Code><Message>as the test wants it</Message></Error>".encode()]
                return [json.dumps({"Message": "as the test wants it"}).encode()]
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer

    def count(self, method: str, path: str) -> int:
        return sum(m == method and p.endswith(path) for _, m, p in self.requests)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Aws]:
    """An empty AWS, which the SDK talks to."""
    application = Aws()
    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))  # how often it looks for its end
    thread.start()
    for name, value in {**without_credentials(tmp_path), **CREDENTIALS}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    forget_everything()
    yield application
    server.shutdown()
    thread.join(30)
    server.server_close()


ACCOUNT = "123456789012"  # moto's
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def without_credentials(home: Path) -> dict[str, str]:
    """An environment in which the SDK finds none."""
    nowhere = {name: str(home / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    return {**nowhere, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(home), "PATH": os.environ["PATH"]}


def forget_everything() -> None:
    """What an earlier test has left: moto keeps it for the whole process."""
    for service in ("lambda", "s3"):
        for account in get_backend(service).values():
            for backend in account.values():
                backend.reset()


@pytest.fixture
def session(aws: Aws) -> boto3.session.Session:
    return boto3.session.Session()


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "dist/layers.json"


def versions(session: boto3.session.Session, name: str, region: str = "eu-west-1") -> list[dict[str, Any]]:
    client = session.client("lambda", region_name=region)
    try:
        return list(client.list_layer_versions(LayerName=name)["LayerVersions"])
    finally:
        client.close()


def test_both_layers_come_to_every_region(
    session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish.publish_all(session, ZIPS, REGIONS, Plan(), record) == []
    arns = json.loads(record.read_text())["layers"]
    lines = capsys.readouterr().out.splitlines()
    for region in REGIONS:
        for layer in ZIPS:
            (version,) = versions(session, f"fairlead-{layer.architecture}", region)
            assert version["LayerVersionArn"] == arns[region][layer.architecture]
            assert version["LayerVersionArn"].startswith(f"arn:aws:lambda:{region}:")
            assert f"{region}  {layer.architecture}  published  {version['LayerVersionArn']}" in lines
    assert len(lines) == 4


def test_a_version_says_what_it_is(session: boto3.session.Session, record: Path) -> None:
    publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record)
    (version,) = versions(session, "fairlead-arm64")
    assert version["CompatibleArchitectures"] == ["arm64"]
    assert version["CompatibleRuntimes"] == ["provided.al2023"]
    assert __version__ in version["Description"]
    assert version["LicenseInfo"].startswith("Apache-2.0")


def test_a_runtimes_layers_have_names_of_their_own(session: boto3.session.Session, record: Path) -> None:
    zips = [*ZIPS, Zip("x86_64", b"PK bun", "bun"), Zip("arm64", b"PK bun arm64", "bun")]
    assert publish.publish_all(session, zips, ["eu-west-1"], Plan(), record) == []
    (version,) = versions(session, "fairlead-bun-arm64")
    assert version["CompatibleArchitectures"] == ["arm64"]
    assert version["Description"] == f"bun {runtimes.version('bun')}, for apps behind Fairlead {__version__}"
    assert version["LicenseInfo"].startswith("MIT, with libraries under LGPL-2.0")
    arns = json.loads(record.read_text())["layers"]["eu-west-1"]
    assert set(arns) == {"x86_64", "arm64", "bun-x86_64", "bun-arm64"}
    assert arns["bun-arm64"] == version["LayerVersionArn"]


def test_what_a_region_has_already_is_not_published_again(
    aws: Aws, session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish.publish_all(session, ZIPS, REGIONS, Plan(), record)
    first = record.read_text()
    aws.requests.clear()
    capsys.readouterr()
    assert publish.publish_all(session, ZIPS, REGIONS, Plan(), record) == []
    assert aws.count("POST", "/versions") == 0
    assert capsys.readouterr().out.count("unchanged") == 4
    assert record.read_text() == first


def test_other_content_becomes_the_next_version(session: boto3.session.Session, record: Path) -> None:
    for content in (b"PK first", b"PK second", b"PK first"):  # an older one is not the newest
        publish.publish_all(session, [Zip("arm64", content)], ["eu-west-1"], Plan(), record)
    assert sorted(version["Version"] for version in versions(session, "fairlead-arm64")) == [1, 2, 3]
    assert json.loads(record.read_text())["layers"]["eu-west-1"]["arm64"].endswith(":3")


def test_a_region_that_fails_keeps_no_other_from_its_layers_and_is_made_good_later(
    aws: Aws, session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.faults = [Fault("eu-west-1", "POST", "/layers/fairlead-arm64/versions", 403, "AccessDeniedException")]
    assert publish.publish_all(session, ZIPS, REGIONS, Plan(), record) == ["eu-west-1"]
    error = capsys.readouterr().err
    assert error.startswith("eu-west-1  FAILED: ")
    assert "lambda:PublishLayerVersion" in error
    known = json.loads(record.read_text())["layers"]
    assert {region: set(arns) for region, arns in known.items()} == {
        "eu-west-1": {"x86_64"},
        "us-east-1": {"x86_64", "arm64"},
    }
    assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record) == []
    assert capsys.readouterr().out.split()[2::4] == ["unchanged", "published"]
    assert set(json.loads(record.read_text())["layers"]) == set(REGIONS), "the other region's ARNs are kept"


def test_throttled_requests_are_repeated(aws: Aws, session: boto3.session.Session, record: Path) -> None:
    path = "/layers/fairlead-arm64/versions"
    aws.faults = [Fault("eu-west-1", method, path, 429, "TooManyRequestsException") for method in ("GET", "POST")]
    assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record) == []
    assert aws.faults == []
    assert len(versions(session, "fairlead-arm64")) == 1


def test_public_layers_may_be_used_by_everybody(aws: Aws, session: boto3.session.Session, record: Path) -> None:
    publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record)
    assert aws.count("POST", "/policy") == 0, "not without being asked"
    publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(is_public=True), record)
    client = session.client("lambda", region_name="eu-west-1")
    policy = json.loads(client.get_layer_version_policy(LayerName="fairlead-arm64", VersionNumber=1)["Policy"])
    client.close()
    (statement,) = policy["Statement"]
    assert (statement["Principal"], statement["Action"]) == ("*", "lambda:GetLayerVersion")


def test_layers_that_are_public_already_stay_so(aws: Aws, session: boto3.session.Session, record: Path) -> None:
    aws.faults = [Fault("eu-west-1", "POST", "/policy", 409, "ResourceConflictException")]
    assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(is_public=True), record) == []
    assert aws.count("POST", "/policy") == 2


def bucket(session: boto3.session.Session) -> None:
    """The bucket that a plan with the prefix ``mine`` means."""
    with closing(session.client("s3", region_name="eu-west-1")) as storage:
        storage.create_bucket(Bucket="mine-eu-west-1", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})


def swapped(session: boto3.session.Session, content: bytes) -> Callable[[], object]:
    """A call that does what anybody with write access to the bucket can: each object becomes ``content``."""

    def swap() -> None:
        with closing(session.client("s3", region_name="eu-west-1")) as storage:
            for entry in storage.list_objects_v2(Bucket="mine-eu-west-1")["Contents"]:
                storage.put_object(Bucket="mine-eu-west-1", Key=entry["Key"], Body=content)

    return swap


class TestLargeZips:
    """Lambda takes 50 MiB directly; here it is less, so that a test needs no such zip."""

    @pytest.fixture(autouse=True)
    def _limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(publish, "DIRECT_LIMIT", 6)

    def test_they_go_through_the_regions_bucket_and_are_not_left_there(
        self, aws: Aws, session: boto3.session.Session, record: Path
    ) -> None:
        bucket(session)
        assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(bucket_prefix="mine"), record) == []
        with closing(session.client("s3", region_name="eu-west-1")) as storage:
            assert "Contents" not in storage.list_objects_v2(Bucket="mine-eu-west-1")
        uploads = [path for _, method, path in aws.requests if method == "PUT"][1:]
        assert len(uploads) == 1, "the zip of exactly the limit went directly"
        assert uploads[0].startswith("/mine-eu-west-1/fairlead-arm64-")
        assert len(versions(session, "fairlead-arm64")) == 1
        assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(bucket_prefix="mine"), record) == []
        assert len(versions(session, "fairlead-arm64")) == 1

    def test_every_request_to_the_bucket_names_the_account_that_it_has_to_belong_to(
        self, aws: Aws, session: boto3.session.Session, record: Path
    ) -> None:
        bucket(session)
        aws.owners.clear()
        assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(bucket_prefix="mine"), record) == []
        assert aws.owners == [ACCOUNT] * 2, "one upload, one deletion"

    def test_a_bucket_that_is_somebody_elses_is_named(
        self, aws: Aws, session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bucket(session)
        aws.faults = [Fault("eu-west-1", "PUT", ".zip", 403, "AccessDenied")]
        assert publish.publish_all(session, ZIPS[1:], ["eu-west-1"], Plan(bucket_prefix="mine"), record) == [
            "eu-west-1"
        ]
        assert "the bucket mine-REGION has to belong to the account of these credentials" in capsys.readouterr().err

    @pytest.mark.parametrize("is_public", [False, True], ids=["private", "public"])
    def test_an_object_swapped_between_upload_and_publish_is_deleted_and_never_public(
        self,
        aws: Aws,
        session: boto3.session.Session,
        record: Path,
        capsys: pytest.CaptureFixture[str],
        is_public: bool,
    ) -> None:
        bucket(session)
        aws.before_publishing = swapped(session, b"PK of somebody else")
        plan = Plan(bucket_prefix="mine", is_public=is_public)
        assert publish.publish_all(session, ZIPS[1:], ["eu-west-1"], plan, record) == ["eu-west-1"]
        said = capsys.readouterr()
        assert "published" not in said.out
        assert f"what was uploaded has {ZIPS[1].sha256}" in said.err
        assert "that version was deleted again" in said.err
        assert versions(session, "fairlead-arm64") == []
        assert aws.count("POST", "/policy") == 0
        assert not record.exists(), "an ARN in the record is one whose content was compared"
        aws.before_publishing = bool
        assert publish.publish_all(session, ZIPS[1:], ["eu-west-1"], plan, record) == []
        assert record.exists()

    def test_a_swapped_version_that_cannot_be_deleted_is_said_to_be_still_there(
        self, aws: Aws, session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bucket(session)
        aws.before_publishing = swapped(session, b"PK of somebody else")
        aws.faults = [Fault("eu-west-1", "DELETE", "/versions/1", 403, "AccessDeniedException")]
        plan = Plan(bucket_prefix="mine", is_public=True)
        assert publish.publish_all(session, ZIPS[1:], ["eu-west-1"], plan, record) == ["eu-west-1"]
        said = capsys.readouterr().err
        assert "fairlead-arm64:1 has the SHA-256 " in said
        assert "deleting that version failed (" in said
        assert aws.count("POST", "/policy") == 0

    def test_in_a_bucket_with_versions_lambda_is_given_the_one_that_was_uploaded(
        self, aws: Aws, session: boto3.session.Session, record: Path
    ) -> None:
        bucket(session)
        with closing(session.client("s3", region_name="eu-west-1")) as storage:
            storage.put_bucket_versioning(Bucket="mine-eu-west-1", VersioningConfiguration={"Status": "Enabled"})
            assert publish.publish_all(session, ZIPS[1:], ["eu-west-1"], Plan(bucket_prefix="mine"), record) == []
            left = storage.list_object_versions(Bucket="mine-eu-west-1")
        assert "Versions" not in left
        assert "DeleteMarkers" not in left
        assert aws.contents[-1]["S3ObjectVersion"]

    def test_a_bucket_that_is_not_there_is_named(
        self, session: boto3.session.Session, record: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(bucket_prefix="mine"), record) == ["eu-west-1"]
        assert "make the bucket mine-REGION in this region" in capsys.readouterr().err

    def test_without_a_bucket_nothing_is_begun(self, aws: Aws, session: boto3.session.Session, record: Path) -> None:
        with pytest.raises(build.LayerError, match="arm64 has 8 bytes, and Lambda takes 6 directly: name buckets"):
            publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record)
        assert aws.requests == []


class TestRecord:
    def test_arns_of_other_content_or_of_another_name_are_forgotten(
        self, session: boto3.session.Session, record: Path
    ) -> None:
        publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record)
        publish.publish_all(session, [*ZIPS[:1], Zip("arm64", b"PK new")], ["us-east-1"], Plan(), record)
        assert set(json.loads(record.read_text())["layers"]) == {"us-east-1"}
        publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(name="mine"), record)
        assert set(json.loads(record.read_text())["layers"]) == {"eu-west-1"}

    def test_a_file_that_is_no_record_is_replaced(self, session: boto3.session.Session, record: Path) -> None:
        record.parent.mkdir()
        record.write_text("{")
        publish.publish_all(session, ZIPS, ["eu-west-1"], Plan(), record)
        assert set(json.loads(record.read_text())["layers"]) == {"eu-west-1"}


class TestCommand:
    @pytest.fixture
    def main(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, record: Path) -> Callable[..., int]:
        """``main(*arguments)`` with small layers."""

        def small(architecture: str) -> build.Layer:
            path = tmp_path / f"{architecture}.zip"
            path.write_bytes(f"PK {architecture}".encode())
            return build.Layer(tmp_path, path)

        monkeypatch.setattr(build, "build", small)
        monkeypatch.setattr(runtimes, "make", lambda name, architecture: small(f"{name}-{architecture}"))
        return lambda *arguments: publish.main([*arguments, "--record", str(record)])

    def test_it_publishes_to_the_regions_named(
        self, aws: Aws, main: Callable[..., int], record: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main("--regions", "eu-west-1", "us-east-1,eu-west-1", "--name", "mine") == 0
        assert "2 of 2 regions have these layers" in capsys.readouterr().out
        arns = json.loads(record.read_text())["layers"]
        assert arns["us-east-1"]["arm64"].endswith(":layer:mine-arm64:1")

    def test_runtimes_are_published_too_when_they_are_named(
        self, aws: Aws, main: Callable[..., int], record: Path
    ) -> None:
        assert main("--regions", "eu-west-1", "--runtimes", "bun,deno") == 0
        kinds = ("x86_64", "arm64", "bun-x86_64", "bun-arm64", "deno-x86_64", "deno-arm64")
        assert set(json.loads(record.read_text())["layers"]["eu-west-1"]) == set(kinds)

    def test_a_runtime_that_is_none_is_found_before_anything_is_done(
        self, aws: Aws, main: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main("--regions", "eu-west-1", "--runtimes", "perl") == 1
        assert "there is no runtime 'perl': choose of bun, deno, node" in capsys.readouterr().err
        assert aws.requests == []

    def test_its_status_is_1_when_a_region_failed(
        self, aws: Aws, main: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        aws.faults = [Fault("us-east-1", "GET", "/versions", 403, "AccessDeniedException")]
        assert main("--regions", "us-east-1", "eu-west-1") == 1
        output = capsys.readouterr()
        assert "1 of 2 regions" in output.out
        assert "layer.publish: not in us-east-1; the same command tries these again" in output.err

    def test_a_misspelt_region_is_found_before_anything_is_done(
        self, aws: Aws, main: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main("--regions", "us-east-1", "eu-wets-1") == 1
        assert "eu-wets-1 is no region; did you mean eu-west-1?" in capsys.readouterr().err
        assert aws.requests == []

    def test_no_region_at_all_prints_the_usage(
        self, main: Callable[..., int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"):
            main("--regions")
        assert "name the regions: --regions eu-west-1" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("environment", "message"),
        [
            pytest.param({}, "there are no AWS credentials: set AWS_PROFILE, or", id="none"),
            pytest.param({"AWS_PROFILE": "mine"}, "the AWS configuration cannot be used: The config", id="no-profile"),
            pytest.param({"AWS_ACCESS_KEY_ID": "mine"}, "the AWS credentials cannot be used: Partial", id="half"),
        ],
    )
    def test_missing_credentials_are_one_sentence(
        self, environment: dict[str, str], message: str, tmp_path: Path
    ) -> None:
        result = subprocess.run(
            [sys.executable, "-m", "layer.publish", "--regions", "eu-west-1", "--record", str(tmp_path / "record")],
            cwd=recipe.REPOSITORY,
            env={**without_credentials(tmp_path), **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert result.returncode == 1
        assert result.stderr.startswith(f"layer.publish: {message}")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        assert not (tmp_path / "record").exists()
