"""The errors of the daemon and its command line.

    NodeError
    |-- ConfigurationError     meter.toml or an environment override is wrong; names the key
    |-- IdentityError          a key or certificate is missing, exposed, damaged or foreign
    |   |-- WrongRole          a certificate of the network's that is no member's
    |   `-- RevocationsRefused a revocation list is not one that the network's authority signed
    |-- SignStateError         the durable sign state is missing, damaged, in use or no longer writable
    |-- ReadingsError          a file of meter readings is wrong; names the line
    |-- AppendLogError         a journal of the meter is damaged or not writable (`home/append_log.py`)
    |-- EndpointsDamaged     the file of the members' endpoints is not what this node wrote
    |-- FoundingError        a chain cannot be founded as asked, or a home cannot take part in it
    |-- AddressBookError       the file of a home's address book is none, or it does not take a name
    |-- JoinError              a home cannot ask to join a chain as it is, or a file about that is none
    |-- TestnetError           a testnet cannot be made, run or stopped as asked
    |-- NodeAway               a node does not answer over its API
    |-- NotFound               the chain holds nothing of that name, or several things; carries a reason for programs
    |-- FileRefused            a receipt or evidence file does not prove what it says
    `-- SubmissionRefused      a transaction never reaches the chain; carries a reason for programs

Each is caused from outside the program, so each carries one sentence for people; the command line prints it
and exits with 1, without a stack trace. Secrets never appear in one.
"""

from enum import Enum
from pathlib import Path


class NodeError(Exception):
    """Anything that the operator, a peer or a file did wrong, in one sentence."""


class Declined(NodeError):  # noqa: N818  (a refusal is an answer, not a failure)
    """The chain declined what it was asked."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"declined ({reason}): {detail}. Nothing was changed")
        self.reason = reason


class ConfigurationError(NodeError):
    """The configuration is not usable; the message names file and key."""


class IdentityError(NodeError):
    """A key or certificate is not usable; the message names the file, never its content."""


class WrongRole(IdentityError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A certificate of the network's authority is not for what somebody uses it for."""


class RevocationsFault(Enum):
    """Why a revocation list is not believed."""

    NO_LIST = "no_list"
    """It is too large, damaged, or lacks what every list of this network has."""
    FOREIGN = "foreign"
    """No issuing authority under the root is its issuer, or only one that it revokes itself."""
    BAD_SIGNATURE = "bad_signature"


class RevocationsRefused(IdentityError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A revocation list is not believed."""

    def __init__(self, fault: RevocationsFault, detail: str) -> None:
        """Takes a reason for programs and a sentence for people."""
        super().__init__(detail)
        self.fault = fault


class SignStateFault(Enum):
    """Why the durable sign state cannot be used."""

    MISSING = "missing"
    EXISTS = "exists"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    """The system does not let this process open it, which says nothing of its content."""
    IN_USE = "in_use"
    OTHER_VERSION = "other_version"
    """Another version of this software wrote it."""
    WRITE_FAILED = "write_failed"


class SignStateError(NodeError):
    """The sign state cannot be used, so the node must not sign."""

    def __init__(self, fault: SignStateFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault

    @property
    def is_lost(self) -> bool:
        """Says whether what was signed is no longer known: the file is missing or damaged."""
        return self.fault in {SignStateFault.MISSING, SignStateFault.DAMAGED}


class ReadingsError(NodeError):
    """A file of meter readings is refused."""

    def __init__(self, path: Path, detail: str, *, line: int | None = None) -> None:
        """Takes the file, what is wrong, and the line where it is wrong (counted from 1), if in a line."""
        place = f"{path}" if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {detail}")
        self.path = path
        self.line = line
        self.detail = detail


class EndpointsDamaged(NodeError):  # noqa: N818  (it is refused, and begun anew)
    """The file of the members' endpoints is not what this node wrote; it is a cache, and begun anew."""


class FoundingError(NodeError):
    """A founding file, or what is to be added to it, is refused; the message says what is wrong with whom."""


class AddressBookError(NodeError):
    """The file of a home's address book is none, or it does not take a name."""


class JoinError(NodeError):
    """A home cannot ask to join a chain as it is, or a file about that is refused; the message says why."""


class BoxFault(Enum):
    """Why a box with the identity of a home that joins is not what a verifier is to see."""

    OTHER_PANEL = "other_panel"
    """It was sealed for another application, or for verifiers that were drawn before."""
    OTHER_VERIFIER = "other_verifier"
    OTHER_KEY = "other_key"
    """It was sealed to a key that the verifier has not, or has no more."""
    UNREADABLE = "unreadable"
    """Nobody with the key can open it, or what is in it is no identity."""
    NOT_COMMITTED = "not_committed"
    """Another identity than the application commits to."""
    NOT_PRINTABLE = "not_printable"
    """The identity would steer the terminal of who looks at it."""


class BoxRefused(JoinError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A box with an identity is refused; the message says nothing of what is in it."""

    def __init__(self, fault: BoxFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault


class TestnetError(NodeError):
    """A testnet cannot be made, run, asked or stopped."""

    __test__ = False  # the name starts like a test class; pytest must not collect it


class NodeAway(NodeError):  # noqa: N818  (it may be starting)
    """A node's API does not answer."""


class NotFound(NodeError):  # noqa: N818  (an answer, not a failure)
    """What was asked for by name is not there, or the name fits several things."""

    def __init__(self, reason: str, detail: str) -> None:
        """Takes a reason for programs and a sentence for people."""
        super().__init__(detail)
        self.reason = reason


class FileRefused(NodeError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A file that somebody hands over as a proof is not one; the message says what fails."""


class SubmissionRefused(NodeError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A transaction is refused before any block contains it."""

    def __init__(self, reason: str, detail: str, *, retry_after_s: float | None = None) -> None:
        """Takes a reason for programs, a sentence for people, and when trying again may help."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s
