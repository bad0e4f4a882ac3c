"""What makes a block invalid, in the order of cost: form, certificate, envelopes, and what it executes to.

A trade whose conditions fail does not make a block invalid: the block contains it with a declined receipt. Nothing
here depends on a clock: no block is refused because it is old.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from consensus import vrf
from consensus.codec import decode
from consensus.era_plans import is_complete, is_vouched_for
from consensus.eras import Era, Eras
from consensus.identifiers import FIRST_HEIGHT, GENESIS_HEIGHT, Address, Digest, Height, PublicKey, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import CommitCertificate
from consensus.verification import commit_certificate_holds
from contracts.genesis import Genesis, RuleParameters, known_text, knows_version
from contracts.office_records import OfficeName
from contracts.offices import acting_key, office_addresses
from contracts.randomness import input_to_prove
from contracts.rule_records import Rules
from contracts.state import (
    RULES_KEY,
    Account,
    Overlay,
    StateReader,
    account_key,
)
from contracts.state_reading import require
from contracts.transactions import Transaction, transaction_digest
from ledger.block import Block, BlockHeader, block_digest, ceremony_digest, certificate_digest
from ledger.eras import BegunEras, membership_in
from ledger.errors import RulesUnknown, TransactionRefused
from ledger.transactions import TransactionVerifier, envelope_refusal


class BlockRefusalReason(Enum):
    """The rule that a block breaks."""

    WRONG_VERSION = "wrong_version"
    WRONG_CHAIN = "wrong_chain"
    WRONG_ERA = "wrong_era"
    WRONG_HEIGHT = "wrong_height"
    WRONG_PARENT = "wrong_parent"
    SLOT_BEFORE_PARENT = "slot_before_parent"
    NOT_THE_LEADER = "not_the_leader"
    VRF_PROOF = "vrf_proof"
    CEREMONY = "ceremony"
    NOT_CARRIED = "not_carried"
    """A ceremony found another block that this height must be."""
    TOO_MANY_TRANSACTIONS = "too_many_transactions"
    TOO_LARGE = "too_large"
    PARENT_CERTIFICATE = "parent_certificate"
    DUPLICATE_TRANSACTION = "duplicate_transaction"
    BAD_TRANSACTION = "bad_transaction"
    TRANSACTIONS_ROOT = "transactions_root"
    POSTINGS = "postings"
    POSTINGS_ROOT = "postings_root"
    RECEIPTS_ROOT = "receipts_root"
    STATE_ROOT = "state_root"
    MEMBERSHIP = "membership"
    AUTHORITY = "authority"
    INVARIANT = "invariant"
    """Its execution breaks the books. Only `verify` says so; a node stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRefusal:
    """Why a block gets no vote."""

    reason: BlockRefusalReason
    detail: str
    """The values that show it, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The decided block (or genesis) that the next one extends, and what its execution led to."""

    height: Height
    digest: Digest
    """The chain id at genesis."""
    slot: Slot
    """0 at genesis."""
    leader: Address | None
    """None at genesis."""
    state_root: Digest
    membership: Membership
    """Whose certificate decided it; at genesis the first members."""
    memberships: Memberships
    """Of height + 1 and of height + 2, which this block fixed."""


def genesis_parent(begun: BegunEras, state_root: Digest, state: StateReader) -> Parent:
    """Returns what the first block extends; the first members are those of heights 1 and 2."""
    return Parent(
        height=GENESIS_HEIGHT,
        digest=begun.chain,
        slot=Slot(0),
        leader=None,
        state_root=state_root,
        membership=membership_in(state, FIRST_HEIGHT),
        memberships=begun.memberships_after(GENESIS_HEIGHT, state),
    )


def last_nonce_in(state: StateReader, sender: Address) -> int | None:
    """Returns the nonce of a sender's last transaction, None if the state has no such account."""
    account = Overlay(state).get(account_key(sender), Account)
    return None if account is None else account.nonce


