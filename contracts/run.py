"""What the rules of one block work on: its context, the overlay, the scores; and what each rule answers."""

from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from consensus.codec import Record
from consensus.eras import EraStart
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from contracts.genesis import Genesis
from contracts.receipts import DETAIL_CHARACTERS_MAX, Posting, Reason
from contracts.rule_records import Rules
from contracts.stake_records import Unlocking
from contracts.state import (
    TOTALS_KEY,
    Account,
    Overlay,
    Score,
    ScoreCause,
    Totals,
    account_key,
    score_key,
)
from contracts.units import MicroTokens, Milliseconds
from qscore.parameters import Millionths, ScoreParameters
from qscore.way_back import WayBack, present_score, way_back_after_fault, way_back_after_reward


class EraBeginning(Record, frozen=True, kw_only=True):
    """What the first block of an era begins with, as its ceremony found."""

    starts: tuple[EraStart, ...]
    """Of this era, and of earlier ones that never came to a block of their own."""
    base: Height
    """Last height under the members before."""
    members: tuple[tuple[Address, PublicKey], ...]
    """From the height above on, in their order."""
    ends: tuple[tuple[Address, Milliseconds], ...] = ()
    """When the certificates of new homes end that took members' places, since the epoch."""


class DecidedBlock(Record, frozen=True, kw_only=True):
    """A block below this one."""

    height: Height
    digest: Digest


class BlockContext(Record, frozen=True, kw_only=True):
    """What a block's execution knows besides the state: the header's claims and the carried certificate."""

    chain: Digest
    height: Height
    slot: Slot
    leader: Address
    """Leader of this block (header)."""
    randomness_output: bytes
    """What the leader's proof shows, 64 bytes; empty if the header carries none."""
    parent_slot: Slot
    """Of the header of block h - 1; 0 at height 1."""
    parent_leader: Address | None
    """Leader of block h - 1; None at height 1."""
    parent_voters: tuple[Address, ...]
    """Signers of the certificate of h - 1 in this block's body, in its order; empty at height 1."""
    cluster: tuple[Address, ...]
    """Members of this block's cluster, of its header's slot: their scores give Eq. 2's v, and who of them attends is
    rewarded with the next block."""
    beginning: EraBeginning | None = None
    """Of an era's first block."""
    decided: tuple[DecidedBlock, ...] = ()
    """Of the blocks that transactions of this one name, those that are decided."""


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
    """Trade id of a contract, packet id of a credited reading, name of a proposal or of a misconduct."""
    parties: tuple[Address, ...] = ()
    """Seller and buyer of a contract."""
    quality_total: int | None = None
    postings: tuple[Posting, ...] = ()

    def __post_init__(self) -> None:
        """Holds that a declined transaction posts nothing and that its detail fits a receipt."""
        if self.refusal is not None:
            assert not self.postings, "a declined transaction posts nothing"
            assert len(self.refusal.detail) <= DETAIL_CHARACTERS_MAX, self.refusal.detail


def declined(reason: Reason, detail: str) -> Outcome:
    """Returns the outcome of a transaction that is declined, and is nobody's fault."""
    return Outcome(refusal=Refusal(reason=reason, detail=detail))


