"""Token embedding and the head that turns hidden states into logits."""

from __future__ import annotations

from inglenook.ops.program import Buffer, Program


def embedding(program: Program, name: str, vocab_size: int, hidden_size: int) -> Buffer:
    return program.embed(program.weight(f"{name}.weight", vocab_size, hidden_size))


def lm_head(program: Program, x: Buffer, name: str, vocab_size: int) -> Buffer:
    """Logits of the selected rows. With tied embeddings, `name` is the embedding's."""
    return program.logits(x, program.weight(f"{name}.weight", vocab_size, x.width))
