"""Leaders and validators that lie: what they propose and vote for, beside everything else that the product does."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import HashKind, digest
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.membership import Leaders
from consensus.messages import (
    Commit,
    Prepare,
    PrePrepare,
    ViewChange,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from contracts.receipts import Asset, Party
from contracts.transactions import SubmitTrade, Transaction, decode_transaction, trade_id
from ledger.block import Block, block_digest
from ledger.merkle_tree import tree_root
from node.chain import driver
from node.daemon import AgentParts
from node.mesh.messages import PeerMessage
from tests.faults.bending import BendingMesh
from tests.faults.tricks import Note
from tests.support.ledger import verified

STOLEN_MICRO: Final = 1_000_000
"""What a leader that alters postings claims that the seller received besides."""

LIES_WANTED: Final = 2
"""After so many lies a member is honest: enough to be judged by, few enough for the run to be short."""

Step = tuple[Height, Slot]


def trades_in(raws: Iterable[bytes]) -> dict[bytes, str]:
    """Returns the contracts among transactions, by their bytes, with their ids in hex."""
    actions = {raw: decode_transaction(raw).envelope.action for raw in raws}
    return {raw: trade_id(action.terms).hex() for raw, action in actions.items() if isinstance(action, SubmitTrade)}


class LyingMember:
    """A member's replica runs as it is; its ledger, its mempool or what leaves its mesh is bent."""

    def __init__(self, parts: AgentParts, note: Note, friends: Sequence[Address] = ()) -> None:
        assert isinstance(parts.mesh, BendingMesh)
        self.key = parts.identity.node_key
        self.own = parts.identity.address
        self.home = parts.configuration.home.directory
        self.ledger = parts.chain.ledger
        self.mempool = parts.chain.mempool
        self.mesh = parts.mesh
        self.note = note
        self.friends = tuple(friends)
        self._told: set[object] = set()
        self.lie()

    def lie(self) -> None:
        """Replaces what this liar bends."""
        raise NotImplementedError

    @property
    def is_done(self) -> bool:
        """Says whether it has lied enough."""
        return len(self._told) >= LIES_WANTED

    def tell(self, what: object, **details: object) -> bool:
        """Notes a new lie; False once there were enough."""
        if what in self._told:
            return True
        if self.is_done:
            return False
        self._told.add(what)
        self.note("proposal", **details)
        if len(self._told) == LIES_WANTED:
            self.note("done")
        return True

    def tell_block(self, block: Block) -> bool:
        header = block.header
        trades = sorted(trades_in(block.transactions).values())
        return self.tell((header.height, header.slot), height=header.height, slot=header.slot, trades=trades)

    def others(self) -> list[Address]:
        return [address for address in self.ledger.membership().addresses if address != self.own]

    # --- signing anything

    def vote(self, height: Height, slot: Slot, block: Digest) -> Prepare:
        signature = self.key.sign(vote_bytes(self.ledger.chain, height, slot, block))
        return Prepare(height=height, slot=slot, block=block, signer=self.own, signature=signature)

    def commit(self, height: Height, slot: Slot, block: Digest) -> Commit:
        signature = self.key.sign(commit_bytes(self.ledger.chain, height, slot, block))
        return Commit(height=height, slot=slot, block=block, signer=self.own, signature=signature)

    def proposal(self, honest: PrePrepare, block: Block) -> PrePrepare:
        name = block_digest(block.header)
        signature = self.key.sign(vote_bytes(self.ledger.chain, honest.height, honest.slot, name))
        return replace(honest, block=name, proposal=encode(block), signature=signature)


# --- leaders -----------------------------------------------------------------------------------------------------


