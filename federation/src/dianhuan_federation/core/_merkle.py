"""RFC 6962 Merkle trees: roots, inclusion and consistency proofs, and the right edge of a growing tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from dianhuan_sdk import InputError

HASH_SIZE = 32
EMPTY_ROOT = sha256().digest()
MAX_SIZE = 2**63 - 1

Nodes = Callable[[int, int], bytes]
"""`nodes(level, index)` is the hash over leaves [index · 2^level, (index + 1) · 2^level), all present."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of one leaf: SHA-256(0x00 ‖ entry), RFC 6962 section 2.1."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\1" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes: pairs level by level, an odd last one rises unchanged."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        risen = level[-1:] if len(level) % 2 else []
        # zip of an iterator with itself gives pairs.
        halves = iter(level)
        level = [sha256(b"\1" + left + right).digest() for left, right in zip(halves, halves, strict=False)] + risen
    return level[0]


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """The nodes of a tree held in memory, computed once."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[i], below[i + 1]) for i in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]


def range_root(nodes: Nodes, start: int, end: int) -> bytes:
    """Root over leaves [start, end), where `start` is a multiple of the largest power of two not above the length."""
    parts: list[bytes] = []
    while start < end:
        level = (end - start).bit_length() - 1
        parts.append(nodes(level, start >> level))
        start += 1 << level
    root = parts.pop()
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proof(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """Audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling upwards (section 2.1.1).

    Raises:
        InputError: the index is not in the tree.
    """
    if not 0 <= index < size:
        raise InputError(f"leaf {index} of a tree of {size}", expected="an index below the size")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_root(nodes, middle, end))
            end = middle
        else:
            proof.append(range_root(nodes, start, middle))
            start = middle
    return proof[::-1]


def consistency_proof(nodes: Nodes, old: int, new: int) -> list[bytes]:
    """Proof that the tree of `new` leaves extends the tree of `old` leaves (section 2.1.2).

    Raises:
        InputError: not 0 < old <= new.
    """
    if not 0 < old <= new:
        raise InputError(f"consistency of {old} and {new} leaves", expected="0 < old <= new")
    proof: list[bytes] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_root(nodes, middle, end))
            end = middle
        else:
            proof.append(range_root(nodes, start, middle))
            start, whole = middle, False
    if not whole:
        proof.append(range_root(nodes, start, end))
    return proof[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that an audit path leads to (RFC 9162 section 2.1.3.2).

    Raises:
        InputError: the proof has the wrong length for that index and size.
    """
    if not 0 <= index < size:
        raise InputError(f"leaf {index} of a tree of {size}", expected="an index below the size")
    node, last, root = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise InputError("the inclusion proof is too long")
        if node & 1 or node == last:
            root = node_hash(sibling, root)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            root = node_hash(root, sibling)
        node >>= 1
        last >>= 1
    if last:
        raise InputError("the inclusion proof is too short")
    return root


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Does the audit path lead from the leaf to the root?"""
    try:
        return root_from_inclusion(leaf, index, size, proof) == root
    except InputError:
        return False


def is_consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Does the tree (new, new_root) extend the tree (old, old_root)? (RFC 9162 section 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    if not 0 < old < new or (not proof and old & (old - 1)):
        return False
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first = node_hash(sibling, first)
            second = node_hash(sibling, second)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            second = node_hash(second, sibling)
        node >>= 1
        last >>= 1
    return last == 0 and first == old_root and second == new_root


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: the roots of its complete subtrees, largest first.

    It is all that is needed to append and to compute the root, so a verifier keeps at most 63 hashes of each log.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.hashes) != self.size.bit_count() or any(len(h) != HASH_SIZE for h in self.hashes):
            raise InputError(f"{len(self.hashes)} frontier hashes for {self.size} leaves")

    def extended(self, leaves: Iterable[bytes]) -> Frontier:
        """The frontier after appending leaf hashes."""
        stack = list(self.hashes)
        size = self.size
        for leaf in leaves:
            node, rest = leaf, size
            while rest & 1:
                node = node_hash(stack.pop(), node)
                rest >>= 1
            stack.append(node)
            size += 1
        return Frontier(size, tuple(stack))

    def root(self) -> bytes:
        """Root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for part in reversed(self.hashes[:-1]):
            root = node_hash(part, root)
        return root

    def nodes_with(self, leaves: Sequence[bytes]) -> Nodes:
        """Nodes of this tree with leaf hashes appended: those that proofs about the appended part need."""
        known: dict[tuple[int, int], bytes] = {}
        start, parts = 0, iter(self.hashes)
        for level in range(self.size.bit_length() - 1, -1, -1):
            if self.size >> level & 1:
                known[level, start >> level] = next(parts)
                start += 1 << level

        def node(level: int, index: int) -> bytes:
            if (level, index) not in known:
                known[level, index] = (
                    node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))
                    if level
                    else leaves[index - self.size]
                )
            return known[level, index]

        return node
