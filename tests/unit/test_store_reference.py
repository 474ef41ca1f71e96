"""What names a model."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inglenook.errors import ModelSourceError
from inglenook.store.reference import (
    CatalogueReference,
    DummyReference,
    HubReference,
    PackageReference,
    PathReference,
    Reference,
    parse_reference,
)

NAMES = ("smollm2:135m", "all-minilm:l6-v2")

words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
paths = st.lists(words, min_size=1, max_size=3).map("/".join)
references = st.one_of(
    st.builds(
        HubReference,
        repository=st.tuples(words, words).map("/".join),
        revision=st.none() | paths,
        file=st.none() | paths.map(lambda path: path + ".gguf"),
    ),
    st.builds(PackageReference, package=words, version=words, path=st.none() | paths),
    st.builds(DummyReference, shape=words),
)


@given(references)
def test_a_reference_reads_back_from_its_spelling(reference: Reference) -> None:
    assert parse_reference(str(reference), NAMES) == reference


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smollm2:135m", CatalogueReference("smollm2:135m")),
        ("owner/name", HubReference("owner/name")),
        ("owner/name@refs/pr/1:q/x.gguf", HubReference("owner/name", "refs/pr/1", "q/x.gguf")),
        ("owner/name:x.gguf", HubReference("owner/name", None, "x.gguf")),
        ("hf:owner/name", HubReference("owner/name")),
        ("pypi:a-b==1.2.post1/a_b/m", PackageReference("a-b", "1.2.post1", "a_b/m")),
        ("dummy:1b", DummyReference("1b")),
        ("missing.gguf", PathReference(Path("missing.gguf"))),
        ("folder/missing.gguf", PathReference(Path("folder/missing.gguf"))),
        ("./owner/name", PathReference(Path("owner/name"))),
        ("~/m", PathReference(Path.home() / "m")),
        ("~nobody-of-that-name/m", PathReference(Path("~nobody-of-that-name/m"))),
    ],
)
def test_forms(text: str, expected: Reference) -> None:
    assert parse_reference(text, NAMES) == expected


def test_a_folder_that_exists_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_reference("owner/name") == HubReference("owner/name")
    (tmp_path / "owner/name").mkdir(parents=True)
    assert parse_reference("owner/name") == PathReference(Path("owner/name"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("smollm2", "Did you mean smollm2:135m"),
        ("smollm2:135", "Did you mean smollm2:135m"),
        ("", "Allowed"),
        ("a/b/c", "hf:owner/name"),
        ("hf:name", "hf:owner/name"),
        ("hf:../name", "hf:owner/name"),
        ("hf:owner/name:Q4_K_M", ":file.gguf"),
        ("pypi:name", "pypi:package==version"),
        ("pypi:--index-url=x==1", "pypi:package==version"),
        ("dummy:", "dummy:1b"),
        ("x" * 5000, "dummy:1b"),
        ("a\0b", "dummy:1b"),
    ],
)
def test_what_names_nothing_lists_what_is_allowed(text: str, hint: str) -> None:
    with pytest.raises(ModelSourceError) as caught:
        parse_reference(text, NAMES)
    assert hint in caught.value.message


@given(st.text(max_size=30))
def test_any_text_is_a_reference_or_an_error(text: str) -> None:
    with suppress(ModelSourceError):
        assert parse_reference(text, NAMES) is not None
