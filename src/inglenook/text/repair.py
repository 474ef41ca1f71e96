"""Mending JSON as models write it, with the rules of MetaGPT's `repair_llm_output`: what a client of that kind then
parses at the first try."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from inglenook.text.repair_json import is_json, looks_like_json, repair_json

MAX_CHARACTERS = 1_000_000  # a longer text is left as it is

_TAG = re.compile(r"\[/?([A-Za-z]\w*)\]")
_FENCED = re.compile(r"\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*(?:```\s*)?", re.DOTALL)


def repair_output(text: str, *, keys: Sequence[str] = ()) -> str:
    """The text of a whole answer, mended as far as that goes. Never raises.

    `keys` are names that must occur as they are written here: an object's key that differs in case alone is renamed.
    A key in brackets, "[CONTENT]" or "[/CONTENT]", asks for the payload between these tags; so does a tag CONTENT in
    the text. Then the answer is the tags with the payload between them and nothing else, whichever tag was missing,
    doubled or misspelt. Without tags, text around the JSON goes too if `keys` are given, and so does a fence around
    the whole text.

    JSON that is valid stays as it is, to the letter; other JSON is written anew. What was cut off is closed, so that it
    parses: whether it is complete, `finish_reason` says. Text in which no JSON is to be seen stays as it is.
    """
    if len(text) > MAX_CHARACTERS:
        return text
    names = [match[1] for key in keys if (match := _TAG.fullmatch(key))]
    if not names and re.search(r"\[/?CONTENT\]", text, re.IGNORECASE):
        names = ["CONTENT"]
    fields = [key for key in keys if not _TAG.fullmatch(key)]
    if names:
        return _tagged(text, names[0], fields)
    if looks_like_json(text):
        return _payload(text, fields, may_cut=bool(fields))
    if (fenced := _FENCED.fullmatch(text)) and looks_like_json(fenced[1]):
        return _payload(fenced[1], fields, may_cut=bool(fields))
    if fields and (start := _json_start(text)) is not None:
        return _payload(text[start:], fields, may_cut=True)
    return text


def _tagged(text: str, name: str, fields: Iterable[str]) -> str:
    begin, end = f"[{name}]", f"[/{name}]"
    tags = list(re.finditer(rf"\[(/?){re.escape(name)}\]", text, re.IGNORECASE))
    opens = [tag for tag in tags if not tag[1]]
    closes = [tag for tag in tags if tag[1]]
    if not closes and len(opens) > 1 and text[opens[0].end() : opens[-1].start()].strip():
        closes = [opens.pop()]  # its slash is missing
    start = 0
    if opens:
        start = opens[0].end()
        for tag in opens[1:]:
            if not text[start : tag.start()].strip():  # doubled
                start = tag.end()
    elif not closes:
        start = _json_start(text) or 0
    stop = next((tag.start() for tag in closes if tag.start() >= start), len(text))
    payload = text[start:stop]
    if not opens and (json_start := _json_start(payload)) is not None:
        payload = payload[json_start:]
    fenced = _FENCED.fullmatch(payload)
    inner = fenced[1] if fenced and looks_like_json(fenced[1]) else payload
    mended = _payload(inner, fields, may_cut=True) if looks_like_json(inner) else payload
    head = mended if mended.startswith("\n") else "\n" + mended
    return f"{begin}{head}{end}" if head.endswith("\n") else f"{begin}{head}\n{end}"


def _payload(text: str, fields: Iterable[str], *, may_cut: bool) -> str:
    """`may_cut`: what follows the JSON isn't wanted."""
    for field in fields:
        text = _with_exact_key(text, field)
    return text if is_json(text) else repair_json(text, may_cut=may_cut)


def _with_exact_key(text: str, key: str) -> str:
    """Where the key occurs in other case only, its first spelling becomes the exact one, wherever it is a key."""
    keys = re.compile(rf"""(["']?)(?<![\w\\])({re.escape(key)})\1(?=\s*:)""", re.IGNORECASE)
    found = [match[2] for match in keys.finditer(text)]
    if not found or key in found:
        return text
    return keys.sub(lambda match: match[1] + key + match[1] if match[2] == found[0] else match[0], text)


def _json_start(text: str) -> int | None:
    return next(
        (match.start() for match in re.finditer(r"[{\[]", text) if looks_like_json(text[match.start() :])), None
    )
