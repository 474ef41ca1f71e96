"""llama.cpp, from the source that the package llama-cpp-python carries, compiled for this processor.

Measured with its own program for batches, llama-batched-bench. That one takes no samples from the logits and shows no
text, so its figures are a little better than those of a server.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

from peers.base import PeerError, Work
from peers.install import make_venv, run

PACKAGE = "llama-cpp-python"
CMAKE_FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
PROGRAM = "llama-batched-bench"


def install(folder: Path) -> tuple[Path, str]:
    """The benchmark program and its version. Compiles for many minutes where it isn't there yet."""
    source, build = folder / "source", folder / "build"
    program = build / "bin" / PROGRAM
    if not program.is_file():
        python = make_venv(folder / "venv", ["cmake", "ninja"])
        if not source.is_dir():
            command = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE, "--dest", str(folder)]
            run([str(python), *command, PACKAGE])
            _unpack(folder, source)
        tools = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
        vendored = source / "vendor" / "llama.cpp"
        run(["cmake", "-S", str(vendored), "-B", str(build), "-G", "Ninja", *CMAKE_FLAGS], env=tools)
        run(["cmake", "--build", str(build), "--target", PROGRAM], env=tools)
    lines = (source / "PKG-INFO").read_text().splitlines()
    version = next(line.partition(": ")[2] for line in lines if line.startswith("Version: "))
    return program, f"{PACKAGE} {version}"


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, folder: Path, model: Path, threads: int) -> None:
        self._program, self.version = install(folder)
        self._model = model
        self._threads = threads

    def measure(self, work: Work) -> float:
        words = {
            "-m": self._model,
            "-t": self._threads,
            "-npp": work.num_prompt_tokens,
            "-ntg": work.num_tokens,
            "-npl": work.num_sequences,
            "-c": max(1024, 2 * work.num_sequences * (work.num_prompt_tokens + work.num_tokens)),
            "--output-format": "jsonl",
        }
        command = [str(self._program), *(str(word) for pair in words.items() for word in pair)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode != 0 or not lines:
            raise PeerError(f"{PROGRAM} failed with {done.returncode}:\n{done.stderr[-2000:]}")
        result = json.loads(lines[-1])
        return float(result["speed_pp"] if work.is_prefill else result["speed_tg"])

    def close(self) -> None:
        pass


def _unpack(folder: Path, source: Path) -> None:
    archives = sorted(folder.glob("llama_cpp_python-*.tar.gz"))
    if not archives:
        raise PeerError(f"No source archive of {PACKAGE} was downloaded into {folder}.")
    with tarfile.open(archives[-1]) as archive:
        archive.extractall(folder, filter="data")
    (folder / archives[-1].name.removesuffix(".tar.gz")).rename(source)
