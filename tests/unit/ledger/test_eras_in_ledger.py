"""The chain through ceremonies: domains, members, the carried block, the block that says why, and nothing else."""

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import Departure, Plan, plan_digest
from consensus.identifiers import EraNumber, Height
from contracts.state import ERAS_KEY, EraTable, Member, member_key, validity_key
from contracts.validity_records import Validity
from ledger.block import block_digest, ceremony_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from tests.support.begun_eras import ErasChain
from tests.support.changing_members import certify_by, member_list
from tests.support.contracts import raw_transaction, transfer

BASE = 3


@pytest.fixture
def chain(tmp_path):
    made = ErasChain(tmp_path / "ledger")
    while made.ledger.height < BASE:
        made.grow([made.builder.transfer(2, 3, 1)])
    yield made
    made.ledger.close()


def departures(chain: ErasChain) -> list[Departure]:
    """Home 1 gets another node key."""
    new = SigningKey(b"\x07" * 32).of_member(chain.community.addresses[0])
    chain.keys[new.public_key] = new
    return [Departure(address=new.address, node_key=new.public_key)]


def gone(chain: ErasChain) -> list[Departure]:
    return [Departure(address=chain.community.addresses[3], node_key=None)]


def is_whole(chain: ErasChain) -> bool:
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None, begun=chain.begun)
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis, begun=chain.begun)
    return report.damage == () and report.heights_checked == chain.ledger.height


def refusal(chain: ErasChain, block) -> BlockRefusalReason | None:  # type: ignore[no-untyped-def]
    chain.ledger._executed.clear()
    found = chain.ledger.check(block)
    return None if found is None else found.reason


@pytest.mark.parametrize("who", [departures, gone])
def test_an_era_begins_above_its_base_with_its_members(chain, who):
    old = chain.ledger.membership()
    chain.begin(chain.plan(1, absent=who(chain)))
    new = chain.begun[0].proof.plan.members
    assert new != old.members
    assert chain.ledger.eras.newest.number == 1
    for height in range(1, BASE + 6):
        expected = old.members if height <= BASE else new
        if height <= chain.ledger.height + 2:
            assert chain.ledger.membership_at(Height(height)).members == expected
    while chain.ledger.height < BASE + 4:
        block = chain.grow([chain.builder.transfer(2, 1, 1)])
        assert block.header.era == 1
        assert (block.ceremony is not None) is (block.header.height == BASE + 1)
        assert is_whole(chain)
    for height in range(1, BASE + 7):
        expected = old.members if height <= BASE else new
        assert chain.ledger.membership_at(Height(height)).members == expected
    stored = decode(chain.ledger.get(ERAS_KEY), EraTable)
    assert stored.starts == chain.ledger.eras.starts
    for height in (BASE, BASE + 1):
        assert member_list(chain.ledger).at(Height(height)) == (old.members if height == BASE else new)


def test_a_replaced_home_signs_contracts_under_its_new_key(chain):
    chain.begin(chain.plan(1, absent=departures(chain)))
    first = chain.community.addresses[0]
    assert decode(chain.ledger.get(member_key(first)), Member).node_key == chain.community.node_keys[0].public_key
    chain.grow()
    assert decode(chain.ledger.get(member_key(first)), Member).node_key in {
        key for _, key in chain.begun[0].proof.plan.members
    }
    assert chain.ledger.member_of(chain.community.node_keys[0].public_key) is None


def ends_after(chain: ErasChain, *until_ms: int) -> tuple[Validity, list[Plan]]:
    """Ceremonies replace home 1, one after the other, without a block between them; returns what the state after the
    next block knows of its certificate, and the plans.
    """
    for number, one in enumerate(until_ms, 1):
        new = SigningKey(bytes([number]) * 32).of_member(chain.community.addresses[0])
        chain.keys[new.public_key] = new
        departure = Departure(address=new.address, node_key=new.public_key, valid_until_ms=one)
        chain.begin(chain.plan(number, absent=[departure]))
    chain.grow()
    assert is_whole(chain)
    known = decode(chain.ledger.get(validity_key(chain.community.addresses[0])), Validity)
    return known, [one.proof.plan for one in chain.begun]


