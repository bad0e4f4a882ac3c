"""Every course that one height of four members can take, one of them a liar, with two leaders in each slot.

Whoever leads a slot may propose without justification or with one; any leader may be the liar, which proposes as many
blocks as can get an honest vote. So two leaders in a slot, one for each kind of proposal, are among the courses, and
so is one leader that lies. A state is what the three honest members signed: all of it may arrive anywhere, at any
time, or never.

What an honest member signs is decided by the production rules S1 to S5 (`height_rules`). A naive rule is that code
with one function replaced, to show what it breaks. The model's own are: that an honest member signs nothing else;
what the liar can do (sign anything under its key, and use what others signed); and that proposals of both kinds may
come in a slot from anybody, where `verify_message` knows a leader for each kind.

What is left out: time, the driver, the disk, bodies that are missing, statements that a full tally drops. Names say
nothing: states that differ by the names of members, or of the blocks of a slot, count as one.

What must hold: no two different blocks are decided.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain, combinations, groupby, permutations, product
from typing import Final
from unittest.mock import patch

from msgspec.structs import replace

from consensus import safety, verification
from consensus.events import SignState
from consensus.height import HeightState
from consensus.member import Member
from consensus.messages import Claim, Justification, PrePrepare
from tests.simulation import breaks
from tests.simulation.exhaustive import Break, Found, Judged, sentence, visit
from tests.simulation.height_rules import (
    HONEST,
    LIARS,
    MEMBERS,
    NOTHING_SIGNED,
    QUORUM,
    Block,
    Claimed,
    History,
    Proposal,
    Rules,
    Statement,
    claim_of,
    claimed_by,
)
from tests.simulation.signing import keyed_hashes

State = tuple[int, ...]
"""The honest members' histories, by number: sorted, as members are interchangeable."""
Counted = tuple[tuple[Statement, int], ...]
"""What honest members signed, and how many of them."""

SITUATIONS_KEPT: Final = 2**17
"""Of those that proposals depend on: there are more, and most come again soon."""


# --- the courses -----------------------------------------------------------------------------------------------


