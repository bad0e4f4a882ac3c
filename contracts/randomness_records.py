"""What the state says of the chain's randomness. `state` has the table, `randomness` the rules."""

from consensus.codec import Record
from consensus.identifiers import Digest, PublicKey


class SeasoningKey(Record, frozen=True, kw_only=True):
    """A node key too new to prove anything, or to be drawn."""

    node_key: PublicKey
    slots_missing: int
    """So many slots must still begin with a block."""


class Randomness(Record, frozen=True, kw_only=True, tag="randomness"):
    """What draws follow from."""

    value: Digest
    """rho: at genesis the chain's name, then moved by each proof that a header carries."""
    seasoning: tuple[SeasoningKey, ...]
    """In the order in which blocks brought them."""
