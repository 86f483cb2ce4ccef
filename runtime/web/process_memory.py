"""How much memory processes have, as the kernel tells it (proc(5))."""

from __future__ import annotations

import posix

# Of /proc/PID/stat, counted from the third: the second, the program's name, may hold anything.
GROUP, RESIDENT_PAGES = 2, 21


def resident_bytes(pid: int) -> int:
    """The process's resident set (VmRSS) in bytes; 0 when there is no such process."""
    fields = _stat_fields(str(pid))
    return int(fields[RESIDENT_PAGES]) * _page_size() if fields else 0


def group_resident_bytes(group: int) -> int:
    """The sum over the processes of a group, in bytes.

    What they share counts for each of them. Their proportional share (smaps_rollup) would not, and takes the kernel
    milliseconds; this takes it 10 µs for each process that there is, and a function has few.
    """
    members = (_stat_fields(name) for name in posix.listdir("/proc") if name.isdigit())
    pages = sum(int(fields[RESIDENT_PAGES]) for fields in members if fields and int(fields[GROUP]) == group)
    return pages * _page_size()


def _page_size() -> int:
    return posix.sysconf("SC_PAGE_SIZE")


def _stat_fields(pid: str) -> list[bytes]:
    try:
        descriptor = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:  # gone
        return []
    try:
        return posix.read(descriptor, 4096).rpartition(b") ")[2].split()
    except OSError:
        return []
    finally:
        posix.close(descriptor)
