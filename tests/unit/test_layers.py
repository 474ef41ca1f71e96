"""The direction of imports (docs/design.md, section 2): a package imports only from levels below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "inglenook"

LEVELS = [
    {"errors"},
    {"types", "cgroups"},
    {"config", "setting", "telemetry", "lark"},
    {"settings", "ops", "text", "grammar", "dialects", "store"},
    {"checkpoint", "layers"},
    {"models"},
    {"engine"},
    {"backends"},
    {"gateway", "cluster", "llm"},
    {"server"},
    {"bench"},
    {"cli"},
]
LEVEL_OF = {part: level for level, parts in enumerate(LEVELS) for part in parts}

# part -> top-level modules that it must not import, beside what the levels forbid
FORBIDDEN = {
    "engine": {"inglenook.text", "inglenook.dialects", "json", "msgspec", "httpx", "starlette"},
    "models": {"inglenook.text", "inglenook.dialects", "json", "msgspec", "httpx", "starlette"},
    "layers": {"inglenook.text", "inglenook.dialects", "json", "msgspec", "httpx", "starlette"},
    "server": {"inglenook.engine"},
    "gateway": {"inglenook.engine"},
}
ONLY_IN = {"torch": "ops", "triton": "ops", "inglenook.ops._native": "ops", "ray": "cluster"}


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


# __init__.py of the package is its public face, __main__ files are entries: both may reach up.
FILES = [f for f in sorted(ROOT.rglob("*.py")) if f.name != "__main__.py" and f != ROOT / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] == "inglenook" and len(pieces) > 1 and pieces[1] in LEVEL_OF and pieces[1] != part:
            assert LEVEL_OF[pieces[1]] < LEVEL_OF[part], f"{part} imports {name}"
        for forbidden in FORBIDDEN.get(part, ()):
            assert name != forbidden and not name.startswith(forbidden + "."), f"{part} imports {name}"
        for module, owner in ONLY_IN.items():
            assert part == owner or (name != module and not name.startswith(module + ".")), f"{part} imports {name}"
