"""Who lies about who is a member: a leader that lets anybody in, a candidate that takes part before it may."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Address, Slot
from consensus.messages import PrePrepare, ViewChange, view_change_bytes
from contracts.state import Account, account_key
from contracts.state_reading import require
from contracts.transactions import Action, GiveVerdict, RequestJoin, SayReady, decode_transaction, sign_transaction
from ledger.block import Block, block_digest
from ledger.ledger import Ledger
from ledger.side_files import write_whole
from node.mesh.messages import PeerMessage, Transactions
from tests.faults.members import BadBlocks, LyingMember
from tests.support.ledger import verified
from tests.support.testnet import VALID_UNTIL_HEIGHT

PLANTED_NAME: Final = "planted.action"

RULES: Final = ("_sponsor", "_voucher", "_possession", "_history", "_uniqueness")
"""What an application must pass, as `contracts/joining.py` asks it."""


def plant(directory: Path, action: RequestJoin | GiveVerdict) -> Path:
    """Gives a lying leader what it is to put into its blocks as long as the file is there; returns that."""
    path = directory / PLANTED_NAME
    write_whole(path, encode(action))
    return path


@contextmanager
def without_rules() -> Iterator[None]:
    """Executes applications as if all were fit, and one verdict enough."""

    def fit(*_: Any) -> None:
        return None

    lax = {f"{rule}_refusal": fit for rule in RULES}
    with patch.multiple("contracts.joining", verdicts_needed=lambda _: 1, **lax):
        yield


class AdmitsAnybody(BadBlocks):
    """Leads with what it was given, signed by itself, and executed without a rule: past every door but the vote."""

    @property
    def is_done(self) -> bool:
        return not (self.home / PLANTED_NAME).exists()

    def altered(self, block: Block) -> Block | None:
        action = self._planted()
        if action is None:
            return None
        others = [raw for raw in block.transactions if decode_transaction(raw).envelope.sender != self.own]
        candidates = verified(self.ledger, [self._signed(action), *others])
        with without_rules():
            return Ledger.build(
                self.ledger, slot=block.header.slot, leader=self.own, candidates=candidates, prove=self.key.prove
            )

    def _planted(self) -> RequestJoin | GiveVerdict | None:
        with suppress(FileNotFoundError):
            return decode((self.home / PLANTED_NAME).read_bytes(), RequestJoin | GiveVerdict)
        return None

    def _signed(self, action: Action) -> bytes:
        account = require(self.ledger, account_key(self.own), Account)
        return sign_transaction(
            self.key,
            chain=self.ledger.chain,
            nonce=account.nonce + 1,
            valid_until_height=VALID_UNTIL_HEIGHT,
            action=action,
        )


class VotesAsCandidate(LyingMember):
    """A candidate that votes, commits, asks for view changes and proposes, and puts off its word that it is ready;
    and the member that shows it all proposals, as nobody else does.
    """

    def lie(self) -> None:
        self.mesh.bend = self._bent
        self.mesh.heard = self._heard

    def _bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if isinstance(message, PrePrepare):
            self._show(message)
        if isinstance(message, Transactions) and not self.is_done:
            kept = tuple(raw for raw in message.raw if not _is_ready(raw))
            return (replace(message, raw=kept),) if kept else ()
        return (message,)

    def _heard(self, sender: Address, message: PeerMessage) -> None:
        if not isinstance(message, PrePrepare):
            return
        memberships = self.ledger.memberships()
        if self.own in memberships:
            self._show(message)
        elif memberships.is_follower(self.own) and message.height == self.ledger.height + 1:
            self._take_part(message)

    def _show(self, proposal: PrePrepare) -> None:
        for follower, _ in self.ledger.memberships().followers:
            self.mesh.send_as_it_is(follower, proposal)

    def _take_part(self, honest: PrePrepare) -> None:
        height, slot = honest.height, honest.slot
        block = decode(honest.proposal, Block)
        own = replace(block, header=replace(block.header, leader=self.own))
        for member in self.others():
            self.mesh.send_as_it_is(member, honest)
            self.mesh.send_as_it_is(member, self.vote(height, slot, honest.block))
            self.mesh.send_as_it_is(member, self.commit(height, slot, honest.block))
            self.mesh.send_as_it_is(member, self.vote(height, slot, block_digest(own.header)))
            self.mesh.send_as_it_is(member, replace(self.proposal(honest, own), signer=self.own))
            self.mesh.send_as_it_is(member, self._view_change(honest))
        self.tell((height, slot), height=height, slot=slot, trades=[])

    def _view_change(self, honest: PrePrepare) -> ViewChange:
        slot = Slot(honest.slot + 1)
        signature = self.key.sign(view_change_bytes(self.ledger.chain, honest.height, slot, None))
        return ViewChange(
            height=honest.height, slot=slot, claim=None, signer=self.own, signature=signature, certificate=None
        )


def _is_ready(raw: bytes) -> bool:
    return isinstance(decode_transaction(raw).envelope.action, SayReady)
