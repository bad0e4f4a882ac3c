"""The members of a height, in the order of admission, with the keys that their signatures are checked under.

A member is named by its address, which stays when its node key is replaced. So M(h), the set of height h, is an
ordered list of (address, node key) pairs, fixed by block h - 2: while a height u is undecided, M(u) and M(u + 1) are
known.
"""

from collections.abc import Collection, Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from consensus import quorum
from consensus.codec import encode
from consensus.cryptography import HashKind, address_of, digest
from consensus.identifiers import Address, Digest, PublicKey, Slot
from consensus.sampling import Sampling

CLUSTERS_KEPT_MAX: Final = 64
"""Slots of a height whose clusters are at hand: anybody may name any slot."""


class Membership:
    """M(h): N members and their quorums. Immutable; a changed membership is another value."""

    __slots__ = ("_by_key", "_keys", "addresses", "fault_bound", "members", "quorum", "weak_quorum")

    def __init__(self, members: Iterable[tuple[Address, PublicKey]]) -> None:
        """Takes the members' addresses and node keys in their order: at least one, all different."""
        self.members = tuple(members)
        self._keys = dict(self.members)
        self._by_key = {key: address for address, key in self.members}
        assert self.members, "a chain has at least one member"
        assert len(self._keys) == len(self._by_key) == len(self.members), "addresses and node keys are all different"
        self.addresses = tuple(self._keys)
        self.quorum = quorum.quorum(len(self.members))
        self.weak_quorum = quorum.weak_quorum(len(self.members))
        self.fault_bound = quorum.fault_bound(len(self.members))

    @classmethod
    def of_keys(cls, keys: Sequence[PublicKey]) -> "Membership":
        """Returns the members that genesis names: each one's address is the hash of its first key."""
        return cls((address_of(key), key) for key in keys)

    def __len__(self) -> int:
        return len(self.addresses)

    def __contains__(self, address: object) -> bool:
        return address in self._keys

    def key_of(self, address: Address) -> PublicKey | None:
        """Returns a member's node key, None for anyone else."""
        return self._keys.get(address)

    def member_of(self, key: PublicKey) -> Address | None:
        """Returns the member that has a node key, None if nobody has it."""
        return self._by_key.get(key)

    @property
    def bitmap_size_bytes(self) -> int:
        """Length of `bitmap_of`: a bit for each member."""
        return (len(self.addresses) + 7) // 8

    def bitmap_of(self, named: Container[Address]) -> bytes:
        """Returns a bit for each member, in the order of admission, the lowest of the first byte first: 1 for those
        that are named.
        """
        bits = sum((address in named) << number for number, address in enumerate(self.addresses))
        return bits.to_bytes(self.bitmap_size_bytes, "little")

    def digest(self) -> Digest:
        """Returns the hash that headers carry: over the pairs, in their order."""
        return digest(HashKind.MEMBERSHIP, encode(self.members))


