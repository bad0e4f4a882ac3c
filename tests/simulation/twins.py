"""Every Twins scenario of 4 + 1 nodes, 3 slots and 2 partitions (Bano et al., "Twins: BFT systems made robust").

One of four members runs as two honest copies under one key. For each of the first three slots that a run uses, the
five processes are split into at most two sides, and what belongs to the slot crosses no side. From the fourth slot
on, and after `SPLIT_SLOTS` in any case, everything arrives. Leaders follow from slots, so which member is the twin
stands for who leads when. Each process has a request of its own to propose: twins that lead propose two blocks.

There are 2^4 splits of five processes into at most two sides: with three slots and four members that may be the twin
4 x 16^3 = 16,384 scenarios. A scenario's number says all of it.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Slot
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import RECOVERY_SLOTS_MAX, START_MS, Network, Observer, Payload
from tests.simulation.seeds import Outcome, outcome_of
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

KIND: Final = "twins"
"""Of outcomes."""
MEMBERS: Final = 4
PROCESSES: Final = MEMBERS + 1
SLOTS: Final = 3
SPLITS: Final = 2 ** (PROCESSES - 1)
"""Ways to split the processes into at most two sides: the first is always on the first side."""
SCENARIOS: Final = MEMBERS * SPLITS**SLOTS
TICK_MS: Final = 50
SPLIT_SLOTS: Final = 14
"""After so long the network is whole even if no fourth slot was used: in a split that lasts nobody may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One of all."""

    twin: int
    """Number of the member that runs twice; the copy is the last process."""
    splits: tuple[frozenset[int], ...]
    """Per slot, the processes of the second side."""


def scenario_of(number: int) -> Scenario:
    """Returns a scenario by its number, 0 to `SCENARIOS` - 1."""
    assert 0 <= number < SCENARIOS
    rest, twin = divmod(number, MEMBERS)
    splits = []
    for _ in range(SLOTS):
        rest, split = divmod(rest, SPLITS)
        splits.append(frozenset(process for process in range(1, PROCESSES) if split >> (process - 1) & 1))
    return Scenario(twin=twin, splits=tuple(splits))


class Splits:
    """Loses what crosses the sides of the slot that it belongs to."""

    def __init__(self, scenario: Scenario) -> None:
        self._splits = scenario.splits
        self._slots: dict[Slot, int] = {}
        """The slots that were used, numbered in the order of their first use."""

    def is_lost(self, sender: Host, recipient: Host, payload: Payload) -> bool:
        slot: Slot | None = getattr(payload, "slot", None)
        now = max(0, len(self._slots) - 1)  # what belongs to no slot is lost as what happens now
        number = now if slot is None else self._slots.setdefault(slot, len(self._slots))
        if number >= SLOTS or not sender.network.is_faulty:
            return False
        return (sender.index in self._splits[number]) != (recipient.index in self._splits[number])


def run_scenario(number: int, observer: Observer | None = None) -> Outcome:
    """Runs one scenario."""
    scenario = scenario_of(number)
    with ExitStack() as stack:
        stack.enter_context(keyed_hashes())
        faults = Faults(until_ms=START_MS + SPLIT_SLOTS * TAU_MS)
        network = Network(
            MEMBERS,
            number,
            faults,
            keys=keyed_hash_keys(MEMBERS),
            roles={scenario.twin: Role.TWIN},
            tick_ms=TICK_MS,
            observer=observer,
        )
        network.is_lost = Splits(scenario).is_lost
        violation: str | None = None
        is_finished = True
        try:
            for host in network.hosts:
                host.submit(host.index)
            is_finished = network.run(network.is_everything_executed, (SPLIT_SLOTS + RECOVERY_SLOTS_MAX) * TAU_MS)
        except Exception as error:  # noqa: BLE001  (whatever breaks in production code is a finding)
            violation = f"{type(error).__name__}: {error}"
        return outcome_of(
            network,
            seed=number,
            kind=KIND,
            violation=violation,
            is_stuck=not is_finished,
            healed_ms=faults.until_ms,
        )
