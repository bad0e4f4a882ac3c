"""Counts what becomes of homes that ask to join, block by block."""

from collections.abc import Callable

from contracts.applicants import Applicant, Applications, Standing
from contracts.state import APPLICATIONS_KEY, applicant_key
from contracts.state_reading import require
from ledger.ledger import Ledger
from node.chain.applied import AppliedBlock


class AdmissionWatch:
    """Compares after each block who asks and who was admitted with what was known before it."""

    def __init__(self, ledger: Ledger, note: Callable[[Standing], None]) -> None:
        """Takes who counts: each admission, and each end of an application or of an admission."""
        self._ledger = ledger
        self._note = note
        self._known = require(ledger, APPLICATIONS_KEY, Applications)

    def on_applied(self, _: AppliedBlock) -> None:
        """Looks at the newest state."""
        before, now = self._known, require(self._ledger, APPLICATIONS_KEY, Applications)
        self._known = now
        for _admitted in set(now.admitted) - set(before.admitted):
            self._note(Standing.CANDIDATE)
        for ended in set(before.unfinished) - set(now.unfinished):
            self._note(require(self._ledger, applicant_key(ended), Applicant).standing)
