"""A point of the chain that a home begins to know it by, and the proof of it that members hand out.

Genesis names the members that the chain began with. Years later all of them may have left or exchanged their keys:
who has genesis alone knows nobody any more to whom it may open a link. So who joins is given a decided header with
its certificate, behind all changes of the members since genesis (`trusted_sets`): with genesis at hand that proves
itself, whoever gives it. The header commits to the members of two heights above, so no change can be left out.

It does not prove that it is the newest, nor that it is of the one chain: a quorum of a past set that sold its keys
could certify another history from there. Hence its slot, which must not be long ago, and its block's name, which
people compare; and a home that fetched the chain to this height holds its own block against it.
"""

from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record
from consensus.era_plans import Members
from consensus.identifiers import FIXED_AHEAD, Height
from consensus.messages import BlockHeightField, CommitCertificate, DigestField, SlotField
from contracts.genesis import Genesis, chain_id
from ledger.block import BlockHeader, block_digest
from ledger.errors import CheckpointRefused
from ledger.trusted_sets import CHANGES_MAX, SetStep, TrustedSets, decided_fault

PROOF_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of an encoded proof: 1,024 changes among 20 members, about 300 among 100."""


class Checkpoint(Record, frozen=True, kw_only=True, tag="p2pnode-1-checkpoint"):
    """A decided block, and who decides the next two."""

    chain: DigestField
    height: BlockHeightField
    block: DigestField
    slot: SlotField
    undecided: Members
    """M(height + 1)."""
    following: Members
    """M(height + 2)."""


class CheckpointProof(Record, frozen=True, kw_only=True, tag="p2pnode-1-checkpoint-proof"):
    """What proves a checkpoint to who has genesis."""

    changes: Annotated[tuple[SetStep, ...], Meta(max_length=CHANGES_MAX)]
    """Every change of the members and every ceremony up to the header, in their order."""
    header: BlockHeader
    certificate: CommitCertificate


def checkpoint_of(proof: CheckpointProof, genesis: Genesis) -> Checkpoint:
    """Returns what a proof proves to who has genesis.

    Raises:
        CheckpointRefused: it proves nothing, or a change of the members is left out; says why.
    """
    sets, header = TrustedSets(genesis), proof.header
    fault = sets.take_all(proof.changes)
    if fault is not None:
        raise CheckpointRefused(fault)
    chain, height, newest = chain_id(genesis), header.height, sets.eras.newest
    fault = decided_fault(header, proof.certificate, chain, sets.at(height), sets.eras.at(height))
    if fault is not None:
        raise CheckpointRefused(fault)
    following = sets.at(Height(height + FIXED_AHEAD))
    # the last blocks of an era, and one that is carried over, name members that the next era's plan replaced
    is_replaced = height <= newest.base or header.era != newest.number
    if not is_replaced and following.digest() != header.membership:
        raise CheckpointRefused(f"block {height} names other members than the changes lead to: one is left out")
    return Checkpoint(
        chain=chain,
        height=height,
        block=block_digest(header),
        slot=header.slot,
        undecided=sets.at(Height(height + 1)).members,
        following=following.members,
    )
