"""Keys that are or were anybody's: node keys and meters of homes, keys of offices. None becomes another one's."""

from consensus.identifiers import Address, PublicKey
from contracts.member_records import KeyOwner
from contracts.state import Overlay, used_key


def key_owner(overlay: Overlay, key: PublicKey) -> Address | None:
    """Returns whose a key is or was; None: nobody's."""
    known = overlay.get(used_key(key), KeyOwner)
    return None if known is None else known.owner


def take_key(overlay: Overlay, key: PublicKey, owner: Address) -> None:
    """Notes whose a key is from this block on."""
    overlay.put(used_key(key), KeyOwner(owner=owner))
