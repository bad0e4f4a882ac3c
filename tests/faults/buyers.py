"""Malicious buyers, and what they do with copies and signatures."""

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.identifiers import Signature
from contracts.receipts import Status
from contracts.state import Account, StateReader, account_key
from contracts.state_reading import require
from contracts.transactions import (
    ENERGY_WH_MAX,
    SignedTransaction,
    SubmitTrade,
    TradeTerms,
    Transfer,
    decode_transaction,
    trade_amount,
    trade_id,
)
from contracts.units import MicroTokens, WattHours, contract_amount
from node.household.own_transactions import OwnTransaction
from node.household.promises import Promise, Slots
from node.mesh.messages import Transactions
from tests.faults.sellers import ALTERATION_WH
from tests.faults.tricks import NO_SIGNATURE, Trick

GROUP_ORDER: Final = 2**252 + 27_742_317_777_372_353_535_851_937_790_883_648_493
"""Of Ed25519: who adds it to a signature's second half gets other bytes that careless verifiers accept."""

REPLAYS: Final = 3


def varied(signature: Signature) -> Signature:
    """Returns the same signature in other bytes."""
    second = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    return Signature(signature[:32] + second.to_bytes(32, "little"))


class _FirstContract(Trick):
    """Submits a lie about its first contract, and then the contract itself."""

    def lie_about(self, honest: SubmitTrade) -> SubmitTrade:
        raise NotImplementedError

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        if not self.lies:
            self.lie(self.lie_about(honest), original=contract.terms)
        return (honest,)


class BuyerAltersEnergy(_FirstContract):
    def lie_about(self, honest: SubmitTrade) -> SubmitTrade:
        more = replace(honest.terms, energy_wh=WattHours(honest.terms.energy_wh + ALTERATION_WH))
        return replace(honest, terms=more, buyer_signature=self.signed(more))


class BuyerAltersPrice(_FirstContract):
    def lie_about(self, honest: SubmitTrade) -> SubmitTrade:
        cheaper = replace(honest.terms, price_micro_per_kwh=self.desk.ledger.genesis.price_min_micro_per_kwh)
        return replace(honest, terms=cheaper, buyer_signature=self.signed(cheaper))


class FramesSeller(_FirstContract):
    """Submits what only the seller signed, so that it looks like the seller's."""

    def lie_about(self, honest: SubmitTrade) -> SubmitTrade:
        return replace(honest, buyer_signature=NO_SIGNATURE)


class VariesSignatures(_FirstContract):
    """The seller's signature in other bytes under the contract, its own in other bytes under the envelope."""

    def lie_about(self, honest: SubmitTrade) -> SubmitTrade:
        return replace(honest, seller_signature=varied(honest.seller_signature))

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        if self.lies:
            return (honest,)
        super().submissions(contract, honest)
        original = self.fair(honest)
        envelope = decode_transaction(original.raw)
        other = SignedTransaction(envelope=envelope.envelope, signature=varied(envelope.signature))
        for raw in (encode(other), original.raw + b"\0"):
            self.note("refused", raw=raw.hex())
        send_to_each(self, encode(other))
        return ()


class DeniesSignature(Trick):
    """Once the contract executed it submits it again, with another signature in the place of its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._denied: SubmitTrade | None = None

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        if self._denied is None:
            self._denied = honest
            self.settles(contract.terms)
        return (honest,)

    def step(self, state: StateReader, slots: Slots) -> None:
        if self._denied is not None and not self.lies and self.originals <= self.executed():
            forged = self.key.sign(b"not this contract")
            self.lie(replace(self._denied, buyer_signature=forged))
            self.note("denied", trade=trade_id(self._denied.terms).hex())


class Replays(Trick):
    """Once the contract executed it sends the same bytes to every member, and the contract in new envelopes."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._contract: SubmitTrade | None = None
        self._original: OwnTransaction | None = None

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        if self._contract is not None:
            return (honest,)
        self._contract = honest
        self._original = self.fair(honest)
        self.settles(contract.terms)
        return ()

    def step(self, state: StateReader, slots: Slots) -> None:
        if self._contract is None or self._original is None or self.lies or not self.originals <= self.executed():
            return
        for _ in range(REPLAYS):
            self.lie(self._contract)
        self.note("replayed", raw=self._original.raw.hex())
        send_to_each(self, self._original.raw)


def send_to_each(trick: Trick, raw: bytes) -> None:
    """Sends a transaction to every member, not through the own mempool, which would refuse it."""
    assert trick.parts is not None
    for member in trick.parts.mesh.connected():
        trick.parts.mesh.send(member, Transactions(raw=(raw,)))


# --- without tokens ------------------------------------------------------------------------------------------------


class _Spends(Trick):
    """Signs contracts whatever it has, holds them back until there are enough, and keeps too few tokens for them.

    Once they are declined it gets tokens from the issuer (whoever runs it sees to that) and submits them again.
    """

    contracts_wanted: int

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._contracts: list[SubmitTrade] = []
        self._spent: OwnTransaction | None = None
        self._is_retried = False

    def affordable_wh(self, honest: int) -> int:
        return ENERGY_WH_MAX if len(self._contracts) < self.contracts_wanted else 0

    def submissions(self, contract: Promise, honest: SubmitTrade) -> Sequence[SubmitTrade]:
        known = {trade_id(one.terms) for one in self._contracts}
        if trade_id(contract.terms) not in known and len(self._contracts) < self.contracts_wanted:
            self._contracts.append(honest)
            self.settles(contract.terms)
        return ()

    def kept_micro(self) -> int:
        """Returns what it does not give away before it submits its contracts."""
        raise NotImplementedError

    def cost_micro(self, terms: TradeTerms) -> int:
        return trade_amount(terms) + contract_amount(terms.energy_wh, self.desk.ledger.genesis.grid_fee_micro_per_kwh)

    def step(self, state: StateReader, slots: Slots) -> None:
        if len(self._contracts) < self.contracts_wanted:
            return
        available = require(state, account_key(self.own), Account).available_micro
        if self._spent is None:
            self._give_away(available)
        elif not self._is_retried and self.are_decided(self.lies):
            self._retry(available)

    def _give_away(self, available: int) -> None:
        amount, grid = MicroTokens(available - self.kept_micro()), address_of(self.desk.ledger.genesis.grid_key)
        self._spent = self.fair(Transfer(recipient=grid, amount_micro=amount))
        for contract in self._contracts:
            self.lie(contract)
        self.note("needs_tokens", amount_micro=sum(self.cost_micro(one.terms) for one in self._contracts))

    def _retry(self, available: int) -> None:
        declined = {
            receipt.transaction
            for receipt in self.receipts
            if receipt.transaction in self.lies and receipt.status is Status.DECLINED
        }
        again = [one for one, lie in zip(self._contracts, self.lies, strict=True) if lie in declined]
        if available >= sum(self.cost_micro(one.terms) for one in again):
            self._is_retried = True
            for contract in again:
                self.fair(contract)
                self.fair(contract)  # once is enough: the second one finds it executed

    def has_ended(self, state: StateReader) -> bool:
        return self._is_retried and self.originals <= self.executed()


class NoTokens(_Spends):
    contracts_wanted = 1

    def kept_micro(self) -> int:
        return 0


class SpendsTwice(_Spends):
    contracts_wanted = 2

    def kept_micro(self) -> int:
        return max(self.cost_micro(one.terms) for one in self._contracts)
