"""What the C library is told about memory."""

from __future__ import annotations


def keep_freed_memory() -> None:
    """Have glibc keep the blocks that large bodies were in, instead of mapping new pages for each invocation.

    It maps blocks above a threshold afresh, and raises that for good once such a block is freed, up to 32 MiB: so this
    frees the largest one that counts, never touched (docs/decisions/0008). Other C libraries do not mind.
    """
    bytes((32 << 20) - 65_536)
