"""Staked Q-score: what a member puts in to be drawn as a verifier, and loses with a proven misconduct."""

from consensus.identifiers import Address, Digest
from contracts.member_changes import is_member
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.transactions import SetStake


def execute_set_stake(run: BlockRun, sender: Address, transaction: Digest, action: SetStake) -> Outcome:
    """Writes the sender's stake, or declines: no member, suspended, more than its present score."""
    if not is_member(run.overlay, sender):
        return declined(Reason.STAKE_NOT_MEMBER, f"{sender.hex()} is no member")
    if run.scores.record(sender).is_suspended:
        return declined(Reason.STAKE_SUSPENDED, "a suspended member has no stake")
    score = run.scores.of(sender)
    if action.staked > score:
        return declined(Reason.STAKE_ABOVE_SCORE, f"score is {score} millionths, stake {action.staked}")
    run.scores.stake(sender, action.staked, reference=transaction)
    return Outcome()
