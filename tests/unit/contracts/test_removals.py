"""Members that are removed for cause: by the authority's word, by a quorum, for what they signed."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Digest, Height, Slot
from consensus.messages import VoteStatement
from contracts.applicants import Standing
from contracts.genesis import MembershipParameters
from contracts.member_changes import REMOVAL_MEMBERS_MIN, Hindrance, prospect
from contracts.member_records import FirstProof, Leave, MemberQueue, Removal, RemovalCause
from contracts.proposal_records import Expulsion, Proposal, ProposalStatus
from contracts.receipts import Reason, Receipt, Status
from contracts.removals import would_remove
from contracts.run import EraBeginning
from contracts.state import (
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Debt,
    MemberList,
    Overlay,
    Table,
    Trade,
    TradeStatus,
    debt_key,
    first_proof_key,
    proposal_key,
    trade_key,
)
from contracts.state_reading import conserved, read_totals, sum_tokens
from contracts.transactions import (
    TRANSACTION_SIZE_BYTES_MAX,
    Action,
    Approve,
    Propose,
    ReplaceOfficeKey,
    ReportMisconduct,
    Revocation,
    RevocationReason,
    Revoke,
    SetLeaving,
    SetStake,
    Withdraw,
    office_successor,
    trade_id,
)
from contracts.units import MicroTokens
from tests.support.contracts import (
    EXPIRY_SLOT,
    Community,
    DictChain,
    forward_terms,
    make_genesis,
    raw_transaction,
    seeded_key,
    sign_trade,
    signed_forward,
    signed_reading,
    transfer,
)
from tests.support.joining import JoiningChain, newcomer
from tests.support.vouchers import rotate_to

WAIT = 50
ONE_BLOCK, ANOTHER_BLOCK = Digest(b"\x01" * 32), Digest(b"\x02" * 32)
GRID_SUCCESSOR = seeded_key("grid-successor", 0)


def homes(members: int) -> Community:
    membership = MembershipParameters(
        members_min=4, seen_window_slots=10_000, removal_wait_slots=WAIT, verifier_keys=()
    )
    return make_genesis(members, membership=membership)


HOMES = homes(7)
A, KEYS = HOMES.addresses, HOMES.node_keys


def revoke(node_key: bytes, *, key: SigningKey = HOMES.authority_key, chain: Digest = HOMES.chain) -> Revoke:
    """The authority's word on a key."""
    revocation = Revocation(chain=chain, node_key=node_key, reason=RevocationReason.KEY_COMPROMISE)  # type: ignore[arg-type]
    return Revoke(revocation=revocation, signature=key.sign(encode(revocation)))


def revocation_of(member: int, community: Community = HOMES) -> Revoke:
    return revoke(community.node_keys[member].public_key, key=community.authority_key, chain=community.chain)


def sent(chain: DictChain, sender: int | SigningKey, action: Action, **block: Any) -> Receipt:
    """Returns the receipt of an action; declined, it changed nothing but the sender's nonce."""
    execution = chain.block((sender, action), **block)
    (receipt,) = execution.receipts
    assert receipt.fault is None
    if receipt.status is Status.DECLINED:
        changed = {bytes(key[:1]) for key in execution.changes}
        assert not changed & {table.value for table in (Table.PROPOSAL, Table.FIRST_PROOF, Table.MEMBER, Table.SCORE)}
    return receipt


def members_of(chain: DictChain) -> list[int]:
    """The newest list, by the members' numbers."""
    known = chain.read(MEMBER_LIST_KEY, MemberList).addresses
    return [chain.community.addresses.index(address) for address in known]


def queue_of(chain: DictChain) -> MemberQueue:
    return chain.read(MEMBER_QUEUE_KEY, MemberQueue)


def waiting(chain: DictChain) -> list[tuple[int, RemovalCause, Hindrance | None]]:
    """Whose removals wait, for which causes, and why the next block would not carry them out."""
    overlay, genesis = Overlay(chain.state), chain.community.genesis
    at = {"height": Height(chain.height + 1), "slot": Slot(chain.slot + 1), "genesis": genesis}
    return [
        (chain.community.addresses.index(one.address), one.cause, prospect(overlay, one, **at).hindrance)
        for one in queue_of(chain).waiting
        if isinstance(one, Removal)
    ]


