"""A host's part in `consensus.recovery`: asks the others what it may have signed, and answers them.

As the node's hands for it (`node.chain.sign_recovery`) do, on the virtual clock.
"""

from typing import TYPE_CHECKING

from consensus.events import UNANSWERED, KeepSilent
from consensus.identifiers import Address, Height
from consensus.messages import NONCE_SIZE_BYTES, HeightAnswer, HeightQuestion
from consensus.recovery import AnswerRefusal, Inquiry, answer_to, asked_members, can_ask, question_holds

if TYPE_CHECKING:
    from tests.simulation.host import Host

ASK_MS = 1_000


class Recovering:
    """What one process knows of its own question; gone with the process."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._inquiry: Inquiry | None = None
        self._asked_ms = -ASK_MS

    def on_tick(self) -> None:
        """Asks, about once a second, who has not answered."""
        host = self._host
        memberships, now_ms = host.application.memberships, host.network.now_ms
        if host.replica.silent_through != UNANSWERED or now_ms - self._asked_ms < ASK_MS:
            return
        assert can_ask(len(asked_members(memberships))), "with one or two members nobody is made to forget"
        self._asked_ms = now_ms
        if self._inquiry is None:
            nonce = host.network.random.randbytes(NONCE_SIZE_BYTES)
            self._inquiry = Inquiry(host.key, host.replica.era, nonce=nonce)
        for member in self._inquiry.unanswered(memberships):
            host.network.deliver(host, member, self._inquiry.question)
        self._conclude()

    def on_question(self, sender: Address, question: HeightQuestion) -> None:
        """Answers, unless it does not know how far it was itself."""
        host = self._host
        assert question_holds(question, host.application.memberships, host.replica.era), "nobody asks for another"
        answer = answer_to(
            question,
            host.key,
            host.replica.era,
            undecided=Height(host.application.height + 1),
            silent_through=host.replica.silent_through,
        )
        if answer is not None:
            host.network.send(host, sender, answer)

    def on_answer(self, sender: Address, answer: HeightAnswer) -> None:
        """With the answers of Q others the end of the silence is known."""
        host = self._host
        if self._inquiry is None or host.replica.silent_through != UNANSWERED:
            return
        refusal = self._inquiry.take(answer, host.application.memberships)
        if refusal is not None:
            host.network.occurred[f"refused: {refusal.value}"] += 1
            is_late = refusal is AnswerRefusal.NOT_ASKED  # to a question before a crash
            assert is_late or sender in host.network.byzantine, f"an honest answer is refused: {refusal}"
        self._conclude()

    def _conclude(self) -> None:
        host, inquiry = self._host, self._inquiry
        assert inquiry is not None, "something was asked"
        through = inquiry.silent_through(Height(host.application.height + 1), host.application.memberships)
        if through is not None:
            self._inquiry = None
            host.network.note(host, f"silent through {through}")
            host.network.occurred["a forgetful member was answered"] += 1
            host.post(KeepSilent(through=through))
