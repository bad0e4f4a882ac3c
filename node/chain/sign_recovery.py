"""The hands of `consensus.recovery`: asks the other members how far the chain is, and answers them.

Question and answer are signed, so it does not matter which way they came (`question_relay`); the nonce makes the
answer one to this question. A node that keeps silent itself does not answer: it does not know how far it was.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address, Height
from consensus.member import KeyRing
from consensus.membership import Memberships
from consensus.messages import NONCE_SIZE_BYTES, HeightAnswer, HeightQuestion
from consensus.recovery import Inquiry, answer_holds, answer_to, asked_members, can_ask, question_holds
from node.chain.application import Application
from node.chain.question_relay import Pace, QuestionRelay, may_relay
from node.logs import get_logger
from node.mesh.messages import PeerMessage
from node.names.names import label_of

ASK_INTERVAL_S: Final = 1.0
"""Between two questions to a member that has not answered."""

ANSWER_INTERVAL_S: Final = 0.25
"""Shortest time between two answers to one member."""

DIRECT_ASKS: Final = 2
"""So often only who has not answered is asked; after that all are, who pass the question on."""

LOG_INTERVAL_S: Final = 60.0
"""Between two log lines while the question is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryLinks:
    """How recovery reaches the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]
    is_unanswered: Callable[[], bool]
    """Says whether the replica keeps silent until this question is answered."""
    silent_through: Callable[[], Height]
    """Up to which height the replica signs nothing."""
    keep_silent_through: Callable[[Height], None]
    """Makes the end of the silence durable."""
    refused: Callable[[str, Address], None]
    """Counts answers that do not count: the reason, and who sent it."""


class SignRecovery:
    """Asks while the replica does not know what it signed; answers others always."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        application: Application,
        links: RecoveryLinks,
        clock_s: Callable[[], float] = time.monotonic,
        draw: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Takes this member's keys and chain, and where nonces come from."""
        self._keys = keys
        self._own = keys.address
        self._application = application
        self._links = links
        self._clock_s = clock_s
        self._draw = draw
        self._inquiry: Inquiry | None = None
        self._asked = 0
        """How often this question was asked."""
        self._answered = Pace(ANSWER_INTERVAL_S, clock_s)
        self._relay = QuestionRelay(self._own, clock_s)
        self._logged_s: float | None = None
        self._log = get_logger("recovery")

    def on_question(self, sender: Address, question: HeightQuestion) -> None:
        """Answers a member that asks itself, or whose question `sender` passed on; passes it on where need be."""
        memberships, asker = self._application.memberships(), question.asker
        if asker == self._own:
            return
        if asker not in memberships:
            self._links.refused("bad_height_question", sender)
            return
        is_direct = sender == asker
        if not (self._answered.take(asker) if is_direct else self._relay.takes_brought(sender, asker, memberships)):
            return
        if not question_holds(question, memberships, self._application.eras.newest):
            self._links.refused("bad_height_question", sender)
        elif is_direct:
            others = self._others(memberships)
            is_passed_on = self._relay.passes_question(question, memberships)
            self._answer(question, others if is_passed_on else (asker,))
            self._send_all(question, others - {asker} if is_passed_on else ())
        elif self._relay.spreads_answer(question):
            self._answer(question, self._others(memberships))

    def _answer(self, question: HeightQuestion, recipients: Iterable[Address]) -> None:
        signer = self._keys.of(asked_members(self._application.memberships()))
        if signer is None:
            return
        answer = answer_to(
            question,
            signer,
            self._application.eras.newest,
            undecided=Height(self._application.height + 1),
            silent_through=self._links.silent_through(),
        )
        if answer is not None:
            self._send_all(answer, recipients)

    def _others(self, memberships: Memberships) -> frozenset[Address]:
        """Returns all members that there is a link to."""
        return self._links.connected().intersection(memberships.addresses)

    def _send_all(self, message: PeerMessage, recipients: Iterable[Address]) -> None:
        for recipient in sorted(recipients):
            self._links.send(recipient, message)

    def on_answer(self, sender: Address, answer: HeightAnswer) -> None:
        """Keeps an answer; with the Q-th one that counts the end of the silence is known. One to somebody else is
        passed on.
        """
        if answer.asker != self._own:
            self._pass_on(sender, answer)
            return
        if self._inquiry is None or not self._links.is_unanswered():
            return
        refusal = self._inquiry.take(answer, self._application.memberships())
        if refusal is not None:
            self._links.refused(refusal.value, sender)
            self._log.warning("an answer does not count", peer=label_of(sender), reason=refusal.value)
        self._conclude()

    def _pass_on(self, sender: Address, answer: HeightAnswer) -> None:
        memberships = self._application.memberships()
        if answer.asker not in self._links.connected() or not self._relay.passes_answer(sender, answer, memberships):
            return
        refusal = answer_holds(answer, memberships, self._application.eras.newest)
        if refusal is None:
            self._links.send(answer.asker, answer)
        else:
            self._links.refused(refusal.value, sender)

    def _conclude(self) -> None:
        """An answer counts once the own ledger is as far."""
        assert self._inquiry is not None, "something was asked"
        undecided = Height(self._application.height + 1)
        through = self._inquiry.silent_through(undecided, self._application.memberships())
        if through is not None:
            self._inquiry = None
            self._links.keep_silent_through(through)
            self._log.warning("this node signs again above a height that it cannot have signed at", through=through)

    async def run(self) -> None:
        """Asks as long as the question is open, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(ASK_INTERVAL_S)

    def look(self) -> None:
        """Asks every connected member that has not answered, if the question is open; later on those, too, that can
        pass it on to such a one.
        """
        if not self._links.is_unanswered():
            return
        memberships = self._application.memberships()
        if not can_ask(len(asked_members(memberships))):
            self._report("only the operator can say that this node may sign again: `p2pnode recover alone` says more")
            return
        signer = self._keys.of(asked_members(memberships))
        if signer is None:
            return  # nobody else of the next height has this home's key: it has nothing to sign there
        if self._inquiry is None or not self._inquiry.is_by(signer):
            nonce = self._draw(NONCE_SIZE_BYTES)
            self._inquiry = Inquiry(signer, self._application.eras.newest, nonce=nonce)
            self._asked = 0
        unanswered, question = self._inquiry.unanswered(memberships), self._inquiry.question
        self._report("waits for the other members to say how far the chain is", unanswered=len(unanswered))
        is_passed_on = self._asked >= DIRECT_ASKS and may_relay(memberships) and len(unanswered) > 0
        self._asked += 1
        others = self._others(memberships)
        self._send_all(question, others if is_passed_on else others.intersection(unanswered))
        self._conclude()

    def _report(self, text: str, **values: int) -> None:
        now_s = self._clock_s()
        if self._logged_s is None or now_s - self._logged_s >= LOG_INTERVAL_S:
            self._logged_s = now_s
            self._log.error(f"this node keeps silent: {text}", **values)
