"""Scenarios: how the protocol goes, told event by event in golden/.

Each function directs one run of production replicas: who is asked for what, whose messages are lost, who dies. All
clocks agree, a message takes 5 ms, executing a block 1 ms; nothing is drawn. What members pass on of others (P9) is
lost but in the scenario about it, so that each shows its own rule. `python -m tests.simulation.scenarios
--write` writes the traces, and the test compares them with what is there: a change of the protocol shows as a diff of
sentences.
"""

import sys
from collections.abc import Callable
from inspect import getdoc
from pathlib import Path
from random import Random
from typing import Final

from consensus.messages import Prepare, PrePrepare
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import START_MS, Network, Payload
from tests.simulation.telling import Loss, Teller, is_passed_on

GOLDEN: Final = Path(__file__).parent / "golden"
DELAY_MS: Final = 5
EXECUTION_MS: Final = 1
SLOTS_MAX: Final = 60
"""No scenario takes longer."""


class NothingDrawn(Random):
    """In the place of the network's randomness: always the smallest, and nothing that may happen happens."""

    def random(self) -> float:
        return 1.0

    def randint(self, a: int, b: int) -> int:
        return min(a, b)


class Stage:
    """A network whose events a scenario directs, and the words for them."""

    def __init__(self, members: int = 4) -> None:
        self.teller = Teller()
        self.network = Network(members, 1, Faults())
        self.hosts = self.network.hosts
        self.network.observer = self.teller
        self.passes_on = False
        """Whether what members pass on of others arrives."""
        self.lose(None)
        self._direct()
        self._requests = 0

    def _direct(self) -> None:
        """Takes chance out: from here on members tick one millisecond after the other, member 0 first."""
        network = self.network
        network.queue.clear()
        network.random = NothingDrawn()
        network.draw_delay_ms = lambda: DELAY_MS  # type: ignore[method-assign]
        network.draw_elsewhere_ms = lambda: EXECUTION_MS  # type: ignore[method-assign]
        for host in network.hosts:
            network.push(host.index, "tick", host, None)

    # --- directing ----------------------------------------------------------------------------------------------

    def lose(self, is_lost: Loss | None) -> None:
        """Loses such messages from now on; None for none."""

        def is_lost_or_passed_on(sender: Host, recipient: Host, payload: Payload) -> bool:
            is_unwanted = not self.passes_on and is_passed_on(sender, payload)
            return is_unwanted or (is_lost is not None and is_lost(sender, recipient, payload))

        self.network.is_lost = is_lost_or_passed_on

    def ask(self, member: int, requests: int = 1) -> None:
        """A client asks a member for something."""
        host = self.hosts[member]
        what = "a request" if requests == 1 else f"{requests} requests"
        self.teller.tell(self.network.now_ms, host, f"is asked by a client for {what}")
        for _ in range(requests):
            host.submit(self._requests)
            self._requests += 1

    def die(self, member: int) -> None:
        """A member's process ends; `start` begins the next."""
        self.hosts[member].crash(absent_ms=10**9)

    def start(self, member: int) -> None:
        self.network.note(self.hosts[member], "start")
        self.hosts[member].start()

    def say(self, text: str) -> None:
        self.teller.say(text)

    def until_slot(self, slot: int) -> None:
        """Time passes until a slot begins."""
        network = self.network
        network.run(lambda: False, slot * TAU_MS - network.now_ms)
        network.now_ms = slot * TAU_MS

    def until(self, condition: Callable[[], bool]) -> None:
        """Time passes until something is so."""
        assert self.network.run(condition, SLOTS_MAX * TAU_MS), "the scenario does not come about"

    def until_sent(self, kind: type, slot: int) -> None:
        """Time passes until a member sent such a message of its own of a slot, whether or not it arrives."""
        sent: list[Payload] = []
        is_lost = self.network.is_lost

        def watched(sender: Host, recipient: Host, payload: Payload) -> bool:
            is_own = isinstance(payload, kind) and not is_passed_on(sender, payload)
            if is_own and getattr(payload, "slot", None) == slot:
                sent.append(payload)
            return is_lost(sender, recipient, payload)

        self.network.is_lost = watched
        self.until(lambda: bool(sent))
        self.network.is_lost = is_lost

    def until_decided(self, height: int, *, by: tuple[int, ...] | None = None) -> None:
        """Time passes until these members, or all, decided a height."""
        hosts = self.hosts if by is None else [self.hosts[member] for member in by]
        self.until(lambda: all(host.application.height >= height for host in hosts))


