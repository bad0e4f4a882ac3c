"""What the state says of the chain's randomness. `state` has the table, `randomness` the rules."""

from consensus.codec import Record
from consensus.identifiers import Address, Digest, PublicKey


class SeasoningKey(Record, frozen=True, kw_only=True):
    """A node key too new to prove anything."""

    node_key: PublicKey
    slots_missing: int
    """So many slots must still begin with a block."""


class WaitingDraw(Record, frozen=True, kw_only=True):
    """A panel is drawn once enough different leaders proved something behind its request."""

    applicant: Address
    leaders: tuple[Address, ...]
    """That did, in their order."""


class Randomness(Record, frozen=True, kw_only=True, tag="randomness"):
    """What draws follow from."""

    value: Digest
    """rho: at genesis the chain's name, then moved by each proof that a header carries."""
    seasoning: tuple[SeasoningKey, ...]
    """In the order in which blocks brought them."""
    draws: tuple[WaitingDraw, ...]
    """In the order of their requests."""
