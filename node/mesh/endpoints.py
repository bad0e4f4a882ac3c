"""Where the other members are, and where this node says that it is.

A member is where the newest record that it signed says (`endpoint_record.py`). One that signed none yet is where the
plan of a ceremony says, if its home was replaced, else where `meter.toml` does. Each place is only tried first: all
others that were ever named are tried in their turn, as a clock may be wrong, a record late, and a configuration old.
"""

from collections.abc import Sequence

from consensus.identifiers import Address
from ledger.eras import BegunEra
from node.admission.endpoint import Endpoint, certified_home
from node.home.configuration import PeerEntry, PeerToPeerTable
from node.home.hosts import EVERY_ADDRESS, is_host, split_place
from node.mesh.endpoint_record import EndpointRecord, Place
from node.mesh.limits import PeerEndpoint


def endpoints_of(peers: Sequence[PeerEntry], begun: Sequence[BegunEra]) -> list[PeerEndpoint]:
    """Returns the peers of a home that began these eras, each where it is to be found first: without who is gone,
    and a new home where its certificate says, whatever the configuration still has. One whose certificate names no
    endpoint is where the old one was.
    """
    moved: dict[Address, Endpoint] = {}
    for one in begun:
        for departure in one.proof.plan.departures:
            if departure.certificates:
                endpoint = certified_home(departure.certificates).endpoint
                if endpoint is not None:
                    moved[departure.address] = endpoint
    going = {address for address, _ in begun[-1].proof.plan.members} if begun else None
    return [
        PeerEndpoint(address=peer.address_bytes, host=place.host, port=place.port)
        for peer in peers
        if going is None or peer.address_bytes in going
        for place in [moved.get(peer.address_bytes, Endpoint(peer.host, peer.port))]
    ]


def places_of(peer: PeerEndpoint, records: Sequence[EndpointRecord], wall_ms: int) -> tuple[Endpoint, ...]:
    """Returns where to dial a peer, each place once, in the order to try; none of who joined and said nothing yet.

    An expired record comes last and is not forgotten: a home that was away for a month is where it was, more often
    than not, and nobody else knows better.

    Args:
        peer: with the place of the first contact.
        records: that it signed, the newest first.
        wall_ms: the wall clock, which decides about the order alone.
    """
    signed, expired = (
        [
            Endpoint(place.host, place.port)
            for record in records
            if (wall_ms >= record.expires_ms) is is_expired
            for place in record.places
        ]
        for is_expired in (False, True)
    )
    first = () if peer.first is None else (peer.first,)
    return tuple(dict.fromkeys((*signed, *first, *expired)))


def own_places(table: PeerToPeerTable, certified: Endpoint | None) -> tuple[Place, ...]:
    """Returns where this node says that it is: as `advertise` has it, else where it listens, if that is no address
    of every machine, and the host that its certificate names. None if there is neither.
    """
    if table.advertise:
        named = [split_place(text, port=table.port) for text in table.advertise]
    else:
        hosts = [table.host.lower()] + ([] if certified is None else [certified.host])
        named = [(host, table.port) for host in hosts if is_host(host) and host not in EVERY_ADDRESS]
    return tuple(Place(host=host, port=port) for host, port in dict.fromkeys(named))
