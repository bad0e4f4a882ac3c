"""The authenticated map: one hash that commits to every key and value, with proofs of presence and absence.

A binary Merkle tree over hashed keys (256 bits, most significant first: 0 is left). It never removes a key.

| subtree holds | node | hash |
|---|---|---|
| no key | none | the constant `EMPTY` |
| one key | leaf: key hash, value hash | H(leaf; key hash, value hash), at whatever depth it stands |
| more | inner: left hash, right hash | H(inner; left, right) |

A subtree of one key collapses to its leaf, so a path is as long as the longest prefix that the key shares
with another: about log2 n bits, as keys are hashed. The shape depends on the set of keys alone, hence the root
does not depend on the order of insertion. Nodes are named by their hash; an update reads and makes only those on
the changed paths and says which ones the new tree no longer uses.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from consensus.codec import Record
from consensus.cryptography import HashKind, digest
from consensus.identifiers import DIGEST_SIZE_BYTES, Digest
from consensus.messages import DigestField
from ledger.errors import NodeMissing

KEY_SIZE_BITS: Final = 8 * DIGEST_SIZE_BYTES

EMPTY: Final = digest(HashKind.MAP_EMPTY, b"")
"""Hash of a subtree without keys, and the root of an empty map."""

LEAF: Final = b"L"
INNER: Final = b"I"

NodeReader = Callable[[Digest], bytes | None]
"""Returns a stored node by its hash: `LEAF` or `INNER`, then two hashes of 32 bytes; None if it is not there."""

Key = TypeVar("Key", bound=bytes)

Leaf = tuple[Digest, Digest]
"""Key hash and value hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapUpdate:
    """What a batch of writes makes of a map; nothing is stored yet."""

    root: Digest
    """Root of the updated map."""
    added: Mapping[Digest, bytes]
    """Nodes that the new tree has and the old one had not, by hash."""
    removed: frozenset[Digest]
    """Nodes that the old tree had and the new one has not."""


def hash_key(key: bytes) -> Digest:
    """Returns the place of a key in the tree."""
    return digest(HashKind.MAP_KEY, key)


def hash_value(value: bytes) -> Digest:
    """Returns what a leaf commits to."""
    return digest(HashKind.MAP_VALUE, value)


def hash_leaf(leaf: Leaf) -> Digest:
    """Returns the name of a leaf."""
    return digest(HashKind.MAP_LEAF, leaf[0] + leaf[1])


def hash_inner(left: Digest, right: Digest) -> Digest:
    """Returns the name of an inner node."""
    return digest(HashKind.MAP_INNER, left + right)


def update_map(read: NodeReader, root: Digest, changes: Mapping[Key, bytes]) -> MapUpdate:
    """Writes a batch of values at a cost of O(changes x log n) nodes.

    Args:
        read: the stored nodes.
        root: of the map to start from; `EMPTY` for a new one.
        changes: new values by key.

    Raises:
        NodeMissing: `read` lacks a node on a changed path.
    """
    update = _Update(read)
    leaves = sorted((hash_key(key), hash_value(value)) for key, value in changes.items())
    new_root = update.write(root, 0, leaves)
    return MapUpdate(root=new_root, added=update.added, removed=frozenset(update.removed))


def build_subtree(depth: int, leaves: list[Leaf]) -> Digest:
    """Returns the hash of the subtree that holds just these leaves, sorted, which share their first `depth` bits."""
    return _Update(no_nodes).build(depth, leaves)


@dataclass(slots=True)
class _Update:
    read: NodeReader
    added: dict[Digest, bytes] = field(default_factory=dict)
    removed: set[Digest] = field(default_factory=set)

    def write(self, root: Digest, depth: int, leaves: list[Leaf]) -> Digest:
        """Returns the root of the subtree at `depth` (bits) after writing `leaves`, sorted and all below it."""
        if not leaves:
            return root
        if root == EMPTY:
            return self.build(depth, leaves)
        kind, first, second = read_node(self.read, root)
        if kind == LEAF:
            return self._write_over_leaf(root, (first, second), depth, leaves)
        middle = _first_right(leaves, depth)
        left = self.write(first, depth + 1, leaves[:middle])
        right = self.write(second, depth + 1, leaves[middle:])
        if (left, right) == (first, second):
            return root
        self.removed.add(root)
        return self._add_inner(left, right)

    def _write_over_leaf(self, root: Digest, old: Leaf, depth: int, leaves: list[Leaf]) -> Digest:
        place = bisect_left(leaves, old[0], key=_key_hash)
        is_written = place < len(leaves) and leaves[place][0] == old[0]
        merged = leaves if is_written else [*leaves[:place], old, *leaves[place:]]
        result = self.build(depth, merged)
        if merged[place] == old:
            self.added.pop(root, None)  # it only moved down, if at all: a leaf's hash knows no depth
        else:
            self.removed.add(root)
        return result

    def build(self, depth: int, leaves: list[Leaf]) -> Digest:
        """Returns the root of the subtree at `depth` that holds just these leaves."""
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            name = hash_leaf(leaves[0])
            self.added[name] = LEAF + leaves[0][0] + leaves[0][1]
            return name
        middle = _first_right(leaves, depth)
        left = self.build(depth + 1, leaves[:middle])
        return self._add_inner(left, self.build(depth + 1, leaves[middle:]))

    def _add_inner(self, left: Digest, right: Digest) -> Digest:
        name = hash_inner(left, right)
        self.added[name] = INNER + left + right
        return name


