"""The block pool: reference counts, content addresses, the order of reuse."""

import pytest

from inglenook.engine.kv_cache import BlockPool, BlockTables, block_hash, root_hash

DIGESTS = [bytes([i]) * 16 for i in range(8)]


def test_hash_depends_on_tokens_parent_and_salt() -> None:
    root = root_hash("")
    hashes = {
        block_hash(root, [1, 2, 3]),
        block_hash(root, [1, 2, 4]),
        block_hash(root, [3, 2, 1]),
        block_hash(root_hash("tenant"), [1, 2, 3]),
        block_hash(block_hash(root, [1, 2, 3]), [1, 2, 3]),
    }
    assert len(hashes) == 5
    assert block_hash(root, [1, 2, 3]) == block_hash(root_hash(""), (1, 2, 3))
    assert root_hash("\ud800")  # whatever a client sends


def test_committed_blocks_are_found_in_order() -> None:
    pool = BlockPool(4, 16)
    blocks = pool.allocate(3)
    for block, digest in zip(blocks, DIGESTS, strict=False):
        pool.commit(block, digest)
    assert pool.match(DIGESTS) == blocks
    assert pool.match([DIGESTS[0], DIGESTS[5], DIGESTS[2]]) == blocks[:1]
    assert pool.match([DIGESTS[5], DIGESTS[0]]) == []


def test_shared_block_is_free_after_its_last_user() -> None:
    pool = BlockPool(2, 16)
    blocks = pool.allocate(1)
    pool.commit(blocks[0], DIGESTS[0])
    pool.share(blocks)
    assert (pool.num_free, pool.usage) == (1, 0.5)
    pool.release(blocks)
    assert pool.num_free == 1
    pool.release(blocks)
    assert (pool.num_free, pool.usage) == (2, 0.0)
    with pytest.raises(AssertionError):
        pool.release(blocks)


def test_free_block_keeps_its_content_until_allocated() -> None:
    pool = BlockPool(1, 16)
    blocks = pool.allocate(1)
    pool.commit(blocks[0], DIGESTS[0])
    pool.release(blocks)
    assert pool.match(DIGESTS[:1]) == blocks
    assert pool.count_unused(blocks) == 1
    pool.share(blocks)
    assert (pool.num_free, pool.count_unused(blocks)) == (0, 0)
    pool.release(blocks)
    assert pool.allocate(1) == blocks
    assert pool.match(DIGESTS[:1]) == []


def test_reuse_begins_with_empty_blocks_then_the_oldest_ends() -> None:
    pool = BlockPool(7, 16)
    first, second, empty = pool.allocate(2), pool.allocate(2), pool.allocate(1)
    for block, digest in zip(first + second, DIGESTS, strict=False):
        pool.commit(block, digest)
    pool.release(first)
    pool.release(second)
    pool.release(empty)
    assert pool.allocate(1) == empty
    assert set(pool.allocate(2)).isdisjoint(first + second)  # those never used
    assert pool.allocate(4) == [first[1], first[0], second[1], second[0]]


def test_first_of_equal_blocks_keeps_the_address() -> None:
    pool = BlockPool(2, 16)
    first, second = pool.allocate(2)
    pool.commit(first, DIGESTS[0])
    pool.commit(second, DIGESTS[0])
    assert pool.match(DIGESTS[:1]) == [first]
    pool.release([second])
    assert pool.allocate(1) == [second]
    assert pool.match(DIGESTS[:1]) == [first]


def test_forget_takes_the_address_of_what_nobody_else_uses() -> None:
    pool = BlockPool(2, 16)
    blocks = pool.allocate(2)
    for block, digest in zip(blocks, DIGESTS, strict=False):
        pool.commit(block, digest)
    pool.share(blocks[:1])
    pool.release(blocks, forget=True)
    assert pool.match(DIGESTS[:2]) == blocks[:1]
    assert pool.match(DIGESTS[1:2]) == []


def test_tables_write_rows_apart() -> None:
    tables = BlockTables(2, 4)
    one, other = tables.claim_row(), tables.claim_row()
    tables.write(one, 0, [5, 6])
    tables.write(one, 2, [7])
    tables.write(other, 0, [9])
    assert tables.array[one].tolist() == [5, 6, 7, 0]
    assert tables.array[other].tolist() == [9, 0, 0, 0]
    assert tables.array.dtype == "int32"
    tables.free_row(one)
    assert tables.claim_row() == one
