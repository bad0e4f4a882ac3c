"""Who could lead a decided height, and who heard its votes first: drawn anew from the state below it."""

from consensus.identifiers import Address, Height
from consensus.membership import Leaders
from contracts.clusters import sampling_above
from contracts.state import Overlay
from ledger.block import BlockHeader
from ledger.ledger import Ledger
from ledger.ledger_reading import StateAt


def leaders_at(ledger: Ledger, height: Height) -> Leaders | None:
    """Returns who led and collected at a decided height, whoever is suspended; reads some values of each member where
    members are enough to be drawn.

    None: they may have been drawn, and the state that says so, below the ledger's origin, is not here.
    """
    membership, below = ledger.membership_at(height), Height(height - 1)
    if len(membership) < ledger.genesis.clusters.members_min:
        return Leaders(membership)
    if ledger.lacks(below):
        return None
    overlay = Overlay(StateAt(ledger, below))
    return Leaders(membership, sampling=sampling_above(below, membership.members, overlay, ledger.genesis))


def expected_leader(leaders: Leaders | None, header: BlockHeader) -> Address:
    """Returns the leader that a decided header should name: the one it has, if that is one of its slot's two, or if
    these are not known here.
    """
    if leaders is None or header.leader == leaders.whose(header.slot, is_justified=True):
        return header.leader
    return leaders.whose(header.slot)


def collectors_of(leaders: Leaders | None, header: BlockHeader) -> tuple[Address, ...]:
    """Returns who was drawn for a decided header's slot, in the order drawn; nobody where all were the cluster."""
    return leaders.cluster(header.slot) if leaders is not None and leaders.is_drawn else ()
