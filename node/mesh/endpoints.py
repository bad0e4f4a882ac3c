"""Where the other members are: as configured, and as the ceremonies since say of those whose homes were replaced."""

from collections.abc import Sequence

from consensus.identifiers import Address
from ledger.eras import BegunEra
from node.admission.endpoint import Endpoint, certified_home
from node.home.configuration import PeerEntry
from node.mesh.limits import PeerEndpoint


def endpoints_of(peers: Sequence[PeerEntry], begun: Sequence[BegunEra]) -> list[PeerEndpoint]:
    """Returns the peers of a home that began these eras: without who is gone, and a new home where its certificate
    says, whatever the configuration still has. One whose certificate names no endpoint is where the old one was.
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
        PeerEndpoint(name=peer.name, address=peer.address_bytes, host=place.host, port=place.port)
        for peer in peers
        if going is None or peer.address_bytes in going
        for place in [moved.get(peer.address_bytes, Endpoint(peer.host, peer.port))]
    ]
