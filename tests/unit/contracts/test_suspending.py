"""Members whom a quorum suspends, and reinstates: what that takes, what it leaves, and who cannot do it."""

from typing import Any

import pytest

from consensus.identifiers import Digest
from contracts.member_records import FirstProof
from contracts.misconduct import suspended_among
from contracts.proposal_records import Proposal, ProposalStatus, SuspensionChange
from contracts.receipts import Reason, Receipt, Status
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, ScoreCause, first_proof_key, proposal_key
from contracts.transactions import Action, Approve, Propose, ReportMisconduct, SetLeaving, SetStake, Withdraw
from tests.support.contracts import (
    DictChain,
    make_genesis,
    seeded_key,
    signed_forward,
    signed_reading,
    signed_trade,
)
from tests.support.stories import two_votes

HOMES = make_genesis(7)
A = HOMES.addresses
ACCUSED = 6
OTHERS = (1, 2, 3, 4)
"""With the proposer, member 0, a quorum of seven."""


def sent(chain: DictChain, sender: int, action: Action, **block: Any) -> Receipt:
    (receipt,) = chain.block((sender, action), **block).receipts
    return receipt


def opened(chain: DictChain, *, suspended: bool, proposer: int = 0, who: int = ACCUSED) -> Digest:
    """Returns the name of a proposal that nobody else approved yet."""
    receipt = sent(chain, proposer, Propose(subject=SuspensionChange(member=A[who], suspended=suspended)))
    assert receipt.status is Status.EXECUTED
    assert receipt.reference is not None
    return receipt.reference


def decided(chain: DictChain, *, suspended: bool) -> Digest:
    """A quorum decides it; returns the proposal's name."""
    name = opened(chain, suspended=suspended)
    for approver in OTHERS:
        assert sent(chain, approver, Approve(proposer=A[0], proposal=name)).status is Status.EXECUTED
    return name


def status(chain: DictChain, proposer: int = 0) -> ProposalStatus:
    return chain.read(proposal_key(A[proposer]), Proposal).status


def suspended(chain: DictChain) -> set[int]:
    return {A.index(address) for address in suspended_among(A, Overlay(chain.state))}


def test_the_block_with_the_quorums_approval_suspends_and_takes_nothing() -> None:
    chain = DictChain(HOMES)
    sent(chain, ACCUSED, SetStake(staked=400_000))
    before = chain.score(ACCUSED)
    name = opened(chain, suspended=True)
    for approver in OTHERS[:-1]:
        sent(chain, approver, Approve(proposer=A[0], proposal=name))
    assert (status(chain), suspended(chain)) == (ProposalStatus.OPEN, set())
    sent(chain, OTHERS[-1], Approve(proposer=A[0], proposal=name))
    assert (status(chain), suspended(chain)) == (ProposalStatus.DONE, {ACCUSED})
    after = chain.score(ACCUSED)
    assert (after.value, after.staked) == (before.value, before.staked)
    assert (after.cause, after.reference) == (ScoreCause.SUSPENSION, name)


def test_who_is_suspended_trades_no_more_and_what_it_promised_is_settled() -> None:
    chain = DictChain(HOMES)
    sent(chain, ACCUSED, signed_forward(HOMES, ACCUSED, 1, 500))
    decided(chain, suspended=True)
    chain.block((ACCUSED, signed_reading(HOMES, ACCUSED, 2_000)), (1, signed_reading(HOMES, 1, -2_000)))
    assert chain.packet(ACCUSED).claimed_wh == 500, "what it promised was delivered"
    receipt = sent(chain, ACCUSED, signed_trade(HOMES, ACCUSED, 1, 100, offer_counter=1))
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_MEMBER_SUSPENDED, None)


def test_a_quorum_reinstates_and_it_trades_again() -> None:
    chain = DictChain(HOMES)
    decided(chain, suspended=True)
    name = decided(chain, suspended=False)
    assert suspended(chain) == set()
    assert (chain.score(ACCUSED).cause, chain.score(ACCUSED).reference) == (ScoreCause.REINSTATEMENT, name)
    chain.block((ACCUSED, signed_reading(HOMES, ACCUSED, 2_000)), (1, signed_reading(HOMES, 1, -2_000)))
    assert sent(chain, ACCUSED, signed_trade(HOMES, ACCUSED, 1, 100)).status is Status.EXECUTED


def test_proven_misconduct_is_forgiven_and_not_forgotten() -> None:
    """Its stake stays lost, the first proof stands, and the same proof suspends nobody a second time."""
    chain = DictChain(HOMES)
    sent(chain, ACCUSED, SetStake(staked=400_000))
    report = ReportMisconduct(evidence=two_votes(HOMES, ACCUSED))
    sent(chain, 1, report)
    lost = chain.score(ACCUSED)
    assert (lost.staked, suspended(chain)) == (0, {ACCUSED})
    first = chain.read(first_proof_key(A[ACCUSED]), FirstProof)
    decided(chain, suspended=False)
    assert (suspended(chain), chain.score(ACCUSED).value) == (set(), lost.value)
    assert chain.read(first_proof_key(A[ACCUSED]), FirstProof) == first
    assert sent(chain, 2, report).reason is Reason.EVIDENCE_ALREADY_KNOWN
    assert suspended(chain) == set()


