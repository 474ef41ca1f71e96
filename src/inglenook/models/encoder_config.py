"""What an encoder is, once its config file is read: sizes and options, and how its tensors are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inglenook.layers.encoder_layer import LayerNames
from inglenook.models.config_reader import LARGEST_NUM_LAYERS, ConfigReader
from inglenook.models.huggingface_config import IGNORED_KEYS as IGNORED_DECODER_KEYS
from inglenook.models.huggingface_config import IGNORED_PREFIXES, head_dim_of
from inglenook.ops.program import Activation

# config.json's names of activations. Three are the same approximation by tanh.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "tanh": "tanh",
}

# Keys that don't change what is computed here: training, other programs, what the layer above reads.
IGNORED_KEYS = IGNORED_DECODER_KEYS | {
    "attention_probs_dropout_prob",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "directionality",
    "dropout",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "label2id",
    "mask_token_id",
    "model_max_length",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "pooler_fc_size",
    "pooler_num_attention_heads",
    "pooler_num_fc_layers",
    "pooler_size_per_head",
    "pooler_type",
    "problem_type",
    "qa_dropout",
    "sbert_ce_default_activation_function",
    "sep_token_id",
    "seq_classif_dropout",
    "sinusoidal_pos_embds",
    "tie_weights_",
    "tie_word_embeddings",
}


@dataclass(frozen=True)
class HeadNames:
    """A classifier: a linear with an activation over the first token's hidden state, then one to the labels."""

    dense: str
    activation: Activation
    out: str


@dataclass(frozen=True)
class EncoderConfig:
    architecture: str  # the name under which models/encoders.py knows it
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    max_position: int  # tokens: the longest input
    layer_norm_eps: float
    activation: Activation
    layers: str  # name of the list of layers
    layer_names: LayerNames
    head_names: HeadNames
    num_token_types: int = 0
    first_position: int = 0  # row of the position embeddings at which inputs begin
    num_labels: int = 0  # 0: no classifier

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def num_parameters(self) -> int:
        """Weights that are computed with, except those of a head."""
        hidden, inner = self.hidden_size, self.intermediate_size
        num_rows = self.vocab_size + self.first_position + self.max_position + self.num_token_types
        layer = 4 * hidden * (hidden + 1) + 2 * hidden * inner + inner + hidden + 4 * hidden
        return num_rows * hidden + 2 * hidden + self.num_layers * layer


def read_encoder(
    reader: ConfigReader, architecture: str, has_classifier: bool, *, keys: dict[str, str], **options: Any
) -> EncoderConfig:
    """What all BERT-like encoders share. `keys` are names of config.json, where they aren't BERT's; `options` the
    fields of EncoderConfig that only this one has.
    """

    def key(name: str) -> str:
        return keys.get(name, name)

    hidden_size = reader.integer(key("hidden_size"))
    num_heads = reader.integer(key("num_attention_heads"))
    head_dim_of(reader, hidden_size, num_heads, key("hidden_size"), key("num_attention_heads"))
    first_position = options.get("first_position", 0)
    num_positions = reader.integer("max_position_embeddings", low=first_position + 1)
    reader.choice("position_embedding_type", {"absolute"}, "absolute")
    config = EncoderConfig(
        architecture=architecture,
        vocab_size=reader.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=reader.integer(key("intermediate_size")),
        num_layers=reader.integer(key("num_hidden_layers"), high=LARGEST_NUM_LAYERS),
        num_heads=num_heads,
        max_position=num_positions - first_position,
        layer_norm_eps=reader.number("layer_norm_eps", 1e-12),
        activation=ACTIVATIONS[reader.choice(key("hidden_act"), ACTIVATIONS.keys(), "gelu")],
        num_labels=read_num_labels(reader) if has_classifier else 0,
        **options,
    )
    reader.refuse_unread(IGNORED_KEYS, IGNORED_PREFIXES)
    return config


def read_num_labels(reader: ConfigReader) -> int:
    """transformers has two labels where the file doesn't say."""
    labels = reader.section("id2label")
    return reader.integer("num_labels", 2 if labels is None else len(labels.values))