def give_key(chain: DictChain, member: int, key: SigningKey) -> None:
    """A member gets another node key, as by a ceremony that replaces its home."""
    base = chain.height
    going_on = tuple(
        (address, key.public_key if address == chain.community.addresses[member] else present)
        for address, present in chain.read(MEMBER_LIST_KEY, MemberList).at(Height(base + 1))
    )
    chain.block(beginning=EraBeginning(starts=(), base=Height(base), members=going_on))


# --- the authority's word --------------------------------------------------------------------------------------


def test_a_home_that_exchanges_its_stolen_key_is_not_removed_for_it() -> None:
    """The authority did both for it: its word on the old key is over once the new one acts."""
    chain, key = DictChain(HOMES), seeded_key("next", 1)
    chain.block((2, revocation_of(1)), (1, rotate_to(HOMES, 1, key)))
    chain.block()
    chain.block()
    assert queue_of(chain).waiting == ()
    assert members_of(chain) == [*range(7)]
    assert chain.read(MEMBER_LIST_KEY, MemberList).keys_of(A[1]) == (KEYS[1].public_key, key.public_key)


@pytest.mark.parametrize("sender", [1, 2, HOMES.grid_key])
def test_whose_key_the_authority_revokes_is_a_member_for_two_heights_more(sender: int | SigningKey) -> None:
    chain = DictChain(HOMES)
    chain.block()
    receipt = sent(chain, sender, revocation_of(2))
    assert receipt.status is Status.EXECUTED
    known = chain.read(MEMBER_LIST_KEY, MemberList)
    assert [A[2] in dict(known.at(Height(height))) for height in (2, 3, 4, 5)] == [True, True, False, False]
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    removal = Removal(
        address=A[2],
        cause=RemovalCause.REVOKED,
        node_key=KEYS[2].public_key,
        reference=receipt.transaction,
    )
    queue = queue_of(chain)
    assert (queue.waiting, queue.last, queue.last_height, queue.revoked_slot) == ((), removal, 2, chain.slot)
    assert known.key_at(A[2], Height(3)) == KEYS[2].public_key, "evidence of its heights still holds"


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (revoke(KEYS[2].public_key, chain=Digest(bytes(32))), Reason.REVOCATION_WRONG_CHAIN),
        (revoke(seeded_key("stranger", 0).public_key), Reason.REVOCATION_UNKNOWN_KEY),
        (revoke(HOMES.meter_keys[2].public_key), Reason.REVOCATION_UNKNOWN_KEY),
        (revoke(HOMES.authority_key.public_key), Reason.REVOCATION_UNKNOWN_KEY),
        (revoke(HOMES.grid_key.public_key), Reason.REVOCATION_UNKNOWN_KEY),
        (revoke(KEYS[2].public_key, key=KEYS[1]), Reason.REVOCATION_NOT_SIGNED),
        (revoke(KEYS[2].public_key, key=HOMES.issuer_key), Reason.REVOCATION_NOT_SIGNED),
        (
            replace(revocation_of(2), revocation=revocation_of(3).revocation),
            Reason.REVOCATION_NOT_SIGNED,
        ),
    ],
)
def test_what_is_not_the_authoritys_word_on_a_home_of_this_chain_is_declined(action: Revoke, reason: Reason) -> None:
    chain = DictChain(HOMES)
    assert sent(chain, 1, action).reason is reason
    assert (members_of(chain), queue_of(chain).waiting) == (list(range(7)), ())


def test_a_word_is_known_once_it_waits_and_over_once_it_is_done() -> None:
    chain = DictChain(HOMES)
    sent(chain, 1, revocation_of(2))
    assert sent(chain, 1, revocation_of(2)).reason is Reason.REVOCATION_NOT_MEMBER
    sent(chain, 1, revocation_of(3))  # waits: one in a waiting time
    assert sent(chain, 1, revocation_of(3)).reason is Reason.REVOCATION_ALREADY_KNOWN


def test_the_revoked_old_key_of_a_member_removes_nobody() -> None:
    """Attack: an old statement of the authority is played again once the home has another key."""
    chain = DictChain(HOMES)
    chain.block()
    give_key(chain, 2, seeded_key("new-home", 2))
    receipt = sent(chain, 1, revocation_of(2))
    assert (receipt.reason, A[2].hex() in receipt.detail) == (Reason.REVOCATION_REPLACED_KEY, True)
    assert members_of(chain) == list(range(7))
    assert sent(chain, 1, revoke(seeded_key("new-home", 2).public_key)).status is Status.EXECUTED
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_what_waits_about_a_key_ends_with_that_key() -> None:
    chain = DictChain(HOMES)
    sent(chain, 1, revocation_of(2))
    sent(chain, 1, revocation_of(3))
    assert waiting(chain) == [(3, RemovalCause.REVOKED, Hindrance.REVOKED_LATELY)]
    chain.block()
    give_key(chain, 3, seeded_key("new-home", 3))
    assert waiting(chain) == []
    chain.block(slot=chain.slot + 2 * WAIT)
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]