class Courses:
    """States and what follows them, for some slots."""

    def __init__(self, fast: tuple[int, ...], justified: tuple[int, ...], blocks: int) -> None:
        self._fast, self._justified, self._blocks = fast, justified, blocks
        self._rules = Rules()
        self._histories: list[History] = []
        self._numbers: dict[History, int] = {}
        self._proposals = lru_cache(SITUATIONS_KEPT)(self._find_proposals)
        self._vote, self._commit = cache(self._find_vote), cache(self._find_commit)
        self._view_change = cache(self._find_view_change)
        self._blocks_of, self._shape = cache(self._find_blocks), cache(self._find_shape)
        self._with_names = cache(self._find_with_names)

    def first(self) -> State:
        """Nobody signed anything."""
        return (self._number(NOTHING_SIGNED),) * HONEST

    def judged(self, state: State) -> Judged:
        """Says which blocks are decided."""
        commits = _counted(self._histories[number].commits for number in state)
        decided = {statement[1] for statement, honest in commits if self._rules.decides(statement, honest)}
        if len(decided) < 2:
            return Judged(counts=bool(decided))
        blocks = " and ".join(map(_named, sorted(decided)))
        told = "; ".join(f"member {place} {_told(self._histories[number])}" for place, number in enumerate(state))
        return Judged(counts=True, violation=f"{blocks} are both decided: {told}")

    def after(self, state: State) -> Iterator[State]:
        """Yields every state that is one step of one member further."""
        histories = [self._histories[number] for number in state]
        votes = _counted(history.votes for history in histories)
        sent = tuple(
            tuple(sorted(claimed for history in histories for at, claimed in history.changes if at == slot))
            for slot in self._justified
        )
        proposals = self._proposals(votes, sent)
        for place, number in enumerate(state):
            if number in state[:place]:
                continue  # the same again
            following = {self._vote(number, proposal) for proposal in proposals}
            following.update(self._commit(number, statement, honest) for statement, honest in votes)
            following.update(self._view_change(number, slot) for slot in self._justified)
            for after in sorted(following - {number}):
                yield self.renamed((*state[:place], after, *state[place + 1 :]))

    def _find_vote(self, number: int, proposal: Proposal) -> int:
        return self._with_signed(number, self._rules.vote(self._histories[number].sign_state, proposal))

    def _find_commit(self, number: int, statement: Statement, honest: int) -> int:
        return self._with_signed(number, self._rules.commit(self._histories[number].sign_state, statement, honest))

    def _find_view_change(self, number: int, slot: int) -> int:
        return self._with_signed(number, self._rules.view_change(self._histories[number].sign_state, slot))

    def _with_signed(self, number: int, more: History | None) -> int:
        return number if more is None else self._number(self._histories[number].with_signed(more))

    def _find_proposals(self, votes: Counted, sent: tuple[tuple[Claimed, ...], ...]) -> tuple[Proposal, ...]:
        """Returns all that can be proposed, of known blocks and of a new one in each slot: by the liar, or by an
        honest leader, whose proposal is a vote and can be nothing else.

        Args:
            votes: what honest members voted for.
            sent: at each slot that may be asked for, what honest VIEW-CHANGEs claim.
        """
        known = sorted({block for (_, block), _ in votes})
        new = [(slot, sum(block[0] == slot for block in known)) for slot in sorted({*self._fast, *self._justified})]
        blocks = (*known, *(block for block in new if block[1] < self._blocks))
        found = {Proposal(slot, block) for slot, block in product(self._fast, blocks)}
        for slot, claims in zip(self._justified, sent, strict=True):
            for some in _claims_of_quorum(claims, votes):
                for block, certified in product(blocks, (None, *votes)):
                    if self._rules.is_justified(slot, block, some, certified):
                        found.add(Proposal(slot, block, is_justified=True, is_claimed=certified is not None))
        return tuple(sorted(found))

    # --- names ---

    def renamed(self, state: Iterable[int]) -> State:
        """Returns, of the states that differ by names only, the one that stands for all of them."""
        by_shape = [list(alike) for _, alike in groupby(sorted(state, key=self._shape), key=self._shape)]
        orders = product(*map(permutations, by_shape))
        return min(self._numbered(tuple(chain.from_iterable(order))) for order in orders)

    def _find_shape(self, number: int) -> int:
        """Returns a history as its member alone would number the blocks."""
        return self._numbered((number,))[0]

    def _numbered(self, order: tuple[int, ...]) -> State:
        """Numbers the blocks of each slot as they come, member by member."""
        names: dict[Block, Block] = {}
        of_slot: Counter[int] = Counter()
        for block in chain.from_iterable(map(self._blocks_of, order)):
            if block not in names:
                names[block] = block[0], of_slot[block[0]]
                of_slot[block[0]] += 1
        if all(block == name for block, name in names.items()):
            return order
        return tuple(
            self._with_names(number, tuple(names[block] for block in self._blocks_of(number))) for number in order
        )

    def _find_blocks(self, number: int) -> tuple[Block, ...]:
        """Returns the blocks of a history in the order of its votes' slots, then of its COMMITs'."""
        history = self._histories[number]
        return tuple(dict.fromkeys(block for _, block in (*sorted(history.votes), *sorted(history.commits))))

    def _find_with_names(self, number: int, names: tuple[Block, ...]) -> int:
        history, name_of = self._histories[number], dict(zip(self._blocks_of(number), names, strict=True))

        def renamed(statements: Iterable[Statement]) -> tuple[Statement, ...]:
            return tuple((slot, name_of[block]) for slot, block in statements)

        sign_state = history.sign_state
        voted, prepared = (claim_of(renamed(claimed_by(own))) for own in (sign_state.voted, sign_state.prepared))
        return self._number(
            History(
                replace(sign_state, voted=voted, prepared=prepared),
                frozenset(renamed(history.votes)),
                frozenset(renamed(history.commits)),
                frozenset((slot, renamed(claimed)) for slot, claimed in history.changes),
            )
        )

    def _number(self, history: History) -> int:
        number = self._numbers.setdefault(history, len(self._histories))
        if number == len(self._histories):
            self._histories.append(history)
        return number


def _counted(signed: Iterable[frozenset[Statement]]) -> Counted:
    return tuple(sorted(Counter(chain.from_iterable(signed)).items()))


def _claims_of_quorum(claims: tuple[Claimed, ...], votes: Counted) -> set[tuple[Claimed, ...]]:
    """Returns the claims of Q VIEW-CHANGEs, the liar's among them or not, in every order of their signers."""
    of_liar: list[Claimed] = [(), *((statement,) for statement, _ in votes)]
    with_liar = product(combinations(claims, QUORUM - LIARS), of_liar)
    some = chain(combinations(claims, QUORUM), ((*honest, lie) for honest, lie in with_liar))
    return {order for chosen in some for order in permutations(chosen)}


def _named(block: Block) -> str:
    return f"{block[0]}{'abc'[block[1]]}"


