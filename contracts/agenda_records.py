"""What the state says of things that happen by themselves. `state` has their tables, `agenda` the rules."""

from consensus.codec import Record
from consensus.identifiers import Digest, Slot
from contracts.applicants import ApplicationEnd
from contracts.proposal_records import ProposalTurn
from contracts.units import Milliseconds
from contracts.validity_records import CertificateEnd


class GateClosure(Record, frozen=True, kw_only=True, tag="gate-closure"):
    """The gate of an interval closes, unless a further reading put it off."""

    interval_start_ms: Milliseconds


class TradeEnd(Record, frozen=True, kw_only=True, tag="trade-end"):
    """A forward trade becomes final or expires, unless it is over."""

    trade: Digest


AgendaSubject = GateClosure | TradeEnd | ProposalTurn | ApplicationEnd | CertificateEnd


class Due(Record, frozen=True, kw_only=True, tag="due"):
    """One thing that happens by itself, at the first block with this slot or a later one."""

    slot: Slot
    number: int
    """Counts all of them: of those due at one slot the earlier made one comes first."""
    subject: AgendaSubject


class Agenda(Record, frozen=True, kw_only=True, tag="agenda"):
    """The binary heap of what is due: places 0 <= place < size of its table."""

    size: int
    made: int
    """How many were ever put in."""
