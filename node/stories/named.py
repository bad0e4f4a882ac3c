"""Members as stories name them: by name and address."""

from consensus.identifiers import Address
from contracts.state_reading import member_name
from ledger.ledger import Ledger
from node.replies.stories import NamedMember


def named(ledger: Ledger, address: Address) -> NamedMember:
    """Returns an address with the member's name."""
    return NamedMember(name=member_name(ledger, address), address=address.hex())