def key_in(state: StateReader, sender: Address) -> PublicKey | None:
    """Returns the key that acts for a sender: of a member, gone or not, or of an office; None if it is neither."""
    return acting_key(Overlay(state), sender)


def judged_in(
    header: BlockHeader, parent: Parent, begun: BegunEras, state: StateReader
) -> tuple[Parent, BegunEras] | BlockRefusal:
    """Returns what a block is judged by: for a carried one, the members and eras as the era that made it saw them."""
    height = Height(parent.height + 1)
    carried = begun.carried_at(height)
    if carried is None or header.height != height:
        return parent, begun
    name = block_digest(decode(carried, Block).header)
    if block_digest(header) != name:
        detail = f"{block_digest(header).hex()}, a ceremony carries {name.hex()}"
        return BlockRefusal(reason=BlockRefusalReason.NOT_CARRIED, detail=detail)
    older = begun.up_to(header.era)
    return replace(parent, memberships=older.memberships_after(parent.height, state)), older


def rules_in(state: StateReader) -> Rules:
    """Returns the rules of the block that follows a state.

    Raises:
        RulesUnknown: this program cannot execute them.
    """
    rules = require(state, RULES_KEY, Rules)
    if not knows_version(rules.version):
        raise RulesUnknown(version=rules.version, first_height=rules.first_height, known=known_text())
    return rules


def refusal_unexecuted(
    block: Block, parent: Parent, genesis: Genesis, begun: BegunEras, state: StateReader
) -> BlockRefusal | None:
    """Checks all of a block but its transactions and what they execute to.

    Args:
        block: from anyone.
        parent: what it extends, and the eras that it is judged by (`judged_in`).
        genesis: of the chain.
        begun: as the parent.
        state: after the parent.
    """
    return (
        form_refusal(block, parent, rules_in(state), begun)
        or ceremony_refusal(block, genesis, begun, state)
        or parent_certificate_refusal(block, parent, begun)
        or proof_refusal(block.header, parent, begun, state)
    )


def form_refusal(block: Block, parent: Parent, rules: Rules, begun: BegunEras) -> BlockRefusal | None:
    """Checks what needs neither a signature nor the state."""
    return _header_refusal(block.header, parent, rules, begun.eras) or _limits_refusal(block, rules.parameters)


def ceremony_refusal(block: Block, genesis: Genesis, begun: BegunEras, state: StateReader) -> BlockRefusal | None:
    """The first block of an era carries why it began, as this home knows it; no other block carries anything.

    Whose word counts on members that were absent, the state before it says: that is of the newest block that the plan
    keeps.
    """
    expected = begun.proof_in(block.header.height)
    found = None if block.ceremony is None else block.ceremony.plan
    right = None if expected is None else expected.plan
    if found != right or ceremony_digest(block.ceremony) != block.header.ceremony:
        said = "none" if found is None else f"of era {found.era}"
        wanted = "none" if right is None else f"of era {right.era}, as begun here"
        return BlockRefusal(reason=BlockRefusalReason.CEREMONY, detail=f"its ceremony is {said}, should be {wanted}")
    if block.ceremony is None:
        return None
    if not is_complete(block.ceremony.plan, block.ceremony.joins):
        return BlockRefusal(reason=BlockRefusalReason.CEREMONY, detail="its agreements are of no quorum")
    if not is_vouched_for(block.ceremony.plan, block.ceremony.authority):
        detail = "members are absent from it, and the authority did not sign it"
        return BlockRefusal(reason=BlockRefusalReason.CEREMONY, detail=detail)
    named, acting = block.ceremony.plan.authority, key_in(state, office_addresses(genesis)[OfficeName.AUTHORITY])
    if named != acting:
        detail = f"for the authority's key its plan has {_shown(named)}, and the state {_shown(acting)}"
        return BlockRefusal(reason=BlockRefusalReason.CEREMONY, detail=detail)
    return None


