"""Memory of several models: wishes first, equal parts of the rest, and what is said where it isn't enough."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from inglenook.backends.load import WantedModel, load_backends
from inglenook.config import EngineSettings, ModelSettings
from inglenook.engine.memory import AvailableMemory, available_memory
from inglenook.engine.plan import MIB, RESERVE_BYTES, MemoryNeeds, Plan, make_plan
from inglenook.engine.sharing import Claim, share_memory
from inglenook.errors import CheckpointError, OutOfMemoryError
from inglenook.store.store import ModelFiles

GIB = 2**30
BLOCK = 1 * MIB  # of 32 tokens


def claim(
    name: str = "m",
    *,
    weights: int = GIB,
    kv_per_block: int = BLOCK,
    max_model_len: int | None = None,
    model_max_len: int = 8192,
    quantized: dict[Any, int] | None = None,
    **settings: Any,
) -> Claim:
    needs = MemoryNeeds(weights, 100 * MIB, kv_per_block, quantized or {})
    return Claim(name, EngineSettings(**settings), needs, max_model_len, model_max_len)


def memory(num_bytes: int) -> AvailableMemory:
    return AvailableMemory(num_bytes, "free on this machine")


def plan(one: Claim, share: AvailableMemory) -> Plan:
    return make_plan(one.settings, one.needs, share, max_model_len=one.max_model_len, model_max_len=one.model_max_len)


def plans(claims: list[Claim], num_bytes: int) -> list[Plan]:
    return [plan(one, share) for one, share in zip(claims, share_memory(claims, memory(num_bytes)), strict=True)]


def test_plenty_gives_each_the_plan_that_it_would_have_alone() -> None:
    claims = [claim("a"), claim("b", model_max_len=1024, max_num_seqs=4), claim("c", max_model_len=2000)]
    for one, shared in zip(claims, plans(claims, 100 * GIB), strict=True):
        alone = plan(one, memory(100 * GIB))
        assert (shared.num_blocks, shared.max_model_len) == (alone.num_blocks, alone.max_model_len)


def test_scarcity_is_shared_equally_and_nobody_gets_what_it_cannot_use() -> None:
    small = claim("small", model_max_len=512, max_num_seqs=1)
    large, other = claim("large", model_max_len=10**6), claim("other", model_max_len=10**6, weights=GIB // 2)
    first, second, third = share_memory([large, small, other], memory(6 * GIB))
    assert second.num_bytes == small.fixed + small.most
    assert abs((first.num_bytes - large.fixed) - (third.num_bytes - other.fixed)) <= 1
    assert plan(large, first).max_model_len == pytest.approx(plan(other, third).max_model_len, abs=32)
    assert first.source == "its share of the 6.00 GiB free on this machine"


def test_explicit_wishes_are_taken_to_the_letter() -> None:
    claims = [claim("a", kv_cache_memory_bytes=GIB), claim("b", max_model_len=6000), claim("c", model_max_len=10**6)]
    given, context, rest = plans(claims, 5 * GIB)
    assert (given.kv_cache, context.max_model_len) == (GIB, 6000)
    assert 256 <= rest.max_model_len < 10**5


def test_a_model_without_a_cache_takes_what_it_needs() -> None:
    encoder, decoder = claim("e", weights=50 * MIB, kv_per_block=0), claim("d")
    first, second = share_memory([encoder, decoder], memory(3 * GIB))
    assert first.num_bytes == 150 * MIB + RESERVE_BYTES
    assert second.num_bytes == 3 * GIB - first.num_bytes


CLAIMS = st.builds(
    claim,
    weights=st.integers(1, 2 * GIB),
    kv_per_block=st.integers(1, 4 * MIB),
    max_model_len=st.none() | st.integers(1, 8192),
    model_max_len=st.integers(8192, 100_000),
    max_num_seqs=st.integers(1, 100),
    kv_cache_memory_bytes=st.none() | st.integers(4 * MIB, GIB),
    block_size=st.sampled_from([16, 32]),
)


@given(claims=st.lists(CLAIMS, min_size=1, max_size=4), num_bytes=st.integers(GIB, 16 * GIB))
def test_shares_fit_and_their_plans_can_be_made(claims: list[Claim], num_bytes: int) -> None:
    least = sum(one.fixed + one.least for one in claims)
    try:
        shares = share_memory(claims, memory(num_bytes))
    except OutOfMemoryError:
        assert least > num_bytes
        return
    assert least <= sum(share.num_bytes for share in shares) <= num_bytes
    for one, share in zip(claims, shares, strict=True):
        given = one.settings.kv_cache_memory_bytes
        if given is None:
            assert plan(one, share).total <= share.num_bytes
        elif one.max_model_len is None:
            assert plan(one, share).kv_cache <= given


def test_what_does_not_fit_is_said_with_what_would() -> None:
    claims = [claim("a", quantized={"q4": 300 * MIB}), claim("b", max_model_len=8192), claim("c", weights=80 * MIB)]
    with pytest.raises(OutOfMemoryError) as caught:
        share_memory(claims, memory(int(2.5 * GIB)))
    text = caught.value.message
    assert "The models need 3.02 GiB together at the least, and 2.50 GiB are free on this machine" in text
    assert "a: 1.00 GiB of weights, 10.0 MiB of key-value cache" in text
    fits = text[text.index("What would fit") :]
    assert "the others without a" in fits
    assert "the others without b" in fits
    assert "without c" not in fits
    assert "q4 weights for a" in fits
    with pytest.raises(OutOfMemoryError, match="a smaller cache for b"):
        share_memory(claims, memory(int(2.9 * GIB)))
    with pytest.raises(OutOfMemoryError, match="serve smaller models"):
        share_memory([claim("a"), claim("b")], memory(GIB // 2))


# --- real models ----------------------------------------------------------------------------------------

ENGINE = EngineSettings(threads=1, max_num_seqs=4, max_num_batched_tokens=32)


def wanted(name: str = "dummy:tiny", engine: EngineSettings = ENGINE, **settings: Any) -> WantedModel:
    return WantedModel(ModelFiles(None, name, "dummy"), ModelSettings(model=name, **settings), engine)


async def test_models_are_loaded_within_their_shares() -> None:
    made: list[Plan] = []
    names: list[str] = []
    models = [wanted(served_model_name=("a",)), wanted(served_model_name=("b", "c"), max_model_len=64)]
    backends = load_backends(
        models,
        on_plan=lambda plan, engine: made.append(plan),
        on_loaded=lambda backend: names.append(backend.models()[0].name),
    )
    try:
        assert names == ["a", "b"]
        assert made[1].max_model_len == 64
        assert sum(one.available.num_bytes for one in made) <= available_memory().num_bytes + GIB
        assert all(one.available.source.startswith("its share of the") for one in made)
    finally:
        for backend in backends:
            await backend.close()


async def test_models_that_make_vectors_take_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Plan] = []
    shared: list[int] = []

    def note(claims: list[Claim], available: AvailableMemory) -> list[AvailableMemory]:
        shared.append(available.num_bytes)
        return share_memory(claims, available)

    monkeypatch.setattr("inglenook.engine.sharing.share_memory", note)
    monkeypatch.setattr("inglenook.engine.memory.available_memory", lambda: memory(8 * GIB))
    backends = load_backends(
        [wanted(served_model_name=("a",)), wanted(task="embed", served_model_name=("b",))],
        on_plan=lambda plan, engine: made.append(plan),
    )
    try:
        assert [backend.models()[0].task for backend in backends] == ["generate", "embed"]
        assert shared == [8 * GIB - made[1].total]
        assert made[1].available.source != made[0].available.source
    finally:
        for backend in backends:
            await backend.close()


def test_a_model_that_fails_to_load_ends_those_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import inglenook.backends.load as module

    backends: list[Any] = []
    load = module.load_backend

    def fail_at_the_second(*args: Any, **kwargs: Any) -> Any:
        if backends:
            raise CheckpointError("broken")
        backends.append(load(*args, **kwargs))
        return backends[0]

    monkeypatch.setattr(module, "load_backend", fail_at_the_second)
    with pytest.raises(CheckpointError):
        load_backends([wanted(served_model_name=("a",)), wanted(served_model_name=("b",))])
    assert not backends[0].is_healthy()


def test_nothing_is_loaded_where_it_does_not_fit() -> None:
    plans: list[Plan] = []
    huge = EngineSettings(threads=1, kv_cache_memory_bytes=2**50)
    with pytest.raises(OutOfMemoryError, match=re.escape("a smaller cache for dummy:tiny")):
        load_backends([wanted(), wanted(engine=huge)], on_plan=lambda plan, engine: plans.append(plan))
    assert plans == []
