"""Inverse frequencies of rotary position embeddings, plain and scaled to longer contexts.

Each function returns head_dim / 2 (or fewer, with partial rotation) frequencies in radians per position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Frequencies = tuple[float, ...]


def inverse_frequencies(theta: float, num_rotated: int) -> Frequencies:
    """theta^(-2i / num_rotated): Su et al. 2021, arXiv:2104.09864, section 3.2.2. `num_rotated` columns of a head."""
    return tuple(theta ** (-2 * i / num_rotated) for i in range(num_rotated // 2))


def divided(frequencies: Frequencies, divisors: Sequence[float]) -> Frequencies:
    """Each frequency by its own divisor, as GGUF's `rope_freqs` tensor has them."""
    return tuple(f / float(d) for f, d in zip(frequencies, divisors, strict=True))


def linear_scaled(frequencies: Frequencies, factor: float) -> Frequencies:
    """Positions are divided by `factor`: Chen et al. 2023, arXiv:2306.15595."""
    return tuple(f / factor for f in frequencies)


def llama3_scaled(
    frequencies: Frequencies,
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_max_position: int,
) -> Frequencies:
    """Llama 3.1: waves much longer than the original context are divided by `factor`, short ones kept.

    In between the divisor is blended, linearly in the number of turns that a wave makes in the original context:
    below `low_freq_factor` turns all of it, above `high_freq_factor` none (Meta's llama-models, rope scaling).
    """

    def scaled(frequency: float) -> float:
        turns = original_max_position * frequency / (2 * math.pi)
        kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
        kept = min(max(kept, 0.0), 1.0)
        return kept * frequency + (1 - kept) * frequency / factor

    return tuple(scaled(f) for f in frequencies)
