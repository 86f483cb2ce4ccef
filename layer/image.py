"""The layers as a container image to ``COPY --from``, made without an engine: ``python -m layer.image [TARGET]``.

One file, two ways in. For registries and the engines of today: an OCI image layout (image-spec 1.1, image-layout.md)
with three names: the version leads to an index of linux/amd64 and linux/arm64, ``amd64`` and ``arm64`` to one of them.
For engines that do not read that: ``manifest.json``, which names the same blobs, by tags of one architecture each.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from runtime import __version__

from . import build, kept
from .failures import LayerError
from .recipe import ARCHITECTURES, MOUNT

NAME = "fairlead"
TARGET = build.PLACES.dist / f"{NAME}-image.tar"
# A short name in full, as `docker save` writes it too: containerd takes names as they are, and the `docker` before it
# finds no other.
DOCKERS = "docker.io/library/"
OCI = "application/vnd.oci.image"
Document = dict[str, object]


class Blob(NamedTuple):
    """Content that is named by its checksum."""

    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def path(self) -> str:
        return f"blobs/sha256/{self.sha256}"

    @property
    def descriptor(self) -> Document:
        return {"mediaType": self.media_type, "digest": f"sha256:{self.sha256}", "size": len(self.content)}


class Image(NamedTuple):
    """One architecture's; ``platform`` is what containers call it."""

    platform: str
    layer: Blob
    config: Blob

    @property
    def manifest(self) -> Blob:
        return _json_blob(
            "manifest.v1", {"config": self.config.descriptor, "layers": [self.layer.descriptor], **_schema("manifest")}
        )


def write(target: Path, trees: Mapping[str, Path], epoch: int, name: str = NAME) -> None:
    """Pack ``trees`` (Lambda's name of an architecture -> what ``/opt`` is there) into ``target``, the image ``name``.

    ``epoch`` is the time of each file and of the image, in Unix seconds.
    """
    images = [_image(ARCHITECTURES[architecture].debian, tree, epoch) for architecture, tree in trees.items()]
    files = dict(_layout(images, name))
    kept.replace(target, lambda draft: draft.write_bytes(_tar(files, epoch)))


def _image(platform: str, tree: Path, epoch: int) -> Image:
    unpacked = layer_tar(tree, epoch)
    # Compressed for registries, which keep and hand out these very bytes.
    layer = Blob(f"{OCI}.layer.v1.tar+gzip", gzip.compress(unpacked, 9, mtime=0))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    config: Document = {
        "architecture": platform,
        "os": "linux",
        "created": created,
        "config": {"Labels": {"org.opencontainers.image.version": __version__}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]},
        "history": [{"created": created, "created_by": f"Fairlead {__version__} at {MOUNT}"}],
    }
    return Image(platform, layer, _json_blob("config.v1", config))


def layer_tar(tree: Path, epoch: int) -> bytes:
    """The tar that puts ``tree`` at ``/opt``: in order of name, owned by root, with the modes that the tree has."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in (tree, *sorted(tree.rglob("*"))):
            entry = tarfile.TarInfo((Path(MOUNT[1:]) / path.relative_to(tree)).as_posix())
            entry.mode, entry.mtime = path.stat().st_mode & 0o7777, epoch
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                content = path.read_bytes()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def _layout(images: Sequence[Image], name: str) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file of the image."""
    manifests = [
        {**image.manifest.descriptor, "platform": {"architecture": image.platform, "os": "linux"}} for image in images
    ]
    index = _json_blob("index.v1", {"manifests": manifests, **_schema("index")})
    # One name for both would do for registries, but what reads this layout does not read manifest.json as well, and so
    # would miss the names there.
    named = [_named(name, __version__, index), *(_named(name, image.platform, image.manifest) for image in images)]
    yield "oci-layout", _json({"imageLayoutVersion": "1.0.0"})
    yield "index.json", _json({"manifests": named, **_schema("index")})
    yield "manifest.json", _json([_loadable(image, name) for image in images])
    for blob in (index, *(blob for image in images for blob in (image.manifest, image.config, image.layer))):
        yield blob.path, blob.content


def _named(name: str, tag: str, blob: Blob) -> Document:
    """A descriptor with the names by which skopeo and containerd find it."""
    names = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": f"{DOCKERS}{name}:{tag}"}
    return {**blob.descriptor, "annotations": names}


def _loadable(image: Image, name: str) -> Document:
    """The tar file that ``docker load`` reads. https://github.com/moby/docker-image-spec, "Combined Image JSON"."""
    tags = [f"{name}:{__version__}-{image.platform}", f"{name}:{image.platform}"]
    return {"Config": image.config.path, "RepoTags": tags, "Layers": [image.layer.path]}


def _schema(kind: str) -> Document:
    return {"schemaVersion": 2, "mediaType": f"{OCI}.{kind}.v1+json"}


def _json_blob(kind: str, document: Document) -> Blob:
    return Blob(f"{OCI}.{kind}+json", _json(document))


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _tar(files: Mapping[str, bytes], epoch: int) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(files[name]), epoch
            tar.addfile(entry, io.BytesIO(files[name]))
    return archive.getvalue()


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or any(word.startswith("-") for word in arguments):
        print(f"usage: python -m layer.image [TARGET]   (default: dist/{TARGET.name})", file=sys.stderr)
        return 2
    target = Path(arguments[0]) if arguments else TARGET
    try:
        trees = {name: build.ensure(name) for name in ARCHITECTURES}
        write(target, trees, int(os.environ.get("SOURCE_DATE_EPOCH") or build.DEFAULT_EPOCH))
    except (LayerError, OSError) as failure:
        print(f"layer.image: {failure}", file=sys.stderr)
        return 1
    print(f"{target}  {target.stat().st_size / 1e6:.1f} MB: {NAME} {__version__} for linux/amd64 and linux/arm64")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
