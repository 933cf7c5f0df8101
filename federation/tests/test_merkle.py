"""Trees, proofs and tiles against a naive reading of RFC 6962."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_federation.core import (
    EMPTY_ROOT,
    Frontier,
    Tile,
    bundles_of,
    consistency_proof,
    frontier_from_nodes,
    inclusion_proof,
    is_consistent,
    is_included,
    leaf_hash,
    nodes_from_tiles,
    nodes_of,
    tiles_of,
    tree_root,
)
from dianhuan_sdk import InputError

ENTRIES = [f"entry {i}".encode() for i in range(65_537)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
SIZES = [*range(17), 255, 256, 257, 65_535, 65_536, 65_537]


@cache
def naive_root(start: int, end: int) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    n = end - start
    if n == 0:
        return sha256().digest()
    if n == 1:
        return sha256(b"\0" + ENTRIES[start]).digest()
    k = 1
    while k * 2 < n:
        k *= 2
    return sha256(b"\1" + naive_root(start, start + k) + naive_root(start + k, end)).digest()


def naive_path(index: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[n]) of section 2.1.1."""
    n = end - start
    if n == 1:
        return []
    k = 1
    while k * 2 < n:
        k *= 2
    if index < k:
        return [*naive_path(index, start, start + k), naive_root(start + k, end)]
    return [*naive_path(index - k, start + k, end), naive_root(start, start + k)]


