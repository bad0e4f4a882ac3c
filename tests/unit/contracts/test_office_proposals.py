"""Proposals: who proposes, who approves, when they take effect, who objects; beside a naive model."""

from dataclasses import dataclass
from random import Random

import pytest

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import EraStart
from consensus.identifiers import Digest, EraNumber, Height
from consensus.quorum import quorum
from contracts.agenda import DUE_PER_BLOCK_MAX
from contracts.member_records import MemberTerm
from contracts.office_records import Office
from contracts.offices import acting_key
from contracts.proposal_records import Proposal, ProposalStatus
from contracts.proposals import INSISTING_MS
from contracts.receipts import Reason, Status
from contracts.run import EraBeginning
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, office_key, proposal_key
from contracts.state_reading import conserved, sum_tokens
from contracts.transactions import (
    Action,
    Approve,
    Propose,
    RaiseObjection,
    ReplaceOfficeKey,
    Withdraw,
    office_successor,
)
from tests.support.contracts import Community, DictChain, make_genesis, seeded_key

WAIT = 100
HOMES = make_genesis(4, office_wait_slots=WAIT)
INSISTING_SLOTS = INSISTING_MS // HOMES.genesis.slot_duration_ms
OPEN_SLOTS = 24 * 3_600_000 // HOMES.genesis.slot_duration_ms
ISSUER, GRID = HOMES.issuer_key, HOMES.grid_key
KEYS = tuple(seeded_key("successor", index) for index in range(8))


class Chain(DictChain):
    """A chain with what people do about offices."""

    def send(self, sender: int | SigningKey, action: Action, *, slot: int | None = None) -> Reason:
        """Sends an action in a block of its own, once what is due by then was done."""
        slot = self.slot + 1 if slot is None else slot
        self.block(slot=slot)
        before = dict(self.state)
        (receipt,) = self.block((sender, action), slot=slot).receipts
        assert receipt.fault is None
        if receipt.status is Status.DECLINED:
            changed = {key[:1] for key, value in self.state.items() if before.get(key) != value}
            assert not changed & {b"K", b"U", b"V"}
        return receipt.reason

    def propose(
        self, member: int, key: SigningKey, *, office: SigningKey = ISSUER, slot: int | None = None
    ) -> Reason:
        subject = office_successor(self.community.chain, office.address, key)
        return self.send(member, Propose(subject=subject), slot=slot)

    def approve(self, member: int, proposer: int, *, name: Digest | None = None, slot: int | None = None) -> Reason:
        action = Approve(proposer=self.community.addresses[proposer], proposal=name or self.of(proposer).name)
        return self.send(member, action, slot=slot)

    def withdraw(self, member: int, proposer: int, *, name: Digest | None = None, slot: int | None = None) -> Reason:
        action = Withdraw(proposer=self.community.addresses[proposer], proposal=name or self.of(proposer).name)
        return self.send(member, action, slot=slot)

    def object(self, key: SigningKey, proposer: int, *, slot: int | None = None) -> Reason:
        return self.send(key, RaiseObjection(proposal=self.of(proposer).name), slot=slot)

    def of(self, proposer: int) -> Proposal:
        return self.read(proposal_key(self.community.addresses[proposer]), Proposal)

    def status(self, proposer: int) -> ProposalStatus:
        return self.of(proposer).status

    def key(self, office: SigningKey = ISSUER) -> bytes:
        return self.read(office_key(office.address), Office).key

    def pass_to(self, slot: int) -> None:
        self.block(slot=slot)


def approved(key: SigningKey = KEYS[0], *, proposer: int = 0, office: SigningKey = ISSUER) -> Chain:
    """Returns a chain on which three of four approved a key, in slot 3."""
    chain = Chain(HOMES)
    decide(chain, key, proposer=proposer, office=office)
    return chain


def decide(chain: Chain, key: SigningKey, *, proposer: int = 0, office: SigningKey = ISSUER) -> None:
    assert chain.propose(proposer, key, office=office) is Reason.NONE
    for member in [member for member in range(4) if member != proposer][:2]:
        assert chain.approve(member, proposer) is Reason.NONE
    assert chain.status(proposer) is ProposalStatus.APPROVED


