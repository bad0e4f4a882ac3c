"""The rules change at a height: what may be proposed, what a quorum makes of it, what overtakes it."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.eras import EraStart
from consensus.identifiers import EraNumber, Height
from contracts.proposal_records import Proposal, ProposalStatus
from contracts.receipts import Reason
from contracts.rule_records import Rules, RulesChange
from contracts.rules import BLOCK_TRANSACTIONS_LIMIT, NOTICE_HEIGHTS
from contracts.run import EraBeginning
from contracts.state import MEMBER_LIST_KEY, RULES_KEY, Interval, MemberList, interval_key, proposal_key
from contracts.transactions import Approve, Propose, Withdraw
from tests.support.contracts import FIRST_INTERVAL_MS, DictChain, make_genesis, seeded_key, signed_reading

HOMES = make_genesis(4)
FIRST = HOMES.genesis.parameters
VERSION = HOMES.genesis.protocol_version
OPEN_SLOTS = 24 * 3_600_000 // HOMES.genesis.slot_duration_ms
FROM = NOTICE_HEIGHTS + 20


def change(*, version: int = VERSION, from_height: int = FROM, **parameters: Any) -> RulesChange:
    fields = parameters or {"gate_closure_slots": 7}
    return RulesChange(version=version, from_height=Height(from_height), parameters=replace(FIRST, **fields))


class Chain(DictChain):
    """A chain with what people do about its rules."""

    def propose(self, member: int, subject: RulesChange) -> Reason:
        (receipt,) = self.block((member, Propose(subject=subject))).receipts
        return receipt.reason

    def approve(self, member: int, proposer: int) -> Reason:
        action = Approve(proposer=self.community.addresses[proposer], proposal=self.of(proposer).name)
        (receipt,) = self.block((member, action)).receipts
        return receipt.reason

    def withdraw(self, member: int, proposer: int) -> Reason:
        action = Withdraw(proposer=self.community.addresses[proposer], proposal=self.of(proposer).name)
        (receipt,) = self.block((member, action)).receipts
        return receipt.reason

    def of(self, proposer: int) -> Proposal:
        return self.read(proposal_key(self.community.addresses[proposer]), Proposal)

    def status(self, proposer: int) -> ProposalStatus:
        return self.of(proposer).status

    @property
    def rules(self) -> Rules:
        """Of the next block."""
        return self.read(RULES_KEY, Rules)

    def reach(self, height: int) -> None:
        """Makes empty blocks until a height is decided."""
        while self.height < height:
            self.block()

    def decide(self, subject: RulesChange, *, proposer: int = 0) -> None:
        assert self.propose(proposer, subject) is Reason.NONE
        for member in [member for member in range(4) if member != proposer][:2]:
            assert self.approve(member, proposer) is Reason.NONE
        assert self.status(proposer) is ProposalStatus.APPROVED


def decided(subject: RulesChange | None = None) -> Chain:
    """Returns a chain at height 3 on which three of four approved a change."""
    chain = Chain(HOMES)
    chain.decide(change() if subject is None else subject)
    return chain


def test_a_chain_begins_under_the_rules_of_genesis() -> None:
    assert Chain(HOMES).rules == Rules(version=VERSION, first_height=Height(1), parameters=FIRST, waiting=None)


def test_what_a_quorum_approves_holds_from_its_height_on() -> None:
    chain = Chain(HOMES)
    assert chain.propose(0, change()) is Reason.NONE
    assert chain.approve(1, 0) is Reason.NONE
    assert (chain.status(0), chain.rules.waiting) == (ProposalStatus.OPEN, None)
    assert chain.approve(2, 0) is Reason.NONE
    assert (chain.status(0), chain.rules.waiting) == (ProposalStatus.APPROVED, HOMES.addresses[0])
    chain.reach(FROM - 2)
    assert (chain.status(0), chain.rules.parameters) == (ProposalStatus.APPROVED, FIRST)
    chain.reach(FROM - 1)
    following = Rules(version=VERSION, first_height=Height(FROM), parameters=change().parameters, waiting=None)
    assert (chain.status(0), chain.rules) == (ProposalStatus.DONE, following)
    chain.reach(FROM + 200)
    assert chain.rules == following


def closing_after(chain: Chain) -> int:
    """Publishes the first reading of an interval; returns how many slots after its block the gate closes."""
    chain.block((0, signed_reading(HOMES, 0, 1_000)))
    return chain.read(interval_key(FIRST_INTERVAL_MS), Interval).closes_at_slot - chain.slot


@pytest.mark.parametrize(("last", "slots"), [(FROM - 2, 40), (FROM - 1, 7)])
def test_each_block_is_executed_under_its_own_rules(last: int, slots: int) -> None:
    chain = decided()
    chain.reach(last)
    assert closing_after(chain) == slots


def test_a_version_that_no_program_knows_yet_is_agreed_on_like_any() -> None:
    chain = decided(change(version=VERSION + 1))
    chain.reach(FROM - 1)
    assert chain.rules.version == VERSION + 1


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (change(version=VERSION - 1), Reason.RULES_VERSION),
        (change(version=VERSION + 2), Reason.RULES_VERSION),
        (change(gate_closure_slots=FIRST.gate_closure_slots), Reason.RULES_SAME),
        (change(from_height=0), Reason.RULES_TOO_NEAR),
        (change(from_height=NOTICE_HEIGHTS), Reason.RULES_TOO_NEAR),
        (change(block_transactions_max=BLOCK_TRANSACTIONS_LIMIT + 1), Reason.RULES_PARAMETERS),
    ],
)
def test_what_may_not_be_proposed(subject: RulesChange, reason: Reason) -> None:
    chain = Chain(HOMES)
    assert chain.propose(0, subject) is reason
    assert chain.rules.parameters == FIRST


@pytest.mark.parametrize(
    "subject",
    [
        change(from_height=1 + NOTICE_HEIGHTS),
        change(version=VERSION + 1, gate_closure_slots=FIRST.gate_closure_slots),
        change(block_transactions_max=BLOCK_TRANSACTIONS_LIMIT),
    ],
)
def test_what_may_just_be_proposed(subject: RulesChange) -> None:
    assert Chain(HOMES).propose(0, subject) is Reason.NONE


@pytest.mark.parametrize(
    "parameters",
    [
        {"block_transactions_max": 0},
        {"block_size_bytes_max": 4_095},
        {"block_size_bytes_max": 4 * 1024 * 1024 + 1},
        {"gate_closure_slots": 0},
        {"gate_closure_slots": 10**9 + 1},
    ],
)
def test_a_parameter_that_no_genesis_may_have_is_no_transaction(parameters: dict[str, int]) -> None:
    with pytest.raises(DecodeError):
        decode(encode(change(**parameters)), RulesChange)


def test_who_is_no_member_proposes_nothing() -> None:
    chain = Chain(HOMES)
    (receipt,) = chain.block((HOMES.issuer_key, Propose(subject=change()))).receipts
    assert receipt.reason is Reason.PROPOSAL_NOT_MEMBER


def test_a_quorum_that_comes_too_late_for_the_height_does_not_come_at_all() -> None:
    chain = Chain(HOMES)
    chain.propose(0, change())
    chain.approve(1, 0)
    chain.reach(FROM - NOTICE_HEIGHTS)
    assert chain.approve(2, 0) is Reason.RULES_TOO_NEAR
    chain.reach(FROM)
    assert (chain.status(0), chain.rules.parameters) == (ProposalStatus.OPEN, FIRST)
    assert chain.withdraw(0, 0) is Reason.NONE
    assert chain.withdraw(1, 0) is Reason.NONE  # the last of them: the proposer need not wait a day for another try
    assert chain.propose(0, change(from_height=FROM + 2 * NOTICE_HEIGHTS)) is Reason.NONE


def test_one_change_of_the_rules_waits_at_a_time() -> None:
    chain = decided()
    assert chain.propose(3, change(gate_closure_slots=8)) is Reason.NONE
    assert chain.approve(1, 3) is Reason.NONE
    assert chain.approve(2, 3) is Reason.RULES_PROPOSAL_WAITS
    for member in (0, 1):
        assert chain.withdraw(member, 0) is (Reason.NONE if member == 0 else Reason.PROPOSAL_OVER)
    assert (chain.status(0), chain.rules.waiting) == (ProposalStatus.LAPSED, None)
    assert chain.approve(2, 3) is Reason.NONE
    chain.reach(FROM - 1)
    assert chain.rules.parameters.gate_closure_slots == 8


def test_who_withdraws_ends_what_then_lacks_a_quorum() -> None:
    chain = decided()
    chain.reach(FROM - 3)
    assert chain.withdraw(1, 0) is Reason.NONE
    assert (chain.status(0), chain.rules.parameters, chain.rules.waiting) == (ProposalStatus.LAPSED, FIRST, None)
    chain.reach(FROM + 1)
    assert chain.rules.parameters == FIRST


def test_a_liar_cannot_make_up_the_quorum_and_withdraw_at_the_last_moment() -> None:
    chain = decided()
    chain.block(slot=chain.slot + 2 * OPEN_SLOTS)  # others may approve for as long as it waits
    assert chain.approve(3, 0) is Reason.NONE
    chain.reach(FROM - 2)
    assert chain.withdraw(1, 0) is Reason.NONE
    assert (chain.status(0), chain.rules.parameters) == (ProposalStatus.DONE, change().parameters)


def test_the_height_comes_however_long_that_takes() -> None:
    chain = decided()
    for _ in range(10):
        chain.block(slot=chain.slot + OPEN_SLOTS)
    assert chain.status(0) is ProposalStatus.APPROVED
    chain.reach(FROM - 1)
    assert chain.status(0) is ProposalStatus.DONE


def without(chain: Chain, *members: int) -> None:
    """Has members leave the list, as if that had been carried out."""
    gone = {chain.community.addresses[member] for member in members}
    terms = chain.read(MEMBER_LIST_KEY, MemberList).terms
    chain.state[MEMBER_LIST_KEY] = encode(MemberList(terms=tuple(one for one in terms if one.address not in gone)))


def test_who_left_before_the_height_counts_no_more() -> None:
    """Two of the four that are left would stand where a quorum, three, never knew the rules."""
    chain = Chain(make_genesis(6))  # Q of 6 is 4
    chain.propose(0, change())
    for member in (1, 2, 3):
        chain.approve(member, 0)
    assert chain.status(0) is ProposalStatus.APPROVED
    without(chain, 0, 1)
    chain.reach(FROM - 1)
    assert (chain.status(0), chain.rules.parameters, chain.rules.waiting) == (ProposalStatus.LAPSED, FIRST, None)


def test_who_left_is_made_up_for_by_who_approves_while_it_waits() -> None:
    chain = Chain(make_genesis(6))
    chain.propose(0, change())
    for member in (1, 2, 3):
        chain.approve(member, 0)
    without(chain, 0, 1)
    assert chain.approve(4, 0) is Reason.NONE
    chain.reach(FROM - 1)
    assert chain.status(0) is ProposalStatus.DONE


def test_homes_that_a_ceremony_replaced_approved_as_what_they_are() -> None:
    """An address outlives its keys, and the era goes on with the state: nobody has to approve again."""
    chain = decided()
    keys = [(home.address, home.public_key) for home in HOMES.node_keys]
    keys[1] = (HOMES.addresses[1], seeded_key("successor", 0).public_key)
    start = EraStart(number=EraNumber(1), base=Height(chain.height), plan=HOMES.chain)
    chain.block(beginning=EraBeginning(starts=(start,), base=Height(chain.height), members=tuple(keys)))
    chain.reach(FROM - 1)
    assert chain.status(0) is ProposalStatus.DONE


def test_members_that_a_ceremony_leaves_out_count_no_more() -> None:
    chain = Chain(make_genesis(6))
    chain.propose(0, change())
    for member in (1, 2, 3):
        chain.approve(member, 0)
    keys = tuple((home.address, home.public_key) for home in chain.community.node_keys[2:])
    start = EraStart(number=EraNumber(1), base=Height(chain.height), plan=chain.community.chain)
    cluster = chain.community.addresses[2:]
    chain.block(beginning=EraBeginning(starts=(start,), base=Height(chain.height), members=keys), cluster=cluster)
    chain.reach(FROM - 1)
    assert (chain.status(0), chain.rules.parameters) == (ProposalStatus.LAPSED, FIRST)


def test_one_change_after_another() -> None:
    chain = decided(change(version=VERSION + 1))
    chain.reach(FROM - 1)
    assert chain.propose(0, change(from_height=3 * FROM)) is Reason.RULES_VERSION  # none goes back
    assert chain.propose(0, change(version=VERSION + 1, from_height=3 * FROM)) is Reason.RULES_SAME
    chain.decide(change(version=VERSION + 2, from_height=3 * FROM))
    chain.reach(3 * FROM - 1)
    assert (chain.rules.version, chain.rules.first_height) == (VERSION + 2, 3 * FROM)


def test_a_chain_of_one_member_decides_by_itself() -> None:
    chain = Chain(make_genesis(1))
    assert chain.propose(0, change()) is Reason.NONE
    assert chain.status(0) is ProposalStatus.APPROVED
    chain.reach(FROM - 1)
    assert chain.status(0) is ProposalStatus.DONE
