"""One ledger on a real LevelDB directory: creating, growing, reading, closing and opening again."""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Address, Digest, Height
from contracts.genesis import chain_id
from contracts.genesis_state import genesis_state
from contracts.state import TOTALS_KEY, Table, account_key, score_key, trade_key
from contracts.transactions import transaction_digest
from ledger.authenticated_map import EMPTY, no_nodes, update_map
from ledger.block import block_digest
from ledger.errors import (
    BlockNotNext,
    DecidedBlockRefused,
    LedgerBusy,
    LedgerDamaged,
    LedgerExists,
    LedgerForeign,
    LedgerMissing,
    NothingToProve,
)
from ledger.ledger import EXECUTIONS_MAX, Ledger
from ledger.store import block_key
from ledger.transactions import TransactionVerifier
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder

NOBODY = Address(bytes(32))


@pytest.fixture
def chain(tmp_path):
    builder = ChainBuilder.create(tmp_path / "ledger")
    yield builder
    builder.ledger.close()


def reopened(chain: ChainBuilder, tmp_path) -> ChainBuilder:
    chain.ledger.close()
    again = ChainBuilder(Ledger.open(tmp_path / "ledger", chain.community.genesis), chain.community)
    again.nonces = chain.nonces
    return again


def whole_state(ledger: Ledger) -> dict[bytes, bytes]:
    return {key: value for table in Table for key, value in ledger.scan(table)}


def test_a_new_ledger_has_the_genesis_state(chain):
    ledger, genesis = chain.ledger, chain.community.genesis
    assert (ledger.height, ledger.tip_slot) == (0, 0)
    assert ledger.tip == ledger.chain == chain_id(genesis)
    assert whole_state(ledger) == genesis_state(genesis)
    assert ledger.state_root == update_map(no_nodes, EMPTY, genesis_state(genesis)).root
    assert ledger.membership().addresses == chain.community.addresses
    assert ledger.last_nonce(chain.community.addresses[0]) == -1
    assert ledger.last_nonce(NOBODY) is None
    assert (ledger.block(0), ledger.certificate(0), ledger.receipts(0)) == (None, None, ())
    assert (ledger.block(1), ledger.block_bytes(1)) == (None, None)


def test_what_is_appended_can_be_read_and_is_there_after_opening_again(chain, tmp_path):
    blocks = [chain.append([chain.transfer(0, 1, 5)]), chain.append(), chain.append([chain.transfer(1, 0, 7)])]
    before = whole_state(chain.ledger)
    for restart in (False, True):
        builder = reopened(chain, tmp_path) if restart else chain
        ledger = builder.ledger
        assert ledger.height == 3
        assert ledger.tip == block_digest(blocks[2].header)
        assert ledger.tip_slot == 3
        assert ledger.state_root == blocks[2].header.state_root
        assert whole_state(ledger) == before
        assert update_map(no_nodes, EMPTY, before).root == ledger.state_root
        for height, block in enumerate(blocks, start=1):
            assert ledger.block(height) == block
            assert ledger.block_bytes(height) == encode(block)
            assert ledger.certificate(height) == builder.certify(block)
            assert ledger.height_of_block(block_digest(block.header)) == height
        raw = blocks[2].transactions[0]
        location = ledger.find_transaction(transaction_digest(raw))
        assert location is not None
        assert (location.height, location.index) == (3, 0)
        assert ledger.receipts(3)[0].transaction == transaction_digest(raw)
        assert ledger.receipts(2) == ()
        assert ledger.find_transaction(Digest(bytes(32))) is None
        assert ledger.height_of_block(Digest(bytes(32))) is None
        assert ledger.last_nonce(builder.community.addresses[0]) == 0
    ledger.close()


def test_a_decided_block_is_there_or_the_ledger_is_damaged(chain):
    blocks = [chain.append(), chain.append()]
    assert [chain.ledger.decided_block(Height(height)) for height in (1, 2)] == blocks
    for undecided in (0, 3):
        with pytest.raises(AssertionError, match=f"height {undecided} is not among 1 to 2"):  # never taken for damage
            chain.ledger.decided_block(Height(undecided))
    chain.ledger._store.write({}, [block_key(Height(1))])
    with pytest.raises(LedgerDamaged, match="missing") as damaged:
        chain.ledger.decided_block(Height(1))
    assert damaged.value.height == 1