def _header_refusal(header: BlockHeader, parent: Parent, rules: Rules, eras: Eras) -> BlockRefusal | None:
    expected_height = Height(parent.height + 1)
    if header.height != expected_height:
        return BlockRefusal(
            reason=BlockRefusalReason.WRONG_HEIGHT, detail=f"{header.height}, next is {expected_height}"
        )
    if header.slot < parent.slot:
        return BlockRefusal(
            reason=BlockRefusalReason.SLOT_BEFORE_PARENT, detail=f"{header.slot}, parent has {parent.slot}"
        )
    leader = parent.memberships.leaders.expected(header.slot, header.leader)
    comparisons: tuple[tuple[BlockRefusalReason, object, object], ...] = (
        (BlockRefusalReason.WRONG_VERSION, header.version, rules.version),
        (BlockRefusalReason.WRONG_CHAIN, header.chain, eras.chain),
        (BlockRefusalReason.WRONG_ERA, header.era, eras.at(header.height).number),
        (BlockRefusalReason.WRONG_PARENT, header.parent, parent.digest),
        (BlockRefusalReason.NOT_THE_LEADER, header.leader, leader),
    )
    return first_difference(comparisons)


def first_difference(
    comparisons: Sequence[tuple[BlockRefusalReason, object, object]],
) -> BlockRefusal | None:
    """Returns the refusal of the first (rule, the block's value, the right value) that differ."""
    for reason, found, expected in comparisons:
        if found != expected:
            return BlockRefusal(reason=reason, detail=f"{_shown(found)}, should be {_shown(expected)}")
    return None


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return value.hex() if isinstance(value, bytes) else str(value)


def _limits_refusal(block: Block, parameters: RuleParameters) -> BlockRefusal | None:
    count = len(block.transactions)
    if count > parameters.block_transactions_max:
        return BlockRefusal(
            reason=BlockRefusalReason.TOO_MANY_TRANSACTIONS,
            detail=f"{count}, at most {parameters.block_transactions_max}",
        )
    size_bytes = sum(map(len, block.transactions))
    if size_bytes > parameters.block_size_bytes_max:
        return BlockRefusal(
            reason=BlockRefusalReason.TOO_LARGE,
            detail=f"{size_bytes} bytes of transactions, at most {parameters.block_size_bytes_max}",
        )
    return None


def parent_certificate_refusal(block: Block, parent: Parent, begun: BegunEras) -> BlockRefusal | None:
    """Checks that the carried certificate is any one that decides the parent, and the one the header names."""
    certificate = block.parent_certificate
    if certificate_digest(certificate) != block.header.parent_certificate:
        return _certificate_refusal("the header names another one")
    if parent.height == GENESIS_HEIGHT:
        return None if certificate is None else _certificate_refusal("genesis has none")
    if certificate is None:
        return _certificate_refusal("missing")
    fault = certificate_fault(certificate, parent.height, parent.digest, parent.membership, begun.at(parent.height))
    return None if fault is None else _certificate_refusal(fault)


def _certificate_refusal(detail: str) -> BlockRefusal:
    return BlockRefusal(reason=BlockRefusalReason.PARENT_CERTIFICATE, detail=detail)


def version_fault(header: BlockHeader) -> str | None:
    """Says why this program cannot tell what a decided header means; None if it can."""
    if knows_version(header.version):
        return None
    return f"block {header.height} follows protocol version {header.version}; this software knows {known_text()}"


def certificate_fault(
    certificate: CommitCertificate, height: Height, block: Digest, membership: Membership, era: Era
) -> str | None:
    """Says in words why a certificate does not decide a block at a height; None if it does."""
    if certificate.height != height:
        return f"for height {certificate.height}, not {height}"
    if certificate.block != block:
        return f"for block {certificate.block.hex()}, not {block.hex()}"
    if certificate.era != era.number:
        return f"of era {certificate.era}, height {height} is of era {era.number}"
    if not commit_certificate_holds(certificate, membership, era):
        return f"not exactly {membership.quorum} valid COMMITs of members, sorted by signer"
    return None


