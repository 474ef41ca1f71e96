"""The header that says what of a request was ignored or changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from inglenook.types import Delta

_MAX_FIELDS = 20
_MAX_FIELD_CHARS = 60
_MAX_WARNING_CHARS = 300


def warning_header(unknown_fields: Sequence[str], deltas: Iterable[Delta]) -> dict[str, str]:
    """`x-inglenook-warnings`, where there is something to say: fields that nobody knows, warnings of the back end.

    What a client wrote is escaped and cut, so that it can't add headers of its own.
    """
    warnings = []
    if unknown_fields:
        names = [quote(name[:_MAX_FIELD_CHARS], safe="._-[]") for name in unknown_fields[:_MAX_FIELDS]]
        more = f" and {len(unknown_fields) - _MAX_FIELDS} more" if len(unknown_fields) > _MAX_FIELDS else ""
        warnings.append(f"unknown fields ignored: {', '.join(names)}{more}")
    for delta in deltas:
        warnings += [quote(text[:_MAX_WARNING_CHARS], safe=" ,.:()'_-/=") for text in delta.warnings]
    return {"x-inglenook-warnings": "; ".join(warnings)} if warnings else {}
