"""Prompts cut to the length that their request names, and a warning that says what was cut."""

from __future__ import annotations

from collections.abc import Sequence

from inglenook.errors import ContextLengthError, InvalidRequestError
from inglenook.text.fill_in_middle import MiddlePrompt
from inglenook.types import GenerateRequest

_PARAM = "truncate_prompt_tokens"
_DEFAULT_ROOM = 256  # for an answer without max_tokens


def truncated(
    prompts: Sequence[list[int]], request: GenerateRequest, max_model_len: int, bos_token_id: int | None
) -> tuple[list[list[int]], tuple[str, ...]]:
    """A token that begins every text of a model stays, whatever is cut. Raises InvalidRequestError."""
    length = prompt_length(request, max_model_len)
    if length is None:
        return list(prompts), ()
    results, warnings = [], []
    for prompt in prompts:
        is_left = request.truncation_side == "left"
        results.append(_cut(prompt, length, bos_token_id, is_left=is_left))
        if len(prompt) > length:
            end = "beginning" if is_left else "end"
            warnings.append(
                f"The prompt has {len(prompt)} tokens; {len(prompt) - length} were cut off at its {end} ({_PARAM})."
            )
    return results, tuple(dict.fromkeys(warnings))


def middle_warning(prompt: MiddlePrompt) -> str:
    files, before, behind = prompt.num_cut
    cut = [(files, "of the other files"), (before, "at the beginning"), (behind, "at the end")]
    return "Of what surrounds the middle, tokens were cut off: " + ", ".join(f"{n} {where}" for n, where in cut if n)


def prompt_length(request: GenerateRequest, max_model_len: int) -> int | None:
    """To how many tokens prompts are to be cut; None where they aren't. Raises InvalidRequestError."""
    wanted = request.truncate_prompt_tokens
    if wanted is None:
        return None
    if wanted == -1:
        room = _DEFAULT_ROOM if request.sampling.max_tokens is None else max(request.sampling.max_tokens, 1)
        return max_model_len - min(room, max_model_len // 2)
    if wanted < 1:
        raise InvalidRequestError(f"{_PARAM} is {wanted}; it must be at least 1, or -1.", param=_PARAM)
    if wanted > max_model_len:
        raise ContextLengthError(
            f"{_PARAM} is {wanted}, but this model's context length is {max_model_len} tokens.", param=_PARAM
        )
    return wanted


def _cut(prompt: list[int], length: int, bos_token_id: int | None, *, is_left: bool) -> list[int]:
    if len(prompt) <= length:
        return prompt
    if not is_left:
        return prompt[:length]
    head = prompt[:1] if prompt[0] == bos_token_id else []
    return head + prompt[len(prompt) - length + len(head) :]
