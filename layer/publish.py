"""Publishes the layers to AWS regions: ``python -m layer.publish --regions eu-west-1 us-east-1``.

It may be run again at any time: what a region has as its newest version already is left alone, so an interrupted or
partly failed run is finished by the same command.
"""

from __future__ import annotations

import argparse
import base64
import difflib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from runtime import __version__

from . import build, kept, runtimes
from .failures import LayerError
from .programs import PROGRAMS
from .recipe import ARCHITECTURES

RECORD = build.PLACES.dist / "layers.json"
RUNTIMES = ["provided.al2023"]
LICENCE = "Apache-2.0; what it brings is under the licences in fairlead/share/licenses"
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html: what is larger has to come from S3.
DIRECT_LIMIT = 50 << 20
# Throttled requests are repeated with growing pauses, by the SDK.
CLIENT = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=10, read_timeout=300)
PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


class Zip(NamedTuple):
    """A layer for ``architecture``: Fairlead's, or the one that has ``runtime``."""

    architecture: str
    content: bytes
    runtime: str = ""

    @property
    def kind(self) -> str:
        """The end of its name, which tells it from the others: ``x86_64``, ``bun-x86_64``."""
        return "-".join(filter(None, (self.runtime, self.architecture)))

    @property
    def description(self) -> str:
        if not self.runtime:
            return f"Fairlead {__version__}: runs any web server"
        return f"{self.runtime} {runtimes.version(self.runtime)}, for apps behind Fairlead {__version__}"

    @property
    def licence(self) -> str:
        program = PROGRAMS.get(self.runtime)
        return f"{program.licence}: {program.place}/licenses" if program else LICENCE

    @property
    def sha256(self) -> str:
        """The checksum in base64, as Lambda writes it."""
        return base64.b64encode(hashlib.sha256(self.content).digest()).decode()


class Plan(NamedTuple):
    """The part of a publication that is the same for all regions. A layer's name is ``name``, a hyphen and its kind.

    ``bucket_prefix``, a hyphen and the region is the bucket that large zips go through; "" when there is none.
    """

    name: str = "fairlead"
    bucket_prefix: str = ""
    is_public: bool = False


class WrongContent(Exception):
    """Lambda has stored something other than what was uploaded. The message says what was done about it."""


def publish_all(
    session: boto3.session.Session, zips: Sequence[Zip], regions: Sequence[str], plan: Plan, record: Path
) -> list[str]:
    """Bring ``zips`` to ``regions``, with a line for each; the regions that failed.

    ``record`` becomes a JSON document with the ARNs, after each of them.
    """
    _require_a_way(zips, plan)
    arns = _known(record, zips, plan)
    failed = []
    for region in regions:
        try:
            for layer in zips:
                arn, what = publish(session, layer, region, plan)
                print(f"{region}  {layer.kind}  {what}  {arn}", flush=True)
                arns.setdefault(region, {})[layer.kind] = arn
                _save(record, arns, zips, plan)
        except (BotoCoreError, ClientError, WrongContent) as error:
            print(f"{region}  FAILED: {explained(error, plan)}", file=sys.stderr, flush=True)
            failed.append(region)
    return failed


def publish(session: boto3.session.Session, layer: Zip, region: str, plan: Plan) -> tuple[str, str]:
    """The ARN of the version that has ``layer``, and what was done for it.

    A version is compared with ``layer`` before it is made public or its ARN is handed out. Raises ``WrongContent`` when
    they differ, and botocore's errors.
    """
    name = f"{plan.name}-{layer.kind}"
    with closing(session.client("lambda", region_name=region, config=CLIENT)) as client:
        version = _newest(client, name)
        is_new = not version or version["Content"]["CodeSha256"] != layer.sha256
        if is_new:
            with _content(session, layer, region, plan) as content:
                version = client.publish_layer_version(
                    LayerName=name,
                    Description=layer.description,
                    LicenseInfo=layer.licence,
                    Content=content,
                    CompatibleArchitectures=[layer.architecture],
                    CompatibleRuntimes=RUNTIMES,
                )
            _require_content(client, name, version, layer)
        if plan.is_public:
            _make_public(client, name, version["Version"])
        return version["LayerVersionArn"], "published" if is_new else "unchanged"


