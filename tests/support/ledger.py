"""Builds, certifies and appends real blocks with the node keys of a test community."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.membership import Membership
from consensus.messages import CommitCertificate, Endorsement, commit_bytes
from contracts.transactions import Transaction, transaction_digest
from ledger.block import Block, block_digest
from ledger.errors import TransactionRefused
from ledger.ledger import Ledger
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    raw_transaction,
    signed_reading,
    signed_trade,
    transfer,
)

HOUR_MS = 3_600_000


def certify(
    community: Community,
    height: Height,
    slot: Slot,
    block: Digest,
    *,
    signers: Sequence[int] | None = None,
) -> CommitCertificate:
    """Returns the COMMITs of the first Q members, or of `signers` (member numbers), sorted by signer."""
    keys: list[SigningKey] = list(community.node_keys)
    quorum = Membership.of_keys([key.public_key for key in keys]).quorum
    chosen = [keys[index] for index in (range(quorum) if signers is None else signers)]
    signed = commit_bytes(community.chain, height, slot, block)
    return CommitCertificate(
        era=FIRST_ERA,
        height=height,
        slot=slot,
        block=block,
        endorsements=tuple(
            Endorsement(signer=key.address, signature=key.sign(signed))
            for key in sorted(chosen, key=lambda key: key.address)
        ),
    )


def verified(ledger: Ledger, raws: Iterable[bytes]) -> list[Transaction]:
    """Returns the transactions that a node would take, as its mempool holds them."""
    found = []
    for raw in raws:
        with suppress(TransactionRefused):
            found.append(ledger.verifier.verify(raw, transaction_digest(raw)))
    return found


class ChainBuilder:
    """A ledger that grows by blocks as its own leaders would make them."""

    def __init__(self, ledger: Ledger, community: Community) -> None:
        self.ledger = ledger
        self.community = community
        self.nonces = [-1] * len(community.node_keys)
        self.node_keys = list(community.node_keys)
        """Of everybody who leads; a test whose members change adds theirs."""

    @classmethod
    def create(cls, directory: Path, community: Community | None = None) -> "ChainBuilder":
        community = make_genesis() if community is None else community
        return cls(Ledger.create(directory, community.genesis), community)

    def transaction(self, sender: int, action, **overrides) -> bytes:  # type: ignore[no-untyped-def]
        """Returns the next transaction of a member."""
        self.nonces[sender] += 1
        return raw_transaction(
            self.community, sender, action, nonce=overrides.pop("nonce", self.nonces[sender]), **overrides
        )

    def transfer(self, sender: int, recipient: int, amount_micro: int) -> bytes:
        return self.transaction(sender, transfer(self.community, recipient, amount_micro))

    def led_slot(self, ahead: int) -> Slot:
        """Returns the first slot that somebody leads, so many above the tip's or more."""
        return self.ledger.memberships().leaders.next_slot(Slot(self.ledger.tip_slot + ahead))

    def build(self, transactions: Sequence[bytes] = (), *, slot: int | None = None) -> Block:
        """Returns the next block, of the next slot that is led unless told, by its leader; appends nothing."""
        chosen = self.led_slot(1) if slot is None else Slot(slot)
        proposer = self.ledger.memberships().leaders.whose(chosen)
        return self.ledger.build(
            slot=chosen,
            leader=proposer,
            candidates=verified(self.ledger, transactions),
            prove=lambda statement: self.node_key_of(proposer).prove(statement),
        )

    def node_key_of(self, member: Address) -> SigningKey:
        """Returns the key of a member at the next height."""
        public_key = self.ledger.membership().key_of(member)
        return next(key for key in self.node_keys if key.public_key == public_key)

    def certify(self, block: Block, *, slot: int | None = None) -> CommitCertificate:
        """Returns a certificate that decides a block in its own slot, or a later one."""
        chosen = block.header.slot if slot is None else Slot(slot)
        return certify(self.community, block.header.height, chosen, block_digest(block.header))

    def append(self, transactions: Sequence[bytes] = (), *, slot: int | None = None) -> Block:
        """Builds, certifies and appends the next block; every transaction must get into it."""
        block = self.build(transactions, slot=slot)
        assert len(block.transactions) == len(transactions), "a transaction was left out"
        self.ledger.append(block, self.certify(block))
        return block

    def append_trading_hour(self, hour: int = 0, *, energy_wh: int = 100) -> Block:
        """Appends two blocks: every member's reading of an hour (member 0 sells), then member 1's purchase."""
        start_ms = FIRST_INTERVAL_MS + hour * HOUR_MS
        members = range(len(self.nonces))
        self.append(
            [
                self.transaction(
                    member,
                    signed_reading(
                        self.community,
                        member,
                        3 * energy_wh if member == 0 else -2 * energy_wh,
                        interval_start_ms=start_ms,
                    ),
                )
                for member in members
            ]
        )
        contract = signed_trade(self.community, 0, 1, energy_wh, offer_counter=hour, interval_start_ms=start_ms)
        return self.append([self.transaction(1, contract)])
