"""The control groups that limit this process (cgroups(7), and the kernel's admin-guide on cgroup-v1 and cgroup-v2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def control_groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folder and version (1 or 2) of each group with this controller that the process is in, parents after children.

    In a container the path that the kernel reports may not exist beneath the mount; the mount itself, which comes last,
    is then the container's group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        mount = root / "sys/fs/cgroup" / (controller if version == 1 else "")
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder, version
            if folder == mount:
                break
