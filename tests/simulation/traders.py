"""Thousands of malicious traders on the production contracts: seeded, without network and disk.

Each case is a market of its own: a seller, two buyers, somebody else, and one contract that two of them agreed on.
A lie of one kind is told about it, in random terms and at a random moment. Whatever it is: it is declined for the
reason that its kind must have, it moves nothing to the unit, nobody's score falls but the liar's, and the contract
itself settles exactly once. `python -m tests.simulation.traders --cases 5000` prints how many cases of each kind ran.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace

from consensus.codec import decode
from consensus.cryptography import SigningKey
from consensus.identifiers import Signature
from contracts.execution import execute_block
from contracts.receipts import Reason, Receipt, Status
from contracts.state import Account, Trade, TradeStatus, account_key, trade_key
from contracts.transactions import (
    Action,
    PublishReading,
    SignedTransaction,
    SubmitTrade,
    TradeTerms,
    packet_id,
    trade_amount,
    trade_id,
)
from contracts.units import MS_PER_HOUR, Milliseconds, contract_amount
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    DictChain,
    block_context,
    make_genesis,
    resign,
    sign_trade,
    signed_forward,
    signed_reading,
    signed_trade,
    transfer,
)
from tests.support.declined import moved_nothing

GROUP_ORDER: Final = 2**252 + 27_742_317_777_372_353_535_851_937_790_883_648_493
"""Of Ed25519."""

SELLER, BUYER, OTHER_BUYER, STRANGER = range(4)
CAPACITY_W: Final = 20_000
GRID_FEE: Final = 10_500

Sent = tuple[int, Action]
"""A sender's number and what it submits."""


@dataclass(frozen=True, kw_only=True)
class Lie:
    """What a liar submits about a contract, and what must come of it."""

    liar: int
    sent: Sequence[Sent]
    reason: Reason
    is_fault: bool = True
    first: Sequence[Sent] = ()
    """What happens in the block before it."""
    only_after: bool = False
    """It is told once the contract executed, not before."""
    retry: Sequence[Sent] = ()
    """What makes the contract possible again."""


