"""What chance lets liars do in clusters and panels: exact where all are as likely to be drawn, else drawn.

A cluster only collects votes: one without an honest member costs its height up to two thirds of a slot, and never
safety. A panel decides who is admitted: liars that are its quorum can admit whom they like within what all members
check, and as many as leave no honest quorum can keep it from deciding. Nothing here does I/O.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import comb
from typing import Final, NamedTuple

from consensus.identifiers import Digest, Height, Slot
from consensus.quorum import fault_bound
from consensus.sampling import BLOCK, Candidate, draw_cluster, seed_of

DRAWN_SEEDS: Final = 10_000
_ANY_RANDOMNESS: Final = Digest(bytes(32))


def chance_of(liars: int, *, of: int, byzantine: int, size: int) -> Fraction:
    """Returns the chance that exactly so many liars are among `size` drawn of `of` (hypergeometric)."""
    if not 0 <= liars <= size:
        return Fraction(0)
    return Fraction(comb(byzantine, liars) * comb(of - byzantine, size - liars), comb(of, size))


def chance_of_at_least(liars: int, *, of: int, byzantine: int, size: int) -> Fraction:
    """Returns the chance that so many liars or more are among `size` drawn of `of`."""
    chances = (chance_of(count, of=of, byzantine=byzantine, size=size) for count in range(liars, size + 1))
    return sum(chances, Fraction(0))


class ClusterRisk(NamedTuple):
    """Of a cluster of M of N members, B of them liars."""

    no_honest: Fraction
    """Chance that all that are drawn lie."""
    half: Fraction
    """Chance that half of them or more lie."""
    both_collectors: Fraction
    """Chance that both members that collect for one member lie."""


def cluster_risk(members: int, byzantine: int, size: int) -> ClusterRisk:
    """Returns what liars can hope for where every member is as likely to be drawn."""
    return ClusterRisk(
        no_honest=chance_of(size, of=members, byzantine=byzantine, size=size),
        half=chance_of_at_least((size + 1) // 2, of=members, byzantine=byzantine, size=size),
        both_collectors=chance_of(2, of=members, byzantine=byzantine, size=2) if size > 1 else Fraction(0),
    )


class Capture(NamedTuple):
    """Of clusters of one size, where their having no honest member is likeliest."""

    chance: Fraction
    members: int
    """N."""
    byzantine: int
    """F of N."""


def likeliest_capture(size: int, members: range) -> Capture:
    """Returns for which number of members, of `size` or more, F liars are likeliest to be all of a cluster."""
    bounds = ((number, fault_bound(number)) for number in members)
    captures = (Capture(chance_of(size, of=of, byzantine=liars, size=size), of, liars) for of, liars in bounds)
    return max(captures, key=lambda capture: (capture.chance, -capture.members))


class PanelRisk(NamedTuple):
    """Of the panel of an application, drawn of S verifiers, T of them liars."""

    bought: Fraction
    """Chance that liars alone are its quorum."""
    decides: Fraction
    """Chance that honest verifiers alone are its quorum."""


def panel_risk(verifiers: int, byzantine: int, *, size: int, quorum: int) -> PanelRisk:
    """Returns what liars can hope for in a panel of `size`, of which `quorum` must say the same."""
    stalled = chance_of_at_least(size - quorum + 1, of=verifiers, byzantine=byzantine, size=size)
    return PanelRisk(
        bought=chance_of_at_least(quorum, of=verifiers, byzantine=byzantine, size=size),
        decides=1 - stalled,
    )


class RegionalRisk(NamedTuple):
    """Of a cluster drawn region by region, over `DRAWN_SEEDS` fixed seeds."""

    inclusion: tuple[float, ...]
    """How often a member of each region was drawn."""
    no_honest: int
    """Seeds under which all drawn lied, the liars sitting where members are drawn most often."""


def regional_risk(sizes: Sequence[int], byzantine: int, size: int, cap: int) -> RegionalRisk:
    """Draws `DRAWN_SEEDS` clusters as members do, and counts.

    Args:
        sizes: members of each region, all at least 1.
        byzantine: liars among them.
        size: of the cluster.
        cap: at most so many of one region.
    """
    regions = [region for region, members in enumerate(sizes) for _ in range(members)]
    candidates = [Candidate(number, region) for number, region in enumerate(regions)]
    clusters = [
        draw_cluster(candidates, size=size, cap=cap, seed=seed_of(_ANY_RANDOMNESS, Height(height), Slot(0), BLOCK))
        for height in range(1, DRAWN_SEEDS + 1)
    ]
    drawn = [0] * len(sizes)
    for cluster in clusters:
        for number in cluster:
            drawn[regions[number]] += 1
    inclusion = tuple(count / members / DRAWN_SEEDS for count, members in zip(drawn, sizes, strict=True))
    liars = set(sorted(range(len(regions)), key=lambda number: -inclusion[regions[number]])[:byzantine])
    return RegionalRisk(inclusion, sum(liars.issuperset(cluster) for cluster in clusters))
