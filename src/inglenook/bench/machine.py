"""What a recorded figure depends on besides the program: machine, version, commit, command and time."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import inglenook


def machine(threads: int, isa: str) -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "isa": isa,
        "huge_pages": _huge_pages(),
        "system": platform.platform(),
    }


def occasion() -> dict[str, Any]:
    """When, of what, and how this was run."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "version": inglenook.__version__,
        "commit": commit(Path(inglenook.__file__).resolve().parents[2]),
        "command": shlex.join(["inglenook", *sys.argv[1:]]),
    }


def commit(checkout: Path) -> str | None:
    """The commit of a git checkout, with "-dirty" where files differ from it; None for an installed package."""
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _huge_pages() -> str | None:
    """always, madvise or never: whether large allocations may lie on huge pages."""
    setting = _read(Path("/sys/kernel/mm/transparent_hugepage/enabled"))
    return setting.partition("[")[2].partition("]")[0] or None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
