"""Keys of offices: who replaces them, by which keys, and who acts afterwards."""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import EraStart
from consensus.identifiers import Address, EraNumber, Height
from contracts.member_records import KeyOwner
from contracts.office_records import Office, OfficeName
from contracts.offices import acting_key, office_addresses
from contracts.receipts import Reason, Receipt, Status
from contracts.run import EraBeginning
from contracts.state import Account, Member, Overlay, account_key, member_key, office_key, used_key
from contracts.state_reading import conserved, sum_tokens
from contracts.transactions import OfficeSuccessor, ReplaceOfficeKey, office_successor
from tests.support.contracts import DictChain, make_genesis, seeded_key, transfer
from tests.unit.contracts.test_issuing import issue

HOMES = make_genesis(4, tokens_micro=100)
OFFICES = {
    OfficeName.AUTHORITY: HOMES.authority_key,
    OfficeName.ISSUER: HOMES.issuer_key,
    OfficeName.GRID: HOMES.grid_key,
}
ISSUER = HOMES.issuer_key
NEXT, LATER = (seeded_key("successor", index) for index in range(2))


def replacement(office: Address, key: SigningKey) -> ReplaceOfficeKey:
    return ReplaceOfficeKey(successor=office_successor(HOMES.chain, office, key))


def send(chain: DictChain, sender: int | SigningKey, action: ReplaceOfficeKey) -> Receipt:
    """Sends it in a block of its own; what is declined must change nothing but the sender's nonce."""
    before = dict(chain.state)
    (receipt,) = chain.block((sender, action)).receipts
    if receipt.status is Status.DECLINED:
        changed = {key for key, value in chain.state.items() if before.get(key) != value}
        assert not {key for key in changed if key[:1] in (b"K", b"U")}
    assert receipt.fault is None
    return receipt


def office(chain: DictChain, address: Address) -> Office:
    return chain.read(office_key(address), Office)


@pytest.mark.parametrize("name", OfficeName)
def test_genesis_gives_each_office_its_first_key_and_an_account_without_tokens(name: OfficeName) -> None:
    chain, key = DictChain(HOMES), OFFICES[name]
    assert office_addresses(HOMES.genesis)[name] == key.address
    assert office(chain, key.address) == Office(
        name=name, key=key.public_key, first_height=Height(1), waiting=None, objected_slot=None
    )
    assert chain.read(account_key(key.address), Account).available_micro == 0


@pytest.mark.parametrize("name", OfficeName)
def test_the_owner_replaces_the_key_and_the_office_keeps_its_name(name: OfficeName) -> None:
    chain, first = DictChain(HOMES), OFFICES[name]
    chain.block()
    assert send(chain, first, replacement(first.address, NEXT)).status is Status.EXECUTED
    assert office(chain, first.address) == Office(
        name=name, key=NEXT.public_key, first_height=Height(3), waiting=None, objected_slot=None
    )
    for key in (first, NEXT):
        assert chain.read(used_key(key.public_key), KeyOwner).owner == first.address
    assert acting_key(Overlay(chain.state), first.address) == NEXT.public_key
    assert acting_key(Overlay(chain.state), NEXT.address) is None  # the key has no address of its own
    for other in set(OFFICES.values()) - {first}:
        assert acting_key(Overlay(chain.state), other.address) == other.public_key


def test_no_member_acts_for_an_office_by_the_key_that_names_it() -> None:
    """A thief keeps the first key, whose hash is the office's address: a member of that address must not be it."""
    chain = DictChain(HOMES)
    send(chain, ISSUER, replacement(ISSUER.address, NEXT))
    thief = replace(chain.read(member_key(HOMES.addresses[0]), Member), node_key=ISSUER.public_key)
    chain.state[member_key(ISSUER.address)] = encode(thief)
    assert acting_key(Overlay(chain.state), ISSUER.address) == NEXT.public_key


def test_wallet_and_rights_stay_with_the_name() -> None:
    chain = DictChain(HOMES)
    chain.block((ISSUER, issue(ISSUER.address, 70)), (ISSUER, replacement(ISSUER.address, NEXT)))
    receipts = chain.block(
        (NEXT.of_member(ISSUER.address), issue(HOMES.addresses[0], 5)),
        (NEXT.of_member(ISSUER.address), transfer(HOMES, 1, 70)),
    ).receipts
    assert [receipt.reason for receipt in receipts] == [Reason.NONE, Reason.NONE]
    assert [chain.account(member).available_micro for member in (0, 1)] == [105, 170]
    assert conserved(chain.totals(), sum_tokens(chain.state, HOMES.genesis))


