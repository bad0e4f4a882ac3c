"""Blocks that carry their leader's proof: made once, refused where it is another one, none, or not asked for."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus import vrf
from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height, Slot
from consensus.member import KeyRing
from consensus.membership import Membership
from consensus.quorum import fault_bound
from consensus.sampling import RandomnessStatement
from contracts.panels import PANEL_MAX
from contracts.randomness_records import Randomness
from contracts.state import RANDOMNESS_KEY
from contracts.state_reading import require
from contracts.transactions import transaction_digest
from ledger import validation
from ledger.block import Block, block_digest
from ledger.ledger import Ledger
from ledger.proofs import receipt_proof_holds
from ledger.startup import RECENT_BLOCKS
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from node.chain.application import LedgerApplication
from tests.support.contracts import make_genesis, seeded_key
from tests.support.driving import application_on
from tests.support.joining import newcomer, request_of
from tests.support.ledger import ChainBuilder
from tests.support.vouchers import rotate_to

MEMBERS = PANEL_MAX + 3
"""More verifiers than a panel has: there is something to draw."""


@pytest.fixture
def chain(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Somebody wants to join, and ten of thirteen are to be drawn."""
    builder = ChainBuilder.create(tmp_path / "ledger", make_genesis(MEMBERS))
    builder.append([builder.transaction(0, request_of(builder.community, newcomer(1)))])
    yield builder
    builder.ledger.close()


def with_proof(block: Block, proof: bytes) -> Block:
    return replace(block, header=replace(block.header, vrf_proof=proof))


def refusal(chain: ChainBuilder, block: Block) -> BlockRefusalReason | None:
    chain.ledger._executed.clear()  # judges it as a ledger does that did not build it
    found = chain.ledger.check(block)
    return None if found is None else found.reason


def statement(chain: ChainBuilder, height: int) -> bytes:
    value = require(chain.ledger, RANDOMNESS_KEY, Randomness).value
    return encode(RandomnessStatement(chain=chain.ledger.chain, height=Height(height), previous=value))


def leader_key(chain: ChainBuilder, block: Block) -> SigningKey:
    return chain.node_key_of(block.header.leader)


def test_a_block_carries_its_leaders_proof_and_moves_the_randomness(chain: ChainBuilder) -> None:
    before = require(chain.ledger, RANDOMNESS_KEY, Randomness).value
    block = chain.build()
    key = leader_key(chain, block)
    assert block.header.vrf_proof == key.prove(statement(chain, chain.ledger.height + 1))
    assert refusal(chain, block) is None
    chain.ledger.append(block, chain.certify(block))
    assert require(chain.ledger, RANDOMNESS_KEY, Randomness).value != before


def test_whatever_a_leader_puts_into_its_block_it_proves_the_same(chain: ChainBuilder) -> None:
    slots = [chain.ledger.tip_slot + 1 + MEMBERS * turn for turn in range(3)]
    contents = [[], [chain.transfer(1, 2, 5)], [chain.transfer(2, 3, 7), chain.transfer(0, 1, 9)]]
    blocks = [chain.build(content, slot=slot) for slot in slots for content in contents]
    assert len({block.header.transactions_root for block in blocks}) == 3
    assert len({block.header.vrf_proof for block in blocks}) == 1
    assert len({randomness_written(chain, block) for block in blocks}) == 1


def randomness_written(chain: ChainBuilder, block: Block) -> bytes:
    """What a block writes of the randomness."""
    assert chain.ledger.check(block) is None
    return chain.ledger._executed[block_digest(block.header)].execution.changes[RANDOMNESS_KEY]


