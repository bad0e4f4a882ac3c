"""Where the replica stands, for people and metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.explanation import Explanation
from consensus.identifiers import Address, Height, Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """Where the replica stands."""

    undecided_height: Height
    present_slot: Slot
    phase: str
    """The replica's phase by name: `waiting`, `voted`, `prepared`, `changing_view`, `applying`."""
    view_changes: int
    """VIEW-CHANGEs sent since the node started."""
    certificates_late: int
    """How often no certificate came from the cluster in a third of a slot, since the node started."""
    certificates_missed: int
    """How often none came in two thirds, so that votes went to all."""
    leader: Address
    """Of the present slot; of a suspended member's, which passes unused, that member."""
    is_silent: bool = False
    """Nothing is signed now, because what was signed before is not at hand."""
    silent_through: Height | None = None
    """Last height at which that is so; None while the other members are asked for it, or if it is not so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaView:
    """What API, metrics and household may ask of the replica and its links; none of it changes anything."""

    status: Callable[[], ReplicaStatus]
    explain: Callable[[], Explanation]
    """Returns why the undecided height is not decided, as this member sees it."""
    connected: Callable[[], frozenset[Address]]
    """Returns the members whose link is up."""