def test_the_authority_removes_one_member_in_a_waiting_time() -> None:
    """Attack: who has stolen the authority's key revokes everybody."""
    chain = DictChain(HOMES)
    chain.block(*((0, revocation_of(member)) for member in range(7)))
    first = chain.slot
    for _ in range(5):
        chain.block()
    assert members_of(chain) == [1, 2, 3, 4, 5, 6], "in the order of the block"
    assert waiting(chain)[0] == (1, RemovalCause.REVOKED, Hindrance.REVOKED_LATELY)
    chain.block(slot=first + WAIT - 1)
    assert len(members_of(chain)) == 6
    chain.block(slot=first + WAIT)
    assert len(members_of(chain)) == 5


def test_what_waits_of_the_authoritys_word_ends_with_its_key() -> None:
    """Attack: the thief's words are carried out one by one after its key was replaced."""
    chain = DictChain(HOMES)
    chain.block((0, revocation_of(1)), (0, revocation_of(2)), (0, SetLeaving(leaving=True)))
    following = seeded_key("authority-successor", 0)
    office = HOMES.authority_key.address
    grid = office_successor(HOMES.chain, HOMES.grid_key.address, GRID_SUCCESSOR)
    chain.block((HOMES.grid_key, ReplaceOfficeKey(successor=grid)))
    assert len(waiting(chain)) == 1, "another office's key says nothing"
    successor = office_successor(HOMES.chain, office, following)
    chain.block((HOMES.authority_key, ReplaceOfficeKey(successor=successor)))
    assert waiting(chain) == []
    chain.block(slot=chain.slot + 2 * WAIT)
    assert members_of(chain) == [2, 3, 4, 5, 6], "the leave went on"
    assert sent(chain, 2, revocation_of(3)).reason is Reason.REVOCATION_NOT_SIGNED
    assert sent(chain, 2, revoke(KEYS[3].public_key, key=following)).status is Status.EXECUTED


def test_a_candidate_whose_key_is_revoked_becomes_no_member() -> None:
    chain, home = JoiningChain(HOMES), newcomer(1)
    chain.admit(home)
    assert sent(chain, 1, revoke(home.node_key.public_key)).status is Status.EXECUTED
    assert (chain.applicant(home).standing, chain.unfinished()) == (Standing.REVOKED, ())
    assert sent(chain, home.node_key, chain.ready()).reason is Reason.READY_NOT_CANDIDATE
    assert chain.request(home, number=2).reason is Reason.JOIN_SAME_KEY
    assert sent(chain, 1, revoke(home.node_key.public_key)).reason is Reason.REVOCATION_NOT_MEMBER


def test_a_candidate_that_waits_to_become_a_member_waits_no_more() -> None:
    chain, home = JoiningChain(HOMES), newcomer(1)
    chain.admit(home)
    sent(chain, 0, SetLeaving(leaving=True))  # first
    sent(chain, home.node_key, chain.ready())
    sent(chain, 1, revoke(home.node_key.public_key))
    for _ in range(4):
        chain.block()
    assert (members_of(chain), queue_of(chain).waiting) == ([1, 2, 3, 4, 5, 6], ())


# --- how few there may be --------------------------------------------------------------------------------------


def test_for_cause_three_may_be_left_where_genesis_lets_nobody_leave_four() -> None:
    few = homes(4)
    chain = DictChain(few)
    sent(chain, 1, revocation_of(0, few))
    assert members_of(chain) == [1, 2, 3]
    chain.block(slot=chain.slot + WAIT)
    chain.block()
    sent(chain, 1, revocation_of(2, few))
    chain.block(slot=chain.slot + 2 * WAIT)
    assert members_of(chain) == [1, 2, 3]
    assert waiting(chain) == [(2, RemovalCause.REVOKED, Hindrance.TOO_FEW_MEMBERS)]
    assert REMOVAL_MEMBERS_MIN == 3


