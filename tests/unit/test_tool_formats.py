from __future__ import annotations

import pytest

from inglenook.errors import ConfigError
from inglenook.text.tool_formats import registry


def test_unknown_names_are_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match="hermes"):
        registry.find("hermit")


def test_models_without_tools_get_the_generic_format() -> None:
    assert registry.detect("{{ messages[0]['content'] }}", frozenset()).name == "generic"
    assert registry.detect("{{ tools }} <tool_call>", frozenset()).name == "hermes"
