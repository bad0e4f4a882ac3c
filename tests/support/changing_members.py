"""Blocks that change who the members are, as contracts of a later version will.

Nothing in this version changes the set while the chain runs. `member_changes` lets the execution of chosen blocks
write another list, so that everything around it is the production code: roots, headers, certificates, storage.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from consensus.membership import Membership
from consensus.messages import CommitCertificate, Endorsement, commit_bytes
from contracts.execution import Execution
from contracts.member_records import MemberTerm
from contracts.state import (
    MEMBER_LIST_KEY,
    Account,
    MemberList,
    StateKey,
    StateReader,
    Table,
    account_key,
    member_key,
    score_key,
)
from contracts.units import MicroTokens
from ledger import execution
from ledger.block import Block, block_digest
from ledger.ledger import Ledger
from tests.support.ledger import ChainBuilder

true_execute_block = execution.execute_block


@contextmanager
def member_changes(changes: Mapping[int, MemberList]) -> Iterator[None]:
    """While it lasts, the execution of the blocks of these heights also writes these lists."""

    def execute_block(state: StateReader, genesis: Any, context: Any, transactions: Any) -> Execution:
        executed = true_execute_block(state, genesis, context, transactions)
        written = changes.get(context.height)
        if written is None:
            return executed
        changed = {**executed.changes, **_records_of_new(state, written), MEMBER_LIST_KEY: encode(written)}
        return replace(executed, changes=dict(sorted(changed.items())))

    with patch.object(execution, "execute_block", execute_block):
        yield


def _records_of_new(state: StateReader, written: MemberList) -> dict[StateKey, bytes]:
    """A new member has what every member has: a registration, an empty wallet, a score. Of the first one's making."""
    first, records = written.terms[0].address, {}
    for address in written.addresses:
        for key_of in (member_key, account_key, score_key):
            value = state.get(key_of(first))
            if state.get(key_of(address)) is None and value is not None:
                records[key_of(address)] = value
    wallet = Account(available_micro=MicroTokens(0), held_micro=MicroTokens(0), nonce=-1)
    return records | {key: encode(wallet) for key in records if key.startswith(Table.ACCOUNT.value)}


def member_list(ledger: Ledger) -> MemberList:
    stored = ledger.get(MEMBER_LIST_KEY)
    assert stored is not None, "every state has a list"
    return decode(stored, MemberList)


def with_joined(members: MemberList, key: SigningKey, *, fixed_by: int) -> MemberList:
    """Who joins goes to the end, from two heights above the block on."""
    return replace(members, terms=(*members.terms, _term(key.address, key, fixed_by)))


def with_left(members: MemberList, key: SigningKey, *, fixed_by: int) -> MemberList:
    return replace(members, terms=tuple(_ended(term, key, fixed_by) for term in members.terms))


def with_rotated(members: MemberList, old: SigningKey, new: SigningKey, *, fixed_by: int) -> MemberList:
    """The new key stands behind the old one, so the member keeps its place."""
    terms: list[MemberTerm] = []
    for term in members.terms:
        terms.append(_ended(term, old, fixed_by))
        if terms[-1] != term:
            terms.append(_term(term.address, new, fixed_by))
    return replace(members, terms=tuple(terms))


def _term(address: Any, key: SigningKey, fixed_by: int) -> MemberTerm:
    return MemberTerm(address=address, node_key=key.public_key, first_height=Height(fixed_by + 2), last_height=None)


def _ended(term: MemberTerm, key: SigningKey, fixed_by: int) -> MemberTerm:
    is_its = term.node_key == key.public_key and term.last_height is None
    return replace(term, last_height=Height(fixed_by + 1)) if is_its else term


def certify_by(ledger: Ledger, block: Block, keys: Sequence[SigningKey]) -> CommitCertificate:
    """Returns COMMITs for a block of the ledger's next height, in the block's own slot, by these keys."""
    height, slot, digest = block.header.height, block.header.slot, block_digest(block.header)
    era = ledger.eras.at(height)
    signed = commit_bytes(era.domain, height, slot, digest)
    endorsements = [Endorsement(signer=key.address, signature=key.sign(signed)) for key in keys]
    return CommitCertificate(
        era=era.number,
        height=height,
        slot=slot,
        block=digest,
        endorsements=tuple(sorted(endorsements, key=lambda one: one.signer)),
    )


class ChangingChain:
    """A chain whose certificates are signed by whoever is a member of their height.

    Four homes; block 2 lets a fifth join (from height 4 on), block 5 rotates home 2's key (from 7 on), block 8 lets
    home 1 leave (from 10 on).
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.builder = ChainBuilder.create(directory)
        self.community = self.builder.community
        first, second, *_ = self.community.node_keys
        self.fifth = SigningKey(b"\x05" * 32)
        self.rotated = SigningKey(b"\x06" * 32).of_member(second.address)
        keys = (*self.community.node_keys, self.fifth, self.rotated)
        self.keys = {key.public_key: key for key in keys}
        genesis = member_list(self.builder.ledger)
        joined = with_joined(genesis, self.fifth, fixed_by=2)
        rotated = with_rotated(joined, second, self.rotated, fixed_by=5)
        self.changes: dict[int, MemberList] = {2: joined, 5: rotated, 8: with_left(rotated, first, fixed_by=8)}
        homes = self.community.node_keys
        self.expected = {
            1: homes,
            4: (*homes, self.fifth),
            7: (homes[0], self.rotated, homes[2], homes[3], self.fifth),
            10: (self.rotated, homes[2], homes[3], self.fifth),
        }

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    def set_of(self, height: int) -> Membership:
        """What M(height) should be."""
        keys = self.expected[max(first for first in self.expected if first <= height)]
        return Membership([(key.address, key.public_key) for key in keys])

    def signers(self, height: int, count: int | None = None) -> list[SigningKey]:
        members = self.set_of(height)
        return [self.keys[key] for _, key in members.members[: members.quorum if count is None else count]]

    def grow(self, transactions: Sequence[bytes] = ()) -> None:
        block = self.builder.build(transactions)
        self.ledger.append(block, certify_by(self.ledger, block, self.signers(block.header.height)))


@contextmanager
def changing_chain(directory: Path) -> Iterator[ChangingChain]:
    """Makes the chain, empty; closes it in the end."""
    made = ChangingChain(directory)
    with member_changes(made.changes):
        yield made
        made.ledger.close()
