"""Random weights in the shape of a model, for benchmarks and tests: no file, ready in moments.

The numbers mean nothing, but activations stay finite: matrices have zero mean and a deviation of about
1 / sqrt(in_features), norms are ones and biases zeros.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from inglenook.errors import CheckpointError
from inglenook.ops.dequantize import BLOCK_DTYPES
from inglenook.ops.program import Weight
from inglenook.ops.weights import BLOCK_LAYOUTS, Encoding, HostTensor

Bytes = npt.NDArray[np.uint8]
DummyEncoding = Literal["q4_0", "q8_0", "q4_k", "q5_k", "q6_k", "bf16", "f16", "f32"]

_LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

# Named shapes, as Hugging Face's config.json has them.
DUMMY_CONFIGS: dict[str, dict[str, Any]] = {
    "1b": {
        **_LLAMA,
        "vocab_size": 49152,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 16384,
        "rope_theta": 500000.0,
    },
    "135m": {
        **_LLAMA,
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rope_theta": 100000.0,
    },
    "tiny": {
        **_LLAMA,
        "vocab_size": 256,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_theta": 10000.0,
    },
}

# Random blocks (values, where the encoding has no blocks) that are drawn; pages repeat them. A prime, so that the
# repetition never falls in step with the rows of a matrix.
NUM_DRAWN_BLOCKS = 262_147


def parse_dummy(name: str) -> tuple[str, DummyEncoding | None]:
    """Shape and encoding of "1b" or "1b-q5_k". Raises CheckpointError for an encoding that there isn't."""
    shape, separator, encoding = name.partition("-")
    if not separator:
        return shape, None
    for known in get_args(DummyEncoding):
        if encoding == known:
            return shape, known
    raise CheckpointError(
        f"There are no dummy weights in {encoding!r:.80}; there are {', '.join(get_args(DummyEncoding))}."
    )


def dummy_config(shape: str) -> dict[str, Any]:
    """The configuration of a named shape. Raises CheckpointError for an unknown one."""
    if shape not in DUMMY_CONFIGS:
        raise CheckpointError(f"There is no dummy model {shape!r:.80}; there are {', '.join(DUMMY_CONFIGS)}.")
    return dict(DUMMY_CONFIGS[shape])


class DummyTensors(Mapping[str, HostTensor]):
    """Random tensors, described when they are asked for.

    All matrices of one width are views into one page, each from a place of its own, so that drawing and memory cost
    what the largest matrix does. The same weights, encoding and seed give the same bytes.
    """

    def __init__(self, weights: Mapping[str, Weight], encoding: DummyEncoding = "q4_0", seed: int = 0) -> None:
        self._weights = dict(weights)
        self._encoding = encoding
        self._seed = seed
        self._pages: dict[tuple[Encoding, int], Bytes] = {}

    def __getitem__(self, name: str) -> HostTensor:
        weight = self._weights[name]
        encoding = self.encoding(weight)
        if len(weight.shape) < 2:
            fill = 1.0 if "norm" in name else 0.0
            return HostTensor(name, weight.shape, encoding, np.full(weight.shape, fill, np.float32).view(np.uint8))
        page = self._page(encoding, weight.shape[-1])
        num_blocks, block_bytes = num_blocks_of(weight, encoding), BLOCK_LAYOUTS[encoding].block_bytes
        start = zlib.crc32(name.encode()) % NUM_DRAWN_BLOCKS * block_bytes
        return HostTensor(name, weight.shape, encoding, page[start : start + num_blocks * block_bytes])

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def encoding(self, weight: Weight) -> Encoding:
        """Vectors are f32, and so are matrices whose rows aren't whole blocks."""
        is_whole = weight.shape[-1] % BLOCK_LAYOUTS[self._encoding].block_size == 0
        return self._encoding if len(weight.shape) >= 2 and is_whole else "f32"

    def total_bytes(self) -> int:
        """Of all tensors, as a file would hold them; draws nothing."""
        return sum(
            num_blocks_of(weight, encoding) * BLOCK_LAYOUTS[encoding].block_bytes
            for weight in self._weights.values()
            for encoding in [self.encoding(weight)]
        )

    def close(self) -> None:
        self._weights.clear()
        self._pages.clear()

    def _page(self, encoding: Encoding, width: int) -> Bytes:
        key = encoding, width
        if key not in self._pages:
            largest = max(
                num_blocks_of(weight, encoding)
                for weight in self._weights.values()
                if weight.shape[-1] == width and self.encoding(weight) == encoding
            )
            rng = np.random.default_rng((self._seed, width))
            drawn = _draw(rng, encoding, 1 / math.sqrt(width))
            page = np.resize(drawn, (NUM_DRAWN_BLOCKS + largest) * BLOCK_LAYOUTS[encoding].block_bytes)
            page.flags.writeable = False
            self._pages[key] = page
        return self._pages[key]


def num_blocks_of(weight: Weight, encoding: Encoding) -> int:
    return math.prod(weight.shape) // BLOCK_LAYOUTS[encoding].block_size


def _draw(rng: np.random.Generator, encoding: Encoding, deviation: float) -> Bytes:
    """NUM_DRAWN_BLOCKS random blocks whose values have mean 0 and about this standard deviation."""
    if encoding in _CODE_BITS:
        return _draw_blocks(rng, encoding, deviation)
    bound = deviation * math.sqrt(3)
    values = rng.uniform(-bound, bound, NUM_DRAWN_BLOCKS).astype(np.float32)
    if encoding == "bf16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return values.astype(np.float16 if encoding == "f16" else np.float32).view(np.uint8)


_CODE_BITS: Mapping[Encoding, int] = {"q4_0": 4, "q8_0": 8, "q4_k": 4, "q5_k": 5, "q6_k": 6}


def _draw_blocks(rng: np.random.Generator, encoding: Encoding, deviation: float) -> Bytes:
    """Random codes; scales such that the values get the deviation that is asked for."""
    layout, num_codes = BLOCK_LAYOUTS[encoding], 2 ** _CODE_BITS[encoding]
    data: Bytes = rng.integers(0, 256, NUM_DRAWN_BLOCKS * layout.block_bytes, dtype=np.uint8)
    blocks = data.view(BLOCK_DTYPES[encoding])
    code_deviation = math.sqrt((num_codes**2 - 1) / 12)
    # Codes run from -n/2 to n/2 - 1; scales of both signs keep their mean of -1/2 from adding up
    scales = (
        rng.uniform(0.5, 1.5, NUM_DRAWN_BLOCKS) * rng.choice([-1, 1], NUM_DRAWN_BLOCKS) * deviation / code_deviation
    )
    if encoding == "q6_k":
        scales /= math.sqrt(256**2 / 12)  # the groups' own scales, random int8
    elif encoding in ("q4_k", "q5_k"):
        scales /= math.sqrt(63 * 127 / 6)  # 0 to 63
        # Every group's minimum is made equal to its scale (6 bits each, in three rows of four bytes), so that one
        # minimum for the block centres all of its codes.
        packed = blocks["group_scales"]
        packed[:, 4:8] = packed[:, :4]
        packed[:, 8:] = packed[:, 8:] % 16 * 17
        blocks["minimum"] = scales * ((num_codes - 1) / 2)
    blocks["scale"] = scales
    return data
