"""A virtual environment for each peer, so that none gets into the product's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from peers.base import PeerError

_SHOWN = 3000  # characters of what a failed command has printed


def make_venv(folder: Path, packages: Sequence[str]) -> Path:
    """The interpreter of a virtual environment that has `packages`; made where it isn't there yet."""
    python = folder / "bin" / "python"
    done = folder / "installed.txt"
    if not done.is_file() or done.read_text().split() != list(packages):
        run([sys.executable, "-m", "venv", str(folder)])
        if packages:
            run([str(python), "-m", "pip", "install", "--quiet", *packages])
        done.write_text("\n".join(packages))
    return python


def package_version(python: Path, package: str) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return run([str(python), "-c", code]).strip()


def run(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What a command printed. Raises PeerError with the end of its output where it fails."""
    print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    except OSError as error:
        raise PeerError(f"{command[0]} can't be run: {error}") from error
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command)} failed with {done.returncode}:\n{(done.stdout + done.stderr)[-_SHOWN:]}")
    return done.stdout
