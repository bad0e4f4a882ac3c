"""M(h) for every height: fixed by block h - 2, committed to by its header, remembered by the state.

The chain is `ChangingChain`: changes at heights 4, 7 and 10.
"""

import pytest
from msgspec.structs import replace

from consensus.identifiers import Height
from ledger.block import block_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from tests.support.changing_members import ChangingChain, certify_by, changing_chain, member_list

LAST = 12


@pytest.fixture
def chain(tmp_path):
    with changing_chain(tmp_path / "ledger") as made:
        yield made


def grown(chain: ChangingChain, height: int = LAST) -> ChangingChain:
    while chain.ledger.height < height:
        chain.grow()
    return chain


def test_a_block_fixes_the_set_of_two_heights_later(chain):
    for height in range(LAST):
        both = chain.ledger.memberships()
        assert both.undecided.members == chain.set_of(height + 1).members
        assert both.following.members == chain.set_of(height + 2).members
        chain.grow()


def test_a_header_commits_to_the_set_that_its_block_fixes(chain):
    grown(chain)
    for height in range(1, LAST + 1):
        header = chain.ledger.block(Height(height)).header
        assert header.membership == chain.set_of(height + 2).digest()


def test_the_state_remembers_the_set_of_every_height(chain):
    grown(chain)
    for height in range(1, LAST + 3):
        assert chain.ledger.membership_at(Height(height)).members == chain.set_of(height).members
    members = member_list(chain.ledger)
    second = chain.community.addresses[1]
    assert members.key_at(second, Height(6)) == chain.community.node_keys[1].public_key
    assert members.key_at(second, Height(7)) == chain.rotated.public_key
    assert members.key_at(chain.fifth.address, Height(3)) is None
    assert members.key_at(chain.community.addresses[0], Height(9)) is not None
    assert members.key_at(chain.community.addresses[0], Height(10)) is None
    assert members.addresses == chain.set_of(LAST).addresses


@pytest.mark.parametrize("changed", [4, 7, 10])
def test_a_certificate_by_the_set_of_another_height_does_not_make_the_next_block_valid(chain, changed):
    """The parent's certificate counts under the members of the parent's height, at every height of a change."""
    grown(chain, changed - 1)
    block = chain.builder.build()
    assert block.header.height == changed
    before = chain.set_of(changed - 1)
    wrong = certify_by(chain.ledger, block, [chain.keys[key] for _, key in before.members[: before.quorum]])
    right = certify_by(chain.ledger, block, chain.signers(changed))
    assert wrong != right
    chain.ledger.append(block, wrong)  # consensus verifies it, the ledger only when the next block carries it
    following = chain.builder.build()
    chain.ledger._executed.clear()  # as with any other leader's block
    refusal = chain.ledger.check(following)
    assert refusal.reason is BlockRefusalReason.PARENT_CERTIFICATE


def test_leaders_follow_the_set_of_the_height(chain):
    for height in range(1, LAST + 1):
        block = chain.builder.build()
        members = chain.set_of(height).addresses
        assert block.header.leader == members[block.header.slot % len(members)]
        wrong = replace(block, header=replace(block.header, leader=members[(block.header.slot + 1) % len(members)]))
        assert chain.ledger.check(wrong).reason is BlockRefusalReason.NOT_THE_LEADER
        chain.grow()


@pytest.mark.parametrize("height", range(1, LAST + 1))
def test_a_ledger_is_whole_wherever_it_is_closed_and_opened_again(chain, height):
    grown(chain, height)
    before = chain.ledger.memberships()
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None)
    assert (report.damage, report.heights_checked) == ((), height)
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis)
    both = chain.ledger.memberships()
    assert both.undecided.members == before.undecided.members
    assert both.following.members == before.following.members
    chain.grow()


def test_a_stored_certificate_of_another_set_is_found_at_the_start(chain):
    grown(chain, 9)
    block = chain.builder.build()
    homes = chain.community.node_keys
    chain.ledger.append(block, certify_by(chain.ledger, block, [homes[0], homes[2], homes[3]]))  # home 1 has left
    chain.ledger.close()
    with pytest.raises(LedgerDamaged, match="the certificate does not decide the block"):
        Ledger.open(chain.directory, chain.community.genesis)


def test_a_block_that_claims_another_set_is_refused(chain):
    block = grown(chain, 1).builder.build()
    assert block.header.height == 2
    wrong = replace(block, header=replace(block.header, membership=chain.set_of(1).digest()))
    assert chain.ledger.check(wrong).reason is BlockRefusalReason.MEMBERSHIP
    assert block_digest(wrong.header) != block_digest(block.header)


def test_who_has_a_key_is_said_by_the_state(chain):
    """Also whose it was: who left may still ask what was decided. A key that its member has no more is nobody's."""
    for height in range(LAST):
        both = (chain.set_of(height + 1), chain.set_of(height + 2))
        earlier = [chain.set_of(number) for number in range(1, height + 1)]
        for key in chain.keys.values():
            present = next((found for members in both if (found := members.member_of(key.public_key))), None)
            past = next((found for members in earlier if (found := members.member_of(key.public_key))), None)
            left = None if any(past in members for members in both) else past
            assert chain.ledger.member_of(key.public_key) == (present or left)
        chain.grow()