def test_every_version_of_a_key_stays(chain):
    key = account_key(chain.community.addresses[0])
    first = chain.ledger.get(key)
    chain.append([chain.transfer(0, 1, 5)])
    second = chain.ledger.get(key)
    chain.append()
    chain.append([chain.transfer(0, 1, 6)])
    third = chain.ledger.get(key)
    assert len({first, second, third}) == 3
    assert list(chain.ledger.history(key)) == [(0, first), (1, second), (3, third)]
    assert [chain.ledger.get_at(key, Height(height)) for height in range(5)] == [first, second, second, third, third]
    assert chain.ledger.newest(key) == (3, third)
    unknown = account_key(NOBODY)
    assert (chain.ledger.get(unknown), chain.ledger.get_at(unknown, Height(3))) == (None, None)
    assert list(chain.ledger.history(unknown)) == []


def test_scan_yields_the_newest_value_of_each_key_of_one_table(chain):
    chain.append([chain.transfer(0, 1, 5)])
    accounts = dict(chain.ledger.scan(Table.ACCOUNT))
    assert set(accounts) == {account_key(address) for address in chain.community.wallets}
    assert all(chain.ledger.get(key) == value for key, value in accounts.items())
    assert list(chain.ledger.scan(Table.TRADE)) == []


class TestWhoMayOpen:
    def test_a_second_opening_is_refused_and_a_later_one_is_not(self, chain, tmp_path):
        with pytest.raises(LedgerBusy):
            Ledger.open(tmp_path / "ledger", chain.community.genesis)
        chain.append()
        assert reopened(chain, tmp_path).append().header.height == 2

    def test_nothing_is_created_over_a_ledger_or_opened_without_one(self, chain, tmp_path):
        with pytest.raises(LedgerBusy):
            Ledger.create(tmp_path / "ledger", chain.community.genesis)
        chain.ledger.close()
        with pytest.raises(LedgerExists):
            Ledger.create(tmp_path / "ledger", chain.community.genesis)
        with pytest.raises(LedgerMissing):
            Ledger.open(tmp_path / "elsewhere", chain.community.genesis)
        assert not (tmp_path / "elsewhere").exists()

    def test_another_chains_ledger_is_refused(self, chain, tmp_path):
        chain.ledger.close()
        with pytest.raises(LedgerForeign):
            Ledger.open(tmp_path / "ledger", make_genesis(5).genesis)
        Ledger.open(tmp_path / "ledger", chain.community.genesis).close()

    def test_what_an_interrupted_creation_left_is_replaced(self, tmp_path):
        (tmp_path / "ledger" / "database.new").mkdir(parents=True)
        (tmp_path / "ledger" / "database.new" / "CURRENT").write_text("half")
        chain = ChainBuilder.create(tmp_path / "ledger")
        assert chain.append().header.height == 1
        chain.ledger.close()


