"""What a model is, once its config file is read: sizes and options, in our own names."""

from __future__ import annotations

from dataclasses import dataclass

from inglenook.ops.program import RopeSpec


@dataclass(frozen=True)
class ModelConfig:
    architecture: str  # the name under which models/registry.py knows it
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position: int  # the model's own context, tokens
    rms_norm_eps: float
    rope: RopeSpec
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int | None = None
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()

    @property
    def num_parameters(self) -> int:
        """Weights of the model, tied ones once."""
        q_width, kv_width = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim
        attention = 2 * self.hidden_size * (q_width + kv_width)
        mlp = 3 * self.hidden_size * self.intermediate_size
        layer = attention + mlp + 2 * self.hidden_size
        if self.attention_bias:
            layer += q_width + 2 * kv_width + self.hidden_size
        if self.mlp_bias:
            layer += 2 * self.intermediate_size + self.hidden_size
        num_vocab_matrices = 1 if self.tie_word_embeddings else 2
        return num_vocab_matrices * self.vocab_size * self.hidden_size + self.num_layers * layer + self.hidden_size
