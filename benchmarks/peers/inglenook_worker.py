"""Our engine: inglenook_worker.py MODEL THREADS"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inglenook.bench.subject import Subject
from inglenook.config import EngineSettings, ModelSettings
from peers.base import Work
from peers.serve_lines import Times, serve_lines


def main() -> None:
    model, threads = Path(sys.argv[1]), int(sys.argv[2])
    subject = Subject(model, ModelSettings(model=str(model), max_model_len=1024), EngineSettings(threads=threads))

    def run(work: Work, prompts: list[list[int]]) -> Times:
        return subject.arrivals([subject.request(tuple(prompt), work.num_tokens) for prompt in prompts])

    try:
        serve_lines(run, subject.loaded.config.vocab_size)
    finally:
        subject.close()


if __name__ == "__main__":
    main()
