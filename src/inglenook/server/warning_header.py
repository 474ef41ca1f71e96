"""What of a request was ignored or changed, as the answer and a header of it say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from inglenook.types import Classes, Delta, Embeddings, RenderedPrompt, Scores

Warned = Delta | RenderedPrompt | Embeddings | Scores | Classes  # what a back end says, with what it changed
_MAX_FIELDS = 20
_MAX_FIELD_CHARS = 60
_MAX_WARNING_CHARS = 300


def unknown_fields_warning(names: Sequence[str]) -> tuple[str, ...]:
    """What the answer says of fields that nobody knows: one warning or none."""
    if not names:
        return ()
    shown = [quote(name[:_MAX_FIELD_CHARS], safe="._-[]") for name in names[:_MAX_FIELDS]]
    more = f" and {len(names) - _MAX_FIELDS} more" if len(names) > _MAX_FIELDS else ""
    return (f"unknown fields ignored: {', '.join(shown)}{more}",)


def warning_header(warnings: Sequence[str], answers: Iterable[Warned]) -> dict[str, str]:
    """`x-inglenook-warnings`, where there is something to say: `warnings` first, then those of the back end's answers.

    What a client wrote is escaped and cut, so that it can't add headers of its own.
    """
    texts = list(warnings)
    for answer in answers:
        texts += [quote(text[:_MAX_WARNING_CHARS], safe=" ,.:()'_-/=") for text in answer.warnings]
    return {"x-inglenook-warnings": "; ".join(texts)} if texts else {}
