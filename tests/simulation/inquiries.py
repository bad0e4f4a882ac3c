"""Who forgot what it signed asks the others, while the members change from height to height: a model of the chain
around the production `Inquiry`.

The chain is only numbers: which height is decided by whom, how far each member's blocks go. Everything that the
inquiry is made of is real: sets, keys, question, answers, signatures. The members of height h are fixed by block
h - 2 and drawn anew each time, so consecutive sets may share little. At most F members of each set lie: they decide
whatever helps and answer anything.

Member 0 forgets, and perhaps its blocks too; others may have before. What must hold is that its silence reaches the
height at which it signed last before it forgot.
"""

from random import Random
from typing import Final

from consensus import recovery
from consensus.eras import first_era
from consensus.identifiers import Digest, Height
from consensus.membership import Membership, Memberships
from consensus.quorum import fault_bound, quorum
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

POOL: Final = 5
HEIGHTS: Final = 5
STEPS: Final = 40
HEARD_SHARE: Final = 0.8
LIARS_MAX: Final = 2
ERA: Final = first_era(Digest(bytes(32)))
NONCE_SIZE: Final = 32
ASKER: Final = 0


class Inquiries:
    """One run of the model."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.keys = keyed_hash_keys(POOL)
        self.liars = frozenset(random.sample(range(1, POOL), random.randint(0, LIARS_MAX)))
        first = self._draw_set()
        self.sets: list[tuple[int, ...]] = [(), first, first]
        """Members of heights 0 (nobody), 1, 2, ..."""
        self.undecided = [1] * POOL
        """Of each member; where its blocks end."""
        self.signed = [0] * POOL
        """The last height at which each member signed."""
        self.silent_through = [0] * POOL
        """Of who forgot: it neither signs nor answers up to what it signed, as this very rule makes sure."""
        self.top = 1
        """The lowest height that nobody has decided."""

    def _draw_set(self) -> tuple[int, ...]:
        """Small sets that share little, most of them with the asker: where it is easiest to go wrong."""
        while True:
            members = self.random.sample(range(POOL), self.random.choice((3, 3, 4, 5)))
            is_wanted = ASKER in members or self.random.random() < 0.2
            if is_wanted and len(self.liars.intersection(members)) <= fault_bound(len(members)):
                return tuple(members)

    def set_of(self, height: int) -> Membership:
        chosen = self.sets[height]
        return Membership.of_keys([self.keys[number].public_key for number in chosen])

    # --- before it forgets ----------------------------------------------------------------------------------------

    def grow(self) -> None:
        """Members catch up, sign, decide and forget, in any order; the asker is seldom behind, the others often."""
        for _ in range(self.random.randint(STEPS // 2, STEPS)):
            number = self.random.choice((ASKER, self.random.randrange(POOL)))
            own, drawn = self.undecided[number], self.random.random()
            if own < self.top and drawn < (0.9 if number == ASKER else 0.4):
                self.undecided[number] += 1
            elif drawn < 0.75:
                self._decide()
            elif drawn < 0.8 and number != ASKER:
                self._forget(number)
            elif number in self._able(own):
                self.signed[number] = max(self.signed[number], own)

    def _able(self, height: int) -> list[int]:
        """Who can sign at a height: liars can what they like."""
        return [
            number
            for number in self.sets[height]
            if number in self.liars or (self.undecided[number] == height and self.silent_through[number] < height)
        ]

    def _decide(self) -> None:
        """A quorum of who can sign at the top decides it, and its block fixes the set of two heights later."""
        able, needed = self._able(self.top), quorum(len(self.sets[self.top]))
        if self.top >= HEIGHTS or len(able) < needed:
            return
        for number in self.random.sample(able, needed):
            self.signed[number] = max(self.signed[number], self.top)
        self.top += 1
        self.sets.append(self._draw_set())

    def _forget(self, number: int) -> None:
        """A member forgets what it signed, and keeps blocks up to some height."""
        self.undecided[number] = self.random.randint(1, self.undecided[number])
        self.silent_through[number] = self.signed[number]

    # --- the question ----------------------------------------------------------------------------------------------

    def silence(self) -> tuple[int, int] | None:
        """Returns the end of the asker's silence and its undecided height then; None if nothing ends it."""
        inquiry = recovery.Inquiry(self.keys[ASKER], ERA, nonce=self.random.randbytes(NONCE_SIZE))
        while self.undecided[ASKER] < self.top:
            own = Height(self.undecided[ASKER])
            for number in self.random.sample(range(1, POOL), POOL - 1):
                if self.random.random() < HEARD_SHARE:
                    self._hear(inquiry, number)
            through = inquiry.silent_through(own, self._memberships())
            if through is not None:
                return through, own
            self.undecided[ASKER] += 1
        return None

    def _memberships(self) -> Memberships:
        own = self.undecided[ASKER]
        return Memberships(undecided=self.set_of(own), following=self.set_of(own + 1))

    def _hear(self, inquiry: recovery.Inquiry, number: int) -> None:
        """Somebody answers; meanwhile honest members may catch up."""
        undecided = Height(1 if number in self.liars else self.undecided[number])
        answer = recovery.answer_to(
            inquiry.question,
            self.keys[number],
            ERA,
            undecided=undecided,
            silent_through=Height(0 if number in self.liars else self.silent_through[number]),
        )
        if answer is not None:
            inquiry.take(answer, self._memberships())
        if self.random.random() < 0.2 and self.undecided[number] < self.top:
            self.undecided[number] += 1


def run_inquiries(seeds: range) -> int:
    """Runs so many chains; returns how often a silence ended. Raises AssertionError where one ended too early."""
    ended = 0
    with keyed_hashes():
        for seed in seeds:
            model = Inquiries(Random(seed))
            model.grow()
            if not model.signed[ASKER]:
                continue
            model._forget(ASKER)
            outcome = model.silence()
            if outcome is not None:
                through, own = outcome
                ended += 1
                assert through >= model.signed[ASKER], (
                    f"seed {seed}: silent through {through} at height {own}, and it signed at {model.signed[ASKER]}"
                )
    return ended
