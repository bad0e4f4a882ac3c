"""What the rules of one block work on: its context, the overlay, the scores; and what each rule answers."""

from dataclasses import dataclass
from typing import Final

import msgspec

from consensus.codec import Record
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.genesis import Genesis
from contracts.receipts import DETAIL_CHARACTERS_MAX, Posting, Reason
from contracts.state import TOTALS_KEY, Overlay, Score, Totals, score_key
from qscore.parameters import Millionths


class BlockContext(Record, frozen=True, kw_only=True):
    """What a block's execution knows besides the state: the header's claims and the carried certificate."""

    chain: Digest
    height: Height
    slot: Slot
    leader: Address
    """Leader of this block (header)."""
    parent_leader: Address | None
    """Leader of block h - 1; None at height 1."""
    parent_voters: tuple[Address, ...]
    """Signers of the certificate of h - 1 in this block's body that lie in its cluster; empty at height 1."""
    cluster: tuple[Address, ...]
    """Members of this block's cluster, whose scores give Eq. 2's v."""


class Refusal(Record, frozen=True, kw_only=True):
    """Why a transaction is declined."""

    reason: Reason
    detail: str
    """The values compared, for people; at most `DETAIL_CHARACTERS_MAX`."""
    fault: Address | None = None
    """The member whose fault it is; None where it is nobody's."""


class Outcome(Record, frozen=True, kw_only=True):
    """What one transaction came to."""

    refusal: Refusal | None = None
    """None: executed."""
    reference: Digest | None = None
    """Trade id of a contract, packet id of a credited reading."""
    quality_total: int | None = None
    postings: tuple[Posting, ...] = ()

    def __post_init__(self) -> None:
        """Holds that a declined transaction posts nothing and that its detail fits a receipt."""
        if self.refusal is not None:
            assert not self.postings, "a declined transaction posts nothing"
            assert len(self.refusal.detail) <= DETAIL_CHARACTERS_MAX, self.refusal.detail


class ScoreBoard:
    """The members' scores on an overlay, with the sum over the cluster kept as they move.

    Eq. 2 wants the cluster's mean with every contract; summing it each time would cost O(cluster) per contract.
    """

    __slots__ = ("_cluster", "_cluster_sum", "_overlay")

    def __init__(self, overlay: Overlay, cluster: tuple[Address, ...]) -> None:
        assert cluster, "a cluster has members"
        self._overlay: Final = overlay
        self._cluster: Final = frozenset(cluster)
        self._cluster_sum: int = sum(self.of(address) for address in cluster)
        assert len(self._cluster) == len(cluster), "cluster members are distinct"

    def of(self, address: Address) -> Millionths:
        """Returns a member's present score."""
        return self._overlay.require(score_key(address), Score).value

    def cluster_mean(self) -> Millionths:
        """Returns Eq. 2's v: the floor mean of the cluster's present scores."""
        return Millionths(self._cluster_sum // len(self._cluster))

    def move(self, address: Address, value: Millionths, *, cause: str, reference: bytes) -> None:
        """Writes a member's new score with what moved it."""
        if address in self._cluster:
            self._cluster_sum += value - self.of(address)
        self._overlay.put(score_key(address), Score(value=value, cause=cause, reference=reference))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun:
    """One block's execution in progress. Only its overlay and its score board change."""

    overlay: Overlay
    genesis: Genesis
    context: BlockContext
    scores: ScoreBoard

    def add_to_totals(self, **deltas: int) -> None:
        """Adds to fields of `Totals`, named as keywords."""
        totals = self.overlay.require(TOTALS_KEY, Totals)
        moved = {name: getattr(totals, name) + delta for name, delta in deltas.items()}
        self.overlay.put(TOTALS_KEY, msgspec.structs.replace(totals, **moved))
