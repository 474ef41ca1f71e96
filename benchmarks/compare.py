"""Us and other engines on the same model file, prompts and output lengths, in one go, taking turns.

    python benchmarks/compare.py --peers openvino,llama.cpp --json out.json

Runs in inglenook's environment; each peer gets one of its own under --folder, made on the first run (llama.cpp is
compiled then, which takes a while). Prints medians of the rounds and our ratio to each peer.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from inglenook.bench.machine import machine, occasion
from inglenook.config import DEFAULT_MODEL, num_usable_cores
from inglenook.ops.native import default_isa
from inglenook.settings import home_folder
from inglenook.store.store import ModelStore
from peers.base import WORKS, Peer, PeerError, Work
from peers.install import make_venv, package_version
from peers.llama_cpp import LlamaCpp
from peers.openai_url import OpenAIUrl
from peers.worker import Worker

SCRIPTS = Path(__file__).resolve().parent / "peers"
OURS = "inglenook"

Rates = Mapping[str, Mapping[str, Sequence[float]]]  # engine, work -> tokens per second of each round


def open_ours(folder: Path, model: Path, threads: int) -> Peer:
    about = occasion()
    version = str(about["commit"] or about["version"])
    return Worker(OURS, version, [sys.executable, str(SCRIPTS / "inglenook_worker.py")], model, threads)


def open_openvino(folder: Path, model: Path, threads: int) -> Peer:
    python = make_venv(folder / "openvino", ["openvino-genai"])
    version = package_version(python, "openvino-genai")
    return Worker("openvino", version, [str(python), str(SCRIPTS / "openvino_worker.py")], model, threads)


def open_llama_cpp(folder: Path, model: Path, threads: int) -> Peer:
    return LlamaCpp(folder / "llama.cpp", model, threads)


PEERS: dict[str, Callable[[Path, Path, int], Peer]] = {"openvino": open_openvino, "llama.cpp": open_llama_cpp}


def measure(peers: Sequence[Peer], works: Sequence[Work], rounds: int) -> Rates:
    """Every round each engine does each work once; a round before the first only warms up.

    A peer that fails has no rate for that work from then on.
    """
    rates: dict[str, dict[str, list[float]]] = {peer.name: {work.name: [] for work in works} for peer in peers}
    for number in range(rounds + 1):
        for work in works:
            for peer in peers:
                try:
                    tokens_per_s = peer.measure(work)
                except PeerError as error:
                    print(f"{peer.name}, {work.name}: {error}", file=sys.stderr)
                    continue
                if number > 0:
                    rates[peer.name][work.name].append(tokens_per_s)
        print(f"round {number} of {rounds} done", file=sys.stderr, flush=True)
    return rates


def table(rates: Rates, works: Sequence[Work]) -> list[str]:
    """Medians in tokens per second, and behind each peer's ours divided by it."""
    others = [name for name in rates if name != OURS]
    lines = [f"{'tokens/s':<13}{OURS:>11}" + "".join(f"{_short(name):>14}{'ratio':>7}" for name in others)]
    for work in works:
        ours = _median(rates[OURS][work.name])
        line = f"{work.name:<13}{_number(ours):>11}"
        for name in others:
            theirs = _median(rates[name][work.name])
            ratio = f"{ours / theirs:.2f}x" if ours and theirs else "-"
            line += f"{_number(theirs):>14}{ratio:>7}"
        lines.append(line)
    return lines


def document(peers: Sequence[Peer], rates: Rates, rounds: int, model: Path, threads: int) -> dict[str, Any]:
    """Everything for JSON: what ran where, each round's rates and their medians."""
    return {
        "machine": machine(threads, default_isa()),
        **occasion(),
        "command": shlex.join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
        "model": model.name,
        "rounds": rounds,
        "versions": {peer.name: peer.version for peer in peers},
        "medians": {name: {work: _median(values) for work, values in works.items()} for name, works in rates.items()},
        "rates": rates,
    }


def _open(opener: Callable[[Path, Path, int], Peer], name: str, folder: Path, model: Path, threads: int) -> Peer | None:
    """A peer that can't be had is left out, and the reason printed."""
    try:
        return opener(folder, model, threads)
    except PeerError as error:
        print(f"{name} can't be had: {error}", file=sys.stderr)
        return None


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _short(name: str) -> str:
    return name if len(name) <= 13 else f"{name[:12]}…"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a GGUF file or a catalogue name of one")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"some of {', '.join(PEERS)}; default: all")
    parser.add_argument("--url", action="append", default=[], help="an OpenAI-compatible server's .../v1 as well")
    parser.add_argument("--only", default="", help=f"some of {', '.join(work.name for work in WORKS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=num_usable_cores())
    parser.add_argument("--folder", type=Path, default=Path("build/peers"), help="where peers are installed")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = [name for name in options.peers.split(",") if name]
    works = [work for work in WORKS if not options.only or work.name in options.only.split(",")]
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"no such peer: {', '.join(unknown)}")
    if not works:
        parser.error(f"no such work: {options.only}")
    path = ModelStore(home_folder(None)).resolve(options.model).path
    if path is None or path.suffix != ".gguf":
        parser.error("every engine must read the same file: give a GGUF file")
    folder = options.folder.resolve()
    opened = [_open(PEERS[name], name, folder, path, options.threads) for name in names]
    peers = [open_ours(folder, path, options.threads), *(peer for peer in opened if peer is not None)]
    try:
        peers += [OpenAIUrl(url) for url in options.url]
        rates = measure(peers, works, options.rounds)
    finally:
        for peer in peers:
            peer.close()
    print("\n".join(table(rates, works)))
    if options.json is not None:
        result = document(peers, rates, options.rounds, path, options.threads)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