class TestAppend:
    def test_only_the_next_height_on_the_tip_with_its_own_certificate(self, chain):
        first = chain.build([chain.transfer(0, 1, 5)])
        second = replace(first, header=replace(first.header, slot=5))
        with pytest.raises(BlockNotNext):
            chain.ledger.append(first, chain.certify(second))
        with pytest.raises(BlockNotNext):
            chain.ledger.append(first, replace(chain.certify(first), height=2))
        chain.ledger.append(first, chain.certify(first))
        for block in (first, replace(first, header=replace(first.header, height=2))):
            with pytest.raises(BlockNotNext):
                chain.ledger.append(block, chain.certify(block))
        assert chain.ledger.height == 1

    def test_a_decided_block_that_executes_to_something_else_is_not_written(self, chain):
        block = chain.build([chain.transfer(0, 1, 5)])
        wrong = replace(block, header=replace(block.header, state_root=Digest(bytes(32))))
        with pytest.raises(DecidedBlockRefused, match="state_root"):
            chain.ledger.append(wrong, chain.certify(wrong))
        assert (chain.ledger.height, chain.ledger.block(1)) == (0, None)

    def test_a_remembered_and_an_unknown_block_lead_to_the_same(self, chain, tmp_path):
        other = ChainBuilder.create(tmp_path / "other", chain.community)
        for _ in range(3):
            block = chain.append([chain.transfer(0, 1, 5)])
            other.ledger.append(block, chain.certify(block, slot=block.header.slot + 4))
        assert other.ledger.state_root == chain.ledger.state_root
        assert whole_state(other.ledger) == whole_state(chain.ledger)
        other.ledger.close()

    def test_remembered_executions_are_bounded_and_dropped(self, chain):
        blocks = [chain.build(slot=slot) for slot in range(1, 2 * EXECUTIONS_MAX)]
        assert len(chain.ledger._executed) == EXECUTIONS_MAX
        assert chain.ledger.check(blocks[0]) is None
        chain.ledger.append(blocks[0], chain.certify(blocks[0]))
        assert len(chain.ledger._executed) == 0

    def test_nodes_of_old_states_are_dropped_and_those_of_the_newest_kept(self, chain):
        for _ in range(5):
            chain.append([chain.transfer(0, 1, 5), chain.transfer(2, 3, 5)])
        stored = {key[1:] for key, _ in chain.ledger._store.entries(b"N")}
        rebuilt = update_map(no_nodes, EMPTY, whole_state(chain.ledger))
        assert stored == set(rebuilt.added)


class TestUndecided:
    def test_records_stay_until_the_next_block(self, chain, tmp_path):
        chain.ledger.persist_undecided({b"body": b"1", b"certificate": b"2"})
        chain.ledger.persist_undecided({b"body": b"3"})
        chain = reopened(chain, tmp_path)
        assert chain.ledger.undecided() == {b"body": b"3", b"certificate": b"2"}
        chain.append()
        assert chain.ledger.undecided() == {}
        chain = reopened(chain, tmp_path)
        assert chain.ledger.undecided() == {}
        chain.ledger.close()

    def test_the_callers_copy_is_its_own(self, chain):
        chain.ledger.undecided()[b"x"] = b"y"
        assert chain.ledger.undecided() == {}


def test_build_leaves_out_what_no_block_may_contain(chain):
    good = [chain.transfer(0, 1, 5), chain.transfer(1, 2, 5)]
    block = chain.build([b"", good[0], good[0], b"\xff" * 5_000, good[1]])
    assert block.transactions == tuple(good)


def test_membership_at_every_height(chain):
    chain.append()
    for height in (1, 2):
        assert chain.ledger.membership_at(height).digest() == chain.ledger.membership().digest()


def test_a_shared_verifier_is_used(tmp_path):
    community = make_genesis()
    verifier = TransactionVerifier(community.chain)
    ledger = Ledger.create(tmp_path / "ledger", community.genesis, verifier)
    builder = ChainBuilder(ledger, community)
    raw = builder.transfer(0, 1, 5)
    builder.append([raw])
    assert verifier.known(transaction_digest(raw)) is not None
    ledger.close()


def test_a_trade_is_in_the_state_and_the_books(chain):
    chain.append_trading_hour()
    receipt = chain.ledger.receipts(2)[0]
    assert chain.ledger.get(trade_key(receipt.reference)) is not None
    assert chain.ledger.get_at(TOTALS_KEY, Height(1)) != chain.ledger.get(TOTALS_KEY)


def test_the_carried_certificates_signers_are_the_voters_that_are_rewarded(chain):
    chain.append_trading_hour()
    scores = [score_key(address) for address in chain.community.addresses]
    before = [chain.ledger.get(key) for key in scores]
    chain.append()  # carries the certificate of members 0, 1 and 2; slot 2's leader was member 2
    after = [chain.ledger.get(key) for key in scores]
    assert [old != new for old, new in zip(before, after, strict=True)] == [True, True, True, False]


def test_nothing_is_proven_that_is_not_there(chain):
    with pytest.raises(NothingToProve):
        chain.ledger.prove_state(TOTALS_KEY)
    with pytest.raises(NothingToProve):
        chain.ledger.prove_receipt(Digest(bytes(32)))