def test_who_has_to_go_goes_before_who_wants_to() -> None:
    chain = DictChain(HOMES)
    chain.block((4, SetLeaving(leaving=True)), (5, SetLeaving(leaving=True)), (1, revocation_of(2)))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    assert queue_of(chain).waiting == (Leave(address=A[4]), Leave(address=A[5]))


def test_who_has_gone_by_itself_is_not_removed_any_more() -> None:
    chain = DictChain(HOMES)
    chain.block((1, revocation_of(2)), (1, revocation_of(3)))
    chain.block((3, SetLeaving(leaving=True)))
    chain.block()
    chain.block()
    assert members_of(chain) == [0, 1, 4, 5, 6], "its removal waited for the time, its leave did not"
    assert queue_of(chain).waiting == ()


def test_who_was_removed_does_not_wait_to_leave() -> None:
    few = homes(4)
    chain = DictChain(few)
    chain.block((2, SetLeaving(leaving=True)), (1, revocation_of(2, few)))
    assert (members_of(chain), queue_of(chain).waiting) == ([0, 1, 3], ())


# --- a quorum of the members -----------------------------------------------------------------------------------


def expel(chain: DictChain, member: int, *, proposer: int, approvers: tuple[int, ...]) -> Digest:
    """Members propose and approve that one is expelled; returns the proposal's name."""
    addresses = chain.community.addresses
    receipt = sent(chain, proposer, Propose(subject=Expulsion(member=addresses[member])))
    assert (receipt.status, receipt.reference) == (Status.EXECUTED, receipt.transaction)
    name = receipt.transaction
    for approver in approvers:
        action = Approve(proposer=addresses[proposer], proposal=name)
        assert sent(chain, approver, action).status is Status.EXECUTED
    return name


def status(chain: DictChain, proposer: int) -> ProposalStatus:
    return chain.read(proposal_key(chain.community.addresses[proposer]), Proposal).status


def test_a_quorum_and_a_waiting_time_expel_a_member() -> None:
    chain = DictChain(HOMES)
    name = expel(chain, 6, proposer=0, approvers=(1, 2, 3))
    assert status(chain, 0) is ProposalStatus.OPEN
    sent(chain, 4, Approve(proposer=A[0], proposal=name))
    approved = chain.slot
    chain.block(slot=approved + WAIT - 1)
    assert (status(chain, 0), members_of(chain)) == (ProposalStatus.APPROVED, list(range(7)))
    chain.block(slot=approved + WAIT)
    assert (status(chain, 0), members_of(chain)) == (ProposalStatus.DONE, list(range(6)))
    removal = Removal(address=A[6], cause=RemovalCause.EXPELLED, node_key=None, reference=name)
    assert queue_of(chain).last == removal


def test_another_key_does_not_save_who_is_expelled() -> None:
    chain = DictChain(HOMES)
    expel(chain, 6, proposer=0, approvers=(1, 2, 3, 4))
    give_key(chain, 6, seeded_key("new-home", 6))
    chain.block(slot=chain.slot + WAIT)
    assert members_of(chain) == list(range(6))


def test_f_liars_expel_nobody() -> None:
    """Attack: a liar has its accomplices approve; two of seven, and whoever they are taken for."""
    chain = DictChain(HOMES)
    expel(chain, 6, proposer=0, approvers=(1,))
    action = Approve(proposer=A[0], proposal=chain.read(proposal_key(A[0]), Proposal).name)
    assert sent(chain, 1, action).reason is Reason.PROPOSAL_APPROVED_BEFORE
    assert sent(chain, HOMES.issuer_key, action).reason is Reason.PROPOSAL_NOT_MEMBER
    chain.block(slot=chain.slot + 10**7)
    assert (status(chain, 0), members_of(chain)) == (ProposalStatus.LAPSED, list(range(7)))


def test_who_heard_the_accused_withdraws() -> None:
    chain = DictChain(HOMES)
    name = expel(chain, 6, proposer=0, approvers=(1, 2, 3, 4))
    withdraw = Withdraw(proposer=A[0], proposal=name)
    assert sent(chain, 5, withdraw).reason is Reason.PROPOSAL_NOT_APPROVED
    assert sent(chain, 3, withdraw).status is Status.EXECUTED
    assert status(chain, 0) is ProposalStatus.LAPSED
    chain.block(slot=chain.slot + 2 * WAIT)
    assert members_of(chain) == list(range(7))


