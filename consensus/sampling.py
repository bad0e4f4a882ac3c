"""Draws that every member repeats to the byte: who collects the votes of a height, who leads, who sits on a panel.

Integers and BLAKE2b only. rho_h, the randomness after height h, follows from the one before and from the output of
the leader's verifiable random function (`vrf`); a draw at h uses rho_{h-1}, so nobody who speaks at h can choose it.
Vectors: tests/unit/consensus/vectors/sampling.json. Nothing here does I/O.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple, TypeVar

from consensus.codec import Record
from consensus.cryptography import HashKind, digest
from consensus.identifiers import Address, Digest, Height, Slot

WORD_SIZE_BYTES: Final = 8
WORDS: Final = 1 << 8 * WORD_SIZE_BYTES
DRAWN_AT_ONCE_BYTES: Final = 64
NUMBER_SIZE_BYTES: Final = 8
DRAW_PERSON: Final = b"p2p.draw"

BLOCK: Final = b"block"
"""Purpose: C(h, s), the cluster of a height and slot."""
ORDER: Final = b"order"
"""Purpose: P(h), the order in which members lead attempts at a height; its slot is 0."""
PANEL: Final = b"panel"
"""Purpose, with a request's digest behind it: its panel; the height is that of the deciding block, the slot 0."""

Item = TypeVar("Item")


class Candidate(NamedTuple):
    """Somebody who may be drawn."""

    number: int
    """In the order of admission, from 0."""
    region: int


class RandomnessStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-randomness"):
    """What the leader of a height proves: neither slot nor content, or it could try others until it likes one."""

    chain: Digest
    height: Height
    previous: Digest
    """rho_{h-1}."""


def randomness_after(previous: Digest, output: bytes) -> Digest:
    """Returns rho_h from rho_{h-1} and `vrf.output`; without a proof in the header the value stays."""
    return digest(HashKind.RANDOMNESS, previous + output)


def seed_of(randomness: Digest, height: Height, slot: Slot, purpose: bytes) -> bytes:
    """Returns the 32 bytes from which one draw follows."""
    numbers = height.to_bytes(NUMBER_SIZE_BYTES, "big") + slot.to_bytes(NUMBER_SIZE_BYTES, "big")
    return digest(HashKind.CLUSTER, randomness + numbers + purpose)


class Draws:
    """Words of 64 bits that follow from a seed."""

    __slots__ = ("_counter", "_seed", "_words")

    def __init__(self, seed: bytes) -> None:
        """Takes the 32 bytes of `seed_of`."""
        self._seed = seed
        self._counter = 0
        self._words: list[int] = []
        """Drawn and not used yet, the next one last."""

    def word(self) -> int:
        """Returns the next number below 2 ** 64."""
        if not self._words:
            counter = self._counter.to_bytes(NUMBER_SIZE_BYTES, "big")
            drawn = blake2b(counter, digest_size=DRAWN_AT_ONCE_BYTES, key=self._seed, person=DRAW_PERSON).digest()
            starts = range(0, DRAWN_AT_ONCE_BYTES, WORD_SIZE_BYTES)
            self._words = [
                int.from_bytes(drawn[start : start + WORD_SIZE_BYTES], "big") for start in reversed(starts)
            ]
            self._counter += 1
        return self._words.pop()

    def below(self, bound: int) -> int:
        """Returns a number from 0 to bound - 1, each as likely: words of an incomplete multiple do not count."""
        limit = WORDS - WORDS % bound
        while True:
            word = self.word()
            if word < limit:
                return word % bound

    def take(self, items: Sequence[Item], count: int) -> list[Item]:
        """Returns `count` different items in the order drawn (Fisher and Yates)."""
        left = list(items)
        for place in range(count):
            other = place + self.below(len(left) - place)
            left[place], left[other] = left[other], left[place]
        return left[:count]


def draw_cluster(candidates: Sequence[Candidate], *, size: int, cap: int, seed: bytes) -> tuple[int, ...]:
    """Returns the numbers of those drawn: all candidates, in their order, where they are no more than `size`.

    Regions are drawn without replacement, each as likely as it has candidates; of a drawn one, up to `cap` of them,
    each as likely. If regions run out before the cluster is full, the rest are drawn of all that are left: the cap
    gives way, the size does not. The drawn are then shuffled, so that each is as likely to lead at any slot.

    Args:
        candidates: in the order of admission.
        size: of the cluster, at least 1.
        cap: at most so many of one region, at least 1.
        seed: of `seed_of`.
    """
    numbers = [number for number, _ in candidates]
    if len(numbers) <= size:
        return tuple(numbers)
    draws = Draws(seed)
    regions: dict[int, list[int]] = {}
    for number, region in candidates:
        regions.setdefault(region, []).append(number)
    chosen: list[int] = []
    while regions and len(chosen) < size:
        drawn = regions.pop(_draw_region(draws, regions))
        chosen += draws.take(drawn, min(cap, len(drawn), size - len(chosen)))
    if len(chosen) < size:
        left = [number for number in numbers if number not in set(chosen)]
        chosen += draws.take(left, size - len(chosen))
    return tuple(draws.take(chosen, size))


def _draw_region(draws: Draws, regions: dict[int, list[int]]) -> int:
    ticket = draws.below(sum(map(len, regions.values())))
    for region in sorted(regions):
        if ticket < len(regions[region]):
            return region
        ticket -= len(regions[region])
    raise AssertionError("a ticket lies below the sum of all candidates")


def draw_order(members: int, seed: bytes) -> tuple[int, ...]:
    """Returns P(h): the numbers of all members, in an order that is drawn."""
    return tuple(Draws(seed).take(range(members), members))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """What the clusters of a height, and the order of its leaders, are drawn from.

    Block h - 1 fixes all of it, so whoever takes part in h knows the same.
    """

    height: Height
    randomness: Digest
    """rho_{h-1}."""
    eligible: tuple[Address, ...]
    """Members that may be drawn into a cluster, in the order of admission: more than `size`."""
    size: int
    """Of a cluster."""

    def cluster(self, slot: Slot) -> tuple[Address, ...]:
        """Returns C(h, s), in the order drawn: who leads a slot and who collects for whom go by it."""
        candidates = [Candidate(number, region=0) for number in range(len(self.eligible))]
        seed = seed_of(self.randomness, self.height, slot, BLOCK)
        return tuple(self.eligible[one] for one in draw_cluster(candidates, size=self.size, cap=self.size, seed=seed))

    def order(self, members: Sequence[Address]) -> tuple[Address, ...]:
        """Returns P(h): all members of the height, in the order in which they lead attempts."""
        drawn = draw_order(len(members), seed_of(self.randomness, self.height, Slot(0), ORDER))
        return tuple(members[number] for number in drawn)


def sampling_of(
    members: Sequence[Address],
    eligible: Collection[Address],
    *,
    height: Height,
    randomness: Digest,
    size: int,
    members_min: int,
) -> Sampling | None:
    """Returns what a height draws from; None where nothing is drawn: the cluster of each slot is all members.

    Nothing is drawn among fewer members than `members_min`, and where no more are eligible than a cluster has: a
    smaller cluster there is none.

    Args:
        members: M(h), in the order of admission.
        eligible: those of them that may be drawn.
        height: h.
        randomness: rho_{h-1}.
        size: of a cluster.
        members_min: so many members are drawn from.
    """
    fit = tuple(address for address in members if address in eligible)
    if len(members) < members_min or len(fit) <= size:
        return None
    return Sampling(height=height, randomness=randomness, eligible=fit, size=size)
