"""A mesh that hears everything first and may send something else: the ears and the mouth of a daemon that lies."""

from collections.abc import Callable, Iterable
from typing import Any

from consensus.identifiers import Address
from node.mesh.mesh import Mesh
from node.mesh.messages import PeerMessage

Heard = Callable[[Address, PeerMessage], None]
Bend = Callable[[Address, PeerMessage], Iterable[PeerMessage]]


class BendingMesh(Mesh):
    """The product's mesh; what it hears and sends passes through two hooks that the liar sets later."""

    def __init__(self, *, handler: Heard, **rest: Any) -> None:
        self.heard: Heard | None = None
        self.bend: Bend | None = None

        def overhear(sender: Address, message: PeerMessage) -> None:
            if self.heard is not None:
                self.heard(sender, message)
            handler(sender, message)

        super().__init__(handler=overhear, **rest)

    def send(self, recipient: Address, message: PeerMessage) -> None:
        """Sends what the liar makes of the message."""
        for bent in (message,) if self.bend is None else self.bend(recipient, message):
            super().send(recipient, bent)

    def broadcast(self, message: PeerMessage) -> None:
        """Sends each peer what the liar makes of the message."""
        for recipient in tuple(self._links):
            self.send(recipient, message)

    def send_as_it_is(self, recipient: Address, message: PeerMessage) -> None:
        """Sends past the hook."""
        super().send(recipient, message)
