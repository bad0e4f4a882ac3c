"""Patterns of dead links: which members do not hear which, for good.

A pattern names links, from sender to recipient, over which nothing arrives. Taken are the patterns in which each
member has Q - 1 others both ways over at most two hops: in any other one some member has no quorum that passing on
could bring it. Patterns that differ in the members' numbers only are one class.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import permutations
from random import Random
from typing import Final

from consensus.quorum import quorum

EXHAUSTIVE_LINKS_MAX: Final = 21
"""Up to so many links every pattern is looked at: two million of them take three seconds."""
ONE_WAY_SHARES: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Of links that are dead, where patterns are drawn."""
ONE_WAY_SHARE: Final = 0.3
"""Of dead links in seeds: one direction still lives."""
SEED_TRIES: Final = 5

Link = tuple[int, int]
"""Sender and recipient, by number."""
Pattern = frozenset[Link]


def links_of(members: int, *, is_one_way: bool) -> tuple[tuple[Link, ...], ...]:
    """Returns what can be dead: single directions, or pairs of them."""
    pairs = [(first, second) for first in range(members) for second in range(first + 1, members)]
    both = [((first, second), (second, first)) for first, second in pairs]
    return tuple((link,) for pair in both for link in pair) if is_one_way else tuple(both)


def has_quorum(members: int, pattern: Pattern, among: Collection[int] | None = None) -> bool:
    """Says whether each member (of some) has Q - 1 others of them both ways over at most two hops."""
    alive = frozenset(range(members) if among is None else among)
    reached = [
        sum(1 << other for other in alive if number in alive and (number, other) not in pattern)
        for number in range(members)
    ]
    twice = [0] * members
    for number in alive:
        twice[number] = reached[number]
        for other in alive:
            if reached[number] >> other & 1:
                twice[number] |= reached[other]
    needed = quorum(members) - 1
    return all(
        sum(other != number and twice[number] >> other & 1 and twice[other] >> number & 1 for other in alive)
        >= needed
        for number in alive
    )


def classes(members: int, *, is_one_way: bool) -> Iterator[Pattern]:
    """Yields one pattern of each class, none without dead links."""
    links = links_of(members, is_one_way=is_one_way)
    place = {link: index for index, together in enumerate(links) for link in together}
    renamings = [
        [place[order[sender], order[recipient]] for ((sender, recipient), *_) in links]
        for order in permutations(range(members))
    ]
    seen = bytearray(1 << len(links))
    for mask in range(1, 1 << len(links)):
        if seen[mask]:
            continue
        dead = [index for index in range(len(links)) if mask >> index & 1]
        for renaming in renamings:
            seen[sum(1 << renaming[index] for index in dead)] = True
        pattern = frozenset(link for index in dead for link in links[index])
        if has_quorum(members, pattern) and not (is_one_way and _is_symmetric(pattern)):
            yield pattern


def drawn(members: int, count: int, *, is_one_way: bool) -> Iterator[Pattern]:
    """Yields so many different patterns, always the same ones."""
    random = Random(f"dead links of {members}, {'one-way' if is_one_way else 'both ways'}")
    links, seen = links_of(members, is_one_way=is_one_way), set[Pattern]()
    while len(seen) < count:
        share = random.choice(ONE_WAY_SHARES)
        pattern = frozenset(link for together in links if random.random() < share for link in together)
        is_new = pattern and pattern not in seen and not (is_one_way and _is_symmetric(pattern))
        if is_new and has_quorum(members, pattern):
            seen.add(pattern)
            yield pattern


def _is_symmetric(pattern: Pattern) -> bool:
    return all((recipient, sender) in pattern for sender, recipient in pattern)


def mixed(members: int, steady: Sequence[int], share: float, random: Random) -> Pattern:
    """Returns such a pattern among some members: about a share of their links dead, or fewer, some one way only."""
    pairs = [(first, second) for first in steady for second in steady if first < second]
    for _ in range(SEED_TRIES):
        dead: set[Link] = set()
        for first, second in pairs:
            if random.random() < share:
                ways = [(first, second), (second, first)]
                dead |= {random.choice(ways)} if random.random() < ONE_WAY_SHARE else set(ways)
        if has_quorum(members, frozenset(dead), steady):
            return frozenset(dead)
        share /= 2
    return frozenset()