def test_the_old_key_ends_with_the_replacement_in_the_same_block() -> None:
    chain = DictChain(HOMES)
    receipts = chain.block(
        (ISSUER, issue(HOMES.addresses[0], 1)),
        (ISSUER, replacement(ISSUER.address, NEXT)),
        (ISSUER, issue(HOMES.addresses[0], 2)),
        (ISSUER, replacement(ISSUER.address, LATER)),
    ).receipts
    reasons = [receipt.reason for receipt in receipts]
    assert reasons == [Reason.NONE, Reason.NONE, Reason.SENDER_KEY_REPLACED, Reason.SENDER_KEY_REPLACED]
    assert chain.account(0).available_micro == 101
    assert office(chain, ISSUER.address).key == NEXT.public_key


def test_a_key_that_a_member_had_is_no_offices() -> None:
    chain = DictChain(HOMES)
    keys = [(key.address, key.public_key) for key in HOMES.node_keys[1:]]
    start = EraStart(number=EraNumber(1), base=Height(0), plan=HOMES.chain)
    members = ((HOMES.addresses[0], LATER.public_key), *keys)
    chain.block(beginning=EraBeginning(starts=(start,), base=Height(0), members=members))
    for key in (HOMES.node_keys[0], LATER):
        receipt = send(chain, ISSUER, replacement(ISSUER.address, key))
        assert receipt.reason is Reason.OFFICE_KEY_USED_BEFORE


def test_a_members_replaced_key_ends_with_the_block_that_begins_the_era() -> None:
    chain = DictChain(HOMES)
    keys = [(key.address, key.public_key) for key in HOMES.node_keys[1:]]
    beginning = EraBeginning(
        starts=(EraStart(number=EraNumber(1), base=Height(0), plan=HOMES.chain),),
        base=Height(0),
        members=((HOMES.addresses[0], NEXT.public_key), *keys),
    )
    (receipt,) = chain.block((0, transfer(HOMES, 1, 10)), beginning=beginning).receipts
    assert receipt.reason is Reason.SENDER_KEY_REPLACED
    assert chain.account(1).available_micro == 100


@pytest.mark.parametrize("sender", [0, HOMES.grid_key, HOMES.authority_key])
def test_nobody_replaces_the_key_of_another_office(sender: int | SigningKey) -> None:
    receipt = send(DictChain(HOMES), sender, replacement(ISSUER.address, NEXT))
    assert receipt.reason is Reason.OFFICE_NOT_SENDER


def test_a_member_is_no_office() -> None:
    receipt = send(DictChain(HOMES), 0, replacement(HOMES.addresses[0], NEXT))
    assert receipt.reason is Reason.OFFICE_UNKNOWN


FORGED = {
    "not signed": lambda right: replace(right, possession=bytes(64)),
    "another key": lambda right: replace(right, key=LATER.public_key),
    "another office": lambda _: replace(
        office_successor(HOMES.chain, HOMES.grid_key.address, NEXT), office=ISSUER.address
    ),
    "another chain": lambda _: office_successor(bytes(32), ISSUER.address, NEXT),
    "no key at all": lambda right: replace(right, key=bytes(32)),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_the_new_key_itself_must_agree(forgery: str) -> None:
    right: OfficeSuccessor = office_successor(HOMES.chain, ISSUER.address, NEXT)
    receipt = send(DictChain(HOMES), ISSUER, ReplaceOfficeKey(successor=FORGED[forgery](right)))
    assert receipt.reason is Reason.OFFICE_NO_POSSESSION


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key, HOMES.authority_key])
def test_no_key_acts_for_two_offices(key: SigningKey) -> None:
    receipt = send(DictChain(HOMES), ISSUER, replacement(ISSUER.address, key))
    assert receipt.reason is Reason.OFFICE_KEY_USED_BEFORE


def test_an_offices_present_key_counts_and_not_its_first_one() -> None:
    chain = DictChain(HOMES)
    grid = HOMES.grid_key
    send(chain, grid, replacement(grid.address, NEXT))
    assert send(chain, ISSUER, replacement(ISSUER.address, NEXT)).reason is Reason.OFFICE_KEY_USED_BEFORE
    assert send(chain, ISSUER, replacement(ISSUER.address, grid)).reason is Reason.OFFICE_KEY_USED_BEFORE


def test_a_retired_key_never_comes_back() -> None:
    chain = DictChain(HOMES)
    send(chain, ISSUER, replacement(ISSUER.address, NEXT))
    acting = NEXT.of_member(ISSUER.address)
    assert send(chain, acting, replacement(ISSUER.address, ISSUER)).reason is Reason.OFFICE_KEY_USED_BEFORE
    assert send(chain, acting, replacement(ISSUER.address, LATER)).reason is Reason.NONE
    acting = LATER.of_member(ISSUER.address)
    assert send(chain, acting, replacement(ISSUER.address, NEXT)).reason is Reason.OFFICE_KEY_USED_BEFORE


@pytest.mark.parametrize("key", [HOMES.node_keys[3], HOMES.meter_keys[2]])
def test_a_members_keys_are_no_offices(key: SigningKey) -> None:
    receipt = send(DictChain(HOMES), ISSUER, replacement(ISSUER.address, key))
    assert receipt.reason is Reason.OFFICE_KEY_USED_BEFORE
