"""Everything that one node says to another: one frame is the canonical encoding of one `Frame`.

Consensus messages travel as they are; beside them transactions are passed on, decided blocks fetched in ranges, a
state in chunks, and neighbours agree on trades. A message never names its sender: that is the address in the
certificate of the connection it came over.
"""

from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, decode, encode
from consensus.evidence import Equivocation
from consensus.messages import (
    MESSAGE_SIZE_BYTES_MAX,
    BlockHeightField,
    Decided,
    DigestField,
    HeightAnswer,
    HeightField,
    HeightQuestion,
    Message,
)
from contracts.transactions import (
    COUNTER_MAX,
    ENERGY_WH_MAX,
    TRANSACTION_SIZE_BYTES_MAX,
    AddressBytes,
    Counter,
    DoubleOffer,
    SignatureBytes,
    SpotTerms,
)
from contracts.units import Milliseconds, WattHours
from ledger.state_copy import ORIGIN_PAGE_SIZE_BYTES, ORIGIN_PAGES_MAX, ORIGIN_SIZE_BYTES_MAX
from ledger.state_ranges import StateChunk
from node.admission.joining.sealing import IdentityBox
from node.errors import BoxFault
from node.mesh.endpoint_record import RECORDS_MAX, RawRecord
from node.names.card import RawForget

FRAME_SIZE_BYTES_MAX: Final = MESSAGE_SIZE_BYTES_MAX + 1
"""Largest frame: the largest consensus message in its `Frame`. What this file adds is bounded to fit."""

TRANSACTIONS_PER_MESSAGE_MAX: Final = 1_024
"""Transactions passed on at once: 4 MiB if each has the largest size, so the batch always fits a frame."""

BLOCKS_PER_ANSWER_MAX: Final = 64
"""Blocks asked for, and answered, at once."""

FORGETS_PER_MESSAGE_MAX: Final = 64
"""Told at once; each of them costs the check of a signature once."""

WireTransaction = Annotated[bytes, Meta(min_length=1, max_length=TRANSACTION_SIZE_BYTES_MAX)]
Energy = Annotated[WattHours, Meta(ge=0, le=ENERGY_WH_MAX)]


class Transactions(Record, frozen=True, kw_only=True, tag="transactions"):
    """Signed transactions that wait for a block, as their senders encoded them."""

    raw: Annotated[tuple[WireTransaction, ...], Meta(min_length=1, max_length=TRANSACTIONS_PER_MESSAGE_MAX)]


class BlocksRequest(Record, frozen=True, kw_only=True, tag="blocks-request"):
    """A node that is far behind asks for decided blocks."""

    first: BlockHeightField
    count: Annotated[int, Meta(ge=1, le=BLOCKS_PER_ANSWER_MAX)]


class Blocks(Record, frozen=True, kw_only=True, tag="blocks"):
    """Answers a `BlocksRequest` with blocks of consecutive heights, from the first asked for: as many as are decided
    and fit, so none if that height is not decided here.
    """

    first: BlockHeightField
    """Names the request."""
    blocks: Annotated[tuple[Decided, ...], Meta(max_length=BLOCKS_PER_ANSWER_MAX)]


class SnapshotRequest(Record, frozen=True, kw_only=True, tag="snapshot-request"):
    """A node that has no ledger asks which state it can have."""


class SnapshotOffer(Record, frozen=True, kw_only=True, tag="snapshot-offer"):
    """Answers a `SnapshotRequest`: the newest state that can be had here."""

    height: HeightField
    """Of the block after which it is the state; 0: there is none."""
    origin_size_bytes: Annotated[int, Meta(ge=0, le=ORIGIN_SIZE_BYTES_MAX)]


class OriginRequest(Record, frozen=True, kw_only=True, tag="origin-request"):
    """Asks for a page of what proves a state (`Origin`)."""

    height: BlockHeightField
    page: Annotated[int, Meta(ge=0, le=ORIGIN_PAGES_MAX - 1)]


class OriginPage(Record, frozen=True, kw_only=True, tag="origin-page"):
    """Answers a `OriginRequest`; without content if this state cannot be had here."""

    height: BlockHeightField
    page: Annotated[int, Meta(ge=0, le=ORIGIN_PAGES_MAX - 1)]
    content: Annotated[bytes, Meta(max_length=ORIGIN_PAGE_SIZE_BYTES)]


class ChunkRequest(Record, frozen=True, kw_only=True, tag="chunk-request"):
    """Asks for the chunk of a state whose region holds a hash."""

    height: BlockHeightField
    position: DigestField


