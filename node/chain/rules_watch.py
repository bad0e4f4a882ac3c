"""Tells the log once that the members approved rules which this program does not know."""

from ledger.ledger import Ledger
from node.logs import get_logger
from node.stories.rules import lacking_text


class RulesWatch:
    """Looks after each block; what an approval said, its end takes back."""

    def __init__(self, ledger: Ledger) -> None:
        """Looks for the first time."""
        self._ledger = ledger
        self._told: str | None = None
        self._log = get_logger("node")
        self.look()

    def look(self) -> None:
        """Warns of what is new, and says when it is over."""
        text = lacking_text(self._ledger)
        if text == self._told:
            return
        if text is None:
            self._log.info("the members changed their mind: this program knows all rules that are approved")
        else:
            self._log.warning("the rules change, and this program does not know them", reason=text)
        self._told = text