def no_nodes(_name: Digest) -> None:
    """Reads from an empty map: it has no nodes."""


def read_node(read: NodeReader, name: Digest) -> tuple[bytes, Digest, Digest]:
    """Returns a node's kind and its two hashes.

    Raises:
        NodeMissing: not stored, or not a node.
    """
    node = read(name)
    if node is None or len(node) != 1 + 2 * DIGEST_SIZE_BYTES or node[:1] not in {LEAF, INNER}:
        raise NodeMissing(f"map node {name.hex()} is missing or not a node")
    return node[:1], Digest(node[1 : 1 + DIGEST_SIZE_BYTES]), Digest(node[1 + DIGEST_SIZE_BYTES :])


def _key_hash(leaf: Leaf) -> Digest:
    return leaf[0]


def _bit(key_hash: Digest, depth: int) -> int:
    return key_hash[depth >> 3] >> (7 - (depth & 7)) & 1


def _first_right(leaves: list[Leaf], depth: int) -> int:
    """Returns the index of the first of the sorted leaves whose bit at `depth` is 1: all share the bits above."""
    assert depth < KEY_SIZE_BITS, "two leaves have one key hash"
    return bisect_left(leaves, 1, key=lambda leaf: _bit(leaf[0], depth))


# --- proofs ------------------------------------------------------------------------------------------------


class OtherLeaf(Record, frozen=True, kw_only=True):
    """The leaf that stands where an absent key would."""

    key_hash: DigestField
    value_hash: DigestField


class MapProof(Record, frozen=True, kw_only=True, tag="map-proof"):
    """The path of one key, present or absent, through the map of one root."""

    siblings: Annotated[tuple[DigestField, ...], Meta(max_length=KEY_SIZE_BITS)]
    """Hashes of the subtrees beside the path, from the root down."""
    other: OtherLeaf | None
    """Of an absent key whose place another key's leaf takes; None of a present key and of an empty place."""


def prove(read: NodeReader, root: Digest, key: bytes) -> MapProof:
    """Returns the proof that `key` has its value in the map of `root`, or has none.

    Raises:
        NodeMissing: `read` lacks a node on the key's path.
    """
    key_hash = hash_key(key)
    siblings: list[Digest] = []
    name = root
    while name != EMPTY:
        kind, first, second = read_node(read, name)
        if kind == LEAF:
            other = None if first == key_hash else OtherLeaf(key_hash=first, value_hash=second)
            return MapProof(siblings=tuple(siblings), other=other)
        name, sibling = (second, first) if _bit(key_hash, len(siblings)) else (first, second)
        siblings.append(sibling)
    return MapProof(siblings=tuple(siblings), other=None)


def proof_holds(proof: MapProof, root: Digest, key: bytes, value: bytes | None) -> bool:
    """Says whether the map of `root` has `value` under `key`, or, where `value` is None, nothing.

    Pure: needs the root and nothing else. Never raises.
    """
    key_hash = hash_key(key)
    if len(proof.siblings) > KEY_SIZE_BITS:
        return False
    if value is not None:
        if proof.other is not None:
            return False
        name = hash_leaf((key_hash, hash_value(value)))
    elif proof.other is None:
        name = EMPTY
    elif proof.other.key_hash == key_hash:
        return False
    else:
        name = hash_leaf((proof.other.key_hash, proof.other.value_hash))
    for depth in reversed(range(len(proof.siblings))):
        sibling = proof.siblings[depth]
        name = hash_inner(sibling, name) if _bit(key_hash, depth) else hash_inner(name, sibling)
    return name == root
