"""What is kept of received statements, and which of them add up."""

from collections import Counter

import pytest

from consensus.cryptography import HashKind, digest
from consensus.identifiers import Address, Digest, Height, Signature, Slot
from consensus.messages import Prepare
from consensus.tally import SLOTS_PER_SIGNER_MAX, Tally, quorum_for_block
from tests.support.consensus import BLOCK_A, BLOCK_B, Members

FOUR = Members(4)


def tally(*votes: Prepare) -> Tally[Prepare]:
    result: Tally[Prepare] = Tally()
    for vote in votes:
        result.add(vote)
    return result


def unsigned_vote(signer: Address, block: Digest) -> Prepare:
    return Prepare(height=Height(1), slot=Slot(5), block=block, signer=signer, signature=Signature(bytes(64)))


@pytest.mark.parametrize("slots", [range(1_000), range(999, -1, -1)])
def test_a_signer_keeps_its_two_highest_slots_whatever_it_sends(slots: range) -> None:
    result = tally(*(FOUR.vote(0, slot) for slot in slots))
    assert sorted(vote.slot for vote in result.of(FOUR.address(0))) == [998, 999]
    assert result.slots() == {998, 999}
    assert len(list(result)) == SLOTS_PER_SIGNER_MAX


def test_one_signer_never_pushes_out_anothers_statement() -> None:
    result = tally(FOUR.vote(1, 3), *(FOUR.vote(0, slot) for slot in range(100)))
    assert result.of(FOUR.address(1)) == (FOUR.vote(1, 3),)


def test_the_first_statement_of_a_slot_stays_and_is_returned() -> None:
    result: Tally[Prepare] = Tally()
    assert result.add(FOUR.vote(0, 5, BLOCK_A)) is None
    assert result.add(FOUR.vote(0, 5, BLOCK_B)) == FOUR.vote(0, 5, BLOCK_A)
    assert result.of(FOUR.address(0)) == (FOUR.vote(0, 5, BLOCK_A),)


def test_a_replacement_takes_only_the_place_of_a_kept_statement() -> None:
    result = tally(FOUR.vote(0, 5, BLOCK_A))
    result.replace(FOUR.vote(0, 5, BLOCK_B))
    assert result.of(FOUR.address(0)) == (FOUR.vote(0, 5, BLOCK_B),)
    with pytest.raises(AssertionError):
        result.replace(FOUR.vote(0, 6))


def test_statements_of_one_slot_come_sorted_by_signer() -> None:
    result = tally(*(FOUR.vote(member, 5) for member in (2, 0, 3, 1)))
    assert [vote.signer for vote in result.at(Slot(5))] == sorted(FOUR.membership.addresses)
    assert result.at(Slot(6)) == []


def test_highest_slots_are_per_signer() -> None:
    result = tally(FOUR.vote(0, 1), FOUR.vote(0, 7), FOUR.vote(1, 3))
    assert result.highest_slots() == {FOUR.address(0): 7, FOUR.address(1): 3}


def test_exactly_a_quorum_is_taken_sorted_by_signer() -> None:
    found = quorum_for_block(tally(*(FOUR.vote(member, 5) for member in range(4))), 3)
    assert found is not None
    slot, block, endorsements = found
    assert (slot, block) == (5, BLOCK_A)
    signers = [one.signer for one in endorsements]
    assert len(set(signers)) == 3
    assert signers == sorted(signers)


@pytest.mark.parametrize("held", [4, 10, 68])
def test_nobody_is_left_out_of_the_certificates_of_sixteen_blocks_in_a_row(held: int) -> None:
    """Whose COMMITs are held: of one more than a quorum, and of all members."""
    members, quorum = Members(held), held - 1 if held in {4, 68} else 7
    seen: Counter[Address] = Counter()
    last = dict.fromkeys((members.address(number) for number in range(held)), 0)
    for height in range(1, 400):
        block = digest(HashKind.BLOCK, height.to_bytes(4))
        found = quorum_for_block(tally(*(unsigned_vote(address, block) for address in last)), quorum)
        assert found is not None
        for endorsement in found[2]:
            seen[endorsement.signer] += 1
            last[endorsement.signer] = height
        assert min(last.values()) > height - 16
    assert min(seen.values()) > 400 * quorum / held * 0.8


def test_who_voted_for_another_block_is_not_among_the_endorsers() -> None:
    first, *others = sorted(range(4), key=FOUR.address)
    votes = [FOUR.vote(first, 5, BLOCK_B), *(FOUR.vote(member, 5) for member in others)]
    found = quorum_for_block(tally(*votes), 3)
    assert found is not None
    assert [one.signer for one in found[2]] == [FOUR.address(member) for member in others]


def test_one_vote_less_is_no_quorum() -> None:
    assert quorum_for_block(tally(FOUR.vote(0, 5), FOUR.vote(1, 5)), 3) is None


def test_votes_of_different_slots_never_add_up() -> None:
    assert quorum_for_block(tally(FOUR.vote(0, 5), FOUR.vote(1, 5), FOUR.vote(2, 6)), 3) is None


def test_votes_for_different_blocks_never_add_up() -> None:
    assert quorum_for_block(tally(FOUR.vote(0, 5), FOUR.vote(1, 5), FOUR.vote(2, 5, BLOCK_B)), 3) is None


def test_the_highest_slot_with_a_quorum_is_found() -> None:
    votes = [FOUR.vote(member, slot) for slot in (5, 9) for member in range(3)]
    found = quorum_for_block(tally(*votes, FOUR.vote(3, 12, digest(HashKind.BLOCK, b"other"))), 3)
    assert found is not None
    assert found[0] == 9
