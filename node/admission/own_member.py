"""Which member a home is, by the keys in it, and which of its keys the chain goes by."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from consensus.identifiers import Address
from contracts.state import MEMBER_LIST_KEY, Member, MemberList, Overlay, member_key
from contracts.state_reading import require
from ledger.ledger import Ledger
from node.admission.identity import Identity
from node.admission.next_keys import StateOfKeys, may_take, take
from node.errors import ConfigurationError, IdentityError
from node.home.configuration import Configuration
from node.home.folder import Home


def as_member(
    configuration: Configuration, identities: Sequence[Identity], ledger: Ledger, linked: AbstractSet[Address]
) -> tuple[Identity, Identity | None]:
    """Returns the identity whose key acts, under the address that the chain gives it, and another one whose key is
    known at other heights; None without such a one. One that asked to join follows until the chain knows it.

    Args:
        configuration: of the home.
        identities: its keys.
        ledger: its chain.
        linked: whom it has links to: who joined lately knows them before its chain does (`node.mesh.known_keys`).

    Raises:
        IdentityError, ConfigurationError: the key or the peers are not the chain's: it would never take part.
    """
    members = (ledger.member_of(one.node_key.public_key) for one in identities)
    address = next((member for member in members if member is not None), None)
    first = identities[0]
    if address is None and configuration.home.join_request.exists():
        return first, None
    if address is None:
        raise IdentityError(
            f"{configuration.home.node_key}: its address {first.address.hex()} is no member of this chain. A new "
            "home applies the plan that brings it in first (p2pnode recover apply)"
        )
    known = linked | {term.address for term in require(ledger, MEMBER_LIST_KEY, MemberList).terms}
    for peer in configuration.p2p.peers:
        if peer.address_bytes not in known:
            raise ConfigurationError(f"[p2p] peers: {peer.address} is no member of this chain")
    named, key = [replace(one, address=address) for one in identities], ledger.key_of(address)
    acting = next((one for one in named if one.node_key.public_key == key), named[0])
    return acting, next((one for one in named if one is not acting), None)


def has_taken(home: Home, ledger: Ledger, identities: Sequence[Identity]) -> bool:
    """Puts the next key in the old one's place if the chain has no use for that any more; says whether it did."""
    members = (ledger.member_of(one.node_key.public_key) for one in identities)
    address = next((member for member in members if member is not None), None)
    state = None if address is None else state_of_keys(ledger, address)
    if state is None or not may_take(home, state):
        return False
    take(home)
    return True


def state_of_keys(ledger: Ledger, address: Address) -> StateOfKeys | None:
    """Returns which keys the chain has of somebody; None if it has none."""
    member = Overlay(ledger).get(member_key(address), Member)
    if member is None:
        return None
    voting = ledger.memberships().undecided.key_of(address)
    return StateOfKeys(acting=member.node_key, voting=voting, meter=member.meter_key)
