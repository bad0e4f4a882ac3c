"""Staked Q-score: what a member puts in to be drawn as a verifier, and loses with a proven misconduct.

What it takes back counts for no draw from then on and stays locked for `LOCK_MS`, in which a proof still takes it:
else who cheats would take its stake back with the same block.
"""

from typing import Final

from consensus.identifiers import Address, Digest
from contracts.genesis import Genesis
from contracts.member_changes import is_member
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.transactions import SetStake
from contracts.units import MS_PER_HOUR

LOCK_MS: Final = 72 * MS_PER_HOUR
"""In time of slots: long enough for a proof to come to the chain, and for people to bring one by hand."""


def lock_slots(genesis: Genesis) -> int:
    """Returns for how many slots a stake that was taken back stays locked."""
    return LOCK_MS // genesis.slot_duration_ms


def execute_set_stake(run: BlockRun, sender: Address, transaction: Digest, action: SetStake) -> Outcome:
    """Writes the sender's stake, or declines: no member, suspended, more than its present score."""
    if not is_member(run.overlay, sender):
        return declined(Reason.STAKE_NOT_MEMBER, f"{sender.hex()} is no member")
    if run.scores.record(sender).is_suspended:
        return declined(Reason.STAKE_SUSPENDED, "a suspended member has no stake")
    score = run.scores.of(sender)
    if action.staked > score:
        return declined(Reason.STAKE_ABOVE_SCORE, f"score is {score} millionths, stake {action.staked}")
    run.scores.stake(sender, action.staked, lock_slots=lock_slots(run.genesis), reference=transaction)
    return Outcome()
