"""The log-probabilities of prompts, from the logits of a step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from inglenook.engine.batch import ScheduledStep
from inglenook.engine.request import ScoredToken
from inglenook.errors import EngineError
from inglenook.ops.sampling import ThreadPool
from inglenook.ops.scoring import score


def score_prompts(
    step: ScheduledStep, logits: npt.NDArray[np.float32], pool: ThreadPool | None
) -> npt.NDArray[np.float32]:
    """Add to the prompt_scores of the step's sequences what it says of them. Returns the rows to sample."""
    rows: list[int] = []
    token_ids: list[int] = []
    num_top: list[int] = []
    sampled: list[int] = []
    num_rows = 0
    for chunk in step.chunks:
        sequence, num_scored = chunk.sequence, chunk.num_scored
        if num_scored > 0:
            first = len(sequence.prompt_scores) + 1
            rows += range(num_rows, num_rows + num_scored)
            token_ids += sequence.token_ids[first : first + num_scored]
            num_top += [sequence.request.sampling.prompt_logprobs or 0] * num_scored
            num_rows += num_scored
        if chunk.is_sampled:
            sampled += range(num_rows, num_rows + 1 + len(chunk.drafts))
            num_rows += 1 + len(chunk.drafts)
    scores = zip(token_ids, score(logits, rows, token_ids, num_top, pool), strict=True)
    for chunk in step.chunks:
        for token_id, entry in (next(scores) for _ in range(chunk.num_scored)):
            if entry is None:
                chunk.sequence.failure = EngineError("No log-probability is known: the logits hold NaN or infinity.")
                entry = (0.0, 0, ())
            chunk.sequence.prompt_scores.append(ScoredToken(token_id, *entry))
    return logits[sampled]