Scenario = Callable[[Stage], None]


# --- the scenarios -----------------------------------------------------------------------------------------------


def normal_case(stage: Stage) -> None:
    """The normal case: one height in three rounds of messages.

    Any member takes a request and passes it on to all. The leader of the present slot proposes; everyone executes the
    block and votes; with Q votes COMMITs follow, with Q COMMITs the decision. No clock runs out.
    """
    stage.ask(2)
    stage.until_decided(1)


def several_heights_in_one_slot(stage: Stage) -> None:
    """Leaders follow s mod N, and decide as many heights as they can.

    There are 20 requests, a block holds four. Member 0 leads slot 4 and hands over to member 1 before its slot ends.
    """
    stage.until_slot(4)
    stage.network.now_ms += TAU_MS * 2 // 3
    stage.ask(0, requests=20)
    stage.until_decided(5)


def silent_leader(stage: Stage) -> None:
    """A silent leader costs one slot, and no view change: the leader of the next slot is fresh and proposes."""
    stage.say("member 0, which leads slot 4, dies before it proposes")
    stage.die(0)
    stage.ask(2)
    stage.until_decided(1, by=(1, 2, 3))


def failed_fast_path(stage: Stage) -> None:
    """The fast path fails: the leader dies when its proposal has reached one member. Own choice, justified.

    Both have voted, the other two cannot make a quorum. After two slots members give the slot up. Nobody holds a
    certificate, so all claim none (S2), and the leader of the promised slot may propose what it wants (P5).
    """
    stage.lose(lambda sender, recipient, payload: isinstance(payload, PrePrepare) and recipient.index > 1)
    stage.ask(2)
    stage.until_sent(Prepare, 4)
    stage.say("member 0 dies")
    stage.die(0)
    stage.until_slot(6)
    stage.lose(None)
    stage.until_decided(1, by=(1, 2, 3))


def prepared_block(stage: Stage) -> None:
    """A prepared block survives: proposed again in a later slot it is the same block, with the header of slot 4.

    Member 0 leads slot 4 and dies after its proposal reached two others. Member 1 alone collects three votes, and
    until slot 6 nothing of it reaches anybody. Member 3 knows of nothing; it joins because two others, so at least
    one honest member, gave the slot up. This is the view change that docs/protocol.md draws.
    """

    def is_lost(sender: Host, recipient: Host, payload: Payload) -> bool:
        is_early = stage.network.now_ms < 6 * TAU_MS
        return is_early and (sender.index == 1 or recipient.index == 3)

    stage.lose(is_lost)
    stage.ask(0)
    stage.until_sent(PrePrepare, 4)
    stage.say("member 0 dies")
    stage.die(0)
    stage.until_decided(1, by=(1, 2, 3))
    stage.say("member 0 is back")
    stage.start(0)
    stage.until_decided(1)
    headers = {host.application.tip_slot for host in stage.hosts}
    assert headers == {4}, "the block kept its header"


def joining(stage: Stage) -> None:
    """Joining (P4): F + 1 = 2 members give a slot up, so the other two do at once, though nothing waits with them.

    Only members 1 and 2 know of the request. Members 3 and 0 lead two slots in which they have nothing to propose.
    """
    stage.lose(lambda sender, recipient, payload: isinstance(payload, tuple) and recipient.index in {0, 3})
    stage.until_slot(7)
    stage.ask(1)
    stage.until_decided(1)


def nothing_to_propose(stage: Stage) -> None:
    """A justified leader proposes even nothing: an empty block ends the height, and the next is fresh again.

    Member 2 leads the promised slot and never heard of the request.
    """
    stage.lose(
        lambda sender, recipient, payload: (
            (isinstance(payload, PrePrepare) and payload.justification is None)
            or (isinstance(payload, tuple) and recipient.index == 2)
        )
    )
    stage.ask(0)
    stage.until_decided(1)
    stage.say("from here on everything arrives")
    stage.lose(None)
    stage.until_decided(2)


def back_off(stage: Stage) -> None:
    """Back-off: after k attempts the next slot asked for is a multiple of 3^k, so no dead leader is met for ever.

    Member 0 is dead and leads slot 8, the first one asked for. The proposal of the second attempt, slot 9, is lost as
    well. The third is slot 18, the next multiple of 9: it comes nine slots after three members had promised slot 9.
    """
    stage.say("member 0 is dead; no proposal of a slot below 18 arrives")
    stage.die(0)
    stage.lose(lambda sender, recipient, payload: isinstance(payload, PrePrepare) and payload.slot < 18)
    stage.until_slot(6)
    stage.ask(1)
    stage.until_decided(1, by=(1, 2, 3))


