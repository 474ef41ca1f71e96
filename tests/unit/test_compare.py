"""The comparison with other engines: what is computed and printed. Nothing is installed, nothing timed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from compare import OURS, measure, table
from dummy_gguf import write_dummy_gguf
from inglenook.checkpoint.checkpoint import open_checkpoint
from inglenook.checkpoint.dummy import DummyTensors, dummy_config
from inglenook.models.registry import build_program, read_config
from peers.base import WORKS, PeerError, Work, rate
from peers.install import run
from peers.worker import Worker

PREFILL, DECODE = WORKS[0], WORKS[2]


class FakePeer:
    """Each measurement is one faster than the one before; fails at those numbers that it is told."""

    version = "1"

    def __init__(self, name: str, log: list[str], fails_at: tuple[int, ...] = ()) -> None:
        self.name = name
        self._log = log
        self._fails_at = fails_at
        self._count = -1

    def measure(self, work: Work) -> float:
        self._count += 1
        self._log.append(f"{self.name} {work.name}")
        if self._count in self._fails_at:
            raise PeerError("out of order")
        return 100.0 + self._count

    def close(self) -> None:
        pass


def test_the_rate_of_a_prompt_is_the_time_to_its_first_token() -> None:
    assert rate(PREFILL, 10.0, [[10.5]]) == pytest.approx(512 / 0.5)


def test_the_rate_of_decoding_counts_while_all_are_decoding() -> None:
    assert rate(DECODE, 0.0, [[0.0, 1.0, 2.0, 3.0], [1.5, 2.5, 3.5]]) == pytest.approx(3 / 1.5)


def test_engines_take_turns_and_the_first_round_warms_up(capsys: pytest.CaptureFixture[str]) -> None:
    log: list[str] = []
    peers = [FakePeer(OURS, log), FakePeer("other", log, fails_at=(2,))]
    rates = measure(peers, [PREFILL, DECODE], 2)
    one_round = [f"{name} {work}" for work in ("prefill-512", "decode-8") for name in (OURS, "other")]
    assert log == one_round * 3
    assert rates[OURS] == {"prefill-512": [102.0, 104.0], "decode-8": [103.0, 105.0]}
    assert rates["other"] == {"prefill-512": [104.0], "decode-8": [103.0, 105.0]}
    assert "other, prefill-512: out of order" in capsys.readouterr().err


def test_the_table_has_medians_and_ratios() -> None:
    rates = {
        OURS: {"prefill-512": [100, 300, 200], "decode-8": [50.0]},
        "llama.cpp": {"prefill-512": [80.0], "decode-8": []},
        "http://localhost:8000/v1": {"prefill-512": [400.0], "decode-8": [25.0]},
    }
    assert table(rates, [PREFILL, DECODE]) == [
        "tokens/s       inglenook     llama.cpp  ratio http://local…  ratio",
        "prefill-512          200          80.0  2.50x           400  0.50x",
        "decode-8            50.0             -      -          25.0  2.00x",
    ]


def test_a_worker_answers_lines() -> None:
    script = """
import sys, json
print("an engine's own noise")
print('{"tokens_per_s": 0}', flush=True)
for line in sys.stdin:
    print(json.dumps({"tokens_per_s": json.loads(line)["num_sequences"]}), flush=True)
    if json.loads(line)["num_sequences"] == 8: break
"""
    worker = Worker("w", "1", [sys.executable, "-c", script], Path("model"), 2)
    assert worker.measure(PREFILL) == 1
    assert worker.measure(DECODE) == 8
    with pytest.raises(PeerError, match="has ended"):
        worker.measure(DECODE)
    worker.close()


def test_a_dummy_model_as_a_file(tmp_path: Path) -> None:
    donor = {
        "general.architecture": "llama",
        "general.languages": ["en", "größer"],
        "tokenizer.ggml.token_type": np.array([1, 2, 3], np.int32),
        "tokenizer.ggml.add_bos_token": False,
        "llama.block_count": 99,
    }
    path = tmp_path / "tiny.gguf"
    with path.open("wb") as file:
        write_dummy_gguf("tiny", donor, file)
    checkpoint = open_checkpoint(path)
    assert checkpoint.config["llama.block_count"] == 2
    assert checkpoint.config["llama.rope.freq_base"] == 10000.0
    assert checkpoint.config["general.languages"] == ["en", "größer"]
    assert checkpoint.config["tokenizer.ggml.token_type"].tolist() == [1, 2, 3]
    assert checkpoint.config["tokenizer.ggml.add_bos_token"] is False
    weights = build_program(read_config(dummy_config("tiny"), format="dummy")).weights
    expected = DummyTensors(weights, "q4_0")
    assert checkpoint.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        found = checkpoint.tensors[name]
        assert (found.shape, found.encoding) == (tensor.shape, tensor.encoding)
        np.testing.assert_array_equal(found.data, tensor.data)
    checkpoint.close()


def test_a_failed_installation_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PeerError, match=r"failed with 3:\nno such package"):
        run([sys.executable, "-c", "print('no such package'); raise SystemExit(3)"])
    with pytest.raises(PeerError, match="can't be run"):
        run(["/nowhere/pip"])
