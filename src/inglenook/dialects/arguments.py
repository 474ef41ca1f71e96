"""A call's arguments as the object that some dialects write instead of text."""

from __future__ import annotations

from typing import Any

import msgspec


def arguments_object(text: str) -> dict[str, Any]:
    """Of a call that the limit of tokens cut off, what is there of it."""
    try:
        value = msgspec.json.decode(text or "{}")
    except ValueError:
        import json_repair  # rarely needed

        value = json_repair.loads(text, skip_json_loads=True)
    return value if isinstance(value, dict) else {}
