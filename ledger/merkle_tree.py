"""A binary Merkle tree over a list: the roots of transactions, postings and receipts, with inclusion proofs.

Leaves and inner nodes are hashed in different domains, so neither passes for the other. A list of n > 1 items
splits after the largest power of two below n (as RFC 6962 does); nothing is ever duplicated to fill a level, so
[a, b, c] and [a, b, c, c] have different roots. The root also covers the number of items (8 bytes big
endian, then the top hash: 40 bytes, where an inner node hashes 64), so a proof says how long the list is.
"""

from collections.abc import Sequence
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import ELEMENTS_MAX, Record
from consensus.cryptography import HashKind, digest
from consensus.identifiers import Digest
from consensus.messages import DigestField

COUNT_SIZE_BYTES: Final = 8

DEPTH_MAX: Final = ELEMENTS_MAX.bit_length()
"""Longest path: no list in a block is longer than the codec's longest array."""


class InclusionProof(Record, frozen=True, kw_only=True, tag="inclusion-proof"):
    """That one item stands at one place of a list of known length."""

    index: Annotated[int, Meta(ge=0, lt=ELEMENTS_MAX)]
    count: Annotated[int, Meta(ge=1, le=ELEMENTS_MAX)]
    siblings: Annotated[tuple[DigestField, ...], Meta(max_length=DEPTH_MAX)]
    """Hashes beside the path, from the leaf up."""


def tree_root(items: Sequence[bytes]) -> Digest:
    """Returns the hash that commits to the items, their order and their number (any number, also 0)."""
    if not items:
        return digest(HashKind.TREE_INNER, _count_bytes(0))
    return _wrap(_top([_leaf(item) for item in items]), len(items))


def prove_inclusion(items: Sequence[bytes], index: int) -> InclusionProof:
    """Returns the proof that `items[index]` stands there; 0 <= index < len(items)."""
    assert 0 <= index < len(items)
    leaves = [_leaf(item) for item in items]
    siblings: list[Digest] = []
    first, end = 0, len(leaves)
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            siblings.append(_top(leaves[middle:end]))
            end = middle
        else:
            siblings.append(_top(leaves[first:middle]))
            first = middle
    siblings.reverse()
    return InclusionProof(index=index, count=len(items), siblings=tuple(siblings))


def inclusion_holds(proof: InclusionProof, root: Digest, item: bytes) -> bool:
    """Says whether `item` stands at the proof's place in the list of `root`. Pure; never raises."""
    if not 0 <= proof.index < proof.count <= ELEMENTS_MAX:
        return False
    sides = _sides(proof.index, proof.count)
    if len(sides) != len(proof.siblings):
        return False
    name = _leaf(item)
    for sibling, sibling_is_left in zip(proof.siblings, reversed(sides), strict=True):
        name = _inner(sibling, name) if sibling_is_left else _inner(name, sibling)
    return _wrap(name, proof.count) == root


def _sides(index: int, count: int) -> list[bool]:
    """Returns, from the top down, whether the sibling of the path to `index` is the left one."""
    sides = []
    while count > 1:
        left_count = _split(count)
        is_right = index >= left_count
        sides.append(is_right)
        index, count = (index - left_count, count - left_count) if is_right else (index, left_count)
    return sides


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _top(leaves: Sequence[Digest]) -> Digest:
    # level by level: pairing from the left and carrying an odd last hash up gives the same shape as `_split`
    level = list(leaves)
    while len(level) > 1:
        paired = [_inner(level[place], level[place + 1]) for place in range(0, len(level) - 1, 2)]
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def _leaf(item: bytes) -> Digest:
    return digest(HashKind.TREE_LEAF, item)


def _inner(left: Digest, right: Digest) -> Digest:
    return digest(HashKind.TREE_INNER, left + right)


def _wrap(top: Digest, count: int) -> Digest:
    return digest(HashKind.TREE_INNER, _count_bytes(count) + top)


def _count_bytes(count: int) -> bytes:
    return count.to_bytes(COUNT_SIZE_BYTES, "big")