class Market:
    """One case: a chain on which two members agreed on a contract."""

    def __init__(self, seed: int) -> None:
        self.random: Final = Random(f"traders {seed}")
        self.homes: Final[Community] = make_genesis(
            self.random.randint(4, 7), capacity_w=CAPACITY_W, grid_fee_micro_per_kwh=GRID_FEE
        )
        self.chain: Final = DictChain(self.homes)
        self.surplus_wh: Final = self.random.randint(2, CAPACITY_W)
        lacking_wh = self.random.randint(self.surplus_wh, CAPACITY_W)
        nets = {SELLER: self.surplus_wh, BUYER: -lacking_wh, OTHER_BUYER: -lacking_wh, STRANGER: self.surplus_wh}
        self.chain.block(*((member, signed_reading(self.homes, member, net)) for member, net in nets.items()))
        self.price: Final = self.random.randint(80_001, 319_999)
        self.contract: Final = self.agreed(BUYER, self.random.randint(self.surplus_wh // 2 + 1, self.surplus_wh), 1)
        self.receipts: list[Receipt] = []

    def agreed(self, buyer: int, energy_wh: int, counter: int, *, seller: int = SELLER) -> SubmitTrade:
        return signed_trade(
            self.homes, seller, buyer, energy_wh, offer_counter=counter, price_micro_per_kwh=self.price
        )

    def cost_micro(self, terms: TradeTerms) -> int:
        return trade_amount(terms) + contract_amount(terms.energy_wh, self.homes.genesis.grid_fee_micro_per_kwh)

    def key(self, member: int) -> SigningKey:
        return self.homes.node_keys[member]

    def decide(self, *sent: Sent) -> tuple[Receipt, ...]:
        """Executes one block; every declined transaction in it must have moved nothing."""
        transactions = [self.chain.sign(sender, action) for sender, action in sent]
        scores = self.scores()
        self._check_each(transactions)
        receipts = self.chain.apply(transactions).receipts
        fell = {member for member, score in enumerate(self.scores()) if score < scores[member]}
        faults = {self.homes.addresses.index(receipt.fault) for receipt in receipts if receipt.fault is not None}
        assert fell <= faults, f"the scores of {fell} fell, at fault are {faults}"
        self.receipts += receipts
        return receipts

    def _check_each(self, transactions: Sequence[SignedTransaction]) -> None:
        context = block_context(self.homes, height=self.chain.height + 1, slot=self.chain.slot + 1)
        runs = [
            execute_block(self.chain.state, self.homes.genesis, context, transactions[:count])
            for count in range(len(transactions) + 1)
        ]
        for before, after in pairwise(runs):
            receipt = after.receipts[-1]
            if receipt.status is Status.DECLINED:
                assert moved_nothing(self.chain.state, before.changes, after.changes, receipt), receipt

    def scores(self) -> list[int]:
        return [self.chain.score(member).value for member in range(len(self.homes.addresses))]

    def executions(self, contract: SubmitTrade) -> int:
        name = trade_id(contract.terms)
        return sum((one.reference, one.status) == (name, Status.EXECUTED) for one in self.receipts)


# --- lies about a contract ----------------------------------------------------------------------------------------


def _altered(market: Market, terms: TradeTerms) -> TradeTerms:
    """Returns other terms that could be a contract too."""
    change: dict[str, Any] = market.random.choice(
        (
            {"energy_wh": terms.energy_wh + market.random.randint(1, 10**6)},
            {"energy_wh": market.random.randint(1, terms.energy_wh - 1) if terms.energy_wh > 1 else 2},
            {"price_micro_per_kwh": terms.price_micro_per_kwh + market.random.choice((-1, 1))},
            {"price_micro_per_kwh": market.random.choice((80_000, 320_000))},
            {"expiry_slot": terms.expiry_slot + market.random.randint(1, 99)},
            {"offer_counter": terms.offer_counter + market.random.randint(1, 99)},
        )
    )
    return replace(terms, **change)


def _no_signature(market: Market, *known: Signature) -> Signature:
    """Returns what a liar puts where the other one's signature should be."""
    return market.random.choice((Signature(bytes(64)), Signature(market.random.randbytes(64)), *known))


def seller_alters(market: Market) -> Lie:
    """Its own signature is right; the buyer's is one of other terms, of another key, or none."""
    altered = resign(
        replace(market.contract, terms=_altered(market, market.contract.terms)), seller=market.key(SELLER)
    )
    forged = _no_signature(market, altered.seller_signature, market.contract.buyer_signature)
    lie = replace(altered, buyer_signature=forged)
    return Lie(liar=SELLER, sent=[(SELLER, lie)], reason=Reason.TRADE_BUYER_SIGNATURE)


def buyer_alters(market: Market) -> Lie:
    altered = resign(replace(market.contract, terms=_altered(market, market.contract.terms)), buyer=market.key(BUYER))
    forged = _no_signature(market, altered.buyer_signature, market.contract.seller_signature)
    lie = replace(altered, seller_signature=forged)
    return Lie(liar=BUYER, sent=[(BUYER, lie)], reason=Reason.TRADE_SELLER_SIGNATURE)


def stranger_alters_copy(market: Market) -> Lie:
    copy = replace(market.contract, terms=_altered(market, market.contract.terms))
    return Lie(liar=STRANGER, sent=[(STRANGER, copy)], reason=Reason.TRADE_SELLER_SIGNATURE)


def stranger_submits_original(market: Market) -> Lie:
    sent = [(STRANGER, market.contract)]
    return Lie(liar=STRANGER, sent=sent, reason=Reason.TRADE_SUBMITTER_NOT_PARTY, is_fault=False)


def frames_seller(market: Market) -> Lie:
    lie = replace(market.contract, buyer_signature=_no_signature(market, market.contract.seller_signature))
    return Lie(liar=BUYER, sent=[(BUYER, lie)], reason=Reason.TRADE_BUYER_SIGNATURE)


def frames_buyer(market: Market) -> Lie:
    lie = replace(market.contract, seller_signature=_no_signature(market, market.contract.buyer_signature))
    return Lie(liar=SELLER, sent=[(SELLER, lie)], reason=Reason.TRADE_SELLER_SIGNATURE)


def signature_varied(market: Market) -> Lie:
    """One signature in other bytes: the group's order added to its second half, or any bit of it turned."""
    side = market.random.choice(("seller", "buyer"))
    field_name = f"{side}_signature"
    signature = getattr(market.contract, field_name)
    number = int.from_bytes(signature, "little")
    if market.random.random() < 0.5:
        number += GROUP_ORDER << 256
    else:
        number ^= 1 << market.random.randrange(512)
    lie = replace(market.contract, **{field_name: Signature(number.to_bytes(64, "little"))})
    reason = Reason.TRADE_SELLER_SIGNATURE if side == "seller" else Reason.TRADE_BUYER_SIGNATURE
    liar = market.random.choice((SELLER, BUYER))
    return Lie(liar=liar, sent=[(liar, lie)], reason=reason)


def denies_signature(market: Market) -> Lie:
    return replace_only_after(frames_seller(market))


def replays(market: Market) -> Lie:
    senders = market.random.choices((SELLER, BUYER), k=market.random.randint(1, 4))
    sent = [(sender, market.contract) for sender in senders]
    return Lie(liar=senders[0], sent=sent, reason=Reason.TRADE_ALREADY_EXECUTED, is_fault=False, only_after=True)


def replace_only_after(lie: Lie) -> Lie:
    """Returns the lie, told once the contract executed."""
    return Lie(liar=lie.liar, sent=lie.sent, reason=lie.reason, only_after=True)


def sells_twice(market: Market) -> Lie:
    """More than half of the packet to each of two buyers."""
    energy_wh = market.random.randint(market.surplus_wh - market.contract.terms.energy_wh + 1, market.surplus_wh)
    second = market.agreed(OTHER_BUYER, energy_wh, 2)
    sender = market.random.choice((SELLER, OTHER_BUYER))
    return Lie(liar=SELLER, sent=[(sender, second)], reason=Reason.CONDITION_1_SELLER_ENERGY, only_after=True)


def offers_twice(market: Market) -> Lie:
    """Two contracts under one offer id, both signed by both."""
    other = _altered(market, market.contract.terms)
    same_offer = replace(other, offer_counter=market.contract.terms.offer_counter)
    if same_offer == market.contract.terms:
        same_offer = replace(same_offer, energy_wh=market.contract.terms.energy_wh + 1)
    second = sign_trade(same_offer, seller=market.key(SELLER), buyer=market.key(BUYER))
    sent = [(market.random.choice((SELLER, BUYER)), second)]
    return Lie(liar=SELLER, sent=sent, reason=Reason.TRADE_OFFER_REUSED, only_after=True)


def no_tokens(market: Market) -> Lie:
    """The buyer gives its tokens away, and later gets them back."""
    has = market.chain.account(BUYER).available_micro
    cost = market.cost_micro(market.contract.terms)
    gone = market.random.randint(has - cost + 1, has) if cost else has
    return Lie(
        liar=BUYER,
        first=[(BUYER, transfer(market.homes, STRANGER, gone))],
        sent=[(market.random.choice((SELLER, BUYER)), market.contract)],
        reason=Reason.CONDITION_2_BUYER_TOKENS,
        retry=[(STRANGER, transfer(market.homes, BUYER, gone))],
    )


def spends_twice(market: Market) -> Lie:
    """Tokens for the dearer of two contracts; the second one is with another seller."""
    second = market.agreed(BUYER, market.contract.terms.energy_wh, 1, seller=STRANGER)
    kept = market.cost_micro(second.terms)
    gone = market.chain.account(BUYER).available_micro - kept - market.random.randint(0, kept - 1)
    return Lie(
        liar=BUYER,
        first=[(BUYER, transfer(market.homes, OTHER_BUYER, gone))],
        sent=[(market.random.choice((STRANGER, BUYER)), second)],
        reason=Reason.CONDITION_2_BUYER_TOKENS,
        only_after=True,
    )


# --- lies of meters -----------------------------------------------------------------------------------------------


def lying_meter(market: Market) -> Lie:
    """One of all that a reading can be wrong in, told by the seller or, of its meter, by somebody else."""
    changes, reason, sender = market.random.choice(
        (
            ({"meter_key": market.key(SELLER)}, Reason.READING_BAD_SIGNATURE, SELLER),
            ({"meter_key": market.homes.meter_keys[BUYER]}, Reason.READING_BAD_SIGNATURE, SELLER),
            ({"interval_start_ms": FIRST_INTERVAL_MS}, Reason.READING_DUPLICATE, SELLER),
            ({"interval_start_ms": _half_past(market)}, Reason.READING_MISALIGNED, SELLER),
            ({"net_wh": CAPACITY_W + market.random.randint(1, 10**6)}, Reason.READING_ABOVE_CAPACITY, SELLER),
            ({"net_wh": -CAPACITY_W - market.random.randint(1, 10**6)}, Reason.READING_ABOVE_CAPACITY, SELLER),
            ({"chain": bytes(32)}, Reason.READING_WRONG_CHAIN, SELLER),
            ({"version": market.random.randint(1, 9)}, Reason.READING_WRONG_VERSION, SELLER),
            ({}, Reason.READING_FOREIGN_METER, STRANGER),
        )
    )
    fields: dict[str, Any] = {"net_wh": market.random.randint(1, CAPACITY_W), "interval_start_ms": _next_hour()}
    reading = signed_reading(market.homes, SELLER, **{**fields, **changes})
    return Lie(liar=sender, sent=[(sender, reading)], reason=reason, is_fault=False)


def _next_hour() -> Milliseconds:
    return Milliseconds(FIRST_INTERVAL_MS + MS_PER_HOUR)


def _half_past(market: Market) -> Milliseconds:
    return Milliseconds(FIRST_INTERVAL_MS + market.random.randint(1, MS_PER_HOUR - 1))


KINDS: Final[Sequence[Callable[[Market], Lie]]] = (
    seller_alters,
    buyer_alters,
    stranger_alters_copy,
    stranger_submits_original,
    frames_seller,
    frames_buyer,
    signature_varied,
    denies_signature,
    replays,
    sells_twice,
    offers_twice,
    no_tokens,
    spends_twice,
    lying_meter,
)


# --- running ------------------------------------------------------------------------------------------------------


def run_case(seed: int) -> str:
    """Runs one case; returns its kind.

    Raises:
        AssertionError: a lie was not declined as it must be, something moved, or the contract did not settle once.
    """
    market = Market(seed)
    if seed % (len(KINDS) + 1) == len(KINDS):
        _run_promise(market)
        return "never_delivers"
    kind = KINDS[seed % (len(KINDS) + 1)]
    lie = kind(market)
    if lie.first:
        market.decide(*lie.first)
    _tell(market, lie)
    if lie.retry:
        market.decide(*lie.retry)
    market.decide(*((market.random.choice((SELLER, BUYER)), market.contract) for _ in range(2)))
    assert market.executions(market.contract) == 1, "the contract does not settle exactly once"
    if any(isinstance(action, PublishReading) for _, action in lie.sent):
        _read_honestly(market)
    return kind.__name__


def _tell(market: Market, lie: Lie) -> None:
    """Tells the lie before the contract, after it, or in one block with it, and checks what became of it."""
    before = market.scores()
    honest: list[Sent] = [] if lie.retry else [(market.random.choice((SELLER, BUYER)), market.contract)]
    blocks = market.random.choice(
        ([[*honest, *lie.sent]], [honest, lie.sent])
        if lie.only_after
        else ([[*lie.sent, *honest]], [lie.sent, honest], [[*honest, *lie.sent]], [honest, lie.sent])
    )
    receipts = [receipt for block in blocks if block for receipt in market.decide(*block)]
    told = [receipt for receipt in receipts if receipt.reason is not Reason.NONE]
    assert [receipt.reason for receipt in told] == [lie.reason] * len(lie.sent), [one.reason for one in told]
    fault = market.homes.addresses[lie.liar] if lie.is_fault else None
    assert {receipt.fault for receipt in told} == {fault}
    fell = [member for member, score in enumerate(market.scores()) if score < before[member]]
    assert fell == ([lie.liar] if lie.is_fault else []), f"the scores of {fell} fell"


def _read_honestly(market: Market) -> None:
    """The hour that was lied about is credited once all the same."""
    reading = signed_reading(market.homes, SELLER, 700, interval_start_ms=_next_hour())
    receipts = market.decide((SELLER, reading), (SELLER, reading))
    assert [receipt.status for receipt in receipts] == [Status.EXECUTED, Status.DECLINED]
    assert market.chain.packet(SELLER, _next_hour()).credited_wh == 700
    assert receipts[0].reference == packet_id(market.homes.addresses[SELLER], _next_hour())


def _run_promise(market: Market) -> None:
    """A forward trade of which nothing comes: the buyer gets every token back, the seller is at fault."""
    before, scores = market.chain.state[account_key(market.homes.addresses[BUYER])], market.scores()
    expiry = market.chain.slot + market.random.randint(2, 9)
    promise = signed_forward(
        market.homes,
        SELLER,
        BUYER,
        market.random.randint(1, CAPACITY_W),
        offer_counter=2,
        delivery_start_ms=_next_hour(),
        expiry_slot=expiry,
        price_micro_per_kwh=market.price,
    )
    market.decide((SELLER, promise))
    if market.random.random() < 0.5:
        market.decide((BUYER, signed_reading(market.homes, BUYER, -CAPACITY_W, interval_start_ms=_next_hour())))
    market.chain.block(slot=expiry + 1)
    trade = market.chain.read(trade_key(trade_id(promise.terms)), Trade)
    assert (trade.status, trade.held_micro, trade.delivered_wh) == (TradeStatus.EXPIRED, 0, 0)
    after = market.chain.state[account_key(market.homes.addresses[BUYER])]
    assert _tokens(after) == _tokens(before), "the buyer did not get all back"
    assert [member for member, score in enumerate(market.scores()) if score < scores[member]] == [SELLER]
    market.decide((BUYER, market.contract), (SELLER, market.contract))
    assert market.executions(market.contract) == 1


def _tokens(raw: bytes) -> tuple[int, int]:
    account = decode(raw, Account)
    return account.available_micro, account.held_micro


def run_cases(seeds: range) -> Counter[str]:
    """Runs one case per seed; returns how many of each kind ran.

    Raises:
        AssertionError: with the seed of the first case that fails.
    """
    kinds: Counter[str] = Counter()
    for seed in seeds:
        try:
            kinds[run_case(seed)] += 1
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {error}") from error
    return kinds


def main(cases: Annotated[int, typer.Option(min=1, help="How many cases.")] = 5_000, first: int = 0) -> None:
    """Runs malicious submissions against the contracts; exit code 1 if one gains anything."""
    kinds = run_cases(range(first, first + cases))
    for kind, count in sorted(kinds.items()):
        typer.echo(f"{count:8,} {kind}")
    typer.echo(f"{kinds.total():8,} cases: declined, nothing moved, the liar's score alone fell, settled once")


if __name__ == "__main__":
    typer.run(main)
