"""Members that collect the votes of a slot and do it badly: each a real daemon with what leaves its mesh bent.

They run where clusters are drawn (`Plan.cluster_size`), F of them together.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from consensus.identifiers import Address, Height, Slot
from consensus.messages import (
    Body,
    CertificateRequest,
    Commit,
    Decided,
    Gathered,
    Prepare,
    PrePrepare,
    ViewChange,
)
from node.mesh.messages import Blocks, PeerMessage
from tests.faults.members import Bends

OF_OTHERS = (Gathered, Body, Decided, Blocks)
"""By which a member gives away what it has of others."""

ASKED_AT_ONCE = 16


class Hoards(Bends):
    """Collects, and hands out nothing; answers nobody."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        return () if isinstance(message, OF_OTHERS) and not self.is_done else (message,)

    def heard(self, sender: Address, message: PeerMessage) -> None:
        """Notes what it collects, and will not give away."""
        if not isinstance(message, Prepare | Commit) or message.height != self.ledger.height + 1 or self.is_done:
            return
        leaders = self.ledger.memberships().leaders
        if leaders.is_drawn and self.own in leaders.cluster(message.slot):
            self.tell_step(message.height, message.slot)

    def tell_step(self, height: Height, slot: Slot) -> None:
        self.tell((height, slot), height=height, slot=slot, trades=[])


class TellsHalf(Hoards):
    """Hoards, and tells every second member alone what it signs."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        is_told = self.others().index(recipient) % 2 == 0
        if isinstance(message, PrePrepare | Prepare | Commit | ViewChange) and not is_told and not self.is_done:
            return ()
        return super().bent(recipient, message)


class CollectsSilently(Hoards):
    """Hears all votes, and says nothing of its own nor of others."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if isinstance(message, PrePrepare | Prepare | Commit | ViewChange) and not self.is_done:
            return ()
        return super().bent(recipient, message)


class Counterfeits(Hoards):
    """Hands out certificates with a signature exchanged, to all and unasked, and asks all for certificates."""

    def bent(self, recipient: Address, message: PeerMessage) -> Iterable[PeerMessage]:
        if not isinstance(message, Gathered) or self.is_done:
            return (message,)
        return (replace(message, signatures=self.key.sign(b"anything") + message.signatures[64:]),)

    def heard(self, sender: Address, message: PeerMessage) -> None:
        super().heard(sender, message)
        if not isinstance(message, PrePrepare) or message.signer != sender or self.is_done:
            return
        asked = CertificateRequest(era=0, height=message.height, slot=message.slot)
        for member in self.others():
            for _ in range(ASKED_AT_ONCE):
                self.mesh.send_as_it_is(member, asked)