class Leaders:
    """Who leads which slot of a height (Eq. 1), and who hears its votes. Immutable.

    A slot has a leader that may propose without justification, and one that may with one. They are member s mod N of
    M(h) both, where nothing is drawn. Else the first is member s mod m of the slot's cluster, and the second member s
    mod N of P(h), all members in an order drawn for the height: attempts pass through all of them (`progress`), where
    those that are drawn anew for each slot could be bad for ever.

    Where a suspended member would lead, nobody leads the slot: it passes unused. So a slot is the same member's
    whoever is suspended, and the distances of attempts go by N. Were slots shared out among those who may lead,
    attempts would meet one leader only for ever, at N = 4, 5, 6, 9 and 10.
    """

    __slots__ = ("_clusters", "_order", "_sampling", "membership", "passing")

    def __init__(
        self, membership: Membership, suspended: Collection[Address] = (), sampling: Sampling | None = None
    ) -> None:
        """Takes M(h), and what the state of block h - 1 says, which all that decide h have applied: who is suspended,
        and what is drawn.
        """
        self.membership = membership
        self._sampling = sampling
        self._order: tuple[Address, ...] = ()
        self._clusters: dict[Slot, tuple[Address, ...]] = {}
        """Of slots that were asked for lately."""
        passing = frozenset(address for address in membership.addresses if address in suspended)
        is_enough = len(membership) - len(passing) >= membership.quorum
        self.passing = passing if is_enough else frozenset()
        """Members whose slots pass unused; nobody where fewer than a quorum would lead."""

    @property
    def is_drawn(self) -> bool:
        """Says whether the clusters of this height are drawn; else all members are."""
        return self._sampling is not None

    @property
    def order(self) -> tuple[Address, ...]:
        """P(h): all members, in the order in which they lead attempts."""
        if not self._order:
            members = self.membership.addresses
            self._order = members if self._sampling is None else self._sampling.order(members)
        return self._order

    def cluster(self, slot: Slot) -> tuple[Address, ...]:
        """Returns C(h, s): all members, in the order of admission, where nothing is drawn."""
        if self._sampling is None:
            return self.membership.addresses
        if slot not in self._clusters:
            if len(self._clusters) >= CLUSTERS_KEPT_MAX:
                self._clusters.clear()
            self._clusters[slot] = self._sampling.cluster(slot)
        return self._clusters[slot]

    def whose(self, slot: Slot, *, is_justified: bool = False) -> Address:
        """Returns the member whose slot it is, whether it may lead or not."""
        led_by = self.order if is_justified else self.cluster(slot)
        return led_by[slot % len(led_by)]

    def at(self, slot: Slot, *, is_justified: bool = False) -> Address | None:
        """Returns who may propose in a slot, with a justification or without one; None if it passes unused."""
        owner = self.whose(slot, is_justified=is_justified)
        return None if owner in self.passing else owner

    def expected(self, slot: Slot, leader: Address) -> Address | None:
        """Returns a leader of a slot: the one given, if it is one of the two; None if nobody leads."""
        justified = self.at(slot, is_justified=True)
        return justified if leader == justified else self.at(slot)

    def next_slot(self, slot: Slot, *, is_justified: bool = True) -> Slot:
        """Returns the first slot from one on in which somebody may propose, with a justification or without one."""
        while self.at(slot, is_justified=is_justified) is None:
            slot = Slot(slot + 1)
        return slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Memberships:
    """Both sets that are known while a height u is undecided."""

    undecided: Membership
    """M(u): decides, votes, signs at u."""
    following: Membership
    """M(u + 1): hears what is said at u, and may speak of u + 1 already."""
    followers: tuple[tuple[Address, PublicKey], ...] = ()
    """Who is told what was decided and has no part in it, with their keys: candidates, who are to know the chain
    before they are members, and members that left lately, who may not know yet."""
    suspended: frozenset[Address] = frozenset()
    """Of the members of u: the state of the block below says so."""
    sampling: Sampling | None = None
    """What u draws from; None: its clusters are all members. The same state says so."""

    leaders: Leaders = field(init=False, compare=False)
    """Who leads at u, and who hears its votes."""

    def __post_init__(self) -> None:
        leaders = Leaders(self.undecided, self.suspended, self.sampling)
        object.__setattr__(self, "leaders", leaders)  # frozen: made once, as what it draws is kept in it

    def __contains__(self, address: object) -> bool:
        return address in self.undecided or address in self.following

    @property
    def joining(self) -> tuple[Address, ...]:
        """The members of u + 1 that are none of u."""
        return tuple(address for address in self.following.addresses if address not in self.undecided)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The members of u, and behind them those that only u + 1 has."""
        return self.undecided.addresses + self.joining

    def keys_of(self, address: Address) -> frozenset[PublicKey]:
        """Returns the node keys that somebody has at u and at u + 1: none, one, or two."""
        keys = (members.key_of(address) for members in (self.undecided, self.following))
        return frozenset(key for key in keys if key is not None)

    def member_of(self, key: PublicKey) -> Address | None:
        """Returns whose node key this is: of a member of u or of u + 1, or of a follower."""
        followers = (address for address, follower_key in self.followers if follower_key == key)
        return self.undecided.member_of(key) or self.following.member_of(key) or next(followers, None)

    def hears(self, address: Address) -> bool:
        """Says whether somebody is told what is decided: the members of u and u + 1, and followers."""
        return address in self or self.is_follower(address)

    def is_follower(self, address: Address) -> bool:
        """Says whether somebody is told what is decided, and is no member of u or u + 1."""
        return address not in self and any(address == follower for follower, _ in self.followers)