@pytest.mark.parametrize("bit", [0, 8 * 32, 8 * 48, 8 * vrf.PROOF_SIZE_BYTES - 5])
def test_a_changed_proof_is_refused(chain: ChainBuilder, bit: int) -> None:
    block = chain.build()
    changed = bytearray(block.header.vrf_proof)
    changed[bit // 8] ^= 1 << bit % 8
    assert refusal(chain, with_proof(block, bytes(changed))) is BlockRefusalReason.VRF_PROOF


def test_no_proof_and_those_of_others_and_of_other_heights_are_refused(chain: ChainBuilder) -> None:
    block, height = chain.build(), chain.ledger.height + 1
    own, other = leader_key(chain, block), chain.community.node_keys[(chain.ledger.tip_slot + 2) % MEMBERS]
    assert own.address != other.address
    proofs = (
        b"",
        b"x",
        other.prove(statement(chain, height)),
        own.prove(statement(chain, height + 1)),
        own.prove(b""),
        bytes(vrf.PROOF_SIZE_BYTES),
    )
    assert {refusal(chain, with_proof(block, proof)) for proof in proofs} == {BlockRefusalReason.VRF_PROOF}


def test_a_proof_that_nothing_asks_for_is_refused(chain: ChainBuilder) -> None:
    first = chain.append()
    again = chain.build(slot=first.header.slot)
    assert again.header.vrf_proof == b""
    assert refusal(chain, again) is None
    key = leader_key(chain, again)
    proof = key.prove(statement(chain, chain.ledger.height + 1))
    assert refusal(chain, with_proof(again, proof)) is BlockRefusalReason.VRF_PROOF


def test_the_check_from_genesis_finds_a_wrong_proof(chain: ChainBuilder, tmp_path: Path) -> None:
    """A quorum that lies makes no proof right; neither does a home that leaves the rule out."""
    slot = Slot(chain.ledger.tip_slot + 1)
    key = chain.community.node_keys[slot % MEMBERS]
    wrong = chain.ledger.build(slot=slot, leader=key.address, candidates=(), prove=lambda _: key.prove(b"another"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validation, "proof_refusal", lambda *_: None)
        chain.ledger.append(wrong, chain.certify(wrong))
    chain.ledger.close()
    report = verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None)
    assert report.heights_checked == 1
    (damage,) = report.damage
    assert (damage.height, damage.what) == (2, "the block is invalid: vrf_proof: its leader's proof does not hold")


def test_a_chain_with_proofs_is_checked_whole_and_its_receipts_hold(chain: ChainBuilder, tmp_path: Path) -> None:
    raw = chain.transfer(1, 2, 5)
    block = chain.append([raw])
    assert block.header.vrf_proof
    proof = chain.ledger.prove_receipt(transaction_digest(raw))
    assert receipt_proof_holds(proof, membership=chain.ledger.membership_at(Height(2)), eras=chain.ledger.eras)
    for _ in range(RECENT_BLOCKS):
        chain.append()
    chain.ledger.close()
    report = verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None)
    assert (report.damage, report.heights_checked) == ((), 2 + RECENT_BLOCKS)
    chain.ledger = Ledger.open(tmp_path / "ledger", chain.community.genesis)
    assert refusal(chain, chain.build()) is None


def test_while_a_draw_waits_each_slot_has_one_block_of_its_own(chain: ChainBuilder) -> None:
    """Not more: the leader that made it proves nothing else in this slot, and the next one's slot comes."""

    def application(slot: int) -> LedgerApplication:
        key = chain.community.node_keys[slot % MEMBERS]
        return application_on(chain.ledger, key.address, prove=KeyRing(key).prove)

    blocks = 0
    while require(chain.ledger, RANDOMNESS_KEY, Randomness).draws:
        slot = Slot(chain.ledger.tip_slot)
        assert application(slot).oldest_arrival_ms() == 0
        assert application(slot).build(slot, may_be_empty=False) is None
        assert application(slot + 1).build(Slot(slot + 1), may_be_empty=False) is not None
        assert chain.append().transactions == ()
        blocks += 1
    assert blocks == fault_bound(MEMBERS) + 1
    slot = Slot(chain.ledger.tip_slot)
    assert application(slot).oldest_arrival_ms() is None
    assert application(slot + 1).build(Slot(slot + 1), may_be_empty=False) is None


def test_one_height_is_proved_once(chain: ChainBuilder) -> None:
    asked = []

    def prove(_: Membership, one: bytes) -> bytes:
        asked.append(one)
        return key.prove(one)

    slot = Slot(chain.ledger.tip_slot + 1)
    key = chain.community.node_keys[slot % MEMBERS]
    application = application_on(chain.ledger, key.address, prove=prove)
    for turn in range(3):
        assert application.build(Slot(slot + MEMBERS * turn), may_be_empty=True) is not None
    assert asked == [statement(chain, chain.ledger.height + 1)]


def test_who_exchanges_its_key_proves_with_the_old_one_as_long_as_it_leads_under_it(chain: ChainBuilder) -> None:
    """Which of two keys proves, the members of the height say; the new one proves nothing while it seasons."""
    leading = (chain.ledger.tip_slot + 2) % MEMBERS
    old, new = chain.community.node_keys[leading], seeded_key("next", leading)
    keys = KeyRing(new.of_member(old.address))
    keys.add(old)
    chain.node_keys.append(new)
    chain.append([chain.transaction(leading, rotate_to(chain.community, leading, new))])
    proofs = []
    for turn in range(2):
        slot = Slot(chain.ledger.tip_slot + (MEMBERS if turn else 1))
        asked = statement(chain, chain.ledger.height + 1)
        application = application_on(chain.ledger, old.address, prove=keys.prove)
        built = application.build(slot, may_be_empty=True)
        assert built is not None
        block = decode(built[1], Block)
        assert (block.header.leader, refusal(chain, block)) == (old.address, None)
        proofs.append((block.header.vrf_proof, old.prove(asked)))
        chain.ledger.append(block, chain.certify(block))
    assert proofs[0][0] == proofs[0][1]
    assert proofs[1][0] == b""
