import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.cryptography import HashKind, digest
from consensus.identifiers import Digest
from ledger.authenticated_map import (
    EMPTY,
    INNER,
    LEAF,
    MapProof,
    OtherLeaf,
    hash_key,
    hash_value,
    no_nodes,
    proof_holds,
    prove,
    update_map,
)
from ledger.errors import NodeMissing

KEYS = st.binary(max_size=6)
BATCHES = st.lists(st.dictionaries(KEYS, st.binary(max_size=4), max_size=12), max_size=6)


class Model:
    """The map by its definition, rebuilt from nothing each time."""

    def __init__(self, values: dict[bytes, bytes]) -> None:
        self.nodes: dict[Digest, bytes] = {}
        bits = {key: f"{int.from_bytes(hash_key(key), 'big'):0256b}" for key in values}
        self.root = self._subtree({bits[key]: (hash_key(key), hash_value(values[key])) for key in values}, 0)

    def _subtree(self, leaves: dict[str, tuple[bytes, bytes]], depth: int) -> Digest:
        if not leaves:
            return EMPTY
        if len(leaves) == 1:
            ((key_hash, value_hash),) = leaves.values()
            return self._node(LEAF, HashKind.MAP_LEAF, key_hash + value_hash)
        left = self._subtree({bits: leaf for bits, leaf in leaves.items() if bits[depth] == "0"}, depth + 1)
        right = self._subtree({bits: leaf for bits, leaf in leaves.items() if bits[depth] == "1"}, depth + 1)
        return self._node(INNER, HashKind.MAP_INNER, left + right)

    def _node(self, tag: bytes, kind: HashKind, content: bytes) -> Digest:
        name = digest(kind, content)
        self.nodes[name] = tag + content
        return name


def grown(batches: list[dict[bytes, bytes]]) -> tuple[Digest, dict[Digest, bytes], dict[bytes, bytes]]:
    root, nodes, values = EMPTY, {}, {}
    for batch in batches:
        update = update_map(nodes.get, root, batch)
        assert not update.added.keys() & nodes.keys(), "a node was added that was there"
        assert update.removed <= nodes.keys(), "a node was removed that was not there"
        nodes.update(update.added)
        for name in update.removed:
            del nodes[name]
        values.update(batch)
        root = update.root
    return root, nodes, values


@settings(derandomize=True, max_examples=150, deadline=None)
@given(BATCHES)
def test_batches_give_the_root_and_exactly_the_nodes_of_a_rebuild(batches):
    root, nodes, values = grown(batches)
    model = Model(values)
    assert root == model.root
    assert nodes == model.nodes


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, st.binary(max_size=4), max_size=20), st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_the_order_of_insertion(values, random):
    order = list(values)
    random.shuffle(order)
    one_by_one, _, _ = grown([{key: values[key]} for key in order])
    assert one_by_one == grown([values])[0]


def test_the_root_names_keys_and_values():
    base = grown([{b"a": b"1", b"b": b"2"}])[0]
    others = [{b"a": b"1"}, {b"a": b"2", b"b": b"1"}, {b"a": b"1", b"c": b"2"}, {b"a": b"1", b"b": b""}, {}]
    roots = {grown([values])[0] for values in others}
    assert len(roots) == len(others)
    assert base not in roots


def test_an_update_touches_only_the_changed_paths():
    values = {number.to_bytes(4, "big"): b"old" for number in range(4_096)}
    root, nodes, _ = grown([values])
    read: list[Digest] = []

    def counting(name: Digest) -> bytes | None:
        read.append(name)
        return nodes.get(name)

    update = update_map(counting, root, {(7).to_bytes(4, "big"): b"new"})
    longest_path = 12 + 20  # log2 of the number of keys, and room for the longest shared prefix
    assert len(read) <= longest_path
    assert len(update.added) == len(update.removed) <= longest_path
    assert update_map(nodes.get, root, {(7).to_bytes(4, "big"): b"old"}).added == {}


def test_a_missing_or_foreign_node_is_told():
    root, nodes, _ = grown([{bytes([number]): b"" for number in range(8)}])
    with pytest.raises(NodeMissing, match=root.hex()):
        update_map(no_nodes, root, {b"x": b""})
    with pytest.raises(NodeMissing, match=root.hex()):
        prove({root: b"I" + bytes(63)}.get, root, b"x")
    assert prove(nodes.get, root, b"x")


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.dictionaries(KEYS, st.binary(max_size=4), max_size=20), st.lists(KEYS, max_size=5))
def test_every_key_has_a_proof_of_its_value_or_of_its_absence(values, asked):
    root, nodes, _ = grown([values])
    for key in [*values, *asked]:
        proof = prove(nodes.get, root, key)
        assert proof_holds(proof, root, key, values.get(key))
        wrong = b"other" if key in values else b""
        assert not proof_holds(proof, root, key, wrong)
        if key in values:
            assert not proof_holds(proof, root, key, None)


def altered_hashes(value: bytes) -> list[Digest]:
    return [Digest(value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]) for place in (0, 15, 31)]


def altered_proofs(proof: MapProof) -> list[MapProof]:
    siblings, other = proof.siblings, proof.other
    changed = [
        MapProof(siblings=(*siblings[:place], hash_, *siblings[place + 1 :]), other=other)
        for place in range(len(siblings))
        for hash_ in [*altered_hashes(siblings[place]), EMPTY]
        if hash_ != siblings[place]
    ]
    changed += [
        MapProof(siblings=siblings[:place] + siblings[place + 1 :], other=other) for place in range(len(siblings))
    ]
    changed += [
        MapProof(siblings=(*siblings, EMPTY), other=other),
        MapProof(siblings=(EMPTY, *siblings), other=other),
        MapProof(siblings=siblings + (EMPTY,) * 256, other=other),
    ]
    if other is None:
        changed.append(MapProof(siblings=siblings, other=OtherLeaf(key_hash=EMPTY, value_hash=EMPTY)))
    else:
        changed.append(MapProof(siblings=siblings, other=None))
        changed += [
            MapProof(siblings=siblings, other=OtherLeaf(key_hash=hash_, value_hash=other.value_hash))
            for hash_ in altered_hashes(other.key_hash)
        ]
        changed += [
            MapProof(siblings=siblings, other=OtherLeaf(key_hash=other.key_hash, value_hash=hash_))
            for hash_ in altered_hashes(other.value_hash)
        ]
    return changed


def test_every_altered_proof_fails():
    values = {bytes([number]): bytes([number]) for number in range(50)}
    root, nodes, _ = grown([values])
    kinds = set()
    for key in [bytes([number]) for number in range(120)]:
        value = values.get(key)
        proof = prove(nodes.get, root, key)
        kinds.add((value is None, proof.other is None))
        assert proof_holds(proof, root, key, value)
        for altered in altered_proofs(proof):
            assert not proof_holds(altered, root, key, value)
        for other_root in altered_hashes(root):
            assert not proof_holds(proof, other_root, key, value)
    assert kinds == {(False, True), (True, True), (True, False)}, "a kind of proof was not seen"


def test_the_leaf_of_the_key_itself_proves_no_absence():
    root, nodes, _ = grown([{b"a": b"1"}])
    claimed = MapProof(siblings=(), other=OtherLeaf(key_hash=hash_key(b"a"), value_hash=hash_value(b"1")))
    assert not proof_holds(claimed, root, b"a", None)
    assert proof_holds(claimed, root, b"b", None)
    assert proof_holds(prove(no_nodes, EMPTY, b"a"), EMPTY, b"a", None)
    assert len(nodes) == 1
