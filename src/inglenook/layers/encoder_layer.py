"""One layer of a post-norm encoder: attention over the whole sequence, then feed-forward, each added and normed."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from inglenook.layers.linear import linear
from inglenook.layers.norms import layer_norm
from inglenook.ops.program import Activation, AttentionSpec, Buffer, Program


@dataclass(frozen=True)
class EncoderLayerConfig:
    num_heads: int
    intermediate_size: int
    activation: Activation
    norm_eps: float


@dataclass(frozen=True)
class LayerNames:
    """Modules of a layer, under the layer's own name."""

    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    up: str
    down: str
    out_norm: str


def encoder_layer(program: Program, x: Buffer, name: str, names: LayerNames, config: EncoderLayerConfig) -> Buffer:
    names = LayerNames(*(f"{name}.{module}" for module in astuple(names)))
    x = program.add(x, _attention(program, x, names, config))
    x = layer_norm(program, x, names.attention_norm, config.norm_eps)
    hidden = linear(program, x, {names.up: config.intermediate_size}, has_bias=True)
    hidden = program.act(hidden, config.activation)
    x = program.add(x, linear(program, hidden, {names.down: x.width}, has_bias=True))
    return layer_norm(program, x, names.out_norm, config.norm_eps)


def _attention(program: Program, x: Buffer, names: LayerNames, config: EncoderLayerConfig) -> Buffer:
    """All layers share one of the cache: keys and values of a layer are read before the next one's are written."""
    width = x.width
    qkv = linear(program, x, {names.query: width, names.key: width, names.value: width}, has_bias=True)
    q, k, v = program.split(qkv, width, width, width)
    head_dim = width // config.num_heads
    spec = AttentionSpec(
        layer=0,
        num_heads=config.num_heads,
        num_kv_heads=config.num_heads,
        head_dim=head_dim,
        scale=head_dim**-0.5,
        is_causal=False,
    )
    heads = program.attention(q, k, v, spec)
    return linear(program, heads, {names.attention_out: width}, has_bias=True)
