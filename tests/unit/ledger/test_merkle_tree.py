import pytest
from msgspec.structs import replace

from consensus.cryptography import HashKind, digest
from consensus.identifiers import Digest
from ledger.merkle_tree import InclusionProof, inclusion_holds, prove_inclusion, tree_root


def items(count: int) -> list[bytes]:
    return [f"item {index}".encode() for index in range(count)]


def model_top(leaves: list[Digest]) -> Digest:
    """RFC 6962's definition, as it is written."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return digest(HashKind.TREE_INNER, model_top(leaves[:split]) + model_top(leaves[split:]))


@pytest.mark.parametrize("count", range(1, 40))
def test_the_root_follows_the_definition(count):
    leaves = [digest(HashKind.TREE_LEAF, item) for item in items(count)]
    assert tree_root(items(count)) == digest(HashKind.TREE_INNER, count.to_bytes(8, "big") + model_top(leaves))


def test_lists_that_differ_have_different_roots():
    lists = [items(count) for count in range(20)]
    lists += [[*items(count), items(count)[-1]] for count in range(1, 20)]  # the last one twice
    lists += [[*items(3), *items(3)], [b"".join(items(2))], [b""], [b"", b""], list(reversed(items(3)))]
    inner = digest(HashKind.TREE_LEAF, b"item 0") + digest(HashKind.TREE_LEAF, b"item 1")
    lists += [[inner], [digest(HashKind.TREE_INNER, inner)]]  # an inner node as an item
    assert len({tree_root(each) for each in lists}) == len(lists)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31])
def test_every_item_is_proven_at_its_place_only(count):
    root = tree_root(items(count))
    for index, item in enumerate(items(count)):
        proof = prove_inclusion(items(count), index)
        assert inclusion_holds(proof, root, item)
        assert not inclusion_holds(proof, root, item + b".")
        for altered in altered_proofs(proof):
            assert not inclusion_holds(altered, root, item), altered


def altered_proofs(proof: InclusionProof) -> list[InclusionProof]:
    changed = [replace(proof, index=index) for index in range(-1, proof.count + 1) if index != proof.index]
    changed += [
        replace(proof, count=count)
        for count in (0, -1, proof.count - 1, proof.count + 1, 2 * proof.count, 16_384, 16_385, 2**64)
    ]
    siblings = proof.siblings
    for place, sibling in enumerate(siblings):
        flipped = Digest(sibling[:-1] + bytes([sibling[-1] ^ 1]))
        changed.append(replace(proof, siblings=(*siblings[:place], flipped, *siblings[place + 1 :])))
        changed.append(replace(proof, siblings=siblings[:place] + siblings[place + 1 :]))
    changed.append(replace(proof, siblings=(*siblings, Digest(bytes(32)))))
    return changed
