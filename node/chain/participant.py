"""One member's part in the chain: the driver of its replica, and what gets back what this member lacks.

The daemon and the simulator make it of the same parts and hand it the same messages; they differ in what the ports
lead to. All methods belong to one thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.events import Instant
from consensus.evidence import Equivocation
from consensus.identifiers import Address
from consensus.member import KeyRing, Parameters
from consensus.messages import HeightAnswer, HeightQuestion, Message, Status
from node.chain.application import Application
from node.chain.block_server import BlockServer
from node.chain.block_sync import BlockSync, SyncLinks
from node.chain.driver import Driver, DriverPorts
from node.chain.sign_recovery import RecoveryLinks, SignRecovery
from node.home.sign_state import SignStateStore
from node.mesh.messages import Blocks, BlocksRequest, PeerMessage

MS_PER_S: Final = 1_000

ChainMessage = Message | BlocksRequest | Blocks | HeightQuestion | HeightAnswer
"""What members tell each other about the chain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a participant needs of the world."""

    now: Callable[[], Instant]
    send: Callable[[Address, PeerMessage], None]
    """Puts a message on its way to a member; never waits for it."""
    send_bulk: Callable[[Address, PeerMessage], None]
    """The same for what may wait until nothing else does."""
    connected: Callable[[], frozenset[Address]]
    """Returns the members whose link is up."""
    verify_ahead: Callable[[tuple[bytes, ...], Callable[[], None]], None]
    """Verifies requests somewhere else, and calls back from the one thread that this runs in."""
    draw: Callable[[int], bytes]
    """Returns so many random bytes, for nonces."""
    evidence: Callable[[Equivocation], None]
    """Takes what proves that a member contradicted itself."""
    failed: Callable[[Exception], None]
    """Hears once why nothing is signed any more: the process must stop."""
    refused: Callable[[str, Address | None], None]
    """Counts what was refused: the reason, and who sent it, where one member did."""
    phase_ended: Callable[[str], None]
    """Hears that the undecided height has passed a durable phase."""


class Participant:
    """The replica with its driver, block sync, block server and sign recovery."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        parameters: Parameters,
        application: Application,
        sign_state: SignStateStore,
        ports: Ports,
    ) -> None:
        """Restores the replica; sends nothing."""
        self.driver = Driver(
            keys=keys,
            parameters=parameters,
            application=application,
            sign_state=sign_state,
            ports=DriverPorts(
                now=ports.now,
                send=ports.send,
                connected=ports.connected,
                verify_ahead=ports.verify_ahead,
                evidence=ports.evidence,
                failed=ports.failed,
                refused=ports.refused,
                phase_ended=ports.phase_ended,
            ),
        )
        self.blocks = BlockServer(application=application, send=ports.send_bulk, refused=ports.refused)

        def clock_s() -> float:
            return ports.now().monotonic_ms / MS_PER_S

        self.sync = BlockSync(
            application=application,
            links=SyncLinks(
                send=ports.send,
                connected=ports.connected,
                post=self.driver.post,
                refused=ports.refused,
            ),
            clock_s=clock_s,
        )
        self.recovery = SignRecovery(
            keys=keys,
            application=application,
            links=RecoveryLinks(
                send=ports.send,
                connected=ports.connected,
                is_unanswered=lambda: self.driver.is_unanswered,
                silent_through=self.driver.silent_through,
                keep_silent_through=self.driver.keep_silent_through,
                refused=ports.refused,
            ),
            clock_s=clock_s,
            draw=ports.draw,
        )

    def receive(self, sender: Address, message: ChainMessage) -> None:
        """Takes a member's message."""
        match message:
            case BlocksRequest():
                self.blocks.request(sender, message)
            case Blocks():
                self.sync.on_blocks(sender, message)
            case HeightQuestion():
                self.recovery.on_question(sender, message)
            case HeightAnswer():
                self.recovery.on_answer(sender, message)
            case Status():
                self.sync.on_status(sender, message)
                self.driver.receive(sender, message)
            case _:
                self.driver.receive(sender, message)
