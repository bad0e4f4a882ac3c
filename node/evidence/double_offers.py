"""Finds members that signed two contracts under one offer id, from what stands on the chain, declined or not.

The first of the two may well be declined: who alters a contract signs the altered copy alone, and the original
settles. So every contract counts whose terms a party validly signed. A contract that executed is in the state for
good, under its offer id; only those that were declined are remembered here.

Nobody is framed: what a member did not sign is never held against it. The execution checks the signatures of almost
every contract, and the receipt's reason tells which held; the rest are checked here. Whoever takes what is found
proves it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.identifiers import Address, Digest, Height, Signature
from contracts.key_changes import held_keys
from contracts.receipts import Reason, Receipt, Status
from contracts.state import Offer, Overlay, Trade, offer_key, trade_key
from contracts.state_reading import read
from contracts.transactions import Action, DoubleOffer, SubmitTrade, TradeTerms, decode_transaction, trade_id
from ledger.ledger import Ledger

REMEMBERED_MAX: Final = 16_384
"""Signatures under declined contracts, the newest ones. Honest members have next to none declined; a liar that wants
its first one forgotten has to bring so many more to the chain. Bounds memory: 1 KB each, 2 KB with 16 packets."""

UNCHECKED: Final = frozenset(
    {
        Reason.TRADE_SAME_PARTY,
        Reason.TRADE_UNKNOWN_PARTY,
        Reason.TRADE_SELLER_SIGNATURE,
        Reason.TRADE_BUYER_SIGNATURE,
    }
)
"""Declined before both signatures were found to hold: one of them may, also under a key that was replaced since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """Terms that a member signed."""

    terms: TradeTerms
    signature: Signature


_Name = tuple[Address, Address, int]
"""Signer, seller, offer counter."""


class DoubleOffers:
    """What was signed and declined, against which each further contract is held."""

    def __init__(self, ledger: Ledger) -> None:
        """Takes the ledger to look through; nothing is remembered yet."""
        self._ledger = ledger
        self._declined: dict[_Name, _Signed] = {}

    def in_block(self, height: Height) -> Iterator[DoubleOffer]:
        """Yields what a decided block's contracts prove together with earlier ones."""
        receipts = self._ledger.receipts(height)
        if not any(receipt.parties for receipt in receipts):
            return
        for raw, receipt in zip(self._ledger.decided_block(height).transactions, receipts, strict=True):
            action = self._action(raw, receipt.transaction) if receipt.parties else None
            if isinstance(action, SubmitTrade):
                yield from self._contradictions(action, receipt)

    def _contradictions(self, contract: SubmitTrade, receipt: Receipt) -> Iterator[DoubleOffer]:
        terms, is_declined = contract.terms, receipt.status is Status.DECLINED
        for signer, signature in self._signers(contract, receipt.reason):
            name = (signer, terms.seller, terms.offer_counter)
            own = _Signed(terms=terms, signature=signature)
            first = self._declined.get(name)
            if first is None and is_declined:
                first = self._executed(name, other_than=trade_id(terms)) or own
                self._remember(name, first)
            if first is not None and first.terms != terms:
                yield DoubleOffer(
                    offender=signer,
                    first=first.terms,
                    first_signature=first.signature,
                    second=terms,
                    second_signature=signature,
                )

    def _signers(self, contract: SubmitTrade, reason: Reason) -> Iterator[tuple[Address, Signature]]:
        """Yields the parties whose signature under the terms holds."""
        if reason is Reason.TRADE_WRONG_CHAIN:
            return  # proves nothing on this one
        for signer, signature in _signatures(contract):
            if reason not in UNCHECKED or self._holds(signer, signature, contract.terms):
                yield signer, signature

    def _holds(self, signer: Address, signature: Signature, terms: TradeTerms) -> bool:
        keys = held_keys(Overlay(self._ledger), signer)
        return any(verify(key, encode(terms), signature) for key in keys)

    def _executed(self, name: _Name, *, other_than: Digest) -> _Signed | None:
        """Returns what a party signed of the contract that executed under an offer id, if it is another one."""
        signer, seller, offer_counter = name
        offer = read(self._ledger, offer_key(seller, offer_counter), Offer)
        if offer is None or offer.trade == other_than:
            return None
        trade = read(self._ledger, trade_key(offer.trade), Trade)
        if trade is None or signer not in (trade.seller, trade.buyer):
            return None  # cancelled before it executed, or between others
        location = self._ledger.find_transaction(trade.transaction)
        if location is None:
            return None  # below what is here: members that have it find the contradiction
        contract = self._action(
            self._ledger.decided_block(location.height).transactions[location.index], trade.transaction
        )
        assert isinstance(contract, SubmitTrade), "only contracts become trades"
        return _Signed(terms=contract.terms, signature=dict(_signatures(contract))[signer])

    def _remember(self, name: _Name, signed: _Signed) -> None:
        self._declined[name] = signed
        if len(self._declined) > REMEMBERED_MAX:
            del self._declined[next(iter(self._declined))]

    def _action(self, raw: bytes, name: Digest) -> Action:
        """Returns what a transaction does; those of late are decoded already."""
        transaction = self._ledger.verifier.known(name) or decode_transaction(raw)
        return transaction.envelope.action


def _signatures(contract: SubmitTrade) -> tuple[tuple[Address, Signature], ...]:
    terms = contract.terms
    return (terms.seller, contract.seller_signature), (terms.buyer, contract.buyer_signature)