class ScoreBoard:
    """The members' scores at a block's slot, on an overlay, with the sum over the cluster kept as they move.

    Eq. 2 wants the cluster's mean with every contract; summing it each time would cost O(cluster) per contract.
    """

    __slots__ = ("_cluster", "_cluster_sum", "_overlay", "_parameters", "_slot")

    def __init__(
        self, overlay: Overlay, *, cluster: tuple[Address, ...], slot: Slot, parameters: ScoreParameters
    ) -> None:
        assert cluster, "a cluster has members"
        self._overlay: Final = overlay
        self._parameters: Final = parameters
        self._slot: Final = slot
        self._cluster: Final = frozenset(cluster)
        self._cluster_sum: int = sum(self.of(address) for address in cluster)
        assert len(self._cluster) == len(cluster), "cluster members are distinct"

    def record(self, address: Address) -> Score:
        """Returns the newest version of a member's score."""
        return self._overlay.require(score_key(address), Score)

    def of(self, address: Address) -> Millionths:
        """Returns a member's present score."""
        record = self.record(address)
        return present_score(record.value, record.way_back, self._slot, self._parameters)

    def cluster_mean(self) -> Millionths:
        """Returns Eq. 2's v: the floor mean of the cluster's present scores."""
        return Millionths(self._cluster_sum // len(self._cluster))

    def reward(self, address: Address, value: Millionths, *, cause: ScoreCause, reference: bytes) -> None:
        """Writes a member's higher score with what earned it."""
        record = self.record(address)
        way_back = way_back_after_reward(value, record.way_back, self._slot, self._parameters)
        self._write(address, replace(record, value=value, way_back=way_back, cause=cause, reference=reference))

    def punish(self, address: Address, value: Millionths, *, reference: bytes) -> None:
        """Writes the lower score of a member at fault; below the trading threshold its way back begins."""
        record = self.record(address)
        falls, way_back = self._fall(address, value)
        record = replace(
            record,
            value=value,
            **_stake_within(record, value),
            falls=falls,
            way_back=way_back,
            cause=ScoreCause.FAULT,
            reference=reference,
        )
        self._write(address, record)

    def stake(self, address: Address, staked: Millionths, *, lock_slots: int, reference: bytes) -> None:
        """Writes how much of a member's score stands as stake; what it takes back stays locked for so many slots."""
        record, present = self.record(address), self.of(address)
        assert staked <= present, "nobody stakes more than its score"
        way_back = way_back_after_reward(present, record.way_back, self._slot, self._parameters)
        unlocking = self._unlocking_after(record, staked, Slot(self._slot + lock_slots))
        changed = {"value": present, "staked": staked, "unlocking": unlocking, "way_back": way_back}
        self._write(address, replace(record, **changed, cause=ScoreCause.STAKE, reference=reference))

    def _unlocking_after(self, record: Score, staked: Millionths, until_slot: Slot) -> Unlocking | None:
        """What is staked again is locked no more; what is taken back makes all that is locked wait as long as it."""
        left = Millionths(record.staked + self._locked(record) - staked)
        if left <= 0:
            return None
        if staked >= record.staked and record.unlocking is not None:
            until_slot = record.unlocking.until_slot
        return Unlocking(amount=left, until_slot=until_slot)

    def _locked(self, record: Score) -> Millionths:
        """Returns how much of a stake that was taken back misconduct would still take."""
        unlocking = record.unlocking
        return Millionths(0) if unlocking is None or unlocking.until_slot <= self._slot else unlocking.amount

    def suspend(self, address: Address, *, reference: bytes) -> None:
        """Writes that a member is suspended, and takes its stake, also what is locked."""
        record, present = self.record(address), self.of(address)
        value = Millionths(max(self._parameters.floor, present - record.staked - self._locked(record)))
        falls, way_back = self._fall(address, value)
        record = replace(
            record,
            value=value,
            staked=Millionths(0),
            unlocking=None,
            is_suspended=True,
            falls=falls,
            way_back=way_back,
            cause=ScoreCause.SUSPENSION,
            reference=reference,
        )
        self._write(address, record)

    def set_suspended(self, address: Address, suspended: bool, *, reference: bytes) -> None:  # noqa: FBT001
        """Writes that a quorum suspends a member, or ends that: nothing was proven, so score and stake stay."""
        cause = ScoreCause.SUSPENSION if suspended else ScoreCause.REINSTATEMENT
        record = replace(self.record(address), is_suspended=suspended, cause=cause, reference=reference)
        self._write(address, record)

    def _fall(self, address: Address, value: Millionths) -> tuple[int, WayBack | None]:
        """Returns how often a member fell below the threshold if its score becomes `value`, and its way back.

        Only a fall from above counts: one outage may break several promises at once.
        """
        falls = self.record(address).falls
        if self.of(address) >= self._parameters.threshold_trade > value:
            falls += 1
        return falls, way_back_after_fault(value, max(falls - 1, 0), self._slot, self._parameters)

    def _write(self, address: Address, record: Score) -> None:
        before = self.of(address)
        self._overlay.put(score_key(address), record)
        if address in self._cluster:
            self._cluster_sum += self.of(address) - before


def _stake_within(record: Score, value: Millionths) -> dict[str, Any]:
    """Returns what of a stake a lower score still holds: what stands as stake before what was taken back."""
    staked = min(record.staked, value)
    unlocking = record.unlocking
    if unlocking is not None:
        amount = min(unlocking.amount, Millionths(value - staked))
        unlocking = replace(unlocking, amount=amount) if amount else None
    return {"staked": staked, "unlocking": unlocking}


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun:
    """One block's execution in progress. Only its overlay and its score board change."""

    overlay: Overlay
    genesis: Genesis
    rules: Rules
    """This block's; what it decides of rules holds from a later one on."""
    context: BlockContext
    scores: ScoreBoard

    def add_to_totals(self, **deltas: int) -> None:
        """Adds to fields of `Totals`, named as keywords."""
        totals = self.overlay.require(TOTALS_KEY, Totals)
        moved = {name: getattr(totals, name) + delta for name, delta in deltas.items()}
        self.overlay.put(TOTALS_KEY, replace(totals, **moved))

    def move_tokens(self, address: Address, *, available: int = 0, held: int = 0) -> None:
        """Adds to a wallet's available tokens and to what it has in escrow; either may be negative."""
        wallet = self.overlay.require(account_key(address), Account)
        moved = replace(
            wallet,
            available_micro=MicroTokens(wallet.available_micro + available),
            held_micro=MicroTokens(wallet.held_micro + held),
        )
        self.overlay.put(account_key(address), moved)