def naive_subproof(m: int, start: int, end: int, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b) of section 2.1.2."""
    n = end - start
    if m == n:
        return [] if whole else [naive_root(start, end)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*naive_subproof(m, start, start + k, whole), naive_root(start + k, end)]
    return [*naive_subproof(m - k, start + k, end, False), naive_root(start, start + k)]


@pytest.mark.parametrize("size", SIZES)
def test_roots_equal_the_naive_tree(size: int) -> None:
    assert tree_root(LEAVES[:size]) == naive_root(0, size)
    assert Frontier().extended(LEAVES[:size]).root() == naive_root(0, size)


@pytest.mark.parametrize("size", SIZES[1:])
def test_inclusion_proofs_equal_the_naive_paths(size: int) -> None:
    nodes, root = nodes_of(LEAVES[:size]), naive_root(0, size)
    for index in sorted({*range(min(size, 17)), size // 2, size - 1, min(255, size - 1), min(256, size - 1)}):
        proof = inclusion_proof(nodes, index, size)
        assert proof == naive_path(index, 0, size)
        assert is_included(LEAVES[index], index, size, proof, root)
        assert not is_included(LEAVES[index], (index + 1) % size, size, proof, root) or size == 1
        assert not is_included(leaf_hash(b"other"), index, size, proof, root)
        assert not is_included(LEAVES[index], index, size, [*proof, root], root)
        assert not proof or not is_included(LEAVES[index], index, size, proof[:-1], root)


@pytest.mark.parametrize("new", SIZES[1:])
def test_consistency_proofs_equal_the_naive_ones(new: int) -> None:
    nodes, new_root = nodes_of(LEAVES[:new]), naive_root(0, new)
    for old in [size for size in SIZES if 0 < size <= new]:
        proof = consistency_proof(nodes, old, new)
        assert proof == naive_subproof(old, 0, new, True)
        assert is_consistent(old, naive_root(0, old), new, new_root, proof)
        assert not is_consistent(old, leaf_hash(b"fork"), new, new_root, proof)
        assert not is_consistent(old, naive_root(0, old), new, leaf_hash(b"fork"), proof)
        assert not is_consistent(old, naive_root(0, old), new, new_root, [*proof, new_root])
        assert not proof or not is_consistent(old, naive_root(0, old), new, new_root, proof[:-1])
    assert is_consistent(0, EMPTY_ROOT, new, new_root, [])
    assert not is_consistent(0, new_root, new, new_root, [])


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_frontier_does_not_depend_on_how_leaves_arrive(steps: list[int]) -> None:
    frontier, size = Frontier(), 0
    for step in steps:
        frontier = frontier.extended(LEAVES[size : size + step])
        size += step
    assert frontier == Frontier().extended(LEAVES[:size])


@given(st.integers(1, 300), st.data())
def test_hostile_proofs_with_one_changed_hash_do_not_hold(size: int, data: st.DataObject) -> None:
    nodes, root = nodes_of(LEAVES[:size]), tree_root(LEAVES[:size])
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(nodes, index, size)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        assert not is_included(LEAVES[index], index, size, [*proof[:place], EMPTY_ROOT, *proof[place + 1 :]], root)
    old = data.draw(st.integers(1, size))
    path = consistency_proof(nodes, old, size)
    if path:
        place = data.draw(st.integers(0, len(path) - 1))
        spoiled = [*path[:place], EMPTY_ROOT, *path[place + 1 :]]
        assert not is_consistent(old, tree_root(LEAVES[:old]), size, root, spoiled)


def test_impossible_proofs_are_refused() -> None:
    nodes = nodes_of(LEAVES[:4])
    for index, size in ((4, 4), (-1, 4), (0, 0)):
        with pytest.raises(InputError):
            inclusion_proof(nodes, index, size)
    for old, new in ((0, 4), (5, 4), (-1, 4)):
        with pytest.raises(InputError):
            consistency_proof(nodes, old, new)
    with pytest.raises(InputError):
        Frontier(3, (EMPTY_ROOT,))


def tile_bytes(leaves: Sequence[bytes], tile: Tile) -> bytes:
    """Hashes of a tile by its definition."""
    span = 256 ** (tile.level or 0)
    start = tile.index * 256
    return b"".join(
        naive_root((start + i) * span, (start + i + 1) * span) if leaves is LEAVES else b"" for i in range(tile.width)
    )


def test_the_tiles_of_70000_leaves_are_those_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    assert sum(t.level == 0 and t.width == 256 for t in tiles) == 273
    assert [(t.level, t.index, t.width) for t in tiles if t.width < 256] == [(0, 273, 112), (1, 1, 17), (2, 0, 1)]
    assert [(t.level, t.width) for t in tiles_of(256)] == [(0, 256), (1, 1)]
    assert [t.width for t in bundles_of(257)] == [256, 1]


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 65_535, 65_536, 65_537])
def test_proofs_from_tiles_equal_those_from_memory(size: int) -> None:
    nodes = nodes_from_tiles(size, lambda tile: tile_bytes(LEAVES, tile))
    memory = nodes_of(LEAVES[:size])
    for index in random.Random(size).sample(range(size), min(size, 8)):
        assert inclusion_proof(nodes, index, size) == inclusion_proof(memory, index, size)
        assert consistency_proof(nodes, index + 1, size) == consistency_proof(memory, index + 1, size)
    assert frontier_from_nodes(nodes, size) == Frontier().extended(LEAVES[:size])


def test_tile_paths_are_those_of_the_specification() -> None:
    assert Tile(0, 1_234_067, 256).path == "tile/0/x001/x234/067"
    assert Tile(None, 0, 5).path == "tile/entries/000.p/5"
    assert Tile(63, 999, 256).path == "tile/63/999"
    assert Tile(1, 1000, 1).path == "tile/1/x001/000.p/1"


@given(st.integers(0, 63) | st.none(), st.integers(0, 10**12), st.integers(1, 256))
def test_tile_paths_come_back(level: int | None, index: int, width: int) -> None:
    assert Tile.named(Tile(level, index, width).path) == Tile(level, index, width)


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/00/000",
        "tile/64/000",
        "tile/0/x000/000",
        "tile/0/0",
        "tile/0/1000",
        "tile/0/001/000",
        "tile/0/000/",
        "tile/0/../000",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/٠٠٠",
    ],
)
def test_hostile_tile_paths_are_refused(path: str) -> None:
    with pytest.raises(InputError):
        Tile.named(path)
