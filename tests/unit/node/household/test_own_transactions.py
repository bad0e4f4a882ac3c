"""Nonces, and transactions followed to their end: never signed twice while the first may still be decided."""

from node.household.own_transactions import VALID_HEIGHTS, Nonces, OwnTransactions
from tests.support.contracts import make_genesis, seeded_key, transfer
from tests.unit.node.household.market_simulation import MemberLedger, MemoryJournal, SharedChain

COMMUNITY = make_genesis(2)
ACTION = transfer(COMMUNITY, 1, 5)


def test_nonces_stand_above_the_chain_and_above_all_before() -> None:
    nonces = Nonces()
    assert [nonces.next(None), nonces.next(-1), nonces.next(1), nonces.next(7), nonces.next(7)] == [0, 1, 2, 8, 9]
    assert Nonces(last_used=4).next(2) == 5


class Bench:
    def __init__(self) -> None:
        self.shared = SharedChain(COMMUNITY)
        self.ledger = MemberLedger(self.shared)
        self.journal = MemoryJournal()
        self.own = self.restarted()

    def restarted(self) -> OwnTransactions:
        self.journal.crash()
        return OwnTransactions(
            key=COMMUNITY.node_keys[0], chain=COMMUNITY.chain, ledger=self.ledger, journal=self.journal
        )

    def decide(self, *raws: bytes) -> None:
        self.shared.decide(self.ledger.tip_slot, list(raws))
        assert self.ledger.apply_next()


def test_a_decided_transaction_ends_with_its_receipt() -> None:
    bench = Bench()
    own = bench.own.sign(ACTION)
    assert bench.own.follow() == ()
    bench.decide(own.raw)
    (ending,) = bench.own.follow()
    assert ending.transaction == own
    assert ending.receipt is not None
    assert ending.receipt.transaction == own.digest
    assert bench.own.waiting() == ()


def test_a_transaction_overtaken_by_a_higher_nonce_is_lost() -> None:
    bench = Bench()
    first, second = bench.own.sign(ACTION), bench.own.sign(ACTION)
    bench.decide(second.raw)
    endings = {ending.transaction.digest: ending.receipt for ending in bench.own.follow()}
    assert endings[first.digest] is None
    assert endings[second.digest] is not None


def test_a_transaction_is_lost_at_its_last_valid_height_and_not_before() -> None:
    bench = Bench()
    own = bench.own.sign(ACTION)
    other = OwnTransactions(
        key=COMMUNITY.node_keys[1], chain=COMMUNITY.chain, ledger=bench.ledger, journal=MemoryJournal()
    )
    for height in range(1, VALID_HEIGHTS + 1):
        assert bench.own.follow() == (), height
        bench.decide(other.sign(transfer(COMMUNITY, 0, 1)).raw)
    (ending,) = bench.own.follow()
    assert (ending.transaction, ending.receipt) == (own, None)


def test_a_restart_takes_up_what_was_synced_with_the_same_bytes_and_goes_on_above_it() -> None:
    bench = Bench()
    kept = bench.own.sign(ACTION)
    bench.own.sync()
    bench.own.sign(ACTION)  # never synced, so it never left the node
    restarted = bench.restarted()
    assert restarted.waiting() == (kept,)
    assert restarted.sign(ACTION).envelope.nonce == kept.envelope.nonce + 1


def test_a_restart_shortens_the_journal_but_remembers_the_highest_nonce() -> None:
    bench = Bench()
    signed = [bench.own.sign(ACTION) for _ in range(3)]
    bench.own.sync()
    bench.decide(*(own.raw for own in signed[:2]))
    assert bench.restarted().waiting() == (signed[2],)
    assert [entry["raw"] for entry in bench.journal.entries] == [signed[2].raw.hex()]


def test_the_nonce_is_remembered_when_everything_is_decided() -> None:
    bench = Bench()
    own = bench.own.sign(ACTION)
    bench.own.sync()
    bench.decide(own.raw)
    bench.restarted()
    behind = OwnTransactions(
        key=COMMUNITY.node_keys[0],
        chain=COMMUNITY.chain,
        ledger=MemberLedger(bench.shared),  # put back to height 0
        journal=bench.journal,
    )
    assert behind.sign(ACTION).envelope.nonce == own.envelope.nonce + 1


def test_what_a_key_signed_that_was_exchanged_is_lost_and_signed_anew_by_whoever_needs_it() -> None:
    """No block takes it any more: without that, its sender would wait for it for a thousand heights."""
    bench = Bench()
    own = bench.own.sign(ACTION)
    bench.own.sync()
    bench.journal.crash()
    following = OwnTransactions(
        key=seeded_key("next", 0).of_member(COMMUNITY.addresses[0]),
        chain=COMMUNITY.chain,
        ledger=bench.ledger,
        journal=bench.journal,
    )
    assert following.waiting() == ()
    again = following.sign(ACTION)
    assert again.envelope.nonce > own.envelope.nonce
    assert again.envelope.sender == own.envelope.sender
    assert following.waiting() == (again,)
