"""A block is refused for each rule that it breaks, and whatever is done to its bytes `check` never raises."""

import dataclasses

import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import Digest
from contracts.genesis import PROTOCOL_VERSION
from ledger.block import Block, BlockHeader, block_digest, block_is_whole, certificate_digest
from ledger.errors import BlockNotNext, DecidedBlockRefused
from ledger.merkle_tree import tree_root
from ledger.validation import BlockRefusalReason
from tests.support.contracts import make_genesis, raw_transaction, signed_reading, transfer
from tests.support.ledger import ChainBuilder, certify

OTHER = Digest(b"\x55" * 32)


@pytest.fixture
def chain(tmp_path):
    builder = ChainBuilder.create(tmp_path / "ledger")
    builder.append_trading_hour()
    yield builder
    builder.ledger.close()


def with_header(block: Block, **fields) -> Block:
    return replace(block, header=replace(block.header, **fields))


def with_transactions(block: Block, *raws: bytes) -> Block:
    return replace(with_header(block, transactions_root=tree_root(raws)), transactions=raws)


def refused(chain: ChainBuilder, block: Block) -> BlockRefusalReason | None:
    chain.ledger._executed.clear()  # judges it as a ledger does that did not build it
    before = chain.ledger.height, chain.ledger.tip, chain.ledger.state_root
    refusal = chain.ledger.check(block)
    assert (chain.ledger.height, chain.ledger.tip, chain.ledger.state_root) == before
    if refusal is not None:  # a quorum's word does not make it right
        with pytest.raises((BlockNotNext, DecidedBlockRefused)):
            chain.ledger.append(block, chain.certify(block))
    return None if refusal is None else refusal.reason


def test_a_good_block_is_accepted_by_a_ledger_that_did_not_build_it(chain, tmp_path):
    other = ChainBuilder.create(tmp_path / "other", chain.community)
    for height in (1, 2):
        block = chain.ledger.block(height)
        assert other.ledger.check(block) is None
        other.ledger.append(block, chain.ledger.certificate(height))
    assert other.ledger.state_root == chain.ledger.state_root
    assert other.ledger.tip == chain.ledger.tip
    other.ledger.close()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": PROTOCOL_VERSION - 1}, BlockRefusalReason.WRONG_VERSION),
        ({"chain": OTHER}, BlockRefusalReason.WRONG_CHAIN),
        ({"era": 1}, BlockRefusalReason.WRONG_ERA),
        ({"height": 2}, BlockRefusalReason.WRONG_HEIGHT),
        ({"height": 4}, BlockRefusalReason.WRONG_HEIGHT),
        ({"height": 0}, BlockRefusalReason.WRONG_HEIGHT),
        ({"parent": OTHER}, BlockRefusalReason.WRONG_PARENT),
        ({"slot": 1}, BlockRefusalReason.SLOT_BEFORE_PARENT),
        ({"slot": 4}, BlockRefusalReason.NOT_THE_LEADER),
        ({"leader": OTHER}, BlockRefusalReason.NOT_THE_LEADER),
        ({"vrf_proof": b"x"}, BlockRefusalReason.VRF_PROOF),
        ({"parent_certificate": OTHER}, BlockRefusalReason.PARENT_CERTIFICATE),
        ({"transactions_root": OTHER}, BlockRefusalReason.TRANSACTIONS_ROOT),
        ({"postings_root": OTHER}, BlockRefusalReason.POSTINGS_ROOT),
        ({"receipts_root": OTHER}, BlockRefusalReason.RECEIPTS_ROOT),
        ({"state_root": OTHER}, BlockRefusalReason.STATE_ROOT),
        ({"membership": OTHER}, BlockRefusalReason.MEMBERSHIP),
        ({"authority": OTHER}, BlockRefusalReason.AUTHORITY),
        ({"ceremony": OTHER}, BlockRefusalReason.CEREMONY),
    ],
)
def test_each_header_field_is_checked(chain, fields, reason):
    block = chain.build([chain.transfer(0, 1, 5)])
    assert refused(chain, with_header(block, **fields)) is reason


def test_every_header_field_has_a_case_above():
    case = test_each_header_field_is_checked.pytestmark[0]
    assert {name for fields, _ in case.args[1] for name in fields} == set(BlockHeader.__struct_fields__)


def test_the_parents_slot_may_be_used_again_and_old_slots_are_not_refused(chain):
    assert refused(chain, chain.build(slot=chain.ledger.tip_slot)) is None
    assert refused(chain, chain.build(slot=chain.ledger.tip_slot + 1_000_000)) is None


