"""What a layer compresses answers with: gzip and zstd by its own libraries, brotli after ``--with brotli``."""

from __future__ import annotations

import gzip
import json

import brotli
import pytest
import zstandard

from layer import build, recipe
from layer.failures import LayerError

from .conftest import PYTHON, BuildOne, runner, way_into

PROGRAM = """
import json
from fairlead.web.compression import available
print(json.dumps({coding.name: coding.encode(b"all that is fair " * 1000).hex() for coding in available()}))
"""
DECODE = {"zstd": zstandard.ZstdDecompressor().decompress, "br": brotli.decompress, "gzip": gzip.decompress}


@pytest.mark.integration
@pytest.mark.parametrize("name", recipe.ARCHITECTURES)
@pytest.mark.parametrize(
    ("packages", "expected"),
    [pytest.param((), ["zstd", "gzip"], id="ordinary"), pytest.param(("brotli",), ["zstd", "br", "gzip"], id="brotli")],
)
def test_what_a_layer_compresses_with(
    name: str, packages: tuple[str, ...], expected: list[str], build_one: BuildOne
) -> None:
    try:
        layer = build_one(name, build.Choice(packages=packages))
    except LayerError as failure:
        if "pip could not download" in str(failure):
            pytest.skip(str(failure))
        raise
    result = runner(way_into(layer.tree, recipe.ARCHITECTURES[name]))(PYTHON, "-ISBXutf8", "-c", PROGRAM)
    assert result.returncode == 0, result.stderr
    coded = json.loads(result.stdout)
    assert list(coded) == expected
    for coding, body in coded.items():
        assert DECODE[coding](bytes.fromhex(body)) == b"all that is fair " * 1000
