"""What one replica driven by hand says about its undecided height, and names for its members."""

from collections.abc import Collection

from consensus.eras import FIRST_ERA
from consensus.explanation import Contact, Explanation
from consensus.identifiers import Address
from consensus.messages import Status
from consensus.verdict import sentence_of
from tests.support.consensus import TAU_MS, Members, Scenario


def contacts(scenario: Scenario, *, silent: Collection[int] = (), heard_age_ms: int = 0) -> dict[Address, Contact]:
    """All other members' links are up and they were heard just now, but for the silent ones: never."""
    heard_ms = scenario.monotonic_ms - heard_age_ms
    return {
        key.address: Contact(is_connected=True, heard_ms=None if member in silent else heard_ms)
        for member, key in enumerate(scenario.members.keys)
        if member != scenario.own
    }


def explained(scenario: Scenario, *, silent: Collection[int] = ()) -> Explanation:
    return scenario.replica.explain(scenario.now(), contacts(scenario, silent=silent))


def sentence(scenario: Scenario, *, silent: Collection[int] = ()) -> str:
    return sentence_of(explained(scenario, silent=silent), lambda address: name_of(scenario, address))


def name_of(scenario: Scenario, address: Address) -> str:
    """Member i is called home-i."""
    return f"home-{number_of(scenario, address)}"


def number_of(scenario: Scenario, address: Address) -> int:
    return scenario.members.membership.addresses.index(address)


def numbers(scenario: Scenario, addresses: Collection[Address]) -> list[int]:
    return [number_of(scenario, address) for address in addresses]


def status_of(undecided: int, *, by: int, slot: float = 0, era: int = FIRST_ERA) -> Status:
    return Members(7).status(by, undecided, int(slot), era=era)


def stalled_view_change(*, own: int = 1, slot: int = 4) -> Scenario:
    """A member of four that has asked for another slot, alone: something waits since three slots."""
    scenario = Scenario(own=own, slot=slot)
    scenario.work()
    scenario.tick(3)
    return scenario


def in_slots(slots: float) -> int:
    return int(slots * TAU_MS)