def what_to_prove(
    state: StateReader, parent: Parent, begun: BegunEras, *, slot: Slot, leader: Address
) -> bytes | None:
    """Returns what the leader of a slot proves in the block above a parent; None if that carries no proof."""
    key = parent.memberships.undecided.key_of(leader)
    assert key is not None, "a leader is a member"
    return input_to_prove(
        Overlay(state),
        chain=begun.chain,
        height=Height(parent.height + 1),
        slot=slot,
        parent_slot=parent.slot,
        key=key,
        is_sampled=parent.memberships.sampling is not None,
    )


def proof_refusal(header: BlockHeader, parent: Parent, begun: BegunEras, state: StateReader) -> BlockRefusal | None:
    """Checks that a header carries a proof where it must, that it holds, and that it carries none elsewhere.

    Args:
        header: with the right height, slot and leader.
        parent: what it extends.
        begun: eras of the chain.
        state: after the parent.
    """
    statement = what_to_prove(state, parent, begun, slot=header.slot, leader=header.leader)
    if statement is None:
        return _proof_refusal("its header carries a proof, should carry none") if header.vrf_proof else None
    if not header.vrf_proof:
        return _proof_refusal("its header carries no proof, should carry one")
    key = parent.memberships.undecided.key_of(header.leader)
    assert key is not None, "a leader is a member"
    proven = vrf.verify(key, statement, header.vrf_proof) is not None
    return None if proven else _proof_refusal("its leader's proof does not hold")


def _proof_refusal(detail: str) -> BlockRefusal:
    return BlockRefusal(reason=BlockRefusalReason.VRF_PROOF, detail=detail)


def parent_voters(certificate: CommitCertificate | None) -> tuple[Address, ...]:
    """Returns the signers of a carried certificate, in its order."""
    return () if certificate is None else tuple(endorsement.signer for endorsement in certificate.endorsements)


def verified_transactions(
    block: Block, state: StateReader, verifier: TransactionVerifier
) -> tuple[Transaction, ...] | BlockRefusal:
    """Returns a block's transactions if it may contain each of them, in their order."""
    transactions: list[Transaction] = []
    admission = Admission(state, block.header.height)
    for index, raw in enumerate(block.transactions):
        try:
            transactions.append(admission.admit(verifier.verify(raw, transaction_digest(raw))))
        except TransactionRefused as refused:
            repeated = raw in block.transactions[:index]
            reason = BlockRefusalReason.DUPLICATE_TRANSACTION if repeated else BlockRefusalReason.BAD_TRANSACTION
            return BlockRefusal(reason=reason, detail=f"transaction {index}: {refused}")
    return tuple(transactions)


class Admission:
    """Admits transactions to one block in their order: each sender's nonces strictly increase."""

    def __init__(self, state: StateReader, height: Height) -> None:
        """Takes the state before the block, and the block's height."""
        self._state = state
        self._height = height
        self._version = require(state, RULES_KEY, Rules).version
        self._nonces: dict[Address, int] = {}
        self._keys: dict[Address, PublicKey | None] = {}

    def admit(self, transaction: Transaction) -> Transaction:
        """Returns the transaction.

        Raises:
            TransactionRefused: no block of this height may contain it behind those admitted before.
        """
        sender = transaction.sender
        last_nonce = self._nonces.get(sender)
        if last_nonce is None:
            last_nonce = last_nonce_in(self._state, sender)
        if sender not in self._keys:
            self._keys[sender] = key_in(self._state, sender)
        refusal = envelope_refusal(
            transaction, last_nonce=last_nonce, height=self._height, key=self._keys[sender], version=self._version
        )
        if refusal is not None:
            raise refusal
        self._nonces[sender] = transaction.envelope.nonce
        return transaction
