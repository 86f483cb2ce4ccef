"""How much memory processes have, as the kernel tells it (proc(5))."""

from __future__ import annotations

import posix

from .app_process import stat_fields

# Of what ``stat_fields`` gives.
GROUP, RESIDENT_PAGES = 2, 21


def resident_bytes(pid: int) -> int:
    """The process's resident set (VmRSS) in bytes; 0 when there is no such process."""
    fields = stat_fields(pid)
    return int(fields[RESIDENT_PAGES]) * _page_size() if fields else 0


def group_resident_bytes(group: int) -> int:
    """The sum over the processes of a group, in bytes.

    What they share counts for each of them. Their proportional share (smaps_rollup) would not, and takes the kernel
    milliseconds; this takes it 10 µs for each process that there is, and a function has few.
    """
    members = (stat_fields(int(name)) for name in posix.listdir("/proc") if name.isdigit())
    pages = sum(int(fields[RESIDENT_PAGES]) for fields in members if fields and int(fields[GROUP]) == group)
    return pages * _page_size()


def _page_size() -> int:
    return posix.sysconf("SC_PAGE_SIZE")
