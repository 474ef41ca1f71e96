"""OpenVINO GenAI's continuous batching on the GGUF file, with its defaults: openvino_worker.py MODEL THREADS

Runs in OpenVINO's own environment.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import openvino
import openvino_genai

from peers.base import Work
from peers.serve_lines import Times, serve_lines


def main() -> None:
    model, threads = sys.argv[1], int(sys.argv[2])
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.max_num_batched_tokens = 512
    scheduler.max_num_seqs = 64
    scheduler.enable_prefix_caching = False
    scheduler.cache_size = 1  # GB
    pipeline = openvino_genai.ContinuousBatchingPipeline(model, scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads})
    vocab_size = len(pipeline.get_tokenizer().get_vocab())
    request_ids = itertools.count()

    def run(work: Work, prompts: list[list[int]]) -> Times:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = work.num_tokens
        config.ignore_eos = True
        config.do_sample = False
        handles = [
            pipeline.add_request(next(request_ids), openvino.Tensor(np.array([prompt], np.int64)), config)
            for prompt in prompts
        ]
        times: list[list[float]] = [[] for _ in handles]
        while pipeline.has_non_finished_requests():
            pipeline.step()
            now = time.perf_counter()
            for handle, arrivals in zip(handles, times, strict=True):
                if handle.can_read():
                    arrivals += [now] * sum(len(output.generated_ids) for output in handle.read().values())
        return times

    serve_lines(run, vocab_size)


if __name__ == "__main__":
    main()
