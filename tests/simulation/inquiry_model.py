"""Every course that a small chain can take while its members change and one of them forgets what it signed.

`inquiries` draws courses by chance; this is the search of all of them, for a few members and heights: which height is
decided by whom, how far each member's blocks go, which set each block fixes, who forgets when and with which blocks,
who lies.

What ends a silence is the production `Inquiry`, with real sets, keys, question and answers, under keyed hashes; who
answers is decided by `answer_to`. A naive rule is that code with one function replaced, to show what it breaks. The
model's own are: that any Q members that can sign at a height decide it, and who then holds which blocks; that a block
may fix any set that differs by one member, more than `contracts.member_changes` lets through; and that another one
that forgot is silent through the last height it signed at, which is this very rule for somebody else.

What is left out: votes, slots and view changes, keys that are replaced, and time. A liar signs whatever helps and
gives the lowest answer. Honest members answer with the height where they stood when the question came: later answers
are higher, and only lower ones are a danger. Once it is asked, what counts of the chain is which sets its blocks fix:
that somebody can sign them is taken for granted. Members of one kind are interchangeable: states that differ by their
names count as one.

What must hold: a silence never ends below the height at which the asker signed last before it forgot.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from itertools import combinations, count
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from consensus import recovery
from consensus.eras import first_era
from consensus.identifiers import Digest, Height
from consensus.membership import Membership, Memberships
from consensus.quorum import fault_bound
from contracts.member_changes import FIXED_AHEAD
from tests.simulation import breaks
from tests.simulation.exhaustive import Break, Found, Judged, sentence, visit
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

POOL_MAX: Final = 7
MEMBERS_MIN: Final = next(members for members in count(1) if recovery.can_ask(members))
"""Below it nobody can be asked: the operator knows."""
LIARS_MAX: Final = fault_bound(POOL_MAX)
ASKER: Final = 0
NOT_ASKED: Final = 0

Numbers = frozenset[int]
"""Members by their number: 0 asks, then the honest ones, then the liars."""


class Other(NamedTuple):
    """An honest member but the asker."""

    heights: int
    """Bit h: it is a member of height h."""
    undecided: int
    """Where its blocks end; 0 once it was asked."""
    signed: int
    """The last height that it helped to decide: kept only where members may lose what they signed."""
    has_lost: bool
    """It forgot what it signed, and says and signs nothing up to it."""
    answer: int
    """The lowest height that it may answer; 0 before it was asked."""

    @property
    def silent_through(self) -> int:
        return self.signed if self.has_lost else 0


class State(NamedTuple):
    """One moment of a course."""

    top: int
    """The lowest height that nobody has decided."""
    heights: int
    """Bit h: the asker is a member of height h."""
    undecided: int
    """Where the asker's blocks end; 0 once it asked."""
    signed: int
    """The last height at which the asker signed; what it must not fall below."""
    asked_at: int
    """Where it stood when it had forgotten and asked; `NOT_ASKED` before."""
    others: tuple[Other, ...]
    """Sorted: they are interchangeable."""
    liars: tuple[int, ...]
    """Bits of the heights of which each is a member, sorted."""

    def members_of(self, height: int) -> Numbers:
        bits = (self.heights, *(other.heights for other in self.others), *self.liars)
        return frozenset(number for number, heights in enumerate(bits) if heights >> height & 1)


class Change(IntEnum):
    """How much one block may change the set: so many members join or leave."""

    ONE = 1
    TWO = 2


# --- the rule as it runs ---------------------------------------------------------------------------------------

_KEYS: Final = keyed_hash_keys(POOL_MAX)
_ERA: Final = first_era(Digest(bytes(32)))
_NONCE: Final = bytes(32)


@cache
def _membership(numbers: Numbers) -> Membership:
    return Membership.of_keys([_KEYS[number].public_key for number in sorted(numbers)])


def _silent_through(own: int, members: Numbers, following: Numbers, answers: tuple[int, ...]) -> int | None:
    """Returns through which height the asker is silent when it stands at `own` and has the others' answers."""
    inquiry = recovery.Inquiry(_KEYS[ASKER], _ERA, nonce=_NONCE)
    memberships = Memberships(undecided=_membership(members), following=_membership(following))
    for key, undecided in zip(_KEYS[1:], answers, strict=False):
        answer = recovery.answer_to(
            inquiry.question, key, _ERA, undecided=Height(undecided), silent_through=Height(0)
        )
        assert answer is not None, "who answers is over its own silence"
        inquiry.take(answer, memberships)
    return inquiry.silent_through(Height(own), memberships)


def _lowest_answer(undecided: int, silent_through: int) -> int:
    """Returns the first of a member's heights, as it goes on, at which it answers."""
    question = recovery.question_of(_KEYS[ASKER], _NONCE, _ERA)
    answers = (
        recovery.answer_to(question, _KEYS[-1], _ERA, undecided=Height(height), silent_through=Height(silent_through))
        for height in count(undecided)
    )
    return next(answer.undecided for answer in answers if answer is not None)


