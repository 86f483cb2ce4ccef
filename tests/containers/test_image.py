"""What ``make image`` makes: every digest is right, the content is the layer, and ``docker load`` takes it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from layer import build, image
from runtime import __version__

from .conftest import loaded

PLATFORMS = {"x86_64": "amd64", "arm64": "arm64"}
EPOCH = build.DEFAULT_EPOCH
LONG_NAME = "name" * 30  # longer than a tar header's field


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, Path]:
    """Two small layers."""
    return {name: small_tree(tmp_path / name, name) for name in PLATFORMS}


def small_tree(root: Path, content: str) -> Path:
    (root / "fairlead/lib").mkdir(parents=True)
    (root / "bootstrap").write_text("#!/bin/bash\n")
    (root / "fairlead/lib/empty").touch()
    (root / "fairlead/lib" / LONG_NAME).write_text(content)
    for path in (root, *root.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.name == "bootstrap" else 0o644)
    return root


def files_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {entry.name: read(tar, entry) for entry in tar}


def read(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry)
    return file.read() if file else b""


def named(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """The descriptors of ``index.json`` by the name that skopeo takes."""
    descriptors = json.loads(files["index.json"])["manifests"]
    return {descriptor["annotations"]["org.opencontainers.image.ref.name"]: descriptor for descriptor in descriptors}


def manifests(files: dict[str, bytes]) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Platform and manifest of each image, found as a registry's client finds them; every digest is checked."""
    for descriptor in json.loads(blob(files, named(files)[__version__]))["manifests"]:
        yield descriptor["platform"], json.loads(blob(files, descriptor))


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    algorithm, _, digest = descriptor["digest"].partition(":")
    content = files[f"blobs/{algorithm}/{digest}"]
    assert hashlib.new(algorithm, content).hexdigest() == digest
    assert len(content) == descriptor["size"]
    return content


def test_the_index_leads_to_an_image_of_each_architecture(trees: dict[str, Path], tmp_path: Path) -> None:
    image.write(tmp_path / "image.tar", trees, EPOCH)
    files = files_of(tmp_path / "image.tar")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    reached = {"oci-layout", "index.json", "manifest.json"}
    reached.add("blobs/sha256/" + named(files)[__version__]["digest"].partition(":")[2])
    for platform, manifest in manifests(files):
        config = json.loads(blob(files, manifest["config"]))
        (layer,) = manifest["layers"]
        unpacked = gzip.decompress(blob(files, layer))
        assert {"architecture": config["architecture"], "os": config["os"]} == platform
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]
        reached |= {f"blobs/sha256/{d['digest'].partition(':')[2]}" for d in (manifest["config"], layer)}
        reached.add(f"blobs/sha256/{hashlib.sha256(json_bytes(manifest)).hexdigest()}")
    assert [platform["architecture"] for platform, _ in manifests(files)] == list(PLATFORMS.values())
    assert reached == set(files), "nothing is in the file that nothing leads to"


def json_bytes(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def test_each_architecture_has_a_name_of_its_own_too(trees: dict[str, Path], tmp_path: Path) -> None:
    """As ``docker save`` writes names: containerd takes them as they are, and ``docker`` looks for the full one."""
    image.write(tmp_path / "image.tar", trees, EPOCH)
    files = files_of(tmp_path / "image.tar")
    assert {tag: descriptor["annotations"]["io.containerd.image.name"] for tag, descriptor in named(files).items()} == {
        tag: f"docker.io/library/fairlead:{tag}" for tag in (__version__, *PLATFORMS.values())
    }
    for platform, manifest in manifests(files):
        tag = platform["architecture"]
        assert json.loads(blob(files, named(files)[tag])) == manifest


def test_what_docker_load_reads_names_the_same_blobs(trees: dict[str, Path], tmp_path: Path) -> None:
    image.write(tmp_path / "image.tar", trees, EPOCH)
    files = files_of(tmp_path / "image.tar")
    expected = [
        {
            "Config": f"blobs/sha256/{manifest['config']['digest'].partition(':')[2]}",
            "Layers": [f"blobs/sha256/{manifest['layers'][0]['digest'].partition(':')[2]}"],
            "RepoTags": [f"fairlead:{__version__}-{name['architecture']}", f"fairlead:{name['architecture']}"],
        }
        for name, manifest in manifests(files)
    ]
    assert json.loads(files["manifest.json"]) == expected


def test_the_content_is_the_tree_at_opt(trees: dict[str, Path]) -> None:
    tree = trees["arm64"]
    with tarfile.open(fileobj=io.BytesIO(image.layer_tar(tree, EPOCH))) as tar:
        entries = tar.getmembers()
        contents = {entry.name: read(tar, entry) for entry in entries if entry.isfile()}
    below = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*"))
    assert [entry.name for entry in entries] == ["opt", *(f"opt/{name}" for name in below)]
    assert contents == {f"opt/{name}": (tree / name).read_bytes() for name in below if (tree / name).is_file()}
    assert {entry.name for entry in entries if entry.mode & 0o111} == {
        "opt",
        "opt/bootstrap",
        "opt/fairlead",
        "opt/fairlead/lib",
    }
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", EPOCH)}


def test_the_same_layers_are_the_same_bytes_in_another_place(trees: dict[str, Path], tmp_path: Path) -> None:
    image.write(tmp_path / "one.tar", trees, EPOCH)
    copies = {name: Path(shutil.copytree(tree, tmp_path / "copies" / name)) for name, tree in trees.items()}
    image.write(tmp_path / "two.tar", copies, EPOCH)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize("arguments", [["--help"], ["one.tar", "two.tar"]])
def test_anything_but_one_target_prints_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert image.main(arguments) == 2
    assert "usage: python -m layer.image [TARGET]" in capsys.readouterr().err


@pytest.mark.containers
def test_docker_load_takes_both_architectures(
    client: docker.DockerClient, trees: dict[str, Path], tag: str, tmp_path: Path
) -> None:
    name = f"{tag}-small"
    image.write(tmp_path / "image.tar", trees, EPOCH, name)
    with loaded(client, tmp_path / "image.tar") as found:
        assert {one.attrs["Architecture"]: sorted(one.tags) for one in found} == {
            platform: sorted([f"{name}:{platform}", f"{name}:{__version__}-{platform}"])
            for platform in PLATFORMS.values()
        }
