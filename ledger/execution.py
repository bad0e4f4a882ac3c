"""From a block's transactions to its roots: runs the contracts on the parent's state and hashes what they yield.

The same function fills a leader's header and recomputes a received one, so they cannot drift apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from consensus import vrf
from consensus.codec import decode, encode
from consensus.era_plans import EraProof
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import CommitCertificate
from contracts.execution import BlockContext, Execution, execute_block
from contracts.genesis import Genesis
from contracts.office_records import Office, OfficeName
from contracts.offices import office_addresses
from contracts.run import DecidedBlock
from contracts.state import MEMBER_LIST_KEY, MemberList, StateReader, office_key
from contracts.state_reading import require
from contracts.transactions import SayReady, Transaction
from ledger.authenticated_map import MapUpdate, update_map
from ledger.block import Block, BlockHeader, block_digest, ceremony_digest, certificate_digest
from ledger.eras import BegunEras, membership_in
from ledger.merkle_tree import tree_root
from ledger.validation import (
    BlockRefusal,
    BlockRefusalReason,
    Parent,
    first_difference,
    parent_voters,
    rules_in,
    what_to_prove,
)


class State(StateReader, Protocol):
    """The state after the parent, with the nodes of its authenticated map."""

    def node(self, name: Digest) -> bytes | None:
        """Returns a map node by its hash."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a leader chooses of a block; the rest follows from it and the parent."""

    slot: Slot
    leader: Address
    transactions: tuple[bytes, ...]
    """Raw, in their order."""
    parent_certificate: CommitCertificate | None
    ceremony: EraProof | None
    vrf_proof: bytes
    """Of the leader; what it must prove, the state says (`randomness`)."""


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
    statement = what_to_prove(state, parent, begun, slot=draft.slot, leader=draft.leader)
    return draft if statement is None else replace(draft, vrf_proof=prove(statement))


def draft_of(block: Block) -> Draft:
    """Returns the choices behind a received block."""
    return Draft(
        slot=block.header.slot,
        leader=block.header.leader,
        transactions=block.transactions,
        parent_certificate=block.parent_certificate,
        ceremony=block.ceremony,
        vrf_proof=block.header.vrf_proof,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedBlock:
    """A block with all that deciding it writes."""

    block: Block
    digest: Digest
    execution: Execution
    map_update: MapUpdate

    def as_parent(self, *, membership: Membership, memberships: Memberships) -> Parent:
        """Returns what the next block extends.

        Args:
            membership: M(height) of this block.
            memberships: of the two heights above it.
        """
        header = self.block.header
        return Parent(
            height=header.height,
            digest=self.digest,
            slot=header.slot,
            leader=header.leader,
            state_root=header.state_root,
            membership=membership,
            memberships=memberships,
        )


def execute(
    draft: Draft,
    transactions: Sequence[Transaction],
    *,
    state: State,
    parent: Parent,
    genesis: Genesis,
    begun: BegunEras,
    height_of_block: Callable[[Digest], Height | None],
) -> ExecutedBlock:
    """Executes what a leader chose and returns the block that it makes.

    Args:
        draft: the leader's choice; its proof, if it carries one, was verified.
        transactions: the draft's, verified, in their order.
        state: after the parent.
        parent: what the block extends.
        genesis: of the chain.
        begun: eras of the chain.
        height_of_block: says which height a block decided, None if none below this one.

    Raises:
        NodeMissing: the state's map is damaged.
        RulesUnknown: as `rules_in`.
    """
    height = Height(parent.height + 1)
    context = BlockContext(
        chain=begun.chain,
        height=height,
        slot=draft.slot,
        leader=draft.leader,
        parent_leader=parent.leader,
        parent_voters=parent_voters(draft.parent_certificate),
        cluster=parent.memberships.leaders.cluster(draft.slot),
        beginning=begun.beginning_in(height, state),
        decided=_named_blocks(transactions, height_of_block),
        parent_slot=parent.slot,
        randomness_output=vrf.output(draft.vrf_proof) if draft.vrf_proof else b"",
    )
    version = rules_in(state).version
    execution = execute_block(state, genesis, context, transactions)
    map_update = update_map(state.node, parent.state_root, execution.changes)
    header = BlockHeader(
        version=version,
        chain=begun.chain,
        era=begun.at(height).number,
        height=height,
        slot=draft.slot,
        leader=draft.leader,
        parent=parent.digest,
        parent_certificate=certificate_digest(draft.parent_certificate),
        transactions_root=tree_root(draft.transactions),
        postings_root=tree_root([encode(posting) for posting in execution.postings]),
        receipts_root=tree_root([encode(receipt) for receipt in execution.receipts]),
        state_root=map_update.root,
        membership=_fixed_membership(state, execution, Height(height + 2)).digest(),
        authority=_authority_after(state, execution, genesis),
        ceremony=ceremony_digest(draft.ceremony),
        vrf_proof=draft.vrf_proof,
    )
    return ExecutedBlock(
        block=_block_of(header, draft, execution),
        digest=block_digest(header),
        execution=execution,
        map_update=map_update,
    )


def _block_of(header: BlockHeader, draft: Draft, execution: Execution) -> Block:
    return Block(
        header=header,
        transactions=draft.transactions,
        postings=execution.postings,
        parent_certificate=draft.parent_certificate,
        ceremony=draft.ceremony,
    )


def _named_blocks(
    transactions: Sequence[Transaction], height_of_block: Callable[[Digest], Height | None]
) -> tuple[DecidedBlock, ...]:
    """Returns which of the blocks that candidates name are decided: one look at an index for each."""
    actions = (transaction.envelope.action for transaction in transactions)
    named = (DecidedBlock(height=one.height, digest=one.block) for one in actions if isinstance(one, SayReady))
    return tuple(one for one in named if height_of_block(one.digest) == one.height)


def result_refusal(block: Block, executed: ExecutedBlock) -> BlockRefusal | None:
    """Compares what a block claims with what it executes to."""
    claimed, right = block.header, executed.block.header
    if block.postings != executed.block.postings:
        return BlockRefusal(
            reason=BlockRefusalReason.POSTINGS,
            detail=f"{len(block.postings)} claimed, {len(executed.block.postings)} recomputed, not the same",
        )
    return first_difference(
        (
            (BlockRefusalReason.TRANSACTIONS_ROOT, claimed.transactions_root, right.transactions_root),
            (BlockRefusalReason.POSTINGS_ROOT, claimed.postings_root, right.postings_root),
            (BlockRefusalReason.RECEIPTS_ROOT, claimed.receipts_root, right.receipts_root),
            (BlockRefusalReason.STATE_ROOT, claimed.state_root, right.state_root),
            (BlockRefusalReason.MEMBERSHIP, claimed.membership, right.membership),
            (BlockRefusalReason.AUTHORITY, claimed.authority, right.authority),
        )
    )


def _fixed_membership(state: StateReader, execution: Execution, height: Height) -> Membership:
    """Returns M(height), which the executed block fixes: of the list that it wrote, or else of the one before."""
    written = execution.changes.get(MEMBER_LIST_KEY)
    return membership_in(state, height) if written is None else Membership(decode(written, MemberList).at(height))


def _authority_after(state: StateReader, execution: Execution, genesis: Genesis) -> PublicKey:
    """Returns the key that acts for the authority after the executed block."""
    key = office_key(office_addresses(genesis)[OfficeName.AUTHORITY])
    written = execution.changes.get(key)
    return require(state, key, Office).key if written is None else decode(written, Office).key