# --- the courses -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Which courses there are."""

    founders: int
    """Members of the first heights: `MEMBERS_MIN` to all."""
    pool: int = 5
    """Everybody who may ever be a member, the asker too: `POOL_MAX` at most."""
    heights: int
    """The highest that anybody may stand at: all below it are decided then."""
    change: Change = Change.ONE
    losses: int = 0
    """So many others may lose all that they had, blocks and what they signed, before the asker does."""


class Courses:
    """States and what follows them."""

    def __init__(self, chain: Chain, *, asks_anew: bool) -> None:
        self._chain, self._asks_anew = chain, asks_anew
        self._silent_through, self._lowest_answer = cache(_silent_through), cache(_lowest_answer)

    def first(self) -> Iterator[State]:
        """Everybody at height 1, any number of liars within and without the first set."""
        founders, pool = self._chain.founders, self._chain.pool
        heights = sum(1 << height for height in range(1, FIXED_AHEAD + 1))
        for inside in range(fault_bound(founders) + 1):
            for outside in range(min(LIARS_MAX - inside, pool - founders) + 1):
                member = Other(heights, 1, 0, has_lost=False, answer=0)
                others = [member] * (founders - 1 - inside)
                others += [member._replace(heights=0)] * (pool - founders - outside)
                liars = (0,) * outside + (heights,) * inside
                yield State(1, heights, 1, 0, NOT_ASKED, tuple(sorted(others)), liars)

    def judged(self, state: State) -> Judged:
        """Asks the rule at each of the asker's heights from now on."""
        if state.asked_at == NOT_ASKED:
            return Judged(counts=False)
        answers = (*(other.answer for other in state.others), *(1 for _ in state.liars))
        has_ended = False
        for own in range(state.asked_at, state.top + 1):
            known = own if self._asks_anew else state.asked_at
            end = self._silent_through(own, state.members_of(known), state.members_of(known + 1), answers)
            if end is not None and end < state.signed:
                return Judged(counts=True, violation=_told(state, own, end))
            has_ended |= end is not None
        return Judged(counts=has_ended)

    def after(self, state: State) -> Iterator[State]:
        """Yields every state that is one step further."""
        if state.asked_at != NOT_ASKED:
            if state.top < self._chain.heights:
                yield from self._with_sets(state._replace(top=state.top + 1))
            return
        for number, other in enumerate(state.others):
            if other.undecided < state.top:
                yield _with(state, number, other._replace(undecided=other.undecided + 1))
        if state.undecided < state.top:
            yield state._replace(undecided=state.undecided + 1)
        if state.heights >> state.undecided & 1 and state.signed < state.undecided:
            yield state._replace(signed=state.undecided)
        yield from self._losses(state)
        if state.signed:
            others = tuple(sorted(map(self._asked, state.others)))
            for kept in range(1, state.undecided + 1):
                yield state._replace(undecided=0, asked_at=kept, others=others)
        if state.top < self._chain.heights:
            yield from self._decisions(state)

    def _asked(self, other: Other) -> Other:
        """Returns what still counts of a member once the question came."""
        answer = self._lowest_answer(other.undecided, other.silent_through)
        return Other(other.heights, 0, 0, has_lost=False, answer=answer)

    def _losses(self, state: State) -> Iterator[State]:
        if sum(other.has_lost for other in state.others) == self._chain.losses:
            return
        for number, other in enumerate(state.others):
            if other.signed and not other.has_lost:
                for kept in range(1, other.undecided + 1):
                    yield _with(state, number, other._replace(undecided=kept, has_lost=True))

    def _decisions(self, state: State) -> Iterator[State]:
        """A quorum of who can sign decides the top; the block fixes a set."""
        members = state.members_of(state.top)
        can_sign = [number for number in members if _can_sign(state, number)]
        for signers in combinations(can_sign, _membership(members).quorum):
            decided = state._replace(top=state.top + 1, signed=state.top if ASKER in signers else state.signed)
            if self._chain.losses:
                others = (
                    other._replace(signed=state.top) if number in signers else other
                    for number, other in enumerate(state.others, 1)
                )
                decided = decided._replace(others=tuple(others))
            yield from self._with_sets(decided)

    def _with_sets(self, state: State) -> Iterator[State]:
        """Yields the state with each set that the newest block may fix; beyond the last height that is looked at,
        only with the same again.
        """
        fixed = state.top - 1 + FIXED_AHEAD
        last = state.members_of(fixed - 1)
        is_looked_at = fixed <= self._chain.heights
        sets = _sets_after(last, self._chain, len(state.others)) if is_looked_at else (last,)
        for members in sets:
            yield _with_set(state, fixed, members)


def _can_sign(state: State, number: int) -> bool:
    if number == ASKER:
        return state.undecided == state.top
    if number > len(state.others):
        return True
    other = state.others[number - 1]
    return other.undecided == state.top and other.undecided > other.silent_through


@cache
def _sets_after(last: Numbers, chain: Chain, others: int) -> tuple[Numbers, ...]:
    sizes = range(MEMBERS_MIN, chain.pool + 1)
    sets = (frozenset(numbers) for size in sizes for numbers in combinations(range(chain.pool), size))
    return tuple(
        members
        for members in sets
        if len(members ^ last) <= chain.change
        and sum(number > others for number in members) <= fault_bound(len(members))
    )