class BadBlocks(LyingMember):
    """Proposes blocks that are wrong whenever there is something to be wrong about."""

    def __init__(self, parts: AgentParts, note: Note, friends: Sequence[Address] = ()) -> None:
        self._altered: dict[Digest, Block] = {}
        super().__init__(parts, note, friends)

    def altered(self, block: Block) -> Block | None:
        raise NotImplementedError

    def lie(self) -> None:
        honest = self.ledger.build

        def build(**choice: Any) -> Block:
            block = honest(**choice)
            altered = None if self.is_done else self.altered(block)
            if altered is None:
                return block
            self._altered[block_digest(altered.header)] = altered
            return altered

        self.ledger.build = build  # type: ignore[method-assign]
        self.mesh.bend = self._notice

    def _notice(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        """Notes a lie once it leaves: not everything that is built is proposed."""
        if isinstance(message, PrePrepare) and message.block in self._altered:
            self.tell_block(self._altered[message.block])
        return (message,)


def with_trade(block: Block) -> bool:
    """Says whether a trade of a block moves something."""
    return bool(block.postings)


class AltersPostings(BadBlocks):
    """Claims that the seller got more than the buyer paid."""

    def altered(self, block: Block) -> Block | None:
        postings = list(block.postings)
        for index, posting in enumerate(postings):
            if posting.party is Party.SELLER and posting.asset is Asset.TOKENS_MICRO:
                postings[index] = replace(posting, after=posting.after + STOLEN_MICRO)
                root = tree_root([encode(row) for row in postings])
                return replace(block, header=replace(block.header, postings_root=root), postings=tuple(postings))
        return None


class ProposesInvalidBlock(BadBlocks):
    """Contains a trade twice, as if it could be paid twice."""

    def altered(self, block: Block) -> Block | None:
        if not with_trade(block):
            return None
        transactions = (*block.transactions, block.transactions[-1])
        header = replace(block.header, transactions_root=tree_root(transactions))
        return replace(block, header=header, transactions=transactions)


class LeavesTradeOut(LyingMember):
    """Proposes everything but contracts."""

    def lie(self) -> None:
        honest = self.mempool.candidates

        def candidates(*, transactions_max: int, size_bytes_max: int) -> list[Transaction]:
            found = honest(transactions_max=transactions_max, size_bytes_max=size_bytes_max)
            trades = trades_in(transaction.raw for transaction in found)
            height = self.ledger.height + 1
            if not trades or not self.tell(height, height=height, slot=0, trades=sorted(trades.values())):
                return found
            return [transaction for transaction in found if transaction.raw not in trades]

        self.mempool.candidates = candidates  # type: ignore[method-assign]


class Bends(LyingMember):
    """Replaces what leaves its mesh."""

    def lie(self) -> None:
        self.mesh.bend = self.bent
        self.mesh.heard = self.heard

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        raise NotImplementedError

    def heard(self, sender: Address, message: PeerMessage) -> None:
        """Learns what a peer sent, before the replica does."""

    def other_block(self, honest: PrePrepare) -> Block | None:
        """Returns another valid block for the same height and slot."""
        block = decode(honest.proposal, Block)
        if not block.transactions or honest.height != self.ledger.height + 1:
            return None
        candidates = verified(self.ledger, block.transactions[:-1])
        return self.ledger.build(slot=honest.slot, leader=self.own, candidates=candidates, prove=self.key.prove)


class _Shameless(Bends):
    """Goes on after it was found out, until it has lied enough: it leads its own slots although it is suspended, and
    does not keep silent when it is shown what it signed and its sign state does not know.

    It holds others to the rules: were it to vote for a friend that leads though suspended, it would come to lead, and
    to lie, by chance only.
    """

    def lie(self) -> None:
        super().lie()
        honest = Leaders.at

        def at(leaders: Leaders, slot: Slot, *, is_justified: bool = False) -> Address | None:
            is_own = leaders.whose(slot, is_justified=is_justified) == self.own and not self.is_done
            return self.own if is_own else honest(leaders, slot, is_justified=is_justified)

        Leaders.at = at  # type: ignore[method-assign]
        driver.is_forgotten = lambda message, own, remembered: False
        driver.certificate_is_forgotten = lambda certificate, own, remembered: False


class ProposesTwice(_Shameless):
    """Two blocks in one slot, to everybody, to some the one first and to some the other."""

    def __init__(self, parts: AgentParts, note: Note, friends: Sequence[Address] = ()) -> None:
        self._others: dict[Step, PrePrepare] = {}
        super().__init__(parts, note, friends)

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if not isinstance(message, PrePrepare) or message.signer != self.own or message.justification is not None:
            return (message,)
        other = self._other(message)
        if other is None:
            return (message,)
        is_even = self.others().index(recipient) % 2 == 0
        return (message, other) if is_even else (other, message)

    def _other(self, message: PrePrepare) -> PrePrepare | None:
        step = (message.height, message.slot)
        if step not in self._others:
            block = self.other_block(message)
            honest = decode(message.proposal, Block)
            if block is None or not with_trade(honest) or not self.tell_block(honest):
                return None
            self._others[step] = self.proposal(message, block)
        return self._others[step]


# --- validators --------------------------------------------------------------------------------------------------


class VotesForAnything(ProposesInvalidBlock):
    """Holds every block to be valid, its own invalid ones too."""

    def lie(self) -> None:
        super().lie()
        self.ledger.check = lambda block: None  # type: ignore[method-assign]


class VotesAgainstEverything(Bends):
    """Never votes, commits or proposes, and asks for a view change at every proposal."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        is_silent = isinstance(message, PrePrepare | Prepare | Commit | ViewChange)
        return () if is_silent else (message,)

    def heard(self, sender: Address, message: PeerMessage) -> None:
        if not isinstance(message, PrePrepare) or message.signer != sender:
            return
        self.tell((message.height, message.slot), height=message.height, slot=message.slot, trades=[])
        slot = Slot(message.slot + 1)
        signature = self.key.sign(view_change_bytes(self.ledger.chain, message.height, slot, None))
        against = ViewChange(
            height=message.height, slot=slot, claim=None, signer=self.own, signature=signature, certificate=None
        )
        for member in self.others():
            self.mesh.send_as_it_is(member, against)


class VotesTwice(Bends):
    """Votes for the leader's block, and in the same slot for one that nobody has."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if not isinstance(message, Prepare) or message.signer != self.own:
            return (message,)
        self.tell((message.height, message.slot), height=message.height, slot=message.slot, trades=[])
        other = digest(HashKind.BLOCK, message.block)  # in every slot: a vote after the decision is noticed by nobody
        return (message, self.vote(message.height, message.slot, other))


# --- together ----------------------------------------------------------------------------------------------------


class Colludes(_Shameless):
    """Forks, with its friends: one block to half of the honest members, another to the rest, votes and COMMITs for
    each to those who have it.
    """

    def __init__(self, parts: AgentParts, note: Note, friends: Sequence[Address] = ()) -> None:
        self._mine: dict[Step, tuple[PrePrepare, PrePrepare]] = {}
        self._theirs: dict[Step, list[Digest]] = {}
        super().__init__(parts, note, friends)

    def sides(self) -> tuple[list[Address], list[Address]]:
        """Returns the two halves of the honest members."""
        liars = {self.own, *self.friends}
        honest = [address for address in self.ledger.membership().addresses if address not in liars]
        half = (len(honest) + 1) // 2
        return honest[:half], honest[half:]

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if isinstance(message, PrePrepare) and message.signer == self.own and message.justification is None:
            return self._to(recipient, message)
        if isinstance(message, Prepare | Commit) and (message.height, message.slot) in (*self._mine, *self._theirs):
            return ()  # at these steps it says what the plot wants, and nothing else
        return (message,)

    def _to(self, recipient: Address, message: PrePrepare) -> Iterable[PeerMessage]:
        pair = self._pair(message)
        if pair is None:
            return (message,)
        if recipient in self.friends:
            return pair
        mine = pair[recipient in self.sides()[1]]
        return (mine, self.commit(mine.height, mine.slot, mine.block))

    def _pair(self, message: PrePrepare) -> tuple[PrePrepare, PrePrepare] | None:
        step = (message.height, message.slot)
        if step not in self._mine:
            other, honest = self.other_block(message), decode(message.proposal, Block)
            if other is None or not with_trade(honest) or not self.tell_block(honest):
                return None
            self._mine[step] = (message, self.proposal(message, other))
        return self._mine[step]

    def heard(self, sender: Address, message: PeerMessage) -> None:
        """Does its part in a friend's plot: what the friend proposes first is for the first half."""
        if not isinstance(message, PrePrepare) or sender not in self.friends or message.signer != sender:
            return
        blocks = self._theirs.setdefault((message.height, message.slot), [])
        if message.block not in blocks:
            blocks.append(message.block)
        for side, block in zip(self.sides(), blocks, strict=False):
            for member in side:
                self.mesh.send_as_it_is(member, self.vote(message.height, message.slot, block))
                self.mesh.send_as_it_is(member, self.commit(message.height, message.slot, block))


Liar = Callable[[AgentParts, Note, Sequence[Address]], LyingMember]