class ChunkAnswer(Record, frozen=True, kw_only=True, tag="chunk-answer"):
    """Answers a `ChunkRequest`; without a chunk if this state cannot be had here."""

    height: BlockHeightField
    position: DigestField
    chunk: StateChunk | None


SnapshotQuestion = SnapshotRequest | OriginRequest | ChunkRequest
"""What is asked of who has a state to give."""

SnapshotAnswer = SnapshotOffer | OriginPage | ChunkAnswer
"""What comes back."""


class OfferRequest(Record, frozen=True, kw_only=True, tag="offer-request"):
    """A home in deficit asks a neighbour for energy of one interval."""

    request_id: Counter
    """Chosen by the buyer; names the answer."""
    interval_start_ms: Annotated[Milliseconds, Meta(ge=0, le=COUNTER_MAX)]
    wanted_wh: Annotated[WattHours, Meta(ge=1, le=ENERGY_WH_MAX)]


class OfferReply(Record, frozen=True, kw_only=True, tag="offer-reply"):
    """Answers an `OfferRequest`: a contract that the seller has signed and reserved energy for, or none."""

    request_id: Counter
    terms: SpotTerms | None
    """The contract, for the buyer to sign and submit; None: nothing is free."""
    seller_signature: SignatureBytes | None
    """Under the encoding of `terms`; present exactly if `terms` is."""
    free_wh: Energy
    """What the seller still has after this offer. The buyer is done with it at 0 free and 0 reserved."""
    reserved_wh: Energy
    """What the seller holds for others; it becomes free again if they decline."""

    def __post_init__(self) -> None:
        if (self.terms is None) != (self.seller_signature is None):
            raise ValueError("an offer carries terms and signature, or neither")


class OfferDecline(Record, frozen=True, kw_only=True, tag="offer-decline"):
    """The buyer will not submit the contract that was offered to it.

    The seller notes it but keeps the energy reserved until the contract expires: a buyer that declines and submits
    all the same must not make an honest seller the party at fault.
    """

    offer_counter: Counter


MarketMessage = OfferRequest | OfferReply | OfferDecline
"""What households' markets say to each other."""


class EvidenceNote(Record, frozen=True, kw_only=True, tag="evidence-note"):
    """Tells a member what proves that another one contradicted itself."""

    evidence: Equivocation | DoubleOffer


class EndpointRecords(Record, frozen=True, kw_only=True, tag="endpoints"):
    """Where members said that they are (`EndpointRecord`): all that the sender knows, as a link comes up, and then
    what it learnt since. Each is decoded by itself, once its bringer's quota allows.
    """

    raw: Annotated[tuple[RawRecord, ...], Meta(min_length=1, max_length=RECORDS_MAX)]


class ForgetNotes(Record, frozen=True, kw_only=True, tag="forgets"):
    """Who left and wants nobody to know its name any more (`Forget`): all that the sender knows, as a link comes up
    and every hour, and what it learnt since.
    """

    raw: Annotated[tuple[RawForget, ...], Meta(min_length=1, max_length=FORGETS_PER_MESSAGE_MAX)]


class IdentityNote(Record, frozen=True, kw_only=True, tag="identity"):
    """Brings a verifier, and nobody else, who lives in a home that asked to join: sealed to the verifier's key."""

    applicant: AddressBytes
    box: IdentityBox


class IdentityAnswer(Record, frozen=True, kw_only=True, tag="identity-answer"):
    """A verifier's word to who brought it a box."""

    applicant: AddressBytes
    fault: BoxFault | None
    """Why the verifier does not keep it; None: it has the identity."""


PeerMessage = (
    Message
    | HeightQuestion
    | HeightAnswer
    | Transactions
    | BlocksRequest
    | Blocks
    | SnapshotQuestion
    | SnapshotAnswer
    | MarketMessage
    | EvidenceNote
    | EndpointRecords
    | ForgetNotes
    | IdentityNote
    | IdentityAnswer
)


class Frame(Record, frozen=True, kw_only=True):
    """What travels: one message. A record around the union, as msgspec prepares a record once and a bare union
    at every decoding, ten times the cost of all the rest.
    """

    message: PeerMessage


def encode_peer_message(message: PeerMessage) -> bytes:
    """Returns the frame of a message: at most `FRAME_SIZE_BYTES_MAX` bytes."""
    frame = encode(Frame(message=message))
    assert len(frame) <= FRAME_SIZE_BYTES_MAX, "the bounds of every field keep a message within a frame"
    return frame


def decode_peer_message(frame: bytes) -> PeerMessage:
    """Returns the message of a frame.

    Raises:
        DecodeError: not the canonical encoding of a `Frame` within its bounds.
    """
    return decode(frame, Frame, size_bytes_max=FRAME_SIZE_BYTES_MAX).message