def test_f_liars_suspend_nobody_and_bring_none_of_theirs_back() -> None:
    """Attack: two of seven approve whatever they like; a stranger's word and one said twice count nothing."""
    chain = DictChain(HOMES)
    name = opened(chain, suspended=True, who=0, proposer=ACCUSED)
    approve = Approve(proposer=A[ACCUSED], proposal=name)
    sent(chain, 5, approve)
    assert sent(chain, 5, approve).reason is Reason.PROPOSAL_APPROVED_BEFORE
    chain.block(slot=chain.slot + 10**7)
    assert (status(chain, ACCUSED), suspended(chain)) == (ProposalStatus.LAPSED, set())
    sent(chain, 1, ReportMisconduct(evidence=two_votes(HOMES, 5)))
    name = opened(chain, suspended=False, who=5, proposer=ACCUSED)
    sent(chain, 5, Approve(proposer=A[ACCUSED], proposal=name))
    chain.block(slot=chain.slot + 10**7)
    assert suspended(chain) == {5}


def test_who_made_up_the_quorum_cannot_take_it_back_in_the_same_block() -> None:
    """Attack: a liar approves among the first and, as the leader, puts its withdrawal behind the last approval."""
    chain = DictChain(HOMES)
    name = opened(chain, suspended=True)
    for approver in (ACCUSED, 1, 2):
        sent(chain, approver, Approve(proposer=A[0], proposal=name))
    withdraw, late = Withdraw(proposer=A[0], proposal=name), Approve(proposer=A[0], proposal=name)
    execution = chain.block((3, late), (ACCUSED, withdraw), (4, late))
    assert [receipt.reason for receipt in execution.receipts] == [
        Reason.NONE,
        Reason.PROPOSAL_OVER,
        Reason.PROPOSAL_OVER,
    ]
    assert (status(chain), suspended(chain)) == (ProposalStatus.DONE, {ACCUSED})


def test_before_the_quorum_it_may_be_withdrawn() -> None:
    chain = DictChain(HOMES)
    name = opened(chain, suspended=True)
    sent(chain, 1, Approve(proposer=A[0], proposal=name))
    for approver in (1, 0):
        assert sent(chain, approver, Withdraw(proposer=A[0], proposal=name)).status is Status.EXECUTED
    assert (status(chain), suspended(chain)) == (ProposalStatus.LAPSED, set())


@pytest.mark.parametrize("says", [True, False], ids=["suspend", "reinstate"])
def test_what_changes_nothing_is_declined(says: bool) -> None:
    chain = DictChain(HOMES)
    if says:
        decided(chain, suspended=True)
    subject = SuspensionChange(member=A[ACCUSED], suspended=says)
    assert sent(chain, 0, Propose(subject=subject)).reason is Reason.SUSPENSION_CHANGES_NOTHING
    stranger = SuspensionChange(member=seeded_key("stranger", 0).address, suspended=says)
    assert sent(chain, 0, Propose(subject=stranger)).reason is Reason.SUSPENSION_NOT_MEMBER


def test_of_two_proposals_the_second_is_over_with_the_first() -> None:
    """Both have a quorum in one block; and one is approved after the other did it."""
    chain = DictChain(HOMES)
    first, second = opened(chain, suspended=True), opened(chain, suspended=True, proposer=1)
    third = opened(chain, suspended=True, proposer=2)
    for approver in (2, 3, 4):
        sent(chain, approver, Approve(proposer=A[0], proposal=first))
        sent(chain, approver, Approve(proposer=A[1], proposal=second))
        if approver > 2:
            sent(chain, approver, Approve(proposer=A[2], proposal=third))
    chain.block((5, Approve(proposer=A[0], proposal=first)), (5, Approve(proposer=A[1], proposal=second)))
    assert (status(chain, 0), status(chain, 1), suspended(chain)) == (
        ProposalStatus.DONE,
        ProposalStatus.VOID,
        {ACCUSED},
    )
    sent(chain, 0, Approve(proposer=A[2], proposal=third))
    assert sent(chain, 1, Approve(proposer=A[2], proposal=third)).reason is Reason.SUSPENSION_CHANGES_NOTHING
    assert status(chain, 2) is ProposalStatus.OPEN


def test_who_left_meanwhile_is_not_suspended() -> None:
    chain = DictChain(HOMES)
    name = opened(chain, suspended=True)
    sent(chain, ACCUSED, SetLeaving(leaving=True))
    assert A[ACCUSED] not in chain.read(MEMBER_LIST_KEY, MemberList).addresses
    reasons = [sent(chain, approver, Approve(proposer=A[0], proposal=name)).reason for approver in OTHERS]
    assert set(reasons) == {Reason.NONE, Reason.SUSPENSION_NOT_MEMBER}
    assert reasons == sorted(reasons, key=[Reason.NONE, Reason.SUSPENSION_NOT_MEMBER].index), "from the quorum on"
    assert (status(chain), suspended(chain)) == (ProposalStatus.OPEN, set())
