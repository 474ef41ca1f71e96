"""DeepSeek: V3 and R1 say the kind of call and put its JSON in a fence; V3.1 doesn't."""

from __future__ import annotations

from inglenook.text.tool_formats.section_format import SectionFormat

_SECTION, _SECTION_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_BEGIN, _SEPARATOR, _END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_TOKENS = frozenset((_SECTION, _SECTION_END, _BEGIN, _SEPARATOR, _END))

V3 = SectionFormat(
    name="deepseek_v3",
    section=_SECTION,
    begin=f"{_BEGIN}function{_SEPARATOR}",
    behind_name="\n```json\n",
    end=f"\n```{_END}",
    section_end=_SECTION_END,
    marks=(_BEGIN, "```json"),
    special_tokens=_TOKENS,
    separator="\n",
)

V31 = SectionFormat(
    name="deepseek_v31",
    section=_SECTION,
    begin=_BEGIN,
    behind_name=_SEPARATOR,
    end=_END,
    section_end=_SECTION_END,
    marks=(_BEGIN, _SEPARATOR),
    special_tokens=_TOKENS,
)
