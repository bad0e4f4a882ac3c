"""What every trader that lies is made of: the product's own desks, with one trick played at one point.

A trick notes in the diary what it did, for whoever judges the run afterwards; the product never sees the diary.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from consensus.codec import encode
from consensus.identifiers import Address, Digest, Height, Signature
from contracts.receipts import Receipt, Status
from contracts.state import StateReader
from contracts.transactions import Action, SubmitTrade, TradeTerms, decode_transaction, trade_id
from node.daemon import AgentParts
from node.household.bilateral import BilateralMarket, MarketParts, price_bounds, seller_terms
from node.household.buyer import BuyerDesk
from node.household.own_transactions import OwnTransaction
from node.household.promises import Promise, Slots
from node.household.seller import SellerDesk
from node.mesh.messages import OfferReply, OfferRequest, PeerMessage

DIARY_NAME = "fault.jsonl"
NO_SIGNATURE = Signature(bytes(64))

Note = Callable[..., None]
Answer = Callable[[], OfferReply | None]


def diary_in(directory: Path) -> Note:
    """Returns what writes events into a liar's diary, one JSON object per line."""

    def note(event: str, **details: Any) -> None:
        with (directory / DIARY_NAME).open("a", encoding="utf-8") as diary:
            diary.write(json.dumps({"event": event, **details}) + "\n")

    return note


def contracts_in(raws: Sequence[bytes]) -> Iterator[SubmitTrade]:
    """Yields the contracts among transactions that a peer passed on."""
    for raw in raws:
        action = decode_transaction(raw).envelope.action
        if isinstance(action, SubmitTrade):
            yield action


class Trick:
    """One behaviour of a trader. Each hook does what the product does, unless a trick overrides it."""

    seller: SellerDesk
    buyer: BuyerDesk

    def __init__(self, desk: MarketParts, note: Note, parts: AgentParts | None = None) -> None:
        self.desk = desk
        self.note = note
        self.parts = parts
        """None where no daemon is around the desks."""
        self.key = desk.key
        self.own = desk.key.address
        self.lies: list[Digest] = []
        self.originals: set[Digest] = set()
        self.receipts: list[Receipt] = []
        """Of all blocks since the start, in their order."""
        self.is_done = False
        self._looked_through: Height = desk.transactions._ledger.height

    # --- hooks

    def answer(
        self, buyer: Address, request: OfferRequest, honest: Answer, state: StateReader, slots: Slots
    ) -> OfferReply | None:
        """Returns the seller's answer to a buyer."""
        return honest()

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        """Returns what the buyer submits for a contract."""
        return (honest,)

    def affordable_wh(self, honest: int) -> int:
        """Returns what the buyer says that it can pay."""
        return honest

    def step(self, state: StateReader, slots: Slots) -> None:
        """Does something in each turn of the household."""

    def heard(self, sender: Address, message: PeerMessage) -> None:
        """Learns what a peer sent to this node."""

    def has_ended(self, state: StateReader) -> bool:
        """Says whether every lie is decided, and whatever honest thing it was about is executed."""
        return bool(self.lies) and self.are_decided(self.lies) and self.originals <= self.executed()

    # --- tools

    def turn(self, state: StateReader, slots: Slots) -> None:
        if self.is_done:
            return
        self._follow()
        self.step(state, slots)
        if self.has_ended(state):
            self.is_done = True
            self.note("done")

    def lie(self, action: Action, *, original: TradeTerms | None = None) -> OwnTransaction:
        """Signs a lie, which leaves the node after this turn; `original` is the contract that it is about."""
        signed = self.desk.transactions.sign(action)
        self.lies.append(signed.digest)
        self.note("lie", transaction=signed.digest.hex())
        if original is not None:
            self.settles(original)
        return signed

    def settles(self, terms: TradeTerms) -> None:
        """Notes a contract that must settle exactly once."""
        self.originals.add(trade_id(terms))
        self.note("original", trade=trade_id(terms).hex())

    def fair(self, action: Action) -> OwnTransaction:
        """Signs what an honest household would, after or before a lie about the same thing."""
        signed = self.desk.transactions.sign(action)
        self.note("fair", transaction=signed.digest.hex())
        return signed

    def signed(self, terms: TradeTerms) -> Signature:
        return self.key.sign(encode(terms))

    def are_decided(self, transactions: Sequence[Digest]) -> bool:
        return set(transactions) <= {receipt.transaction for receipt in self.receipts}

    def executed(self) -> set[Digest]:
        """Returns the contracts that executed."""
        return {
            receipt.reference
            for receipt in self.receipts
            if receipt.reference is not None and receipt.status is Status.EXECUTED
        }

    def _follow(self) -> None:
        ledger = self.desk.transactions._ledger
        for height in range(self._looked_through + 1, ledger.height + 1):
            self.receipts += ledger.receipts(Height(height))
        self._looked_through = ledger.height


class _TrickSeller(SellerDesk):
    def __init__(self, parts: MarketParts, trick: Trick) -> None:
        terms = seller_terms(parts)
        super().__init__(key=parts.key, terms=terms, offers=parts.offers, first_counter=parts.first_number)
        self._trick = trick

    def answer(self, buyer: Address, request: OfferRequest, state: StateReader, slots: Slots) -> OfferReply | None:
        def honest() -> OfferReply | None:
            return SellerDesk.answer(self, buyer, request, state, slots)

        return self._trick.answer(buyer, request, honest, state, slots)

    def refresh(self, state: StateReader, slots: Slots) -> None:
        super().refresh(state, slots)
        self._trick.turn(state, slots)


class _TrickBuyer(BuyerDesk):
    def __init__(self, parts: MarketParts, trick: Trick) -> None:
        super().__init__(
            key=parts.key,
            chain=parts.chain,
            prices=price_bounds(parts),
            contracts=parts.contracts,
            first_request_id=parts.first_number,
        )
        self._trick = trick

    def submissions(self, contract: Promise) -> tuple[SubmitTrade, ...]:
        (honest,) = super().submissions(contract)
        return tuple(self._trick.submissions(contract, honest))

    def _affordable_wh(self, state: StateReader) -> int:
        return self._trick.affordable_wh(super()._affordable_wh(state))


def market_with(trick: Trick) -> BilateralMarket:
    """Returns the market of a household that plays a trick."""
    trick.seller, trick.buyer = _TrickSeller(trick.desk, trick), _TrickBuyer(trick.desk, trick)
    return BilateralMarket(trick.desk, seller=trick.seller, buyer=trick.buyer)
