"""The mark of a broken invariant: a node that found one stops and stays stopped until its ledger is verified."""

from node.errors import NodeError
from node.home.folder import Home


def read_halt(home: Home) -> str | None:
    """Returns why the node halted, None if it did not."""
    try:
        return home.halted.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None


def write_halt(home: Home, reason: str) -> None:
    """Leaves the mark; the data stays as it is."""
    home.halted.write_text(f"{reason}\n", encoding="utf-8")


def clear_halt(home: Home) -> None:
    """Removes the mark; only `p2pnode ledger verify` calls this, when it found nothing wrong."""
    home.halted.unlink(missing_ok=True)


def refuse_if_halted(home: Home) -> None:
    """Stops a start after a broken invariant.

    Raises:
        NodeError: the mark is there; names the command that says what is wrong.
    """
    reason = read_halt(home)
    if reason is not None:
        raise NodeError(
            f"this node halted on a broken invariant: {reason}. Its data is kept; "
            f"`p2pnode ledger verify --home {home.directory}` says what is wrong and, if nothing is, lets it start"
        )
