"""Leading a sequence's guide along its tokens: what it forces, when it ends, how far a draft agrees with it.

Tokens that the guide forces aren't sampled. They become known tokens of the sequence, which the next step computes
behind the last sampled one. Where log-probabilities are wanted they are computed as drafts are, since each needs the
logits before it: then the sequence keeps them in `forced` until they are out, and the guide is ahead by them.
The tokens are the same either way.
"""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf

from inglenook.engine.guide import Guide
from inglenook.engine.sequence import Sequence


def begin(sequence: Sequence) -> list[int]:
    """Make the sequence's guide; what it forces before anything is sampled stands behind the prompt then. That may end
    the sequence. Returns these tokens. Raises what start_guide raises.
    """
    start = sequence.request.start_guide
    if start is None:
        return []
    sequence.guide = start()
    return _go_on(sequence, sequence.guide)


def follow(sequence: Sequence, num_tokens: int) -> list[int]:
    """Lead the guide over the sequence's last tokens, which were sampled. Adds what it forces, and returns it."""
    guide = sequence.guide
    if guide is None or sequence.stop_token_id is not None or sequence.is_loop:
        return []
    num_foreseen = min(num_tokens, len(sequence.forced))
    del sequence.forced[:num_foreseen]
    if num_tokens > num_foreseen:
        guide.accept(sequence.token_ids[num_foreseen - num_tokens :])
    return _go_on(sequence, guide)


def cut_draft(guide: Guide, draft: SequenceOf[int]) -> SequenceOf[int]:
    """As much of a draft as the guide allows, and nothing that it forces or ends with: that isn't sampled."""
    num_accepted = 0
    for token_id in draft[: guide.count_allowed(draft)]:
        guide.accept([token_id])
        num_accepted += 1
        if guide.is_finished or guide.forced():
            guide.rollback(num_accepted)
            return draft[: num_accepted - 1]
    guide.rollback(num_accepted)
    return draft[:num_accepted]


def _go_on(sequence: Sequence, guide: Guide) -> list[int]:
    """Add what is forced behind the sequence's tokens, all of which the guide has accepted."""
    if sequence.forced:
        return []
    forced = _forced(guide, sequence.max_num_tokens - len(sequence.token_ids))
    if forced and sequence.request.sampling.logprobs is not None:
        sequence.forced = forced
        return []
    added = forced[: sequence.append(forced)]
    if guide.is_finished and len(added) == len(forced) and sequence.stop_token_id is None:
        sequence.finish_reason = "stop"
    return added


def _forced(guide: Guide, limit: int) -> list[int]:
    """Accepts what it returns."""
    tokens: list[int] = []
    while len(tokens) < limit and not guide.is_finished and (more := guide.forced()):
        guide.accept(more)
        tokens += more
    return tokens
