"""All that a node does about snapshots: it copies and tells its state, takes one in to begin with, and fills in what
lies below.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from consensus.identifiers import Address
from ledger.eras import BegunEra, BegunEras
from ledger.ledger import Ledger
from node.home.checkpoint_file import load_checkpoint
from node.home.configuration import Configuration
from node.logs import get_logger
from node.mesh.messages import Blocks, PeerMessage, SnapshotAnswer, SnapshotQuestion
from node.snapshots.beginning import may_take_state
from node.snapshots.filling import Filling, FillingLinks
from node.snapshots.intake import IntakeLinks, SnapshotIntake
from node.snapshots.intake_planner import NoSnapshot
from node.snapshots.own_snapshots import OwnSnapshots
from node.snapshots.snapshot_server import SnapshotServer


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotLinks:
    """How snapshots reach the rest of the node."""

    send: Callable[[Address, PeerMessage], None]
    send_bulk: Callable[[Address, PeerMessage], None]
    """The same for what may wait until nothing else does."""
    connected: Callable[[], frozenset[Address]]
    refused: Callable[[str], None]
    """Counts what was refused: the reason."""
    is_syncing: Callable[[], bool]
    """Says whether blocks are fetched that were decided long ago."""


class Snapshots:
    """The parts, wired. For use by one thread."""

    def __init__(
        self,
        *,
        configuration: Configuration,
        ledger: Ledger,
        begun: Sequence[BegunEra],
        links: SnapshotLinks,
        storage: ExitStack,
        takes_states: bool,
        fills: bool,
    ) -> None:
        """Opens what is on the disk, which `storage` closes.

        Args:
            configuration: the node's.
            ledger: open.
            begun: eras that ceremonies began at this home.
            links: to the rest of the node.
            storage: of this run of the node.
            takes_states: a state may be taken in; not where one was taken that is no beginning.
            fills: earlier blocks are filled in; not where they were, and could not be taken.
        """
        self._home = configuration.home
        self._ledger = ledger
        self._begun = begun
        self._links = links
        self._takes_states = takes_states
        self._log = get_logger("snapshots")
        self.intake = self._new_intake() if takes_states and may_take_state(configuration, ledger) else None
        self.own = OwnSnapshots(ledger=ledger, home=self._home, is_behind=self.is_behind)
        self.server = SnapshotServer(
            snapshots=self.own, send=links.send_bulk, refused=lambda reason, _: links.refused(reason)
        )
        storage.callback(self._close)
        self.filling = self._new_filling() if fills else None

    def _new_filling(self) -> Filling:
        links = FillingLinks(
            send=self._links.send,
            connected=self._links.connected,
            refused=self._links.refused,
            is_behind=self.is_behind,
        )
        return Filling(ledger=self._ledger, home=self._home, begun=self._begun, links=links)

    def _new_intake(self) -> SnapshotIntake:
        links = IntakeLinks(
            send=self._links.send,
            connected=self._links.connected,
            refused=lambda reason, _: self._links.refused(reason),
        )
        genesis = self._ledger.genesis
        eras = BegunEras(genesis, self._begun)
        return SnapshotIntake(
            genesis=genesis,
            begun=eras,
            checkpoint=load_checkpoint(self._home.checkpoint, self._ledger.chain),
            directory=self._home.intake,
            links=links,
        )

    def _close(self) -> None:
        self.own.close()
        if self.intake is not None:
            self.intake.close()

    def is_behind(self) -> bool:
        """Says whether this node is not where the others are."""
        return self.intake is not None or self._links.is_syncing()

    def receive(self, sender: Address, message: SnapshotQuestion | SnapshotAnswer) -> None:
        """Takes what a member asks, or tells of a state."""
        if isinstance(message, SnapshotQuestion):
            self.server.request(sender, message)
        elif self.intake is None:
            self._links.refused("snapshot_not_asked")
        else:
            self.intake.on_answer(sender, message)

    def take_earlier(self, sender: Address, answer: Blocks) -> bool:
        """Takes blocks below those that are here; False if they are not, and so for others."""
        if not self._ledger.lacks(answer.first):
            return False
        if self.filling is not None:
            self.filling.on_blocks(sender, answer)
        return True

    async def fill_in(self) -> bool:
        """Fills earlier blocks in; returns whether the next run of the node takes them."""
        return self.filling is not None and await self.filling.run()

    async def catch_up(self, fetch_blocks: Callable[[], Awaitable[None]]) -> None:
        """Takes the state from the others, if this node begins with it, and blocks from then on; where nobody gives
        the first block, it begins with a state all the same. Returns once the next run of the node begins with one.

        Args:
            fetch_blocks: returns where this node has no block and nobody gives the first one.
        """
        while True:
            if self.intake is not None:
                found = await self.intake.run()
                if not isinstance(found, NoSnapshot):
                    return
                self._log.warning("no state can be taken: this node executes from genesis", why=found.value)
                self.intake.discard()
                self.intake = None
            await fetch_blocks()
            if self._takes_states:
                self._log.warning("no member gives the first block: this node begins with a state")
                self.intake = self._new_intake()
