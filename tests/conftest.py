"""Fixtures for every test: two real models, fetched once into the usual store; answers are checked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from fixtures import shape_check
from inglenook.config import DEFAULT_MODEL
from inglenook.settings import home_folder
from inglenook.store.store import ModelStore

EMBEDDING_MODEL = "all-minilm:l6-v2"

# CI tries the same examples every time, so that it judges the change and not the luck; elsewhere they are drawn anew.
hypothesis.settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")

shape_check.install()


@pytest.fixture(autouse=True)
def answers_have_their_shapes() -> Iterator[None]:
    """Of servers in this process; those in others are checked when they end (fixtures/server_process.py)."""
    shape_check.violations.clear()
    yield
    assert not shape_check.violations, "\n".join(shape_check.violations)


@pytest.fixture(scope="session")
def default_gguf_path() -> Path:
    """The file of the default model: SmolLM2-135M-Instruct, Q4_1."""
    path = ModelStore(home_folder()).resolve(DEFAULT_MODEL).path
    assert path is not None
    return path


@pytest.fixture(scope="session")
def default_model(default_gguf_path: Path) -> str:
    """The default model's name; its file is on disk."""
    return DEFAULT_MODEL


@pytest.fixture(scope="session")
def embedding_model() -> str:
    """The name of a small embedding model that is on disk: all-MiniLM-L6-v2."""
    ModelStore(home_folder()).resolve(EMBEDDING_MODEL)
    return EMBEDDING_MODEL


@pytest.fixture(scope="session")
def embedding_folder(embedding_model: str) -> Path:
    """Its files."""
    path = ModelStore(home_folder()).resolve(embedding_model).path
    assert path is not None
    return path
