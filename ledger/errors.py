# ruff: noqa: N818  (the names say what happened, as LedgerDamaged does; the base ends in Error)
"""Everything that the ledger refuses or reports, in one tree.

LedgerError
|-- LedgerBusy              another process (or another object of this one) has the directory open
|-- LedgerUnreadable        the system does not let this process open its files; says nothing of their content
|-- LedgerMissing           there is no ledger in the directory
|-- LedgerExists            `create` where a ledger already is
|-- LedgerForeign           the ledger belongs to another chain or to another format
|-- RulesUnknown            the next block has rules that this program does not know
|-- LedgerDamaged           stored data is not what was written; names the height if it is known
|-- LedgerWriteFailed       a write did not become durable: nothing more is accepted, the node stops
|-- BlockNotNext            append of a block that does not extend the tip, or whose certificate is another's
|-- DecidedBlockRefused     a decided block does not execute to what its header claims: the node stops
|-- CheckpointRefused       what should prove a point of the chain proves nothing
|-- CheckpointContradicted  the chain is another one than the checkpoint that its home joined with: the node stops
|-- BlocksNotHere           what was asked for lies below the block that this ledger began at
|-- OriginRefused           what a ledger was to begin at does not hold; none was made
|-- NothingToProve          a proof was asked of what the chain does not contain
|-- StateNotCopied          the state of a height cannot be told to others; the ledger is as it was
|-- CopyDamaged             a copy of a state is not whole, or not what was written; the ledger is as it was
|-- StateKeyRefused         text that names no state key
`-- TransactionRefused      a transaction that no block may contain
"""

from enum import Enum

from consensus.identifiers import Height


class LedgerError(Exception):
    """The base of the tree above."""


class LedgerBusy(LedgerError):
    """The directory is locked by whoever has it open."""


class LedgerUnreadable(LedgerError):
    """Files that this process may not open. They are no less whole for that: nothing is set aside."""


class LedgerMissing(LedgerError):
    """No ledger where one was expected."""


class LedgerExists(LedgerError):
    """A ledger where none was expected."""


class LedgerForeign(LedgerError):
    """A ledger of another chain or format."""


class RulesUnknown(LedgerError):
    """The chain goes on under rules that this program does not have. Nothing is wrong, and nothing is lost."""

    def __init__(self, *, version: int, first_height: Height, known: str) -> None:
        """Takes the version, the first height under it, and the versions that this program knows."""
        super().__init__(
            f"from block {first_height:,} on this chain follows protocol version {version}; this software knows "
            f"{known}. Nothing is lost: install software that knows version {version} and start it on the same home; "
            "it goes on from there"
        )
        self.version = version
        self.first_height = first_height


class LedgerDamaged(LedgerError):
    """Stored data is missing or altered. It is never repaired in place: the evidence stays as it is."""

    def __init__(self, what: str, *, height: Height | None = None) -> None:
        """Takes what is wrong, in words, and the height it belongs to, if that is known."""
        where = "" if height is None else f" at height {height}"
        super().__init__(f"the ledger is damaged{where}: {what}; `p2pnode ledger verify` says what else is wrong")
        self.height = height
        self.what = what


class LedgerWriteFailed(LedgerError):
    """The disk did not take a write. What is durable is unknown until the ledger is opened again."""


class BlockNotNext(LedgerError):
    """An appended block does not extend the tip or is not the one that its certificate decides."""


class DecidedBlockRefused(LedgerError):
    """A quorum decided what this node's execution refuses: a broken invariant, never to be passed over."""


class CheckpointRefused(LedgerError):
    """A proof of a point of the chain that does not hold."""


class CheckpointContradicted(LedgerError):
    """Two blocks were decided at one height: the one here, and the one that this home was told of when it joined."""


class BlocksNotHere(LedgerError):
    """This ledger began at an origin, and the answer lies below it, or may. Others may have it."""

    def __init__(self, first_height: Height) -> None:
        """Takes the lowest height whose block is here."""
        super().__init__(
            f"blocks below {first_height:,} are not here: this node began with a snapshot of block {first_height:,}, "
            "and can tell what happened from there on. A node that has the whole chain can tell the rest"
        )
        self.first_height = first_height


class OriginRefused(LedgerError):
    """A block, or the state after it, that no ledger of this home may begin at. Nothing was made of it."""


class NodeMissing(LedgerError):
    """A node that the authenticated map refers to is not stored, or is not a node."""


class NothingToProve(LedgerError):
    """No receipt of that transaction, or no header yet that commits to a state."""


class StateKeyRefused(LedgerError):
    """Text that does not name a state key."""


class TransactionRefusal(Enum):
    """Why no block may contain a transaction."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WRONG_CHAIN = "wrong_chain"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SENDER = "unknown_sender"
    OTHER_KEY = "other_key"
    NONCE_PASSED = "nonce_passed"
    NONCE_TOO_HIGH = "nonce_too_high"
    EXPIRED = "expired"


class TransactionRefused(LedgerError):
    """A transaction whose envelope is bad; never on the chain, no block contains it."""

    def __init__(self, reason: TransactionRefusal, detail: str) -> None:
        """Takes the rule that failed and the values that show it."""
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class StateNotCopied(LedgerError):
    """The state of a height cannot be told to others; the ledger is as it was."""


class CopyDamaged(LedgerError):
    """A copy of a state is not whole, or not what was written; the ledger is as it was."""
