"""The members of a height, in the order of admission, with the keys that their signatures are checked under."""

from collections.abc import Sequence

from consensus import quorum
from consensus.codec import encode
from consensus.cryptography import HashKind, address_of, digest
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot


class Membership:
    """N members and their quorums. Immutable; a changed membership is another value."""

    __slots__ = ("_keys", "addresses", "fault_bound", "quorum", "weak_quorum")

    def __init__(self, keys: Sequence[PublicKey]) -> None:
        """Takes the members' public keys in the order of admission: at least one, all different."""
        self._keys = {address_of(key): key for key in keys}
        assert keys, "a chain has at least one member"
        assert len(self._keys) == len(keys), "member keys are all different"
        self.addresses = tuple(self._keys)
        self.quorum = quorum.quorum(len(keys))
        self.weak_quorum = quorum.weak_quorum(len(keys))
        self.fault_bound = quorum.fault_bound(len(keys))

    def __len__(self) -> int:
        return len(self.addresses)

    def __contains__(self, address: object) -> bool:
        return address in self._keys

    def key_of(self, address: Address) -> PublicKey | None:
        """Returns a member's public key, None for anyone else."""
        return self._keys.get(address)

    def digest(self) -> Digest:
        """Returns the hash that headers carry for the membership of the next height."""
        return digest(HashKind.MEMBERSHIP, encode(tuple(self._keys.values())))


def cluster(membership: Membership, height: Height, slot: Slot) -> tuple[Address, ...]:
    """Returns C(h, s), the cluster of a height and slot: all members, in the order of admission.

    Sampling comes with larger memberships; callers already ask by height and slot.
    """
    assert height > 0
    assert slot >= 0
    return membership.addresses


def leader(membership: Membership, height: Height, slot: Slot) -> Address:
    """Returns L(h, s), Eq. 1 of the paper: the cluster's member number slot modulo cluster size."""
    candidates = cluster(membership, height, slot)
    return candidates[slot % len(candidates)]
