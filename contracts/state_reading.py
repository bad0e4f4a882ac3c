"""Typed reads of a state, and what its wallets and members add up to."""

from dataclasses import dataclass
from typing import TypeVar

from consensus.codec import Record, decode
from consensus.identifiers import Address, Slot
from contracts.applicants import Applications
from contracts.conservation import unbalanced_totals
from contracts.genesis import Genesis
from contracts.offices import office_addresses
from contracts.state import (
    APPLICATIONS_KEY,
    MEMBER_LIST_KEY,
    TOTALS_KEY,
    Account,
    Debt,
    Member,
    MemberList,
    Score,
    StateKey,
    StateReader,
    Totals,
    account_key,
    debt_key,
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
    """Sums over all wallets and debts."""

    available_micro: MicroTokens
    held_micro: MicroTokens
    owed_micro: MicroTokens


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


def sum_tokens(source: StateReader, genesis: Genesis) -> TokenSums:
    """Returns the sums over all wallets, the members' and the offices', and over the members' debts.

    Who is no member any more keeps wallet and debt, and who became a candidate its wallet.
    """
    members = {term.address for term in require(source, MEMBER_LIST_KEY, MemberList).terms}
    members.update(require(source, APPLICATIONS_KEY, Applications).admitted)
    offices = set(office_addresses(genesis).values())
    accounts = [require(source, account_key(address), Account) for address in members | offices]
    debts = [read(source, debt_key(address), Debt) for address in members]
    return TokenSums(
        available_micro=MicroTokens(sum(account.available_micro for account in accounts)),
        held_micro=MicroTokens(sum(account.held_micro for account in accounts)),
        owed_micro=MicroTokens(sum(debt.owed_micro for debt in debts if debt is not None)),
    )


def conserved(totals: Totals, tokens: TokenSums) -> bool:
    """Says whether what can be summed up at each request adds up: totals, wallets and debts."""
    return not unbalanced_totals(
        totals,
        available_micro=tokens.available_micro,
        held_micro=tokens.held_micro,
        owed_micro=tokens.owed_micro,
    )
