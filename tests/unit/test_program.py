"""Recording a program: shapes are checked, weights are shared by name, slices are views."""

from __future__ import annotations

import pytest

from inglenook.ops.program import AttentionSpec, Embed, Program, RopeSpec, SelectRows


@pytest.fixture
def program() -> Program:
    return Program()


def test_operations_are_kept_in_order(program: Program) -> None:
    x = program.embed(program.weight("embedding", 10, 8))
    selected = program.select_rows(x)
    logits = program.logits(selected, program.weight("embedding", 10, 8))
    assert [type(op) for op in program.ops[:2]] == [Embed, SelectRows]
    assert program.output == logits
    assert (logits.width, logits.rows, x.rows) == (10, "selected", "tokens")
    assert list(program.weights) == ["embedding"]
    assert len({x.id, selected.id, logits.id}) == program.num_buffers == 3


def test_a_weight_has_one_shape(program: Program) -> None:
    program.weight("w", 4, 8)
    with pytest.raises(AssertionError, match="w is declared"):
        program.weight("w", 8, 4)


def test_split_views_columns(program: Program) -> None:
    x = program.embed(program.weight("embedding", 10, 12))
    first, second = program.split(x, 8, 4)
    assert (first.id, first.offset, first.width) == (x.id, 0, 8)
    assert (second.id, second.offset, second.width) == (x.id, 8, 4)
    assert [part.offset for part in program.split(second, 1, 3)] == [8, 9]
    with pytest.raises(AssertionError):
        program.split(x, 8, 8)


def test_shapes_are_checked(program: Program) -> None:
    x = program.embed(program.weight("embedding", 10, 12))
    y = program.embed(program.weight("other", 10, 8))
    with pytest.raises(AssertionError):
        program.linear(x, program.weight("matrix", 4, 8))
    with pytest.raises(AssertionError):
        program.linear(x, program.weight("m", 4, 12), biases=(program.weight("bias", 12),))
    with pytest.raises(AssertionError):
        program.rms_norm(x, program.weight("norm", 8), 1e-5)
    with pytest.raises(AssertionError):
        program.add(x, y)
    with pytest.raises(AssertionError):
        program.act_mul(x, y, "silu")
    with pytest.raises(AssertionError):
        program.rope(x, 8, RopeSpec((1.0,)))
    with pytest.raises(AssertionError):
        program.rope(x, 4, RopeSpec((1.0, 0.5, 0.25)))
    with pytest.raises(AssertionError):
        program.logits(x, program.weight("head", 10, 12))
    with pytest.raises(AssertionError):
        program.select_rows(program.select_rows(x))


def test_attention_layers_are_numbered_in_order(program: Program) -> None:
    q = program.embed(program.weight("q", 10, 16))
    k = program.embed(program.weight("k", 10, 8))
    spec = AttentionSpec(layer=0, num_heads=4, num_kv_heads=2, head_dim=4, scale=0.5)
    assert program.attention(q, k, k, spec).width == 16
    assert program.kv_layers == [spec]
    with pytest.raises(AssertionError):
        program.attention(q, k, k, spec)
    with pytest.raises(AssertionError):
        program.attention(q, q, q, AttentionSpec(layer=1, num_heads=4, num_kv_heads=2, head_dim=4, scale=0.5))