class TestParentCertificate:
    def block_with(self, chain: ChainBuilder, certificate) -> Block:
        block = replace(chain.build(), parent_certificate=certificate)
        return with_header(block, parent_certificate=certificate_digest(certificate))

    @pytest.mark.parametrize(("slot", "signers"), [(2, (0, 1, 3)), (9, (1, 2, 3)), (2, (0, 2, 3))])
    def test_any_that_decides_the_parent_will_do(self, chain, tmp_path, slot, signers):
        other = ChainBuilder.create(tmp_path / "other", chain.community)
        first, second = chain.ledger.block(1), chain.ledger.block(2)
        other.ledger.append(first, chain.certify(first))
        certificate = certify(chain.community, 2, slot, chain.ledger.tip, signers=signers)
        other.ledger.append(second, certificate)
        block = other.build()
        assert block.parent_certificate == certificate != chain.ledger.certificate(2)
        assert refused(chain, block) is None
        other.ledger.close()

    @pytest.mark.parametrize(
        "make",
        [
            lambda chain: None,
            lambda chain: certify(chain.community, 1, 2, chain.ledger.tip),
            lambda chain: certify(chain.community, 3, 2, chain.ledger.tip),
            lambda chain: certify(chain.community, 2, 2, OTHER),
            lambda chain: certify(chain.community, 2, 2, chain.ledger.tip, signers=(0, 1)),
            lambda chain: certify(chain.community, 2, 2, chain.ledger.tip, signers=(0, 1, 2, 3)),
            lambda chain: certify(chain.community, 2, 2, chain.ledger.tip, signers=(0, 1, 1)),
            lambda chain: replace(certify(chain.community, 2, 2, chain.ledger.tip), slot=3),
            lambda chain: certify(dataclasses.replace(chain.community, chain=OTHER), 2, 2, chain.ledger.tip),
            lambda chain: certify(
                dataclasses.replace(
                    chain.community, node_keys=chain.community.node_keys[:2] + chain.community.meter_keys[:2]
                ),
                2,
                2,
                chain.ledger.tip,
            ),
        ],
    )
    def test_anything_else_is_refused(self, chain, make):
        reason = refused(chain, self.block_with(chain, make(chain)))
        assert reason is BlockRefusalReason.PARENT_CERTIFICATE

    def test_an_unsorted_one_is_refused(self, chain):
        certificate = certify(chain.community, 2, 2, chain.ledger.tip)
        turned = replace(certificate, endorsements=certificate.endorsements[::-1])
        assert refused(chain, self.block_with(chain, turned)) is BlockRefusalReason.PARENT_CERTIFICATE

    def test_the_first_block_has_none(self, tmp_path):
        chain = ChainBuilder.create(tmp_path / "first")
        assert refused(chain, chain.build()) is None
        certificate = certify(chain.community, 0, 0, chain.ledger.tip)
        assert refused(chain, self.block_with(chain, certificate)) is BlockRefusalReason.PARENT_CERTIFICATE
        chain.ledger.close()


class TestTransactions:
    def test_old_nonces_expired_unknown_foreign_and_tampered_ones_invalidate_a_block(self, chain):
        community = chain.community
        action = transfer(community, 1, 5)
        stranger = make_genesis(6)
        good = raw_transaction(community, 0, action, nonce=50)
        bad = [
            raw_transaction(community, 0, action, nonce=0),
            raw_transaction(community, 0, action, nonce=50, valid_until_height=2),
            raw_transaction(stranger, 5, action, nonce=0, chain=community.chain),
            raw_transaction(community, 0, action, nonce=50, chain=OTHER),
            good[:-1] + bytes([good[-1] ^ 1]),
            b"",
            bytes(5_000),
        ]
        block = chain.build()
        assert chain.ledger.check(with_transactions(block, good)).reason is not BlockRefusalReason.BAD_TRANSACTION
        for raw in bad:
            assert refused(chain, with_transactions(block, raw)) is BlockRefusalReason.BAD_TRANSACTION

    def test_nonces_increase_inside_a_block_and_gaps_are_allowed(self, chain):
        raws = [
            raw_transaction(chain.community, 0, transfer(chain.community, 1, 5), nonce=nonce)
            for nonce in (10, 20, 30)
        ]
        block = chain.build(raws)
        assert block.transactions == tuple(raws)
        assert refused(chain, block) is None
        turned = with_transactions(block, raws[0], raws[2], raws[1])
        assert refused(chain, turned) is BlockRefusalReason.BAD_TRANSACTION
        twice = with_transactions(block, *raws, raws[1])
        assert refused(chain, twice) is BlockRefusalReason.DUPLICATE_TRANSACTION

    def test_what_is_on_the_chain_is_not_admitted_again(self, chain):
        raw = chain.ledger.block(1).transactions[0]
        assert chain.build([raw]).transactions == ()
        assert refused(chain, with_transactions(chain.build(), raw)) is BlockRefusalReason.BAD_TRANSACTION

    def test_a_declined_transaction_does_not_invalidate_its_block(self, chain):
        too_much = chain.transfer(0, 1, 10**17)
        block = chain.append([too_much])
        assert chain.ledger.receipts(block.header.height)[0].reason.value == "transfer_insufficient_tokens"

    def test_postings_are_recomputed(self, chain):
        chain.append_trading_hour(1)
        block = chain.ledger.block(chain.ledger.height)
        assert len(block.postings) == 8
        chain.append_trading_hour(2)
        forged = replace(chain.build(), postings=block.postings)
        assert refused(chain, forged) is BlockRefusalReason.POSTINGS