def test_the_state_knows_when_the_certificate_of_a_new_home_ends(chain):
    known, (plan,) = ends_after(chain, 2**50)
    assert known == Validity(until_ms=2**50, reference=plan_digest(plan), going_slot=None)


def test_the_end_of_a_home_that_was_replaced_once_more_is_nobodys(chain):
    known, plans = ends_after(chain, 2**50, 2**49)
    assert known == Validity(until_ms=2**49, reference=plan_digest(plans[-1]), going_slot=None)


def test_a_replaced_home_spends_by_its_new_key_and_by_no_other(chain):
    """From the block after the one that begins the era on: what a block may contain, the state before it says."""
    (replaced,) = departures(chain)
    chain.begin(chain.plan(1, absent=[replaced]))
    chain.grow()
    old, new = chain.community.node_keys[0], chain.keys[replaced.node_key]
    action = transfer(chain.community, 1, 7)
    nonce = chain.ledger.last_nonce(old.address) + 1

    def signed(key: SigningKey, nonce: int) -> bytes:
        return raw_transaction(chain.community, key, action, nonce=nonce)

    built = chain.builder.build([signed(old, nonce), signed(new, nonce), signed(new, nonce + 1)])
    assert built.transactions == (signed(new, nonce), signed(new, nonce + 1))
    forged = replace(built, transactions=(signed(old, nonce),))
    assert refusal(chain, forged) is not None
    chain.ledger.append(built, certify_by(chain.ledger, built, chain.signers(built.header.height)))
    assert [receipt.sender for receipt in chain.ledger.receipts(chain.ledger.height)] == [old.address] * 2
    assert is_whole(chain)


def test_blocks_of_the_old_era_do_not_go_on_and_those_of_the_new_say_why(chain):
    old = chain.builder.build()
    chain.begin(chain.plan(1))
    assert refusal(chain, old) is BlockRefusalReason.WRONG_ERA
    first = chain.builder.build()
    bare = replace(first, ceremony=None, header=replace(first.header, ceremony=ceremony_digest(None)))
    assert refusal(chain, bare) is BlockRefusalReason.CEREMONY
    few = replace(first.ceremony, joins=first.ceremony.joins[:2])
    alone = replace(first, ceremony=few, header=replace(first.header, ceremony=ceremony_digest(few)))
    assert refusal(chain, alone) is BlockRefusalReason.CEREMONY
    other = replace(first.ceremony, plan=replace(first.ceremony.plan, base=Height(1)))
    lie = replace(first, ceremony=other, header=replace(first.header, ceremony=ceremony_digest(other)))
    assert refusal(chain, lie) is BlockRefusalReason.CEREMONY
    assert refusal(chain, first) is None
    chain.grow()
    second = chain.builder.build()
    again = replace(
        second, ceremony=first.ceremony, header=replace(second.header, ceremony=ceremony_digest(first.ceremony))
    )
    assert refusal(chain, again) is BlockRefusalReason.CEREMONY


@pytest.mark.parametrize("key", [None, SigningKey(b"\x08" * 32)])
def test_the_block_that_says_why_has_the_authoritys_word_on_who_was_absent(chain, key):
    chain.begin(chain.plan(1, absent=gone(chain)))
    first = chain.builder.build()
    unsigned = replace(first.ceremony, authority=None if key is None else key.sign(encode(first.ceremony.plan)))
    forged = replace(first, ceremony=unsigned, header=replace(first.header, ceremony=ceremony_digest(unsigned)))
    assert refusal(chain, forged) is BlockRefusalReason.CEREMONY
    assert refusal(chain, first) is None


@pytest.mark.parametrize("who", [gone, lambda _: []])
def test_who_has_the_state_believes_no_quorum_that_names_another_key_of_the_authority(chain, who):
    signed, other = chain.plan(1, absent=who(chain)), SigningKey(b"\x08" * 32)
    plan = replace(signed.plan, authority=other.public_key)
    chain.begin(replace(signed, plan=plan, authority=other.sign(encode(plan))))
    assert refusal(chain, chain.builder.build()) is BlockRefusalReason.CEREMONY
    chain.grow()  # who built it appends it unchecked
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None, begun=chain.begun)
    assert "for the authority's key its plan has" in str(report.damage[0])


