"""InternLM 2 and 2.5: a plugin's call between <|action_start|> and <|action_end|>."""

from __future__ import annotations

from inglenook.text.tool_formats.json_format import Frame, JsonFormat

FORMAT = JsonFormat(
    name="internlm",
    frames=(Frame("<|action_start|>", begin="<|plugin|>\n", end="<|action_end|>"),),
    marks=("<|plugin|>",),
    special_tokens=frozenset(("<|action_start|>", "<|plugin|>", "<|action_end|>")),
    arguments_key="parameters",
)
