"""Typed reads of a state, and what its wallets and members add up to."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from consensus.codec import Record, decode
from consensus.cryptography import address_of
from consensus.identifiers import Address, Slot
from contracts.genesis import Genesis
from contracts.state import (
    MEMBER_LIST_KEY,
    TOTALS_KEY,
    Account,
    Member,
    MemberList,
    Score,
    StateKey,
    StateReader,
    Totals,
    account_key,
    member_key,
    score_key,
)
from contracts.units import MicroTokens
from qscore.parameters import Millionths, ScoreParameters
from qscore.way_back import present_score

V = TypeVar("V", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberState:
    """One member with its wallet and its score."""

    address: Address
    member: Member
    account: Account
    score: Score

    def score_at(self, slot: Slot, parameters: ScoreParameters) -> Millionths:
        """Returns the score at a slot, which rises on the way back."""
        return present_score(self.score.value, self.score.way_back, slot, parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSums:
    """Sums over all wallets."""

    available_micro: MicroTokens
    held_micro: MicroTokens


def read(source: StateReader, key: StateKey, expected: type[V]) -> V | None:
    """Returns the newest value of `key`, None if it was never written."""
    raw = source.get(key)
    return None if raw is None else decode(raw, expected)


def require(source: StateReader, key: StateKey, expected: type[V]) -> V:
    """Returns the newest value of a key that genesis writes."""
    value = read(source, key, expected)
    assert value is not None, f"state key {key.hex()} is missing"
    return value


def read_totals(source: StateReader) -> Totals:
    """Returns the chain's sums."""
    return require(source, TOTALS_KEY, Totals)


def read_members(source: StateReader) -> tuple[MemberState, ...]:
    """Returns all members in the order of admission."""
    return tuple(
        MemberState(
            address=address,
            member=require(source, member_key(address), Member),
            account=require(source, account_key(address), Account),
            score=require(source, score_key(address), Score),
        )
        for address in require(source, MEMBER_LIST_KEY, MemberList).addresses
    )


def sum_tokens(source: StateReader, genesis: Genesis, members: Iterable[MemberState]) -> TokenSums:
    """Returns the sums over all wallets: the members', the issuer's and the grid's."""
    accounts = [state.account for state in members]
    accounts += [
        require(source, account_key(address_of(key)), Account) for key in (genesis.issuer_key, genesis.grid_key)
    ]
    return TokenSums(
        available_micro=MicroTokens(sum(account.available_micro for account in accounts)),
        held_micro=MicroTokens(sum(account.held_micro for account in accounts)),
    )


def conserved(totals: Totals, tokens: TokenSums) -> bool:
    """Says whether nothing was lost or invented: the sums of tokens and energy over the whole chain."""
    return (
        tokens.available_micro + tokens.held_micro == totals.issued_micro - totals.redeemed_micro
        and tokens.held_micro == totals.held_micro
        and totals.credited_wh + totals.replaced_wh
        == totals.available_wh + totals.escrow_wh + totals.claimed_wh + totals.exported_wh
        and totals.deficit_wh + totals.unused_wh
        == totals.open_wh + totals.reserved_wh + totals.bought_wh + totals.imported_wh
        and totals.claimed_wh == totals.bought_wh
    )


def member_name(source: StateReader, address: Address) -> str:
    """Returns a member's label for people, its address in hexadecimal for anyone else."""
    member = read(source, member_key(address), Member)
    return address.hex() if member is None else member.name