def two_slot_race(stage: Stage) -> None:
    """The race of two slots: the proposal of slot 4 is late, the leader of slot 5 proposes too, the votes are split.

    Two members voted for each block, so neither gets Q = 3 votes. After the view change one of them is decided, and
    the requests of the other are in it or in the next.
    """

    def is_lost(sender: Host, recipient: Host, payload: Payload) -> bool:
        is_unjustified = isinstance(payload, PrePrepare) and payload.justification is None
        return is_unjustified and {sender.index, recipient.index} not in ({0, 2}, {1, 3})

    stage.lose(is_lost)
    stage.ask(0)
    stage.until_slot(5)
    stage.ask(3)
    stage.until_decided(1)
    stage.lose(None)
    stage.until(stage.network.is_everything_executed)


def catching_up(stage: Stage) -> None:
    """Catching up: who was away tells where it stands, and who is ahead answers with DECIDED blocks that prove
    themselves.
    """
    stage.say("member 3 is away")
    stage.die(3)
    for height in (1, 2, 3):
        stage.ask(1)
        stage.until_decided(height, by=(0, 1, 2))
    stage.say("member 3 is back")
    stage.start(3)
    stage.until_decided(3)


def wiped_disk(stage: Stage) -> None:
    """A wiped disk: the member kept its key, but not what it signed. It signs nothing until it cannot contradict it.

    It asks the others for their undecided height m, and is silent through m + 1; it follows the chain meanwhile. The
    three others decide without it.
    """
    stage.ask(0)
    stage.until_decided(1)
    stage.say("member 3 dies, and its disk is wiped")
    stage.die(3)
    forgetful = stage.hosts[3]
    forgetful.role = Role.FORGETS  # the checker knows that what it wrote is gone
    forgetful.application.rot(stage.network.random)
    forgetful.forget()
    stage.start(3)
    stage.until_decided(1)
    for height in (2, 3):
        stage.say(f"height {height}: member 3 signs nothing")
        stage.ask(1)
        stage.until_decided(height)
    stage.say("height 4: member 3 votes again")
    stage.ask(1)
    stage.until_decided(4)


def dead_links(stage: Stage) -> None:
    """Dead links (P9): members 0 and 1 never hear each other, nor do 2 and 3. Each has the votes of three, itself
    included, only over another one.

    Their STATUS says so by now. Two thirds of a slot after its own vote a member passes on what it holds of others to
    those that do not hear them; at the next height at once.
    """
    stage.passes_on = True
    dead = ({0, 1}, {2, 3})
    stage.lose(lambda sender, recipient, _: {sender.index, recipient.index} in dead)
    stage.until_slot(12)
    for height in (1, 2):
        stage.say(f"height {height}")
        stage.ask(2)
        stage.until_decided(height)


SCENARIOS: Final[tuple[Scenario, ...]] = (
    normal_case,
    several_heights_in_one_slot,
    silent_leader,
    failed_fast_path,
    prepared_block,
    joining,
    nothing_to_propose,
    back_off,
    two_slot_race,
    catching_up,
    wiped_disk,
    dead_links,
)


def file_of(scenario: Scenario) -> Path:
    """Returns where a scenario's golden trace is."""
    return GOLDEN / f"{scenario.__name__.replace('_', '-')}.txt"


def trace_of(scenario: Scenario) -> str:
    """Plays a scenario; returns its trace."""
    stage = Stage()
    scenario(stage)
    stage.teller.flush()
    title = [f"# {line}".rstrip() for line in (getdoc(scenario) or "").splitlines()]
    membership = stage.network.membership
    facts = (
        f"# N = {len(membership)}, F = {membership.fault_bound}, Q = {membership.quorum}; slots of {TAU_MS} ms; "
        f"a message takes {DELAY_MS} ms. Slot {START_MS // TAU_MS} is the first."
    )
    return "\n".join([*title, "#", facts, "", *stage.teller.lines, ""])


def main(arguments: list[str]) -> int:
    """Writes all golden traces; without `--write` says which differ."""
    differing = [scenario for scenario in SCENARIOS if _read(file_of(scenario)) != trace_of(scenario)]
    for scenario in differing:
        if "--write" in arguments:
            file_of(scenario).write_text(trace_of(scenario))
        print(f"{file_of(scenario).name}: {'written' if '--write' in arguments else 'differs'}")  # noqa: T201
    return 1 if differing and "--write" not in arguments else 0


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