class TestLimits:
    @pytest.fixture
    def small(self, tmp_path):
        builder = ChainBuilder.create(
            tmp_path / "small", make_genesis(block_transactions_max=3, block_size_bytes_max=4_096)
        )
        yield builder
        builder.ledger.close()

    def test_the_count_is_limited(self, small):
        raws = [small.transfer(0, 1, 5) for _ in range(4)]
        block = small.build(raws)
        assert block.transactions == tuple(raws[:3])
        assert refused(small, block) is None
        over = with_transactions(block, *raws)
        assert refused(small, over) is BlockRefusalReason.TOO_MANY_TRANSACTIONS

    def test_the_bytes_are_limited(self, small):
        block = small.build()
        exact = with_transactions(block, bytes(2_048), bytes(2_048))
        assert refused(small, exact) is BlockRefusalReason.BAD_TRANSACTION  # within the limits, but not signed
        over = with_transactions(block, bytes(2_048), bytes(2_049))
        assert refused(small, over) is BlockRefusalReason.TOO_LARGE

    def test_a_leader_stops_before_the_limit_in_bytes(self, tmp_path):
        community = make_genesis(block_size_bytes_max=4_096)
        chain = ChainBuilder.create(tmp_path / "bytes", community)
        raws = [raw_transaction(community, 0, signed_reading(community, 0, 100), nonce=nonce) for nonce in range(20)]
        block = chain.build(raws)
        size_bytes = sum(map(len, block.transactions))
        assert 4_096 - len(raws[0]) < size_bytes <= 4_096
        assert block.transactions == tuple(raws[: len(block.transactions)])
        chain.ledger.close()


def test_a_remembered_header_does_not_vouch_for_another_body(chain):
    block = chain.build([chain.transfer(0, 1, 5)])
    assert chain.ledger.check(block) is None
    for other in (
        replace(block, transactions=()),
        replace(block, postings=chain.ledger.block(2).postings),
        replace(block, parent_certificate=None),
    ):
        assert block_digest(other.header) == block_digest(block.header)
        assert chain.ledger.check(other) is not None
        with pytest.raises(DecidedBlockRefused):
            chain.ledger.append(other, chain.certify(other))
    assert chain.ledger.height == 2


def test_a_block_is_whole_with_the_body_that_its_header_names_alone(chain):
    block = chain.build([chain.transfer(0, 1, 5)])
    assert block_is_whole(block)
    for other in (
        replace(block, transactions=()),
        replace(block, postings=chain.ledger.block(2).postings),
        replace(block, parent_certificate=None),
    ):
        assert not block_is_whole(other)


def test_no_flipped_byte_gets_a_vote_and_none_raises(chain):
    chain.append_trading_hour(1)
    block = chain.build([chain.transfer(0, 1, 5), chain.transfer(1, 2, 6)])
    data = encode(block)
    reached = set()
    for place in range(0, len(data), 3):
        altered = data[:place] + bytes([data[place] ^ (1 + place % 255)]) + data[place + 1 :]
        try:
            decoded = decode(altered, Block)
        except DecodeError:
            continue
        refusal = chain.ledger.check(decoded)
        if refusal is None:  # a later slot of the same leader is another good block
            assert decoded.header.slot != block.header.slot
            assert with_header(decoded, slot=block.header.slot) == block
        else:
            reached.add(refusal.reason)
    assert len(reached) >= 8, reached
