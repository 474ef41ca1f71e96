"""What the llama.cpp server tells of itself: the settings that answers are made with, its properties, its slots."""

from __future__ import annotations

from inglenook.dialects.json_fields import Fields
from inglenook.dialects.llama_cpp import wire
from inglenook.dialects.llama_cpp.options import RANDOM_SEED, Options, read_options
from inglenook.dialects.openai.answers import encode_json
from inglenook.types import ModelCard


def settings_body(options: Options, card: ModelCard, model: str) -> wire.Settings:
    """With what the model's makers recommend in the place of what the client left open."""
    sampling, constraint = options.sampling, options.constraint
    own = {name: value for name, value in card.details.sampling.items() if name in options.model_defaulted}
    biases: list[tuple[int | str, float]] = [*sampling.logit_bias.items(), *sampling.text_bias.items()]
    return wire.Settings(
        RANDOM_SEED if sampling.seed is None else sampling.seed,
        own.get("temperature", sampling.temperature),
        int(own.get("top_k", sampling.top_k)),
        own.get("top_p", sampling.top_p),
        own.get("min_p", sampling.min_p),
        sampling.typical_p,
        options.penalty_window,
        own.get("repetition_penalty", sampling.repetition_penalty),
        sampling.presence_penalty,
        sampling.frequency_penalty,
        sampling.stop,
        options.num_predict,
        options.num_predict,
        sampling.ignore_eos,
        options.stream,
        [wire.TokenBias(bias, token) for token, bias in biases],
        sampling.logprobs or 0,
        constraint.value if constraint is not None and constraint.kind == "grammar" else "",
        options.samplers.names,
        options.with_timings,
        card.max_model_len,
        model,
    )


def props_body(card: ModelCard, version: str) -> bytes:
    details = card.details
    settings = settings_body(read_options(Fields({})), card, card.name)
    settings.seed = RANDOM_SEED  # each request draws its own
    return encode_json(
        wire.Props(
            wire.DefaultSettings(settings, card.max_model_len),
            card.max_running,
            card.name,
            card.root,
            wire.Modalities(),
            endpoint_slots=True,
            endpoint_props=False,
            endpoint_metrics=True,
            webui=False,
            chat_template=details.template,
            bos_token=details.special_tokens.get("bos_token", ""),
            eos_token=details.special_tokens.get("eos_token", ""),
            build_info=f"inglenook-{version}",
            is_sleeping=False,
        )
    )


def slots_body(card: ModelCard, num_running: int) -> bytes:
    """A slot for each request that can be computed at a time. Which of them one is in has no meaning here."""
    return encode_json(
        [
            wire.Slot(index, card.max_model_len, card.details.is_drafted, index < num_running)
            for index in range(card.max_running)
        ]
    )
