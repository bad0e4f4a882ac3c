"""What this node's program lacks for the rules of the chain: looked for once per block, and told to the log."""

from ledger.ledger import Ledger
from node.logs import get_logger
from node.names.names import Names
from node.stories.rules import RulesNotice, rules_notice


class RulesWatch:
    """Looks after each block; what an approval said, its end takes back. The log hears of what is approved, once."""

    def __init__(self, ledger: Ledger) -> None:
        """Looks for the first time."""
        self._ledger = ledger
        self._notice: RulesNotice | None = None
        self._told: str | None = None
        self._log = get_logger("node")
        self.look()

    def notice(self, names: Names) -> str | None:
        """Says what the last look found; None: nothing. Reads nothing."""
        return None if self._notice is None else self._notice.told(names)

    def look(self) -> None:
        """Warns of what is new, and says when it is over."""
        self._notice = found = rules_notice(self._ledger)
        text = None if found is None or found.proposer is not None else found.text
        if text == self._told:
            return
        if text is None:
            self._log.info("the members changed their mind: this program knows all rules that are approved")
        else:
            self._log.warning("the rules change, and this program does not know them", reason=text)
        self._told = text