def test_the_accused_cannot_make_up_the_quorum_and_withdraw_at_the_last_moment() -> None:
    """Attack: it is the fifth to approve its own expulsion, so that no honest one would be."""
    chain = DictChain(HOMES)
    name = expel(chain, 6, proposer=0, approvers=(1, 2, 3, 6))
    approved = chain.slot
    assert status(chain, 0) is ProposalStatus.APPROVED
    assert sent(chain, 4, Approve(proposer=A[0], proposal=name)).status is Status.EXECUTED
    assert sent(chain, 6, Withdraw(proposer=A[0], proposal=name), slot=approved + WAIT - 1).status is Status.EXECUTED
    chain.block(slot=approved + WAIT)
    assert members_of(chain) == list(range(6)), "and the approval while it waited put nothing off"


def test_what_cannot_be_proposed_is_declined() -> None:
    chain = DictChain(HOMES)
    stranger = Propose(subject=Expulsion(member=seeded_key("stranger", 0).address))
    assert sent(chain, 0, stranger).reason is Reason.EXPULSION_NOT_MEMBER
    of_six = Propose(subject=Expulsion(member=A[6]))
    assert sent(chain, HOMES.grid_key, of_six).reason is Reason.PROPOSAL_NOT_MEMBER
    expel(chain, 6, proposer=0, approvers=())
    assert sent(chain, 0, of_six).reason is Reason.PROPOSAL_UNFINISHED


def test_two_proposals_to_expel_one_member_expel_it_once() -> None:
    chain = DictChain(HOMES)
    expel(chain, 6, proposer=0, approvers=(1, 2, 3, 4))
    expel(chain, 6, proposer=1, approvers=(0, 2, 3, 4))
    chain.block(slot=chain.slot + WAIT)
    assert (status(chain, 0), status(chain, 1)) == (ProposalStatus.DONE, ProposalStatus.VOID)
    late = Propose(subject=Expulsion(member=A[6]))
    assert sent(chain, 0, late).reason is Reason.EXPULSION_NOT_MEMBER
    assert members_of(chain) == list(range(6))


def test_who_waits_to_be_expelled_is_not_proposed_again() -> None:
    few = homes(3)
    chain = DictChain(few)
    expel(chain, 2, proposer=0, approvers=(1, 2))
    chain.block(slot=chain.slot + WAIT)
    assert waiting(chain) == [(2, RemovalCause.EXPELLED, Hindrance.TOO_FEW_MEMBERS)]
    again = Propose(subject=Expulsion(member=few.addresses[2]))
    assert sent(chain, 0, again).reason is Reason.EXPULSION_WAITS


# --- contradictions --------------------------------------------------------------------------------------------


def votes(height: int, slot: int) -> tuple[VoteStatement, VoteStatement]:
    """Two votes for different blocks."""
    first, second = (
        VoteStatement(domain=HOMES.chain, height=Height(height), slot=Slot(slot), block=block)  # type: ignore[arg-type]
        for block in (ONE_BLOCK, ANOTHER_BLOCK)
    )
    return first, second


def contradicted(member: int, height: int, slot: int, *, key: SigningKey | None = None) -> ReportMisconduct:
    """Two votes of a member for different blocks."""
    signing = KEYS[member] if key is None else key
    first, second = (
        SignedStatement(statement=one, signature=signing.sign(encode(one))) for one in votes(height, slot)
    )
    evidence = Equivocation(offender=A[member], era=FIRST_ERA, first=first, second=second)
    return ReportMisconduct(evidence=evidence)


def once_proven() -> DictChain:
    """A chain of height 3 and slot 3 that has the first proof against member 6."""
    chain = DictChain(HOMES)
    chain.block()
    chain.block()
    assert sent(chain, 0, contradicted(6, 2, 2)).status is Status.EXECUTED
    first = chain.read(first_proof_key(A[6]), FirstProof)
    assert first == FirstProof(node_key=KEYS[6].public_key, height=Height(3), slot=Slot(3))
    return chain


def test_one_contradiction_suspends_and_removes_nobody() -> None:
    chain = once_proven()
    assert chain.score(6).is_suspended
    chain.block(slot=chain.slot + 2 * WAIT)
    assert members_of(chain) == list(range(7))