def _with(state: State, number: int, other: Other) -> State:
    others = (*state.others[:number], other, *state.others[number + 1 :])
    return state._replace(others=tuple(sorted(others)))


def _with_set(state: State, height: int, members: Numbers) -> State:
    bit, first_liar = 1 << height, len(state.others) + 1
    return state._replace(
        heights=state.heights | bit * (ASKER in members),
        others=tuple(
            sorted(
                other._replace(heights=other.heights | bit * (number in members))
                for number, other in enumerate(state.others, 1)
            )
        ),
        liars=tuple(
            sorted(heights | bit * (number in members) for number, heights in enumerate(state.liars, first_liar))
        ),
    )


def _told(state: State, own: int, end: int) -> str:
    last = max(height for height in range(1, state.top + FIXED_AHEAD) if state.members_of(height))
    sets = ", ".join(f"M({height}) = {sorted(state.members_of(height))}" for height in range(1, last + 1))
    answers = ", ".join(f"{number}: {other.answer}" for number, other in enumerate(state.others, 1))
    liars = ", ".join(map(str, range(len(state.others) + 1, len(state.others) + len(state.liars) + 1))) or "none"
    return (
        f"member 0 signed at {state.signed}, forgot, asked at {state.asked_at} and ends its silence through {end} "
        f"when it stands at {own}; {sets}; answers of {answers}; liars: {liars}"
    )


# --- what is searched ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The courses of one chain, under the rule or a naive one."""

    name: str
    chain: Chain
    broken: Break | None = None
    """Of a naive rule: it must be shown to break."""
    asks_anew: bool = True
    """False, of a naive rule: it stays with the sets that it knew when it asked."""

    @property
    def is_naive(self) -> bool:
        """Says whether a violation is what must be found."""
        return self.broken is not None or not self.asks_anew

    def run(self) -> Found:
        """Visits every state; ends at the first violation."""
        with ExitStack() as stack:
            stack.enter_context(keyed_hashes())
            if self.broken is not None:
                stack.enter_context(patch.object(*self.broken))
            courses = Courses(self.chain, asks_anew=self.asks_anew)
            return visit(courses.first(), courses.after, courses.judged, State)

    @property
    def title(self) -> str:
        """Says what is searched."""
        chain = self.chain
        changes = {Change.ONE: "one change", Change.TWO: "two changes or a swap"}[chain.change]
        others = f", {chain.losses} other forgets all" if chain.losses else ""
        return (
            f"{self.name}: {chain.founders} of {chain.pool} at first, {chain.heights} heights, "
            f"{changes} a block{others}"
        )

    def sentence(self, found: Found) -> str:
        """Says what was searched, and what was found."""
        return sentence(self.title, found, counted="a silence ended", never="none ended too early")


def _answers_are_believed(inquiry: recovery.Inquiry, undecided: Height, memberships: Memberships) -> Height | None:
    """Goes by what Q others answered, whatever blocks are at hand."""
    heights = map(Height, range(undecided, undecided + POOL_MAX))
    ends = (breaks.true_silent_through(inquiry, height, memberships) for height in heights)
    return next((end for end in ends if end is not None), None)


_THREE: Final = Chain(founders=3, heights=4)
_THREE_SWAPPED: Final = Chain(founders=3, heights=4, change=Change.TWO)
_THREE_OF_WHOM_ONE_FORGETS: Final = Chain(founders=3, heights=3, losses=1)

_OWN_SET: Final[Any] = (recovery, "asked_members", lambda memberships: memberships.undecided)

SEARCHES: Final = (
    Search(name="the rule as it runs", chain=_THREE),
    Search(name="the rule as it runs", chain=_THREE_SWAPPED),
    Search(name="the rule as it runs", chain=_THREE_OF_WHOM_ONE_FORGETS),
    Search(name="stays with the set that it asked", chain=Chain(founders=3, heights=5), asks_anew=False),
    Search(name="asks the members of its own height", chain=_THREE_SWAPPED, broken=_OWN_SET),
    Search(
        name="believes higher answers",
        chain=_THREE_SWAPPED,
        broken=(recovery.Inquiry, "silent_through", _answers_are_believed),
    ),
    Search(
        name="is silent through its own height only",
        chain=_THREE,
        broken=(recovery.Inquiry, "silent_through", breaks.silent_through_the_own_height),
    ),
    Search(
        name="answers though it is silent",
        chain=_THREE_OF_WHOM_ONE_FORGETS,
        broken=(recovery, "answer_to", breaks.answer_though_silent),
    ),
)
"""What every `make test` searches, in seconds."""

LONG_SEARCHES: Final = tuple(
    Search(name="the rule as it runs", chain=chain)
    for chain in (
        Chain(founders=4, heights=5),
        Chain(founders=3, heights=5, losses=1),
        Chain(founders=4, pool=7, heights=4),
        Chain(founders=7, pool=7, heights=5),
    )
)
"""What `p2pnode-sim models` searches too: minutes."""