def carrying(chain: ErasChain, who=gone):  # type: ignore[no-untyped-def]
    """A block was prepared above the base; era 1 carries it."""
    block = chain.builder.build([chain.builder.transfer(1, 2, 5)])
    chain.begin(chain.plan(1, absent=who(chain), prepared=chain.prepared(block)))
    assert chain.begun[0].proof.plan.carried == block_digest(block.header)
    return block


@pytest.mark.parametrize("who", [departures, gone, lambda _: []])
def test_the_carried_block_keeps_its_bytes_and_is_decided_in_the_new_era_by_its_members(chain, who):
    block = carrying(chain, who)
    members = chain.begun[0].proof.plan.members
    assert chain.ledger.carried == encode(block)
    assert chain.builder.build() == block
    assert refusal(chain, block) is None
    chain.grow()
    stored = chain.ledger.certificate(Height(BASE + 1))
    assert (chain.ledger.block(Height(BASE + 1)), stored.era, block.header.era) == (block, 1, 0)
    assert chain.ledger.carried is None
    assert chain.ledger.memberships().undecided.members == chain.ledger.memberships().following.members == members
    assert is_whole(chain)
    while chain.ledger.height < BASE + 5:
        following = chain.grow()
        assert (following.ceremony is not None) is (following.header.height == BASE + 2)
        assert is_whole(chain)
    for height in range(1, BASE + 8):
        expected = members if height > BASE else chain.ledger.membership_at(Height(BASE)).members
        assert chain.ledger.membership_at(Height(height)).members == expected


def test_no_other_block_takes_the_carried_ones_place(chain):
    other = chain.builder.build()
    block = carrying(chain)
    assert block != other
    assert refusal(chain, other) is BlockRefusalReason.NOT_CARRIED
    changed = replace(block, header=replace(block.header, era=EraNumber(1)))
    assert refusal(chain, changed) is BlockRefusalReason.NOT_CARRIED


def test_a_certificate_of_the_old_era_for_the_carried_block_does_not_count_any_more(chain):
    block = chain.builder.build()
    old = certify_by(chain.ledger, block, chain.signers(BASE + 1))
    chain.begin(chain.plan(1, prepared=chain.prepared(block)))
    chain.ledger.append(block, old)  # as a home that was away has it
    following = chain.builder.build()
    assert refusal(chain, following) is BlockRefusalReason.PARENT_CERTIFICATE
    chain.ledger.close()
    with pytest.raises(LedgerDamaged, match="of era 0, height 4 is of era 1"):
        Ledger.open(chain.directory, chain.community.genesis, begun=chain.begun)
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis)


def test_two_ceremonies_one_after_the_other(chain):
    chain.begin(chain.plan(1, absent=departures(chain)))
    chain.grow()
    chain.grow()
    chain.begin(chain.plan(2, absent=gone(chain)))
    chain.grow()
    chain.grow()
    assert [chain.ledger.block(Height(height)).header.era for height in range(1, 8)] == [0, 0, 0, 1, 1, 2, 2]
    assert is_whole(chain)
    stored = decode(chain.ledger.get(ERAS_KEY), EraTable)
    assert [start.number for start in stored.starts] == [1, 2]
    sizes = [len(chain.ledger.membership_at(Height(height))) for height in range(1, 10)]
    assert sizes == [4] * 5 + [3] * 4


def test_an_era_that_never_came_to_a_block_of_its_own_is_remembered(chain):
    block = carrying(chain, lambda _: [])
    chain.grow()
    assert decode(chain.ledger.get(ERAS_KEY), EraTable).starts == ()
    chain.begin(chain.plan(2, absent=gone(chain)))
    assert (chain.begun[1].base, block.header.height) == (BASE + 1, BASE + 1)
    chain.grow()
    assert [start.number for start in decode(chain.ledger.get(ERAS_KEY), EraTable).starts] == [1, 2]
    assert is_whole(chain)


def test_without_the_homes_files_a_chain_with_a_ceremony_is_not_the_whole_one(chain):
    chain.begin(chain.plan(1))
    chain.grow()
    chain.ledger.close()
    with pytest.raises(LedgerDamaged, match="era"):
        Ledger.open(chain.directory, chain.community.genesis)
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None)
    assert any("era" in str(line) for line in report.damage)
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis, begun=chain.begun)