def test_a_quorum_and_a_waiting_time_replace_a_lost_key() -> None:
    chain = Chain(HOMES)
    assert chain.propose(0, KEYS[0]) is Reason.NONE
    assert chain.approve(1, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.OPEN
    assert chain.approve(2, 0) is Reason.NONE
    assert (chain.status(0), chain.of(0).until_slot) == (ProposalStatus.APPROVED, 3 + WAIT)
    chain.pass_to(3 + WAIT - 1)
    assert chain.key() == ISSUER.public_key
    chain.pass_to(3 + WAIT)
    assert chain.status(0) is ProposalStatus.DONE
    assert acting_key(Overlay(chain.state), ISSUER.address) == KEYS[0].public_key
    assert chain.read(office_key(ISSUER.address), Office).waiting is None


def test_a_proposal_is_named_by_its_transaction() -> None:
    chain = Chain(HOMES)
    subject = office_successor(HOMES.chain, ISSUER.address, KEYS[0])
    transaction = chain.sign(0, Propose(subject=subject))
    (receipt,) = chain.apply([transaction]).receipts
    assert (receipt.reference, chain.of(0).name) == (transaction.digest, transaction.digest)


@pytest.mark.parametrize("sender", [ISSUER, GRID, HOMES.authority_key])
def test_only_members_propose_and_approve(sender: SigningKey) -> None:
    chain = Chain(HOMES)
    subject = office_successor(HOMES.chain, ISSUER.address, KEYS[0])
    assert chain.send(sender, Propose(subject=subject)) is Reason.PROPOSAL_NOT_MEMBER
    chain.propose(0, KEYS[0])
    approval = Approve(proposer=HOMES.addresses[0], proposal=chain.of(0).name)
    assert chain.send(sender, approval) is Reason.PROPOSAL_NOT_MEMBER


def encode_list(terms: tuple[MemberTerm, ...]) -> bytes:
    return encode(MemberList(terms=terms))


def test_who_left_neither_approves_nor_counts() -> None:
    chain = Chain(make_genesis(5, office_wait_slots=WAIT))  # Q of 5 is 4
    chain.propose(0, KEYS[0])
    chain.approve(1, 0)
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    without = tuple(term for term in terms if term.address != chain.community.addresses[1])
    chain.state[MEMBER_LIST_KEY] = encode_list(without)
    assert chain.approve(1, 0) is Reason.PROPOSAL_NOT_MEMBER
    assert chain.approve(2, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.OPEN  # two of the four that are left
    assert chain.approve(3, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.APPROVED


def test_approvals_are_counted_again_where_the_quorum_became_smaller() -> None:
    chain = Chain(make_genesis(5, office_wait_slots=WAIT))
    chain.propose(0, KEYS[0])
    chain.approve(1, 0)
    chain.approve(2, 0)
    assert chain.approve(2, 0) is Reason.PROPOSAL_APPROVED_BEFORE
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    chain.state[MEMBER_LIST_KEY] = encode_list(terms[:4])
    assert chain.approve(2, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.APPROVED


def test_a_proposal_outlives_its_proposer_whose_approval_counts_no_more() -> None:
    chain = Chain(make_genesis(5, office_wait_slots=WAIT))
    chain.propose(0, KEYS[0])
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    chain.state[MEMBER_LIST_KEY] = encode_list(terms[1:])
    for member, status in ((1, ProposalStatus.OPEN), (2, ProposalStatus.OPEN), (3, ProposalStatus.APPROVED)):
        assert chain.approve(member, 0) is Reason.NONE
        assert chain.status(0) is status


def test_what_a_quorum_approved_needs_no_further_approval_when_its_time_comes() -> None:
    chain = Chain(make_genesis(5, office_wait_slots=WAIT))
    chain.propose(0, KEYS[0])
    for member in (1, 2, 3):
        chain.approve(member, 0)
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    chain.state[MEMBER_LIST_KEY] = encode_list(terms[1:])
    chain.pass_to(4 + WAIT)
    assert chain.status(0) is ProposalStatus.DONE


def with_key_of_member(chain: Chain, member: int, key: SigningKey) -> None:
    """A ceremony replaces a member's home by one with this key."""
    keys = [(home.address, home.public_key) for home in HOMES.node_keys]
    keys[member] = (HOMES.addresses[member], key.public_key)
    start = EraStart(number=EraNumber(1), base=Height(chain.height), plan=HOMES.chain)
    chain.block(beginning=EraBeginning(starts=(start,), base=Height(chain.height), members=tuple(keys)))


def test_a_key_that_a_member_has_meanwhile_is_not_approved() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    chain.approve(1, 0)
    with_key_of_member(chain, 3, KEYS[0])
    assert chain.approve(2, 0) is Reason.OFFICE_KEY_USED_BEFORE
    assert chain.status(0) is ProposalStatus.OPEN


def test_a_key_that_a_member_has_meanwhile_is_not_installed() -> None:
    chain = approved()
    with_key_of_member(chain, 3, KEYS[0])
    chain.pass_to(3 + WAIT)
    assert (chain.status(0), chain.key()) == (ProposalStatus.VOID, ISSUER.public_key)


def test_a_thief_who_installs_the_proposed_key_himself_gains_nothing() -> None:
    """Its agreement is on the chain for all to see."""
    chain = approved()
    proposed = ReplaceOfficeKey(successor=office_successor(HOMES.chain, ISSUER.address, KEYS[0]))
    assert chain.send(ISSUER, proposed) is Reason.NONE
    chain.pass_to(3 + WAIT)
    assert (chain.status(0), chain.key()) == (ProposalStatus.VOID, KEYS[0].public_key)
    assert chain.read(office_key(ISSUER.address), Office).waiting is None


def test_a_short_waiting_time_does_not_let_a_thief_object_for_ever() -> None:
    chain = Chain(make_genesis(4, office_wait_slots=1))
    decide(chain, KEYS[0])
    assert chain.object(ISSUER, 0, slot=chain.slot) is Reason.NONE
    chain.pass_to(chain.slot + OPEN_SLOTS)  # people need hours, whatever the waiting time
    decide(chain, KEYS[0])
    assert chain.object(ISSUER, 0, slot=chain.slot) is Reason.OBJECTION_SPENT


def test_nobody_counts_twice() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    assert chain.approve(0, 0) is Reason.PROPOSAL_APPROVED_BEFORE
    chain.approve(1, 0)
    assert chain.approve(1, 0) is Reason.PROPOSAL_APPROVED_BEFORE
    assert chain.status(0) is ProposalStatus.OPEN


def test_an_approval_names_the_proposal_and_not_only_who_made_it() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    first = chain.of(0).name
    chain.pass_to(1 + OPEN_SLOTS)
    assert chain.propose(0, KEYS[1]) is Reason.NONE
    assert chain.approve(1, 0, name=first) is Reason.PROPOSAL_UNKNOWN
    assert chain.approve(1, 3, name=first) is Reason.PROPOSAL_UNKNOWN


def test_one_unfinished_proposal_per_member() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    assert chain.propose(0, KEYS[1], office=GRID) is Reason.PROPOSAL_UNFINISHED
    assert chain.propose(1, KEYS[1], office=GRID) is Reason.NONE
    chain.approve(1, 0)
    chain.approve(2, 0)
    assert chain.propose(0, KEYS[2]) is Reason.PROPOSAL_UNFINISHED
    chain.pass_to(5 + WAIT)
    assert chain.propose(0, KEYS[2]) is Reason.NONE


def test_the_waiting_time_may_be_longer_than_the_day_in_which_it_was_open() -> None:
    chain = Chain(make_genesis(4, office_wait_slots=3 * OPEN_SLOTS))
    decide(chain, KEYS[0])
    chain.pass_to(3 + 3 * OPEN_SLOTS - 1)
    assert (chain.status(0), chain.key()) == (ProposalStatus.APPROVED, ISSUER.public_key)
    chain.pass_to(3 + 3 * OPEN_SLOTS)
    assert (chain.status(0), chain.key()) == (ProposalStatus.DONE, KEYS[0].public_key)


def test_without_a_quorum_it_lapses_after_a_day() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    chain.approve(1, 0, slot=OPEN_SLOTS)
    assert chain.status(0) is ProposalStatus.OPEN
    assert chain.approve(2, 0, slot=1 + OPEN_SLOTS) is Reason.PROPOSAL_OVER
    assert chain.status(0) is ProposalStatus.LAPSED
    chain.pass_to(2 * OPEN_SLOTS)
    assert chain.key() == ISSUER.public_key
    assert chain.approve(3, 0) is Reason.PROPOSAL_OVER


def test_what_is_over_is_not_approved() -> None:
    chain = approved()
    chain.object(ISSUER, 0)
    assert chain.approve(3, 0) is Reason.PROPOSAL_OVER


def test_who_withdraws_from_one_that_waits_ends_it_unless_others_approve_too() -> None:
    chain = approved()
    assert chain.approve(3, 0) is Reason.NONE, "more than a quorum"
    assert chain.withdraw(1, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.APPROVED
    assert chain.withdraw(1, 0) is Reason.PROPOSAL_NOT_APPROVED
    assert chain.withdraw(3, 0) is Reason.NONE
    assert (chain.status(0), chain.read(office_key(ISSUER.address), Office).waiting) == (ProposalStatus.LAPSED, None)
    assert chain.withdraw(2, 0) is Reason.PROPOSAL_OVER
    chain.pass_to(3 + 2 * WAIT)
    assert chain.key() == ISSUER.public_key
    decide(chain, KEYS[1], proposer=1)


def test_who_withdraws_its_own_proposal_may_make_another_one() -> None:
    chain = Chain(HOMES)
    assert chain.withdraw(0, 1, name=Digest(bytes(32))) is Reason.PROPOSAL_UNKNOWN
    chain.propose(0, KEYS[0])
    assert chain.withdraw(0, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.LAPSED
    assert chain.propose(0, KEYS[1]) is Reason.NONE


def test_a_proposal_whose_time_is_up_is_over_before_its_turn_comes() -> None:
    """Only so much is carried out per block."""
    count = DUE_PER_BLOCK_MAX + 1
    homes = make_genesis(count, office_wait_slots=WAIT)
    keys = [seeded_key("crowd", index) for index in range(count)]
    chain = Chain(homes)
    chain.block(
        *(
            (member, Propose(subject=office_successor(homes.chain, ISSUER.address, key)))
            for member, key in enumerate(keys)
        ),
        slot=1,
    )
    late = Approve(proposer=homes.addresses[-1], proposal=chain.of(count - 1).name)
    (receipt,) = chain.block((0, late), slot=1 + OPEN_SLOTS).receipts
    assert receipt.reason is Reason.PROPOSAL_OVER


def test_what_is_proposed_is_checked_at_once() -> None:
    chain = Chain(HOMES)
    for key in (GRID, HOMES.meter_keys[1]):
        assert chain.propose(0, key) is Reason.OFFICE_KEY_USED_BEFORE
    assert chain.propose(0, KEYS[0], office=HOMES.node_keys[1]) is Reason.OFFICE_UNKNOWN
    stolen = office_successor(HOMES.chain, GRID.address, KEYS[0])
    forged = Propose(subject=type(stolen)(office=ISSUER.address, key=stolen.key, possession=stolen.possession))
    assert chain.send(0, forged) is Reason.OFFICE_NO_POSSESSION
    assert proposal_key(HOMES.addresses[0]) not in chain.state


def test_and_once_more_when_its_time_comes() -> None:
    chain = approved()
    grids = ReplaceOfficeKey(successor=office_successor(HOMES.chain, GRID.address, KEYS[0]))
    assert chain.send(GRID, grids) is Reason.NONE
    chain.pass_to(3 + WAIT)
    assert chain.status(0) is ProposalStatus.VOID
    assert (chain.key(), chain.key(GRID)) == (ISSUER.public_key, KEYS[0].public_key)
    assert chain.read(office_key(ISSUER.address), Office).waiting is None


def test_one_proposal_waits_for_an_office_at_a_time() -> None:
    chain = Chain(HOMES)
    chain.propose(3, KEYS[1])
    chain.approve(1, 3)
    decide(chain, KEYS[0])
    assert chain.approve(2, 3) is Reason.OFFICE_PROPOSAL_WAITS
    decide(chain, KEYS[2], proposer=1, office=GRID)  # of another office nothing waits
    chain.pass_to(WAIT + 10)
    assert (chain.key(), chain.key(GRID)) == (KEYS[0].public_key, KEYS[2].public_key)
    assert chain.approve(2, 3) is Reason.NONE
    chain.pass_to(2 * WAIT + 20)
    assert chain.key() == KEYS[1].public_key


def test_the_owner_objects_while_it_waits() -> None:
    chain = approved()
    assert chain.object(ISSUER, 0) is Reason.NONE
    assert chain.status(0) is ProposalStatus.OBJECTED
    chain.pass_to(10 * WAIT)
    assert chain.key() == ISSUER.public_key
    assert chain.object(ISSUER, 0) is Reason.PROPOSAL_UNKNOWN


def test_an_objection_that_waited_while_the_chain_stood_still_comes_too_late() -> None:
    """Slots pass by the clock: what is due by then is done before the transactions of the first block after that."""
    chain = approved()
    objection = RaiseObjection(proposal=chain.of(0).name)
    (receipt,) = chain.block((ISSUER, objection), slot=3 + WAIT).receipts
    assert (receipt.reason, chain.status(0)) == (Reason.SENDER_KEY_REPLACED, ProposalStatus.DONE)


def test_nobody_else_objects() -> None:
    chain = approved()
    assert chain.object(GRID, 0) is Reason.PROPOSAL_UNKNOWN
    assert chain.send(1, RaiseObjection(proposal=chain.of(0).name)) is Reason.OFFICE_UNKNOWN
    assert chain.send(ISSUER, RaiseObjection(proposal=bytes(32))) is Reason.PROPOSAL_UNKNOWN
    assert chain.status(0) is ProposalStatus.APPROVED


def test_one_member_alone_cannot_spend_the_owners_objection() -> None:
    chain = Chain(HOMES)
    chain.propose(0, KEYS[0])
    assert chain.object(ISSUER, 0) is Reason.PROPOSAL_UNKNOWN
    assert chain.read(office_key(ISSUER.address), Office).objected_slot is None


def test_after_an_objection_it_is_quiet_for_a_waiting_time() -> None:
    chain = Chain(HOMES)
    chain.propose(3, KEYS[1])  # of before: no quorum may come back to it
    chain.approve(1, 3)
    decide(chain, KEYS[0])
    chain.object(ISSUER, 0, slot=10)
    assert chain.approve(2, 3) is Reason.OFFICE_OBJECTED
    assert chain.propose(0, KEYS[0], slot=10 + WAIT - 1) is Reason.OFFICE_OBJECTED
    assert chain.propose(1, KEYS[2], office=GRID) is Reason.NONE
    assert chain.approve(2, 3, slot=10 + WAIT) is Reason.OFFICE_OBJECTED
    assert chain.propose(0, KEYS[0], slot=10 + WAIT) is Reason.NONE


def test_a_quorum_that_insists_wins_against_a_thief() -> None:
    chain = approved()
    assert chain.object(ISSUER, 0, slot=10) is Reason.NONE
    chain.pass_to(10 + WAIT)
    decide(chain, KEYS[0])
    assert chain.object(ISSUER, 0) is Reason.OBJECTION_SPENT
    thiefs = ReplaceOfficeKey(successor=office_successor(HOMES.chain, ISSUER.address, KEYS[5]))
    assert chain.send(ISSUER, thiefs) is Reason.NONE
    assert chain.object(KEYS[5].of_member(ISSUER.address), 0) is Reason.OBJECTION_SPENT
    chain.pass_to(10 + 3 * WAIT)
    assert chain.key() == KEYS[0].public_key
    again = ReplaceOfficeKey(successor=office_successor(HOMES.chain, ISSUER.address, KEYS[6]))
    (receipt,) = chain.block((KEYS[5].of_member(ISSUER.address), again)).receipts
    assert receipt.reason is Reason.SENDER_KEY_REPLACED


def test_an_objection_counts_on_where_the_members_key_came_to_nothing() -> None:
    chain = approved()
    chain.object(ISSUER, 0, slot=10)
    chain.pass_to(10 + WAIT)
    decide(chain, KEYS[0])
    grids = ReplaceOfficeKey(successor=office_successor(HOMES.chain, GRID.address, KEYS[0]))
    assert chain.send(GRID, grids) is Reason.NONE
    chain.pass_to(20 + 2 * WAIT)
    assert chain.status(0) is ProposalStatus.VOID
    decide(chain, KEYS[1])
    assert chain.object(ISSUER, 0) is Reason.OBJECTION_SPENT


@pytest.mark.parametrize(("slot", "reason"), [(-1, Reason.OBJECTION_SPENT), (0, Reason.NONE)])
def test_an_old_objection_does_not_count_any_more(slot: int, reason: Reason) -> None:
    chain = approved()
    chain.object(ISSUER, 0, slot=10)
    chain.pass_to(10 + WAIT + INSISTING_SLOTS + slot - 1)
    decide(chain, KEYS[0])
    assert chain.object(ISSUER, 0) is reason


def test_after_members_gave_a_key_its_owner_may_object_again() -> None:
    chain = approved()
    chain.object(ISSUER, 0, slot=10)
    chain.pass_to(10 + WAIT)
    decide(chain, KEYS[0])
    chain.pass_to(10 + 3 * WAIT)
    decide(chain, KEYS[1], proposer=2)
    assert chain.object(KEYS[0].of_member(ISSUER.address), 2) is Reason.NONE


def test_a_member_alone_on_its_chain_is_a_quorum() -> None:
    chain = Chain(make_genesis(1, office_wait_slots=WAIT))
    assert chain.propose(0, KEYS[0]) is Reason.NONE
    assert chain.status(0) is ProposalStatus.APPROVED
    chain.pass_to(1 + WAIT)
    assert chain.key() == KEYS[0].public_key


def test_who_is_left_alone_waits_for_what_the_others_approved() -> None:
    chain = Chain(make_genesis(2, office_wait_slots=WAIT))
    chain.propose(0, KEYS[0])
    chain.approve(1, 0)
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    chain.state[MEMBER_LIST_KEY] = encode_list(terms[1:])
    assert chain.propose(1, KEYS[1]) is Reason.NONE
    assert (chain.status(0), chain.status(1)) == (ProposalStatus.APPROVED, ProposalStatus.OPEN)
    chain.pass_to(2 + WAIT)
    assert chain.key() == KEYS[0].public_key
    assert chain.approve(1, 1) is Reason.NONE
    assert chain.status(1) is ProposalStatus.APPROVED


# --- beside a naive model ----------------------------------------------------------------------------------------


@dataclass
class ToldOffice:
    """What people who read the rules aloud would say of an office."""

    key: SigningKey
    objected: int | None = None


@dataclass
class ToldProposal:
    office: SigningKey
    key: SigningKey
    made: int
    approvals: set[int]
    approved: int | None = None
    over: bool = False


class Naive:
    """The rules without agenda, receipts or encodings: all proposals ever, looked through slot by slot."""

    def __init__(self, homes: Community) -> None:
        self.quorum = quorum(len(homes.addresses))
        self.offices = {office.address: ToldOffice(office) for office in (ISSUER, GRID)}
        self.used = {ISSUER.public_key, GRID.public_key, homes.authority_key.public_key}
        self.proposals: dict[int, ToldProposal] = {}

    def pass_to(self, slot: int) -> None:
        """Approved ones come in the order of their times; nothing else depends on an order."""
        for told in sorted(self.proposals.values(), key=lambda told: told.approved or 0):
            if told.over:
                continue
            if told.approved is None:
                told.over = told.made + OPEN_SLOTS <= slot
            elif told.approved + WAIT <= slot:
                told.over = True
                if told.key.public_key not in self.used:
                    self.used.add(told.key.public_key)
                    self.offices[told.office.address] = ToldOffice(told.key)

    def waiting(self, office: SigningKey) -> ToldProposal | None:
        found = [t for t in self.proposals.values() if t.office is office and t.approved is not None and not t.over]
        assert len(found) <= 1
        return found[0] if found else None

    def is_quiet(self, office: SigningKey, made: int) -> bool:
        objected = self.offices[office.address].objected
        return objected is not None and made < objected + WAIT

    def propose(self, member: int, office: SigningKey, key: SigningKey, slot: int) -> bool:
        last = self.proposals.get(member)
        if (last and not last.over) or key.public_key in self.used or self.is_quiet(office, slot):
            return False
        self.proposals[member] = ToldProposal(office, key, slot, {member})
        return True

    def approve(self, member: int, proposer: int, slot: int) -> bool:
        told = self.proposals.get(proposer)
        if told is None or told.over or (told.approved is not None and member in told.approvals):
            return False
        if told.approved is None and len(told.approvals | {member}) >= self.quorum:
            if self.waiting(told.office) or self.is_quiet(told.office, told.made) or told.key.public_key in self.used:
                return False
            told.approved = slot
        elif member in told.approvals:
            return False
        told.approvals.add(member)
        return True

    def withdraw(self, member: int, proposer: int) -> bool:
        told = self.proposals.get(proposer)
        if told is None or told.over or member not in told.approvals:
            return False
        told.approvals.remove(member)
        told.over = not told.approvals or (told.approved is not None and len(told.approvals) < self.quorum)
        return True

    def object(self, office: SigningKey, slot: int) -> bool:
        told, objected = self.waiting(office), self.offices[office.address].objected
        if told is None or (objected is not None and told.made < objected + WAIT + INSISTING_SLOTS):
            return False
        told.over = True
        self.offices[office.address].objected = slot
        return True

    def replace(self, office: SigningKey, key: SigningKey) -> bool:
        if key.public_key in self.used:
            return False
        self.used.add(key.public_key)
        self.offices[office.address].key = key
        return True


@pytest.mark.parametrize("seed", range(6))
def test_any_sequence_is_as_the_naive_model_says(seed: int) -> None:
    random, chain, naive = Random(seed), Chain(HOMES), Naive(HOMES)
    keys = [seeded_key("random-successor", index) for index in range(12)]
    done: set[str] = set()
    for _ in range(250):
        slot = chain.slot + random.choice((*(1,) * 12, 2, WAIT // 3, WAIT, OPEN_SLOTS // 2))
        naive.pass_to(slot)
        office, key = random.choice((ISSUER, GRID)), random.choice(keys)
        acting = naive.offices[office.address].key.of_member(office.address)
        member, proposer = random.randrange(4), random.randrange(4)
        what = random.choices(("propose", "approve", "withdraw", "object", "replace"), weights=(10, 40, 15, 10, 2))[0]
        if what == "propose":
            expected = naive.propose(member, office, key, slot)
            reason = chain.propose(member, key, office=office, slot=slot)
        elif what == "approve":
            expected = naive.approve(member, proposer, slot)
            exists = proposal_key(HOMES.addresses[proposer]) in chain.state
            reason = chain.approve(member, proposer, name=None if exists else bytes(32), slot=slot)
        elif what == "withdraw":
            expected = naive.withdraw(member, proposer)
            exists = proposal_key(HOMES.addresses[proposer]) in chain.state
            reason = chain.withdraw(member, proposer, name=None if exists else bytes(32), slot=slot)
        elif what == "object":
            told = naive.waiting(office)
            held = [number for number, one in naive.proposals.items() if one is told]
            expected = naive.object(office, slot)
            name = chain.of(held[0]).name if held else bytes(32)
            reason = chain.send(acting, RaiseObjection(proposal=name), slot=slot)
        else:
            expected = naive.replace(office, key)
            successor = office_successor(HOMES.chain, office.address, key)
            reason = chain.send(acting, ReplaceOfficeKey(successor=successor), slot=slot)
        assert (reason is Reason.NONE) is expected, (what, reason)
        if expected:
            done.add(what)
        for address, told_office in naive.offices.items():
            assert acting_key(Overlay(chain.state), address) == told_office.key.public_key
    assert {"propose", "approve", "withdraw", "object"} <= done
    assert conserved(chain.totals(), sum_tokens(chain.state, HOMES.genesis))
