"""Passes on the question of who forgot what it signed, and the answers to it, where links between members are dead.

Question and answer are signed and name the asker, so anybody may pass them on; only in networks of few members
(`RELAY_MEMBERS_MAX`), and only for an asker that asks again whom it heard: another one does not answer. A question
goes one hop, by who has it over the asker's own link, and its answer goes to all, each of whom passes it on to the
asker if it has it over the signer's own link: two hops there and two back, over links that may live one way only.

What one member can make another do, in `PASS_INTERVAL_S`: N - 2 copies of its own question; per other member in whose
name it passes a question on one answer to N - 1; F + 1 answers of its own to each asker. A question or an answer is
checked before it is passed on, and a name that is no member's costs no check.
"""

from collections.abc import Callable, Hashable
from typing import Final

from consensus.identifiers import Address
from consensus.membership import Memberships
from consensus.messages import RELAY_MEMBERS_MAX, HeightAnswer, HeightQuestion
from consensus.quorum import weak_quorum

PASS_INTERVAL_S: Final = 1.0
"""In which the same is passed on once."""

PATIENCE_S: Final = 1.5
"""So long after its first question an asker that asks again wants it passed on: any answer had the time to come."""


def may_relay(memberships: Memberships) -> bool:
    """Says whether members are few enough to pass on what others ask."""
    return max(len(memberships.undecided), len(memberships.following)) <= RELAY_MEMBERS_MAX


class Pace:
    """How often something may happen, per key; what is older than an interval is forgotten."""

    __slots__ = ("_clock_s", "_interval_s", "_seen")

    def __init__(self, interval_s: float, clock_s: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock_s = clock_s
        self._seen: dict[Hashable, tuple[float, int]] = {}
        """Since when, oldest first, and how often."""

    def take(self, key: Hashable, count_max: int = 1) -> bool:
        """Counts one more, if that is not too often."""
        now_s = self._clock_s()
        while self._seen and now_s - next(iter(self._seen.values()))[0] >= self._interval_s:
            del self._seen[next(iter(self._seen))]
        since_s, count = self._seen.get(key, (now_s, 0))
        if count >= count_max:
            return False
        self._seen[key] = (since_s, count + 1)
        return True


class QuestionRelay:
    """What one member passes on for others."""

    def __init__(self, own: Address, clock_s: Callable[[], float]) -> None:
        """Takes who this is, and a clock that never jumps."""
        self._own = own
        self._clock_s = clock_s
        self._asked: dict[Address, tuple[bytes, float]] = {}
        """Per asker that is a member: the nonce that it asks with, and since when."""
        self._questions = Pace(PASS_INTERVAL_S, clock_s)
        self._brought = Pace(PASS_INTERVAL_S, clock_s)
        self._spread = Pace(PASS_INTERVAL_S, clock_s)
        self._answers = Pace(PASS_INTERVAL_S, clock_s)

    def passes_question(self, question: HeightQuestion, memberships: Memberships) -> bool:
        """Says whether a question that its asker sent, and that was checked, goes to all others now."""
        self._asked = {asker: asked for asker, asked in self._asked.items() if asker in memberships}
        nonce, first_s = self._asked.get(question.asker, (b"", 0.0))
        if nonce != question.nonce:
            self._asked[question.asker] = (question.nonce, self._clock_s())
            return False
        is_again = self._clock_s() - first_s >= PATIENCE_S
        return may_relay(memberships) and is_again and self._questions.take(question.asker)

    def takes_brought(self, sender: Address, asker: Address, memberships: Memberships) -> bool:
        """Says whether to look at a question that another than its asker sent."""
        return may_relay(memberships) and self._brought.take((sender, asker))

    def spreads_answer(self, question: HeightQuestion) -> bool:
        """Says whether such a question, which was checked, is answered now: the same may come over several."""
        return self._spread.take((question.asker, question.nonce))

    def passes_answer(self, sender: Address, answer: HeightAnswer, memberships: Memberships) -> bool:
        """Says whether to check an answer to somebody else, and pass it on. Of more than one question in the same
        name all but one are liars' repetitions of old ones; the new one must get through among F of them.
        """
        return (
            may_relay(memberships)
            and sender == answer.signer
            and answer.asker not in {sender, self._own}
            and answer.asker in memberships
            and self._answers.take((sender, answer.asker), weak_quorum(len(memberships.following)))
        )
