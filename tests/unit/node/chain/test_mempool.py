"""The mempool: its bounds at the limit and one past it, its order, and all of it against a naive model."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.identifiers import Address, Digest, Height
from contracts.transactions import Transaction
from node.chain.mempool import Dropped, DropReason, Mempool, MempoolLimits, MempoolRefusal, MempoolRefused, Standing
from tests.support.contracts import make_genesis, raw_transaction, transaction_of, transfer

COMMUNITY = make_genesis(4)


@dataclass(frozen=True)
class Made:
    transaction: Transaction

    @property
    def raw(self) -> bytes:
        return self.transaction.raw

    @property
    def digest(self) -> Digest:
        return self.transaction.digest

    @property
    def sender(self) -> Address:
        return self.transaction.sender

    @property
    def nonce(self) -> int:
        return self.transaction.envelope.nonce


@cache
def make(sender: int, nonce: int, *, amount_micro: int = 1, valid_until_height: int = 1_000) -> Made:
    action = transfer(COMMUNITY, 3, amount_micro)
    raw = raw_transaction(COMMUNITY, sender, action, nonce=nonce, valid_until_height=valid_until_height)
    return Made(transaction_of(raw))


def add(mempool: Mempool, made: Made, arrival_ms: int = 0) -> None:
    mempool.add(made.transaction, arrival_ms=arrival_ms)


def refusal_of(mempool: Mempool, made: Made) -> MempoolRefused:
    with pytest.raises(MempoolRefused) as refused:
        add(mempool, made)
    return refused.value


def mempool_of(*waiting: Made, **limits: int) -> Mempool:
    mempool = Mempool(limits=MempoolLimits(**limits))
    for moment_ms, made in enumerate(waiting):
        add(mempool, made, moment_ms)
    return mempool


def candidates(mempool: Mempool, transactions_max: int = 100, size_bytes_max: int = 10**6) -> list[bytes]:
    chosen = mempool.candidates(transactions_max=transactions_max, size_bytes_max=size_bytes_max)
    return [transaction.raw for transaction in chosen]


KEYS = {key.address: key.public_key for key in COMMUNITY.node_keys}


def nonces_unused(sender: Address) -> Standing:
    return Standing(last_nonce=None, key=KEYS[sender])


def test_a_known_transaction_is_refused() -> None:
    mempool = mempool_of(make(0, 1))
    refused = refusal_of(mempool, make(0, 1))
    assert (refused.refusal, refused.reason) == (MempoolRefusal.TRANSACTION_KNOWN, "transaction_known")
    assert refused.retry_after_s is None
    assert len(mempool) == 1


def test_the_first_transaction_of_a_nonce_wins() -> None:
    mempool = mempool_of(make(0, 1), make(0, 2))
    refused = refusal_of(mempool, make(0, 1, amount_micro=2))
    assert refused.refusal is MempoolRefusal.NONCE_TAKEN
    assert candidates(mempool) == [make(0, 1).raw, make(0, 2).raw]


def test_the_sender_quota_holds_for_one_sender_and_says_when_to_come_back() -> None:
    mempool = mempool_of(make(0, 1), make(0, 2), sender_transactions_max=2)
    refused = refusal_of(mempool, make(0, 3))
    assert refused.refusal is MempoolRefusal.QUOTA
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 0
    add(mempool, make(1, 3))


def test_a_full_count_refuses_the_next() -> None:
    mempool = mempool_of(make(0, 1), make(1, 1), transactions_max=2)
    refused = refusal_of(mempool, make(2, 1))
    assert refused.refusal is MempoolRefusal.FULL
    assert refused.retry_after_s is not None


def test_bytes_are_bounded_to_the_byte() -> None:
    first, second = make(0, 1), make(1, 1)
    exactly = len(first.raw) + len(second.raw)
    assert len(mempool_of(first, second, size_bytes_max=exactly)) == 2
    tight = mempool_of(first, size_bytes_max=exactly - 1)
    assert refusal_of(tight, second).refusal is MempoolRefusal.FULL
    assert tight.size_bytes == len(first.raw)


def test_a_refused_transaction_leaves_no_trace() -> None:
    mempool = mempool_of(make(0, 1), transactions_max=1)
    refusal_of(mempool, make(1, 1))
    assert not mempool.contains(make(1, 1).digest)
    assert mempool.raw(make(1, 1).digest) is None
    mempool.on_applied([make(0, 1).digest], standing_of=nonces_unused, height=Height(1))
    assert (len(mempool), mempool.size_bytes, candidates(mempool)) == (0, 0, [])
    add(mempool, make(1, 1))


def test_candidates_are_oldest_first_with_each_senders_in_nonce_order() -> None:
    mempool = mempool_of(make(0, 7), make(1, 5), make(0, 3), make(1, 6), make(0, 5))
    expected = [make(0, 3), make(1, 5), make(0, 5), make(1, 6), make(0, 7)]
    assert candidates(mempool) == [made.raw for made in expected]


def test_candidates_end_at_either_limit() -> None:
    mempool = mempool_of(make(0, 1), make(1, 1), make(2, 1))
    assert len(candidates(mempool, transactions_max=2)) == 2
    two = len(make(0, 1).raw) + len(make(1, 1).raw)
    assert len(candidates(mempool, size_bytes_max=two)) == 2
    assert len(candidates(mempool, size_bytes_max=two - 1)) == 1


def test_applying_removes_the_decided_and_names_what_it_drops() -> None:
    passed, decided, waiting = make(0, 1), make(0, 2), make(0, 3)
    expired, still_valid = make(1, 1, valid_until_height=7), make(1, 2, valid_until_height=8)
    mempool = mempool_of(waiting, passed, decided, expired, still_valid)
    other_key = make(2, 1)
    add(mempool, other_key)
    standings = {
        decided.sender: Standing(decided.nonce, KEYS[decided.sender]),
        expired.sender: Standing(None, KEYS[expired.sender]),
        other_key.sender: Standing(None, KEYS[decided.sender]),
    }
    dropped = mempool.on_applied([decided.digest], standing_of=standings.__getitem__, height=Height(7))
    assert set(dropped) == {
        Dropped(digest=passed.digest, reason=DropReason.NONCE_PASSED),
        Dropped(digest=expired.digest, reason=DropReason.EXPIRED),
        Dropped(digest=other_key.digest, reason=DropReason.OTHER_KEY),
    }
    assert candidates(mempool) == [waiting.raw, still_valid.raw]


def test_transactions_decided_elsewhere_do_no_harm() -> None:
    mempool = mempool_of(make(0, 1))
    assert mempool.on_applied([make(1, 1).digest], standing_of=nonces_unused, height=Height(1)) == ()
    assert len(mempool) == 1


def test_the_oldest_are_told_for_forwarding() -> None:
    mempool = mempool_of(make(0, 2), make(0, 1), make(1, 1))
    assert mempool.oldest_arrival_ms() == 0
    assert mempool.older_than(0) == []
    assert mempool.older_than(2) == [make(0, 2).raw, make(0, 1).raw]
    assert mempool.older_than(2, transactions_max=1) == [make(0, 2).raw]
    mempool.on_applied([make(0, 2).digest], standing_of=nonces_unused, height=Height(1))
    assert mempool.oldest_arrival_ms() == 1
    assert Mempool(limits=MempoolLimits()).oldest_arrival_ms() is None


# --- against a model ---------------------------------------------------------------------------------------

LIMITS = MempoolLimits(transactions_max=7, size_bytes_max=6 * len(make(0, 1).raw), sender_transactions_max=4)

ANY_MADE = st.builds(
    make,
    st.integers(0, 2),
    st.integers(1, 7),
    amount_micro=st.integers(1, 2),
    valid_until_height=st.sampled_from([2, 4, 1_000]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), ANY_MADE),
        st.tuples(st.just("apply"), st.lists(ANY_MADE, max_size=3)),
    ),
    max_size=40,
)


class Model:
    """One list in the order of arrival; every answer is searched for in it."""

    def __init__(self) -> None:
        self.waiting: list[Made] = []

    def expected_refusal(self, made: Made) -> MempoolRefusal | None:
        if made in self.waiting:
            return MempoolRefusal.TRANSACTION_KNOWN
        own = [other for other in self.waiting if other.sender == made.sender]
        if any(other.nonce == made.nonce for other in own):
            return MempoolRefusal.NONCE_TAKEN
        if len(own) == LIMITS.sender_transactions_max:
            return MempoolRefusal.QUOTA
        size_bytes = sum(len(other.raw) for other in [*self.waiting, made])
        full = len(self.waiting) == LIMITS.transactions_max or size_bytes > LIMITS.size_bytes_max
        return MempoolRefusal.FULL if full else None

    def candidates(self) -> list[bytes]:
        left = list(self.waiting)
        chosen = []
        for oldest in self.waiting:
            turn = min((made for made in left if made.sender == oldest.sender), key=lambda made: made.nonce)
            left.remove(turn)
            chosen.append(turn.raw)
        return chosen

    def apply(self, decided: list[Made], used: dict[Address, int], height: int) -> set[tuple[Digest, DropReason]]:
        self.waiting = [made for made in self.waiting if made not in decided]
        dropped = set()
        for made in self.waiting:
            if made.nonce <= used.get(made.sender, -1):
                dropped.add((made.digest, DropReason.NONCE_PASSED))
            elif made.transaction.envelope.valid_until_height <= height:
                dropped.add((made.digest, DropReason.EXPIRED))
        self.waiting = [made for made in self.waiting if made.digest not in {digest for digest, _ in dropped}]
        return dropped


@settings(derandomize=True, max_examples=150, deadline=None)
@given(STEPS)
def test_the_mempool_agrees_with_the_model(steps: list[tuple[str, Any]]) -> None:
    mempool, model = Mempool(limits=LIMITS), Model()
    used: dict[Address, int] = {}
    height = 0
    for step, argument in steps:
        if step == "add":
            expected = model.expected_refusal(argument)
            if expected is None:
                add(mempool, argument)
                model.waiting.append(argument)
            else:
                assert refusal_of(mempool, argument).refusal is expected
        else:
            height += 1
            for made in argument:
                used[made.sender] = max(made.nonce, used.get(made.sender, -1))
            dropped = mempool.on_applied(
                [made.digest for made in argument],
                standing_of=lambda sender: Standing(used.get(sender), KEYS[sender]),
                height=Height(height),
            )
            assert {(drop.digest, drop.reason) for drop in dropped} == model.apply(argument, used, height)
        assert candidates(mempool) == model.candidates()
        assert len(mempool) == len(model.waiting)
        assert mempool.size_bytes == sum(len(made.raw) for made in model.waiting)
        assert all(mempool.raw(made.digest) == made.raw for made in model.waiting)