def _newest(client: Any, name: str) -> Any:
    """The newest version of the layer ``name`` with its checksum, or None when there is none."""
    pages = client.get_paginator("list_layer_versions").paginate(LayerName=name)
    try:
        numbers = [version["Version"] for page in pages for version in page["LayerVersions"]]
    except client.exceptions.ResourceNotFoundException:
        return None
    return client.get_layer_version(LayerName=name, VersionNumber=max(numbers)) if numbers else None


def _require_content(client: Any, name: str, version: Mapping[str, Any], layer: Zip) -> None:
    """Delete ``version`` and raise ``WrongContent`` unless Lambda's checksum of it is that of ``layer``."""
    stored = version["Content"]["CodeSha256"]
    if stored == layer.sha256:
        return
    arn = version["LayerVersionArn"]
    try:
        client.delete_layer_version(LayerName=name, VersionNumber=version["Version"])
        outcome = "that version was deleted again"
    except (BotoCoreError, ClientError) as error:
        outcome = f"deleting that version failed ({error}), so delete it by hand"
    raise WrongContent(
        f"{arn} has the SHA-256 {stored}, and what was uploaded has {layer.sha256}: somebody else changed it on its "
        f"way (find out who can write to the bucket); {outcome}. It was not made public"
    )


@contextmanager
def _content(session: boto3.session.Session, layer: Zip, region: str, plan: Plan) -> Iterator[dict[str, object]]:
    """Gives Lambda the zip, directly or through a bucket, from which it is removed again: Lambda makes a copy.

    The bucket has to belong to the account of these credentials: a name such as ``mine-eu-west-1`` can be anybody's.
    """
    if len(layer.content) <= DIRECT_LIMIT:
        yield {"ZipFile": layer.content}
        return
    checksum = hashlib.sha256(layer.content).hexdigest()
    place = {"Bucket": f"{plan.bucket_prefix}-{region}", "Key": f"{plan.name}-{layer.kind}-{checksum}.zip"}
    owner = {"ExpectedBucketOwner": _account(session, region)}
    with closing(session.client("s3", region_name=region, config=CLIENT)) as storage:
        stored = storage.put_object(**place, **owner, Body=layer.content, ChecksumSHA256=layer.sha256)
        # In a bucket with versions this upload has a number of its own, and a later one with the same name another.
        version = stored.get("VersionId")
        try:
            yield {
                "S3Bucket": place["Bucket"],
                "S3Key": place["Key"],
                **({"S3ObjectVersion": version} if version else {}),
            }
        finally:
            storage.delete_object(**place, **owner, **({"VersionId": version} if version else {}))


def _account(session: boto3.session.Session, region: str) -> str:
    """The number of the account that the credentials are of. STS answers that without any permission."""
    with closing(session.client("sts", region_name=region, config=CLIENT)) as client:
        return str(client.get_caller_identity()["Account"])


def _make_public(client: Any, name: str, version: int) -> None:
    try:
        client.add_layer_version_permission(
            LayerName=name,
            VersionNumber=version,
            StatementId="public",
            Action="lambda:GetLayerVersion",
            Principal="*",
        )
    except client.exceptions.ResourceConflictException:
        pass  # it is public already


def _require_a_way(zips: Sequence[Zip], plan: Plan) -> None:
    for layer in zips:
        if len(layer.content) > DIRECT_LIMIT and not plan.bucket_prefix:
            raise LayerError(
                f"the layer for {layer.kind} has {len(layer.content):,} bytes, and Lambda takes "
                f"{DIRECT_LIMIT:,} directly: name buckets with --bucket-prefix PREFIX (PREFIX-REGION in each region)"
            )


def explained(error: Exception, plan: Plan) -> str:
    """``error`` in a sentence, with what to do about it where that is known."""
    advice = {
        "AccessDenied": f"the bucket {plan.bucket_prefix}-REGION has to belong to the account of these credentials, "
        "which need s3:PutObject, s3:GetObject and s3:DeleteObject in it",
        "NoSuchBucket": f"make the bucket {plan.bucket_prefix}-REGION in this region, or give another --bucket-prefix",
        "AccessDeniedException": "these credentials need lambda:ListLayerVersions, lambda:GetLayerVersion, "
        "lambda:PublishLayerVersion, and lambda:AddLayerVersionPermission for --public",
        "UnrecognizedClientException": "the credentials are wrong, or this region is not enabled for the account",
        "InvalidClientTokenId": "the credentials are wrong, or this region is not enabled for the account",
    }
    response = getattr(error, "response", {}).get("Error", {})
    code = response.get("Code", "")
    return f"{error}" + (f" ({advice[code]})" if code in advice else "")