def test_a_home_that_was_restored_from_an_old_copy_stays_a_member() -> None:
    """Accident: all that it signed twice lies at heights that were undecided when it was copied."""
    for slot in (4, 3 + WAIT, 3 + 5 * WAIT):
        chain = once_proven()
        for height in (1, 3):
            assert sent(chain, 0, contradicted(6, height, slot), slot=chain.slot + 6 * WAIT).status is Status.EXECUTED
        assert (members_of(chain), waiting(chain)) == (list(range(7)), [])


def test_two_processes_with_one_key_have_a_waiting_time_to_be_ended() -> None:
    chain = once_proven()
    chain.block((0, contradicted(6, 4, 2 + WAIT)), slot=3 + 2 * WAIT)
    assert members_of(chain) == list(range(7))
    chain.block((0, contradicted(6, 5, 3 + WAIT)), slot=3 + 2 * WAIT + 1)
    assert members_of(chain) == list(range(6)), "it went on"
    last = queue_of(chain).last
    assert isinstance(last, Removal)
    assert (last.cause, last.node_key) == (RemovalCause.EQUIVOCATED, KEYS[6].public_key)


def test_would_remove_says_what_reporting_does() -> None:
    chain, genesis = once_proven(), HOMES.genesis
    for height, slot, removes in ((3, 3 + WAIT, False), (4, 2 + WAIT, False), (4, 3 + WAIT, True)):
        evidence = contradicted(6, height, slot).evidence
        assert isinstance(evidence, Equivocation)
        assert would_remove(Overlay(chain.state), evidence, genesis) is removes
    chain.block((0, revocation_of(5)), (0, contradicted(6, 4, 3 + WAIT)))
    assert waiting(chain) == [(6, RemovalCause.EQUIVOCATED, Hindrance.ONE_IS_PENDING)]
    evidence = contradicted(6, 5, 3 + WAIT).evidence
    assert isinstance(evidence, Equivocation)
    assert not would_remove(Overlay(chain.state), evidence, genesis), "it waits already"


def test_a_stolen_old_key_removes_nobody() -> None:
    """Attack: a thief of the key that a home has replaced signs for the heights that it was the home's at."""
    chain = once_proven()
    chain.block()
    give_key(chain, 6, seeded_key("new-home", 6))
    for height in (4, 5):
        sent(chain, 0, contradicted(6, height, 3 + WAIT), slot=chain.slot + WAIT)
    assert members_of(chain) == list(range(7))
    assert chain.read(first_proof_key(A[6]), FirstProof).height == 3


def test_with_another_key_the_first_contradiction_is_the_first_again() -> None:
    chain = once_proven()
    new = seeded_key("new-home", 6)
    give_key(chain, 6, new)
    for ahead in (3, 4):
        chain.block(slot=chain.slot + 2 * WAIT)
        sent(chain, 0, contradicted(6, chain.height, chain.slot, key=new))
        assert len(members_of(chain)) == (7 if ahead == 3 else 6)


# --- what a removal leaves to whom -----------------------------------------------------------------------------


def removed_with(chain: DictChain, *actions: tuple[int, Action]) -> None:
    """Removes member 2 in the block of some actions."""
    chain.block(*actions, (1, revocation_of(2)))
    assert 2 not in members_of(chain)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (SetLeaving(leaving=True), Reason.LEAVE_NOT_MEMBER),
        (SetStake(staked=0), Reason.STAKE_NOT_MEMBER),
        (signed_reading(HOMES, 2, 500), Reason.READING_FOREIGN_METER),
        (signed_forward(HOMES, 2, 3, 100), Reason.TRADE_UNKNOWN_PARTY),
        (signed_forward(HOMES, 3, 2, 100), Reason.TRADE_UNKNOWN_PARTY),
        (Propose(subject=Expulsion(member=A[1])), Reason.PROPOSAL_NOT_MEMBER),
    ],
)
def test_who_was_removed_takes_no_part_but_keeps_its_wallet(action: Action, reason: Reason) -> None:
    chain = DictChain(HOMES)
    removed_with(chain)
    receipt = sent(chain, 2, action)
    assert (receipt.reason, receipt.fault) == (reason, None)
    chain.block((2, transfer(HOMES, 1, 5)), (1, transfer(HOMES, 2, 7)))
    assert chain.account(2).available_micro == HOMES.genesis.members[2].tokens_micro + 2


