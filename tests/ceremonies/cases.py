"""What is lost, and who takes part: one row of the table for each case and each number of members."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from consensus.quorum import fault_bound

FIRST_FORGETFUL: Final = 2
"""Where not all lose their sign states, member 1 keeps its own."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happens to the homes."""

    lost: str
    """For the table."""
    sign_states: Callable[[int], int] = lambda _: 0
    """Of N: how many lose their sign states."""
    records: bool = False
    """Whether all lose what the ledger keeps of the undecided height."""
    is_gone: bool = False
    """The last member's house burns down, and nobody takes its place."""
    is_replaced: bool = False
    """It burns down, and a new home takes its place."""
    is_disordered: bool = False
    """The last member comes late, the first applies twice, the second takes its statement back and makes another."""
    loses: bool = False
    """Whether the block that only the last member knew to be decided is lost: nothing of it is left."""
    stands: bool = True
    """Whether nothing can be decided without a ceremony."""

    def forgetful(self, members: int) -> list[int]:
        """Returns the numbers of those who lose their sign states."""
        count = self.sign_states(members)
        first = 1 if count > members - FIRST_FORGETFUL else FIRST_FORGETFUL
        return list(range(first, first + count))

    def needs_people(self, members: int) -> bool:
        """Says whether so many lost something that no member's return would end it."""
        return self.records or self.sign_states(members) > fault_bound(members)

    def burnt(self, members: int) -> int | None:
        return members if self.is_gone or self.is_replaced else None

    def late(self, members: int) -> int | None:
        return members if self.is_disordered else None


def all_members(members: int) -> int:
    return members


def all_others(members: int) -> int:
    return members - 1


def more_than_may_fail(members: int) -> int:
    return fault_bound(members) + 1


CASES: Final[Mapping[str, Case]] = {
    "a": Case(lost="all sign states", sign_states=all_members),
    "b": Case(lost="all undecided records", records=True),
    "c": Case(lost="all sign states and undecided records", sign_states=all_members, records=True),
    "d": Case(lost="sign states of F + 1", sign_states=more_than_may_fail),
    "e": Case(lost="a home for good, sign states of F others", is_gone=True, sign_states=fault_bound),
    "f": Case(lost="a home, sign states of F others", is_replaced=True, sign_states=fault_bound),
    "g": Case(lost="sign states of F, another away", is_disordered=True, sign_states=fault_bound),
    "h": Case(lost="a home", is_replaced=True, stands=False),
    "i": Case(
        lost="a home for good, all else of the others",
        sign_states=all_others,
        records=True,
        is_gone=True,
        loses=True,
    ),
}
