"""From a model's files to a back end that generates text with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from inglenook.backends.details import describe
from inglenook.backends.formats import named_formats
from inglenook.backends.generation_config import GenerationConfig, read_generation_config
from inglenook.backends.local import LocalBackend
from inglenook.backends.model_files import Files, load_tokenizer
from inglenook.config import EngineSettings, ModelSettings
from inglenook.errors import ConfigError
from inglenook.text.chat_template import find_template
from inglenook.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from inglenook.engine.load import LoadedEngine
    from inglenook.engine.memory import AvailableMemory
    from inglenook.engine.plan import Plan
    from inglenook.engine.sharing import Claim


def load_local_backend(
    files: Files,
    model: ModelSettings,
    engine: EngineSettings,
    *,
    draft: Files | None = None,
    available: AvailableMemory | None = None,
    on_plan: Callable[[Plan], None] | None = None,
) -> LocalBackend:
    """Load a model and start its engine. `draft` are the files of engine.speculative_config.model, if it names one.

    `available` is the memory that it may take, where that isn't all there is.

    Raises CheckpointError, UnsupportedModelError, OutOfMemoryError or ConfigError where that can't be.
    """
    from inglenook.engine.load import load_engine

    named_formats(model)  # what is wrong is told at once
    model.repetition_detection.detection()
    loaded = load_engine(
        files.path,
        replace(model, model=files.name),
        _with_draft(engine, draft),
        draft_path=None if draft is None else draft.path,
        available=available,
        on_plan=on_plan,
    )
    try:
        tokenizer = load_tokenizer(loaded.checkpoint, loaded.config.vocab_size)
        if draft is not None and loaded.draft_checkpoint is not None and draft.path != files.path:
            drafting = load_tokenizer(loaded.draft_checkpoint, loaded.config.vocab_size)
            _check_same_tokens(tokenizer, drafting, files.name, draft.name)
        template = find_template(tokenizer, model.chat_template)
        generation = _generation_config(files, model, loaded)
        if template is not None:
            template.compile()
    except BaseException:
        loaded.engine.stop()
        raise
    return LocalBackend(
        loaded.engine,
        tokenizer,
        template,
        names=model.served_model_name or (files.name,),
        max_model_len=loaded.plan.max_model_len,
        generation=generation,
        root=files.name,
        settings=model,
        vocab_size=loaded.config.vocab_size,
        max_requests=engine.max_num_seqs + engine.max_queue,
        max_running=engine.max_num_seqs,
        details=replace(
            describe(files.path, loaded.checkpoint, loaded.config),
            is_drafted=engine.speculative_config.method != "none",
        ),
    )


def claim_local_backend(
    files: Files, model: ModelSettings, engine: EngineSettings, *, draft: Files | None = None
) -> Claim:
    """What `load_local_backend` would ask of the memory. Raises as it does."""
    from inglenook.engine.load import read_claim

    draft_path = None if draft is None else draft.path
    return read_claim(files.path, replace(model, model=files.name), _with_draft(engine, draft), draft_path=draft_path)


def _with_draft(engine: EngineSettings, draft: Files | None) -> EngineSettings:
    """The draft model under the name that the store has for it."""
    if draft is None:
        return engine
    return replace(engine, speculative_config=replace(engine.speculative_config, model=draft.name))


def _check_same_tokens(target: Tokenizer, draft: Tokenizer, target_name: str, draft_name: str) -> None:
    """Ids that only one of them names are padding or special to it: they cost a wrong draft at most."""
    others = draft.vocabulary()
    different = [
        (token_id, name, others[token_id])
        for token_id, name in target.vocabulary().items()
        if others.get(token_id, name) != name
    ]
    if different:
        token_id, name, other = min(different)
        raise ConfigError(
            f"speculative_config: {len(different)} tokens of the draft model {draft_name} aren't {target_name}'s: "
            f"token {token_id} is {other!r} there and {name!r} here. A draft model must have the same vocabulary. "
            "Take a smaller model of the same family, or the method ngram, which needs none.",
            param="speculative_config",
        )


def _generation_config(files: Files, model: ModelSettings, loaded: LoadedEngine) -> GenerationConfig:
    from inglenook.checkpoint.checkpoint import read_generation_config as read_file

    config = read_generation_config(read_file(files.path), files.sampling)
    eos_token_ids = config.eos_token_ids | frozenset(loaded.config.eos_token_ids)
    return GenerationConfig(config.sampling if model.generation_config == "auto" else {}, eos_token_ids)
