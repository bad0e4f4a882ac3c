"""What both directions of the mesh share: endpoints, bounds, reasons for refusal, and what is counted."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from aiolimiter import AsyncLimiter

from consensus.identifiers import Address, PublicKey
from node.admission.endpoint import Endpoint
from node.mesh.messages import FRAME_SIZE_BYTES_MAX
from node.names.names import label_of

MemberOf = Callable[[PublicKey], Address | None]
"""Says whose node key this is, as the chain's state has it now; None for a key of nobody."""

MESH_PATH: Final = "/p2p"
"""The one route of the mesh: a WebSocket that carries frames both ways."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerEndpoint:
    """Another member, and where it is looked for as long as it said nothing itself (`endpoints.places_of`)."""

    address: Address
    """Whose its certificate's key must be, whichever side dialled."""
    host: str | None = None
    """None where no file of this home says where it is: it says so itself, or dials."""
    port: int | None = None

    @property
    def label(self) -> str:
        """Returns how logs and metrics call it."""
        return label_of(self.address)

    @property
    def first(self) -> Endpoint | None:
        """Where to look first, by this home's files."""
        return None if self.host is None or self.port is None else Endpoint(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshLimits:
    """Bounds of a mesh. aiohttp alone keeps silent connections for ever and has no bound on their number."""

    handshake_s: float = 10.0
    """From accepting (or dialling) a connection until it is a WebSocket: TLS, headers and all."""
    heartbeat_s: float = 20.0
    """Silence after which a ping is sent; half of it later without an answer the link is cut."""
    idle_s: float = 60.0
    """Longest wait for one whole frame or pong: a peer that trickles single bytes is cut, one at 1 Mbit/s is
    not, even with the largest frame."""
    write_s: float = 30.0
    """Longest wait until a peer takes a frame: the largest one at 2 Mbit/s."""
    close_s: float = 2.0
    """Longest wait for the other side's part of closing."""
    backoff_initial_s: float = 0.1
    """First pause before a peer is dialled again; doubles each time."""
    backoff_max_s: float = 1.5
    """Longest pause: a restarted node is back within two seconds."""
    backoff_unknown_max_s: float = 60.0
    """Longest pause before a place that only the peer itself named, and where it never was found."""
    handshakes_max: int = 64
    """Connections at once that are not yet a peer's; beyond it the oldest goes: an honest one takes 5 ms."""
    handshakes_per_s: float = 100.0
    """Connections accepted per second: a TLS handshake costs about 1 ms, so strangers get a tenth of a core."""
    connects_per_period: int = 10
    """Links that one peer may open per `connect_period_s`: a peer that sends garbage and dials again, again and
    again, is cut off to one frame per second."""
    connect_period_s: float = 10.0
    frames_per_s: float = 2_000.0
    """Frames read from one peer; above it the connection is read no further, so its sender has to wait. Four
    times what five nodes exchange at a hundred blocks per second."""
    size_bytes_per_s: float = 16.0 * 1024 * 1024
    """Bytes read from one peer."""
    burst_s: float = 5.0
    """Seconds of both quotas that may be used at once."""
    queue_frames_max: int = 4_096
    """Frames that wait for one peer, its link up or down; the oldest are dropped, as consensus sends again."""
    queue_size_bytes_max: int = 8 * 1024 * 1024
    """Their bytes: the largest frame, and room for the small ones. A member that asks and does not read fills it."""
    bulk_size_bytes_max: int = 3 * 1024 * 1024
    """Bytes of bulk that waits for one peer besides, or one larger frame: an honest peer has two answers of 1 MiB
    open."""

    def __post_init__(self) -> None:
        """Checks that the largest frame passes at all."""
        assert self.size_bytes_per_s * self.burst_s >= FRAME_SIZE_BYTES_MAX, "the quota admits every frame"
        assert self.queue_size_bytes_max >= FRAME_SIZE_BYTES_MAX, "the queue holds every frame"


class MeshRefusal(Enum):
    """Why a connection or a frame is refused. A refused frame closes its own connection and nothing else."""

    TLS_FAILED = "tls_failed"
    """No certificate, one of another authority, or no TLS at all."""
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    TOO_MANY_HANDSHAKES = "too_many_handshakes"
    NOT_A_MEMBER = "not_a_member"
    WRONG_ROLE = "wrong_role"
    """A certificate of the authority that is no member's, such as the network provider's own."""
    WRONG_PEER = "wrong_peer"
    """A member answers where another was dialled."""
    CONNECTING_TOO_OFTEN = "connecting_too_often"
    BAD_REQUEST = "bad_request"
    """No WebSocket request of the mesh's route."""
    FRAME_TOO_LARGE = "frame_too_large"
    BAD_FRAME = "bad_frame"
    """Not binary, or against the WebSocket protocol."""
    MALFORMED_MESSAGE = "malformed_message"
    IDLE = "idle"
    SLOW_READER = "slow_reader"
    """Asks and does not read the answer."""


class MeshCounters(Protocol):
    """What the mesh counts; `peer` is the endpoint's label. `NodeMetrics` is one."""

    def on_frame_sent(self, peer: str, size_bytes: int) -> None:
        """A frame was written to the peer's link."""

    def on_frame_received(self, peer: str, size_bytes: int) -> None:
        """A frame was read from the peer's link."""

    def on_message_dropped(self, peer: str) -> None:
        """A frame for the peer was dropped: its queue was full, or its link broke in the middle of it."""

    def on_message_refused(self, reason: str) -> None:
        """A connection or frame was refused; `reason` is the value of a `MeshRefusal`."""

    def on_reconnect(self, peer: str) -> None:
        """The link to the peer broke, and there is no other."""


class PeerQuota:
    """How much one peer may make this node read: frames and bytes per second, over all its connections."""

    def __init__(self, limits: MeshLimits) -> None:
        """Takes the rates."""
        burst_s = limits.burst_s
        self._frames = AsyncLimiter(limits.frames_per_s * burst_s, burst_s)
        self._size_bytes = AsyncLimiter(limits.size_bytes_per_s * burst_s, burst_s)

    async def spend(self, size_bytes: int) -> None:
        """Waits until one more frame of `size_bytes` is within the quota."""
        await self._frames.acquire()
        await self._size_bytes.acquire(size_bytes)