@pytest.mark.parametrize(("seller", "buyer"), [(2, 3), (3, 2)])
def test_what_it_promised_is_settled_as_of_who_does_not_deliver(seller: int, buyer: int) -> None:
    chain = DictChain(HOMES)
    terms = forward_terms(HOMES, seller, buyer, 100)
    trade = trade_id(terms)
    chain.block((3, sign_trade(terms, seller=KEYS[seller], buyer=KEYS[buyer])))
    before = [chain.account(member) for member in range(7)]
    assert before[buyer].held_micro > 0
    removed_with(chain, (3, signed_reading(HOMES, 3, 500 if seller == 3 else -500)))
    score = chain.score(3).value
    chain.block(slot=EXPIRY_SLOT + 1)
    ended = chain.read(trade_key(trade), Trade)
    assert (ended.status, ended.delivered_wh) == (TradeStatus.EXPIRED, 0)
    assert chain.account(buyer).held_micro == 0
    assert chain.account(buyer).available_micro == before[buyer].available_micro + before[buyer].held_micro
    assert (chain.score(3).value >= score, chain.score(2).value < score) == (True, True), "the fault is its own"
    totals = read_totals(chain.state)
    assert (totals.escrow_wh, totals.reserved_wh, totals.held_micro) == (0, 0, 0)
    assert conserved(totals, sum_tokens(chain.state, HOMES.genesis))


def test_what_both_reported_before_is_delivered_and_paid() -> None:
    chain = DictChain(HOMES)
    chain.block((3, signed_forward(HOMES, 2, 3, 100)))
    paid = chain.account(2).available_micro
    removed_with(chain, (2, signed_reading(HOMES, 2, 500)))
    chain.block((3, signed_reading(HOMES, 3, -500)))
    assert chain.account(2).available_micro > paid


def test_its_debt_stays_and_holds_no_removal_up() -> None:
    chain = DictChain(HOMES)
    chain.state[debt_key(A[2])] = encode(Debt(owed_micro=MicroTokens(70)))
    chain.block((3, signed_forward(HOMES, 2, 3, 100)))
    removed_with(chain)
    assert decode(chain.state[debt_key(A[2])], Debt).owed_micro == 70


@pytest.mark.parametrize("who", [2, 3])
def test_nobody_promises_anything_with_who_has_to_go(who: int) -> None:
    few = homes(3)
    chain = DictChain(few)
    sent(chain, 1, revocation_of(2, few))
    other = 1 if who == 2 else 0
    contract = signed_forward(few, 2, other, 100) if who == 2 else signed_forward(few, other, 2, 100)
    assert sent(chain, other, contract).reason is Reason.TRADE_MEMBER_LEAVING


def test_its_approvals_count_no_more() -> None:
    chain = DictChain(HOMES)
    name = expel(chain, 6, proposer=0, approvers=(1, 2))
    removed_with(chain)  # of the six that are left four must approve
    sent(chain, 3, Approve(proposer=A[0], proposal=name))
    assert status(chain, 0) is ProposalStatus.OPEN
    sent(chain, 4, Approve(proposer=A[0], proposal=name))
    assert status(chain, 0) is ProposalStatus.APPROVED


# --- eras ------------------------------------------------------------------------------------------------------


def test_a_removal_that_was_not_in_force_at_the_base_is_carried_out_by_the_era() -> None:
    """And the waiting time of the authority's words does not hold up what was undone."""
    chain = DictChain(HOMES)
    chain.block()
    removed_with(chain)
    members = tuple((address, key.public_key) for address, key in zip(A, KEYS, strict=True))
    chain.block(beginning=EraBeginning(starts=(), base=Height(chain.height), members=members))
    assert members_of(chain) == [0, 1, 3, 4, 5, 6]
    known = chain.read(MEMBER_LIST_KEY, MemberList)
    assert A[2] in dict(known.at(Height(chain.height + 1)))


# --- form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", RevocationReason)
def test_every_reason_travels(reason: RevocationReason) -> None:
    revocation = Revocation(chain=HOMES.chain, node_key=KEYS[2].public_key, reason=reason)
    action = Revoke(revocation=revocation, signature=HOMES.authority_key.sign(encode(revocation)))
    assert decode(encode(action), Revoke) == action
    assert len(raw_transaction(HOMES, 1, action, nonce=2**63 - 1)) <= TRANSACTION_SIZE_BYTES_MAX
    assert sent(DictChain(HOMES), 1, action).status is Status.EXECUTED
