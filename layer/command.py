"""``./build-layer.sh [x86_64|arm64 ...] [--with orjson,brotli] [--with-runtime bun,deno]``: layers, into ``dist/``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from . import build, dist, programs, runtimes, wheels
from .build import Choice, Layer
from .check import DIRECT_UPLOAD
from .failures import LayerError
from .recipe import ARCHITECTURES, REPOSITORY


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="build-layer.sh", description="Build the Lambda layers into dist/. No root, compiler or Docker is needed."
    )
    parser.add_argument(
        "architectures", nargs="*", metavar="ARCHITECTURE", help=f"{' or '.join(ARCHITECTURES)}; default: both"
    )
    parser.add_argument(
        "--with",
        dest="packages",
        default="",
        metavar="NAME,NAME...",
        help="packages from PyPI to add: " + ", ".join(sorted({pin.name for pin in wheels.pins()})),
    )
    parser.add_argument(
        "--with-runtime",
        dest="runtimes",
        action="append",
        default=[],
        metavar="NAME,NAME...",
        help="layers of their own as well, with a runtime for apps: " + ", ".join(programs.PROGRAMS),
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.architectures if name not in ARCHITECTURES]:
        parser.error(f"no such architecture: {', '.join(unknown)} (Lambda has {', '.join(ARCHITECTURES)})")
    choice = build.chosen()
    if options.packages:
        choice = choice._replace(packages=tuple(options.packages.replace(",", " ").split()))
    try:
        for layer in _layers(options.architectures, choice, runtimes.chosen(options.runtimes)):
            _report(layer)
    except LayerError as failure:
        print(f"build-layer.sh: {failure}", file=sys.stderr)
        return 1
    return 0


def _layers(architectures: Sequence[str], choice: Choice, names: Sequence[str]) -> Iterator[Layer]:
    wanted = architectures or (dist.architectures(choice.dist) if choice.dist else list(ARCHITECTURES))
    for architecture in wanted:
        yield build.build(architecture, choice=choice)
    for name in names:
        for architecture in wanted:
            yield runtimes.make(name, architecture)


def _report(layer: Layer) -> None:
    unpacked = sum(path.stat().st_size for path in layer.tree.rglob("*") if path.is_file())
    zipped = layer.zip.stat().st_size
    print(f"{layer.zip.relative_to(REPOSITORY)}  {zipped / 1e6:.2f} MB, {unpacked / 1e6:.1f} MB unpacked", flush=True)
    if zipped > DIRECT_UPLOAD:
        print(
            f"  it has {zipped:,} bytes, and Lambda takes {DIRECT_UPLOAD:,} directly: publish it through S3 "
            "(make publish ... BUCKET_PREFIX=...)",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