def _known(record: Path, zips: Sequence[Zip], plan: Plan) -> dict[str, dict[str, str]]:
    """The ARNs by region and architecture that an earlier run has noted for the same content under the same name."""
    try:
        before = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    if before.get("name") != plan.name or before.get("sha256") != _checksums(zips):
        return {}
    arns: dict[str, dict[str, str]] = before["layers"]
    return arns


def _save(record: Path, arns: Mapping[str, object], zips: Sequence[Zip], plan: Plan) -> None:
    document = {"fairlead": __version__, "name": plan.name, "sha256": _checksums(zips), "layers": arns}
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    kept.replace(record, lambda draft: draft.write_text(text))


def _checksums(zips: Sequence[Zip]) -> dict[str, str]:
    return {layer.kind: layer.sha256 for layer in zips}


def _session() -> boto3.session.Session:
    """One for the whole run, so that a code for several factors is asked for once."""
    try:
        return boto3.session.Session()
    except BotoCoreError as error:
        raise LayerError(f"the AWS configuration cannot be used: {error}") from error


def require_credentials(session: boto3.session.Session) -> None:
    """Raises ``LayerError`` in one sentence when there are none that can be used."""
    try:
        credentials = session.get_credentials()
        if credentials:
            credentials.get_frozen_credentials()  # asks for those that expire
            return
    except BotoCoreError as error:
        raise LayerError(f"the AWS credentials cannot be used: {error}") from error
    raise LayerError(
        "there are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run "
        "`aws configure`"
    )


def require_regions(session: boto3.session.Session, regions: Sequence[str]) -> None:
    """Raises ``LayerError`` that names each one that is none, so that a typo is found before anything is done."""
    known = {region for partition in PARTITIONS for region in session.get_available_regions("lambda", partition)}
    problems = []
    for region in (region for region in regions if region not in known):
        near = difflib.get_close_matches(region, known, 1)
        problems.append(f"{region} is no region" + (f"; did you mean {near[0]}?" if near else ""))
    if problems:
        raise LayerError(f"{', '.join(problems)} (a newer boto3 in requirements-dev.txt knows newer regions)")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="layer.publish", description="Publish the layers to AWS regions.")
    parser.add_argument("--regions", nargs="*", default=[], metavar="REGION", help="such as eu-west-1 us-east-1")
    parser.add_argument(
        "--name", default=Plan().name, help="the layers are NAME-x86_64, NAME-arm64, NAME-bun-x86_64, ..."
    )
    parser.add_argument(
        "--runtimes", nargs="*", default=[], metavar="RUNTIME", help=f"their layers as well: {', '.join(PROGRAMS)}"
    )
    parser.add_argument("--public", action="store_true", help="let every AWS account use these versions")
    parser.add_argument(
        "--bucket-prefix", default="", metavar="PREFIX", help="zips over 50 MiB go through the bucket PREFIX-REGION"
    )
    parser.add_argument("--record", type=Path, default=RECORD, metavar="FILE", help="where the ARNs are written to")
    options = parser.parse_args(arguments)
    regions = list(dict.fromkeys(" ".join(options.regions).replace(",", " ").split()))
    if not regions:
        parser.error("name the regions: --regions eu-west-1 us-east-1 (make publish REGIONS='eu-west-1 us-east-1')")
    try:
        chosen = runtimes.chosen(options.runtimes)
        session = _session()
        require_regions(session, regions)
        require_credentials(session)
        zips = [Zip(name, build.build(name).zip.read_bytes()) for name in ARCHITECTURES]
        zips += [Zip(name, runtimes.make(of, name).zip.read_bytes(), of) for of in chosen for name in ARCHITECTURES]
        plan = Plan(options.name, options.bucket_prefix, options.public)
        failed = publish_all(session, zips, regions, plan, options.record)
    except LayerError as failure:
        print(f"layer.publish: {failure}", file=sys.stderr)
        return 1
    print(f"{len(regions) - len(failed)} of {len(regions)} regions have these layers; the ARNs: {options.record}")
    if failed:
        print(f"layer.publish: not in {', '.join(failed)}; the same command tries these again", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
