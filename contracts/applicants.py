"""What the state says of homes that want to join. `state` has their tables, `joining` the rules."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Digest, PublicKey, Slot


class Verdict(Enum):
    """What a verifier says of an application; all but the first refuse it."""

    ACCEPT = "accept"
    IDENTITY_NOT_SHOWN = "identity_not_shown"
    """Nobody showed the verifier who it is."""
    IDENTITY_WRONG = "identity_wrong"
    """What was shown is not what the application commits to."""
    CONTRACT_NOT_SIGNED = "contract_not_signed"
    """The main contract that the application names was not signed by both sides."""
    NO_SUCH_CONNECTION = "no_such_connection"
    """The connection or the meter is not as the application says."""
    CERTIFICATE_REVOKED = "certificate_revoked"


class GivenVerdict(Record, frozen=True, kw_only=True):
    """What a verifier said."""

    verifier: Address
    verdict: Verdict


class Standing(Enum):
    """Where somebody stands that asked to join."""

    OPEN = "open"
    """Its verifiers may say what they found."""
    REFUSED = "refused"
    CANDIDATE = "candidate"
    """Admitted: it follows the chain, and becomes a member once it says that it is ready."""
    JOINED = "joined"
    """Became a member; whether it still is one, the list says."""
    REVOKED = "revoked"
    """It was a candidate, and the authority revoked its key: that one never applies again."""
    LAPSED = "lapsed"
    """Too few verdicts in time, no word that it is ready in time, or its keys became another's meanwhile."""


class Applicant(Record, frozen=True, kw_only=True, tag="applicant"):
    """What a home asked for last; earlier applications are earlier versions of the record."""

    number: int
    """Its application's: each has a higher one than that before."""
    node_key: PublicKey
    meter_key: PublicKey
    capacity_w: int
    identity: Digest
    terms: Digest
    person: Digest
    sponsor: Address
    """The member that brought the application."""
    standing: Standing
    request: Digest
    """The transaction that brought it."""
    panel: tuple[Address, ...]
    """Its verifiers; empty while they are to be drawn."""
    panels: int
    """How many panels it has had, the present one included."""
    may_verify: tuple[Address, ...]
    """Of these the next panel is drawn; empty once it is."""
    verdicts: tuple[GivenVerdict, ...]
    """In the order of the chain, one per verifier."""
    until_slot: Slot
    """When an open application and a candidate lapse, and from when on a refused one may apply again."""
    ready_slot: Slot | None
    """Of the block with its newest word that it is ready; None before the first."""


class Applications(Record, frozen=True, kw_only=True, tag="applications"):
    """Who asked to join, as far as it is not over, and whose wallets came with an admission."""

    unfinished: tuple[Address, ...]
    """Open applications and candidates, in the order in which they came."""
    admitted: tuple[Address, ...]
    """Everybody who ever became a candidate: they keep their wallets."""


class ApplicationEnd(Record, frozen=True, kw_only=True, tag="application-end"):
    """An application or an admission lapses, unless it is over."""

    applicant: Address
    number: int