def _told(history: History) -> str:
    votes = [f"votes for {_named(block)} at {slot}" for slot, block in sorted(history.votes)]
    commits = [f"commits to {_named(block)} at {slot}" for slot, block in sorted(history.commits)]
    changes = [
        f"asks for {slot}, claims {' '.join(_named(block) for _, block in claimed) or 'nothing'}"
        for slot, claimed in sorted(history.changes)
    ]
    return ", ".join((*votes, *commits, *changes)) or "signs nothing"


# --- what is searched ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The courses of some slots, under the rules or a naive one."""

    name: str
    fast: tuple[int, ...]
    """Slots with proposals that need no justification."""
    justified: tuple[int, ...]
    """Slots that are asked for, with justified proposals."""
    blocks: int = HONEST
    """How many new ones may come in a slot: by default all that can have an honest vote each."""
    broken: Break | None = None
    """Of a naive rule: it must be shown to break."""

    @property
    def is_naive(self) -> bool:
        """Says whether a violation is what must be found."""
        return self.broken is not None

    def run(self, courses: type[Courses] = Courses) -> Found:
        """Visits every state; ends at the first violation."""
        with ExitStack() as stack:
            stack.enter_context(keyed_hashes())
            if self.broken is not None:
                stack.enter_context(patch.object(*self.broken))
            made = courses(self.fast, self.justified, self.blocks)
            return visit([made.first()], made.after, made.judged, tuple[int, ...])

    @property
    def title(self) -> str:
        """Says what is searched."""
        return (
            f"{self.name}: {MEMBERS} members, {LIARS} liar, proposals in slots {_listed(self.fast)} without and "
            f"{_listed(self.justified)} with justification, new blocks a slot: {self.blocks}"
        )

    def sentence(self, found: Found) -> str:
        """Says what was searched, and what was found."""
        return sentence(self.title, found, counted="a block is decided", never="no two blocks are decided")


def _listed(slots: tuple[int, ...]) -> str:
    return ", ".join(map(str, slots)) or "none"


def _is_votable_twice(own: Member, proposal: PrePrepare) -> bool:
    signed = own.state.sign_state
    is_other = proposal.justification is None and signed.attempts == 0
    is_same_slot = signed.voted is not None and signed.voted.slot == proposal.slot
    return breaks.true_is_votable(own, proposal) or (is_other and is_same_slot)


def _lowest_claim(justification: Justification) -> Claim | None:
    claims = [header.claim for header in justification.headers if header.claim is not None]
    return min(claims, key=lambda claim: claim.slot, default=None)


def _base_without_promise(state: HeightState) -> int:
    signed = (state.sign_state.voted, state.sign_state.prepared)
    return max((claim.slot for claim in signed if claim is not None), default=state.parent_slot)


SEARCHES: Final = (
    Search(name="the rules as they run", fast=(1, 2), justified=(1, 2)),
    Search(
        name="votes for two unjustified proposals of a slot",
        fast=(1,),
        justified=(2,),
        blocks=2,
        broken=(safety, "_is_votable", _is_votable_twice),
    ),
    Search(
        name="votes again without justification",
        fast=(1, 2),
        justified=(),
        broken=(SignState, "is_fresh", property(lambda sign_state: sign_state.attempts == 0)),
    ),
    Search(
        name="commits below its promise",
        fast=(1,),
        justified=(2,),
        broken=(HeightState, "may_commit_at", breaks.commit_below_the_promise),
    ),
    Search(
        name="takes a promise back",
        fast=(1,),
        justified=(1, 2),
        blocks=1,
        broken=(HeightState, "base", property(_base_without_promise)),
    ),
    Search(
        name="any block, whatever is claimed",
        fast=(1,),
        justified=(2,),
        broken=(verification, "justification_holds", breaks.holds_for_any),
    ),
    Search(
        name="a claim needs no certificate",
        fast=(1,),
        justified=(2,),
        broken=(verification, "prepared_certificate_holds", lambda *_: True),
    ),
    Search(
        name="the lowest claim",
        fast=(1,),
        justified=(2, 3),
        blocks=1,
        broken=(verification, "highest_claim", _lowest_claim),
    ),
)
"""What every `make test` searches, in seconds."""

LONG_SEARCHES: Final = (
    Search(name="the rules as they run", fast=(1, 2), justified=(2, 3)),
    Search(
        name="votes for each proposal of a slot",
        fast=(1,),
        justified=(2,),
        blocks=2,
        broken=(safety, "_is_votable", breaks.votable_again_in_a_slot),
    ),
)
"""What `p2pnode-sim models` searches too: minutes."""
