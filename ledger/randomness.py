"""The proof that a header carries, or must not: what its leader proves, and whether it holds."""

from collections.abc import Callable
from dataclasses import replace

from consensus import vrf
from consensus.identifiers import Address, Height, Slot
from contracts.randomness import input_to_prove
from contracts.state import Overlay, StateReader
from ledger.block import BlockHeader
from ledger.eras import BegunEras
from ledger.execution import Draft
from ledger.validation import BlockRefusal, BlockRefusalReason, Parent


def with_proof(
    draft: Draft, parent: Parent, begun: BegunEras, state: StateReader, prove: Callable[[bytes], bytes]
) -> Draft:
    """Returns a draft with its leader's proof, if its block must carry one.

    Args:
        draft: without a proof.
        parent: what its block extends.
        begun: eras of the chain.
        state: after the parent.
        prove: the leader's verifiable random function.
    """
    statement = _what_to_prove(state, parent, begun, slot=draft.slot, leader=draft.leader)
    return draft if statement is None else replace(draft, vrf_proof=prove(statement))


def _what_to_prove(
    state: StateReader, parent: Parent, begun: BegunEras, *, slot: Slot, leader: Address
) -> bytes | None:
    key = parent.memberships.undecided.key_of(leader)
    assert key is not None, "a leader is a member"
    return input_to_prove(
        Overlay(state),
        chain=begun.chain,
        height=Height(parent.height + 1),
        slot=slot,
        parent_slot=parent.slot,
        key=key,
    )


def proof_refusal(header: BlockHeader, parent: Parent, begun: BegunEras, state: StateReader) -> BlockRefusal | None:
    """Checks that a header carries a proof where it must, that it holds, and that it carries none elsewhere.

    Args:
        header: with the right height, slot and leader.
        parent: what it extends.
        begun: eras of the chain.
        state: after the parent.
    """
    statement = _what_to_prove(state, parent, begun, slot=header.slot, leader=header.leader)
    if statement is None:
        return _refusal("its header carries a proof, should carry none") if header.vrf_proof else None
    if not header.vrf_proof:
        return _refusal("its header carries no proof, should carry one")
    key = parent.memberships.undecided.key_of(header.leader)
    assert key is not None, "a leader is a member"
    proven = vrf.verify(key, statement, header.vrf_proof) is not None
    return None if proven else _refusal("its leader's proof does not hold")


def _refusal(detail: str) -> BlockRefusal:
    return BlockRefusal(reason=BlockRefusalReason.VRF_PROOF, detail=detail)
