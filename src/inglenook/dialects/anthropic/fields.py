"""Which fields of Anthropic's requests are known without being honoured. docs/anthropic.md shows them as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inglenook.dialects.json_fields import Fields, expected
from inglenook.dialects.unread import sort_unread
from inglenook.errors import UnsupportedParameterError

# Accepted, since they can't change an answer of this server: who asks and pays, where it is computed, what is cached.
WITHOUT_EFFECT = frozenset(
    {
        "metadata",
        "cache_control",
        "inference_geo",
        "diagnostics",
        "user_profile_id",
        "workspace_id",
        "speed",
        "betas",
        "billing_policy",
        "fallback_credit_token",
    }
)

# Refused by name, unless the value is null, false or empty, or one of those given here, which ask for nothing.
REFUSED: Mapping[str, tuple[Any, ...]] = {
    "container": (),
    "mcp_servers": (),
    "compaction": (),
    "fallbacks": (),
    "thread": (),
}
NO_THREADS = "thread_unsupported_request"  # at which Anthropic's client goes on with the whole conversation

_CLEARS_THINKING = "clear_thinking_"  # which turns show their thinking is decided by the model's template


def refuse_or_report(unread: Mapping[str, Any]) -> tuple[str, ...]:
    """Sort the fields that the parser didn't read: returns the names that nobody knows."""
    return sort_unread(unread, REFUSED, WITHOUT_EFFECT, _unsupported)


def check_context_management(fields: Fields) -> None:
    """Edits of the conversation by the server: none is made here."""
    edits = Fields(fields.object("context_management"), "context_management.").get("edits")
    if edits is None:
        return
    if not isinstance(edits, list):
        raise expected("context_management.edits", "a list of edits", edits)
    for index, edit in enumerate(edits):
        where = f"context_management.edits[{index}]"
        if not isinstance(edit, dict):
            raise expected(where, "an object with a type", edit)
        kind = Fields(edit, f"{where}.").string("type", "")
        if not kind.startswith(_CLEARS_THINKING):
            raise _unsupported(where)


def _unsupported(name: str) -> UnsupportedParameterError:
    code = NO_THREADS if name == "thread" else None
    return UnsupportedParameterError(f"{name} isn't supported by this server. Leave it out.", param=name, code=code)
