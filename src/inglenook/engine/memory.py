"""How much memory this process may still take: of the machine, of its control groups, of its address space."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inglenook.cgroups import control_groups

_NO_LIMIT = 2**60  # version 1 of control groups writes "none" as the largest number of whole pages


@dataclass(frozen=True)
class AvailableMemory:
    num_bytes: int
    source: str  # what sets the limit, for people


def available_memory(root: Path = Path("/")) -> AvailableMemory:
    """The least of all limits that apply. `root` is where /proc and /sys are, for tests."""
    limits = [AvailableMemory(_machine_bytes(root), "free on this machine")]
    limits += [AvailableMemory(num_bytes, "left in the control group") for num_bytes in _control_group_bytes(root)]
    limits += [AvailableMemory(num_bytes, "left of the address space, ulimit -v") for num_bytes in _address_space(root)]
    return min(limits, key=lambda limit: limit.num_bytes)


def _machine_bytes(root: Path) -> int:
    """MemAvailable of proc(5); where there is no /proc, all memory of the machine."""
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _control_group_bytes(root: Path) -> Iterator[int]:
    """Limit less usage of each control group that has a limit."""
    for folder, version in control_groups(root, "memory"):
        names = ("limit_in_bytes", "usage_in_bytes", "total_") if version == 1 else ("max", "current", "")
        left = _group_bytes(folder, *names)
        if left is not None:
            yield left


def _group_bytes(folder: Path, limit_name: str, usage_name: str, stat_prefix: str) -> int | None:
    try:
        limit = (folder / f"memory.{limit_name}").read_text().strip()
        if not limit.isdigit() or int(limit) >= _NO_LIMIT:
            return None
        usage = int((folder / f"memory.{usage_name}").read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    # Pages of files that nobody has used lately count as usage, but make way at once.
    return max(0, int(limit) - usage + int(stat.get(f"{stat_prefix}inactive_file", 0)))


def _address_space(root: Path) -> Iterator[int]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    try:
        used_pages = int((root / "proc/self/statm").read_text().split()[0])
    except OSError:
        used_pages = 0
    yield max(0, limit - used_pages * os.sysconf("SC_PAGE_SIZE"))
