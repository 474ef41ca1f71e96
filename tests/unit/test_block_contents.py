"""Whose beginning is the longest, against looking at every block; and the pool, against a list of what blocks hold."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inglenook.engine.block_contents import BlockContents, common_run
from inglenook.engine.kv_cache import BlockPool, block_hash, root_hash

BLOCK_SIZE = 4
TOKENS = st.lists(st.sampled_from([0, 1, 2, 255, 256, 70_000]), min_size=1, max_size=BLOCK_SIZE).map(tuple)


@given(TOKENS, TOKENS)
def test_common_run(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    count = common_run(one, other)
    assert one[:count] == other[:count]
    assert one == other or one[: count + 1] != other[: count + 1]


def longest(held: dict[int, tuple[bytes, tuple[int, ...]]], parent: bytes, wanted: tuple[int, ...]) -> int:
    return max((common_run(tokens, wanted) for its, tokens in held.values() if its == parent), default=0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([b"p", b"q"]), TOKENS | st.none()), max_size=60),
    st.sampled_from([b"p", b"q"]),
    TOKENS,
)
@settings(max_examples=400, deadline=None)
def test_the_longest_beginning_is_found(
    changes: list[tuple[int, bytes, tuple[int, ...] | None]], parent: bytes, wanted: tuple[int, ...]
) -> None:
    contents = BlockContents()
    held: dict[int, tuple[bytes, tuple[int, ...]]] = {}
    for block, its_parent, tokens in changes:
        if tokens is None or block in held:
            contents.remove(block)
            held.pop(block, None)
            continue
        useless = contents.add(block, its_parent, tokens)
        held[block] = (its_parent, tokens)
        if useless is not None:
            _, lost = held.pop(useless)
            assert longest(held, its_parent, lost) == len(lost), "another holds all that it held"
        assert {b for b in range(10) if b in contents} == held.keys()
    found = contents.find(parent, wanted)
    assert (0 if found is None else found[1]) == longest(held, parent, wanted)
    if found is not None:
        its_parent, tokens = held[found[0]]
        assert (its_parent, common_run(tokens, wanted)) == (parent, found[1])
    for block in list(held):
        contents.remove(block)
    assert contents.find(parent, wanted) is None and not contents._children and not contents._place_of


class PoolMachine(RuleBasedStateMachine):
    """Users allocate blocks, fill them, share and copy what they find. What a block truly holds, `truth` knows."""

    @initialize(num_blocks=st.integers(1, 8))
    def start(self, num_blocks: int) -> None:
        self.pool = BlockPool(num_blocks, BLOCK_SIZE)
        self.truth: dict[int, tuple[bytes, tuple[int, ...]]] = {}
        self.owned: list[tuple[int, bytes, tuple[int, ...]]] = []  # by somebody who writes there
        self.shared: list[int] = []

    @precondition(lambda self: self.pool.num_free > 0)
    @rule(depth=st.sampled_from([b"", b"x"]), tokens=TOKENS)
    def write(self, depth: bytes, tokens: tuple[int, ...]) -> None:
        block = self.pool.allocate(1)[0]
        assert block not in self.shared and block not in [b for b, _, _ in self.owned]
        parent = root_hash("") if not depth else block_hash(root_hash(""), [1] * BLOCK_SIZE)
        self.truth[block] = (parent, tokens)
        self.owned.append((block, parent, tokens))

    @precondition(lambda self: self.owned)
    @rule(data=st.data(), forget=st.booleans(), is_held=st.booleans())
    def give_back(self, data: st.DataObject, forget: bool, is_held: bool) -> None:
        block, parent, tokens = self.owned.pop(data.draw(st.integers(0, len(self.owned) - 1)))
        if is_held and not forget:
            if len(tokens) == BLOCK_SIZE:
                self.pool.commit(block, block_hash(parent, tokens))
            self.pool.hold(block, parent, tokens)
        self.pool.release([block], forget=forget)
        if forget:
            assert block not in self.pool.contents

    @rule(parent=st.sampled_from([root_hash(""), root_hash("tenant")]), wanted=TOKENS)
    def find_and_keep(self, parent: bytes, wanted: tuple[int, ...]) -> None:
        found = self.pool.contents.find(parent, wanted)
        if found is not None:
            block, count = found
            assert self.truth[block][0] == parent and self.truth[block][1][:count] == wanted[:count]
            self.pool.share([block])
            self.shared.append(block)

    @precondition(lambda self: self.shared)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.pool.release([self.shared.pop(data.draw(st.integers(0, len(self.shared) - 1)))])

    @invariant()
    def is_sound(self) -> None:
        if not hasattr(self, "pool"):
            return
        used = self.shared + [block for block, _, _ in self.owned]
        assert [used.count(block) for block in range(self.pool.num_blocks)] == self.pool._num_users
        for block, (parent, tokens) in ((b, self.truth[b]) for b in range(self.pool.num_blocks) if b in self.truth):
            if block in self.pool.contents:
                assert (self.pool.contents.find(parent, tokens) or (0, 0))[1] == len(tokens)
        empty = [b for b in self.pool._free if self.pool._hash_of[b] is None and b not in self.pool.contents]
        assert list(self.pool._free)[: len(empty)] == empty, "what is known of nobody is reused first"

    def teardown(self) -> None:
        if hasattr(self, "pool"):
            self.pool.release([block for block, _, _ in self.owned] + self.shared)
            assert self.pool.num_free == self.pool.num_blocks


PoolMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestPoolMachine: Any = PoolMachine.TestCase
