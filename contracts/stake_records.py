"""What the state says of stakes that were taken back: `stakes` has the rules, `state` the scores."""

from consensus.codec import Record
from consensus.identifiers import Slot
from qscore.parameters import Millionths


class Unlocking(Record, frozen=True, kw_only=True):
    """Stake that was taken back: it counts for no draw any more, and misconduct still takes it."""

    amount: Millionths
    until_slot: Slot
