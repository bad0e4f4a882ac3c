"""Members as stories name them: by name and address."""

from consensus.identifiers import Address
from node.names.names import Names
from node.replies.stories import NamedMember


def named(names: Names, address: Address) -> NamedMember:
    """Returns an address with the member's name."""
    return NamedMember(name=names.of(address), address=address.hex())
