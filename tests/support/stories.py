"""A small chain on which everything happened that people ask about afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Digest, Height, Slot
from consensus.messages import VoteStatement
from contracts.transactions import ReportMisconduct, SubmitTrade, trade_id, transaction_digest
from ledger.ledger import Ledger
from node.stories.slices import Slices, to_the_end
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    resign,
    seeded_key,
    signed_cancellation,
    signed_forward,
    signed_reading,
    signed_trade,
)
from tests.support.ledger import HOUR_MS, ChainBuilder

T = TypeVar("T")

GRID_FEE_MICRO_PER_KWH = 20_000


def told(work: Slices[T]) -> T:
    return to_the_end(work)


@dataclass(frozen=True)
class Names:
    """The contracts of the chain, by what became of them, and the transactions that brought them."""

    spot: Digest
    spot_transaction: Digest
    too_large: Digest
    """Declined by condition 1: the seller had less."""
    altered: Digest
    """Brought with a forged signature first, then honestly: declined once, completed once."""
    partial: Digest
    """A forward trade of which half was delivered."""
    expired: Digest
    cancelled: Digest
    misconduct_transaction: Digest
    transfer: Digest


class StoryChain:
    """Four homes with a grid fee; home 1 sells, the others buy."""

    def __init__(self, directory: Path) -> None:
        self.community: Community = make_genesis(grid_fee_micro_per_kwh=GRID_FEE_MICRO_PER_KWH)
        self.builder = ChainBuilder.create(directory, self.community)
        self.names = self._live()

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    def _live(self) -> Names:
        spot, spot_raw = self._spot_hour()
        too_large, altered = self._bad_contracts()
        partial, expired, cancelled = self._forward_trades()
        transfer_raw = self.builder.transfer(0, 1, 5)
        report = self.builder.transaction(1, ReportMisconduct(evidence=two_votes(self.community, 3)))
        self.builder.append([transfer_raw, report])
        self.builder.append()
        return Names(
            spot=spot,
            spot_transaction=transaction_digest(spot_raw),
            too_large=too_large,
            altered=altered,
            partial=partial,
            expired=expired,
            cancelled=cancelled,
            misconduct_transaction=transaction_digest(report),
            transfer=transaction_digest(transfer_raw),
        )

    def _spot_hour(self) -> tuple[Digest, bytes]:
        readings = [(0, 300), (1, -200), (2, -200), (3, -200)]
        self.builder.append(
            [
                self.builder.transaction(member, signed_reading(self.community, member, net))
                for member, net in readings
            ]
        )
        contract = signed_trade(self.community, 0, 1, 100, offer_counter=0)
        raw = self.builder.transaction(1, contract)
        self.builder.append([raw])
        self.builder.append()  # its service rewards stand alone in their block
        return trade_id(contract.terms), raw

    def _bad_contracts(self) -> tuple[Digest, Digest]:
        too_large = signed_trade(self.community, 0, 2, 250, offer_counter=1)
        honest = signed_trade(self.community, 0, 2, 50, offer_counter=2)
        forged = resign(honest, seller=seeded_key("stranger", 0))
        self.builder.append([self.builder.transaction(2, too_large)])
        self.builder.append([self.builder.transaction(3, forged), self.builder.transaction(2, forged)])
        self.builder.append([self.builder.transaction(2, honest)])
        return trade_id(too_large.terms), trade_id(honest.terms)

    def _forward_trades(self) -> tuple[Digest, Digest, Digest]:
        start, slot = FIRST_INTERVAL_MS + HOUR_MS, self.ledger.tip_slot
        partial = self._forward(10, 100, start, expiry_slot=slot + 1_000)
        expired = self._forward(11, 40, start + HOUR_MS, expiry_slot=slot + 30)
        cancelled = self._forward(12, 40, start + 2 * HOUR_MS, expiry_slot=slot + 1_000)
        self.builder.append([self.builder.transaction(1, contract) for contract in (partial, expired, cancelled)])
        keys = self.community.node_keys
        cancellation = signed_cancellation(cancelled.terms, seller=keys[0], buyer=keys[1])
        self.builder.append([self.builder.transaction(0, cancellation)])
        readings = [
            self.builder.transaction(member, signed_reading(self.community, member, net, interval_start_ms=start))
            for member, net in ((0, 50), (1, -100))
        ]
        self.builder.append(readings)
        self.builder.append(slot=slot + 31)
        self.builder.append(slot=slot + 60)  # gates of the readings close in between
        return trade_id(partial.terms), trade_id(expired.terms), trade_id(cancelled.terms)

    def _forward(self, counter: int, energy_wh: int, start_ms: int, *, expiry_slot: int) -> SubmitTrade:
        return signed_forward(
            self.community,
            0,
            1,
            energy_wh,
            offer_counter=counter,
            delivery_start_ms=start_ms,
            expiry_slot=Slot(expiry_slot),
        )


def two_votes(community: Community, member: int) -> Equivocation:
    """Returns a member's votes for two blocks of one slot."""
    key: SigningKey = community.node_keys[member]

    def vote(block: bytes) -> SignedStatement:
        statement = VoteStatement(domain=community.chain, height=Height(7), slot=Slot(9), block=Digest(block * 32))
        return SignedStatement(statement=statement, signature=key.sign(encode(statement)))

    return Equivocation(offender=key.address, era=FIRST_ERA, first=vote(b"a"), second=vote(b"b"))
