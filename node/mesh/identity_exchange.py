"""Brings sealed identities of homes that join to their verifiers, and has the one that this node is to see.

A home that joins has no links, so a member takes its boxes and sends each to its verifier: at once, whenever a link
to it comes up, and every few seconds until it says that it has it. So a verifier that was started anew gets its box
again. All of it is in memory alone, as long as the application is open, its panel the same and the verifier's verdict
missing. A verifier's node opens its box once, to see that the application's identity is in it, and keeps it closed:
its people's command opens it again. Nobody can ask for a box: there is no such message.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.applicants import Applicant
from node.admission.joining.sealing import (
    IdentityBox,
    Panel,
    SealedIdentity,
    open_box,
    panel_of,
    require_recipients,
)
from node.errors import BoxFault, BoxRefused, JoinError
from node.logs import get_logger
from node.mesh.messages import IdentityAnswer, IdentityNote
from node.names.names import label_of

LOOK_S: Final = 1.0
"""Between two looks at what is to be sent."""

LOOKS_PER_MINUTE: Final = 60

RESENT_LOOKS: Final = 10
"""Between two times that a box is sent to a verifier that has not said that it has it."""

LOOKED_AT_MAX: Final = 128
"""Boxes of one peer in a minute: an honest one brings those of all open applications once in ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityPorts:
    """What the exchange needs of the world."""

    send: Callable[[Address, IdentityNote | IdentityAnswer], None]
    connected: Callable[[], frozenset[Address]]
    applicant: Callable[[Address], Applicant | None]
    """Reads what a home asked for last, from the state."""
    refused: Callable[[str], None]
    """Counts what a peer brought and is not kept."""


@dataclass(slots=True)
class _Delivery:
    """A box on its way to its verifier."""

    box: IdentityBox
    looks_to_wait: int = 0
    answer: IdentityAnswer | None = None
    """None until the verifier said what it made of it, since the last link to it came up."""

    @property
    def is_held(self) -> bool:
        return self.answer is not None and self.answer.fault is None


@dataclass(frozen=True, slots=True)
class _Carried:
    """A home's boxes, as a member took them."""

    panel: Digest
    deliveries: dict[Address, _Delivery]


@dataclass(frozen=True, slots=True)
class _Shown:
    """What this node was shown as a verifier: a box that holds, or why the last one does not."""

    panel: Digest
    box: IdentityBox | None
    fault: BoxFault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityStanding:
    """What this node has to do with the identity of a home."""

    applicant: Address
    panel: Digest
    """Of its application, as the chain has it."""
    box: IdentityBox | None = None
    """For this node, a verifier; its content is the application's identity."""
    fault: BoxFault | None = None
    """Why this node has none though one was brought."""
    deliveries: Mapping[Address, BoxFault | bool] = field(default_factory=dict)
    """To verifiers: whether each has its box, or why not."""


class IdentityExchange:
    """This node's part in showing verifiers who asks to join."""

    def __init__(self, *, chain: Digest, keys: Sequence[SigningKey], ports: IdentityPorts) -> None:
        """Takes the chain's name, the node keys of this node's member with its address, and the world."""
        self._chain = chain
        self._keys = tuple(keys)
        self._own = self._keys[0].address
        self._ports = ports
        self._carried: dict[Address, _Carried] = {}
        self._shown: dict[Address, _Shown] = {}
        self._looked_at: Counter[Address] = Counter()
        """What each peer brought this minute."""
        self._looks = 0
        self._log = get_logger("joining")

    def take(self, sealed: SealedIdentity) -> None:
        """Takes a home's boxes, to be brought to its verifiers, in the place of earlier ones.

        Raises:
            JoinError: names the field: of another chain, for no open application, for others than its verifiers.
        """
        if sealed.chain != self._chain:
            raise JoinError(f"chain: is {sealed.chain.hex()}, and this node is on {self._chain.hex()}")
        panel = self._panel(sealed.applicant)
        if panel is None:
            raise JoinError(f"applicant: nobody verifies an application of home {sealed.applicant.hex()} now")
        if sealed.panel != panel.name:
            raise JoinError("panel: others verify the application now, or it is another one: seal to its panel")
        require_recipients([box.verifier for box in sealed.boxes], panel)
        deliveries = {box.verifier: _Delivery(box) for box in sealed.boxes}
        self._carried[sealed.applicant] = _Carried(panel.name, deliveries)
        own = deliveries.get(self._own)
        if own is not None:
            own.answer = self._look_into(sealed.applicant, own.box)

    def _panel(self, applicant: Address) -> Panel | None:
        return panel_of(self._chain, applicant, self._ports.applicant(applicant))

    def _missing(self, applicant: Address, panel: Digest) -> frozenset[Address]:
        """Returns the verifiers whose verdict is missing; nobody if the panel of a name verifies no more."""
        found, asked = self._panel(applicant), self._ports.applicant(applicant)
        if found is None or asked is None or found.name != panel:
            return frozenset()
        return frozenset(found.verifiers) - {given.verifier for given in asked.verdicts}

    # --- as a verifier -------------------------------------------------------------------------------------------

    def on_note(self, sender: Address, note: IdentityNote) -> None:
        """Looks into a box that somebody brought, and tells what became of it. Who brings more in a minute than there
        can be is not heard until that is over.
        """
        self._looked_at[sender] += 1
        if self._looked_at[sender] > LOOKED_AT_MAX:
            return
        self._ports.send(sender, self._look_into(note.applicant, note.box))

    def _look_into(self, applicant: Address, box: IdentityBox) -> IdentityAnswer:
        """Keeps a box if the application's identity is in it; one that does not hold takes no other's place."""
        panel = self._panel(applicant)
        if panel is None or self._own not in self._missing(applicant, panel.name):
            return IdentityAnswer(applicant=applicant, fault=BoxFault.OTHER_PANEL)
        known = self._shown.get(applicant)
        if known is None or known.panel != panel.name or known.box is None:
            fault = self._fault_of(box, panel)
            self._shown[applicant] = _Shown(panel.name, box if fault is None else None, fault)
            if fault is not None:
                self._ports.refused("bad_identity")
                if known is None or known.fault is not fault:  # else a liar fills the log
                    self._log.warning("an identity was refused", home=label_of(applicant), reason=fault.value)
                return IdentityAnswer(applicant=applicant, fault=fault)
        return IdentityAnswer(applicant=applicant, fault=None)

    def _fault_of(self, box: IdentityBox, panel: Panel) -> BoxFault | None:
        key = next((one for one in self._keys if one.public_key == box.key), self._keys[0])
        try:
            open_box(box, panel, key)
        except BoxRefused as refused:
            return refused.fault
        return None

    # --- as who brings boxes -------------------------------------------------------------------------------------

    def on_answer(self, sender: Address, answer: IdentityAnswer) -> None:
        """Notes what a verifier made of its box."""
        carried = self._carried.get(answer.applicant)
        delivery = None if carried is None else carried.deliveries.get(sender)
        if delivery is not None:
            delivery.answer = answer

    def on_link(self, peer: Address) -> None:
        """Brings a peer, to which a link came up, its boxes anew: it may have been started again without them."""
        for carried in self._carried.values():
            if peer in carried.deliveries:
                carried.deliveries[peer] = _Delivery(carried.deliveries[peer].box)

    async def run(self) -> None:
        """Sends what is due until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Sends what is due to who is there."""
        self._looks += 1
        if self._looks % LOOKS_PER_MINUTE == 0:
            self._looked_at.clear()
        self.drop_what_is_over()
        connected = self._ports.connected()
        for applicant, carried in self._carried.items():
            for verifier in self._missing(applicant, carried.panel) & connected & carried.deliveries.keys():
                self._send_if_due(applicant, carried.deliveries[verifier])

    def _send_if_due(self, applicant: Address, delivery: _Delivery) -> None:
        delivery.looks_to_wait -= 1
        if delivery.is_held or delivery.looks_to_wait >= 0:
            return
        delivery.looks_to_wait = RESENT_LOOKS
        self._ports.send(delivery.box.verifier, IdentityNote(applicant=applicant, box=delivery.box))

    # --- in memory, as long as it is needed ------------------------------------------------------------------------

    def drop_what_is_over(self) -> None:
        """Forgets the boxes of applications that are over or have another panel, and its own after its verdict."""
        for applicant, carried in list(self._carried.items()):
            missing = self._missing(applicant, carried.panel)
            for verifier in carried.deliveries.keys() - missing:
                del carried.deliveries[verifier]
            if not carried.deliveries:
                del self._carried[applicant]
        for applicant, shown in list(self._shown.items()):
            if self._own not in self._missing(applicant, shown.panel):
                del self._shown[applicant]

    def standings(self) -> Iterator[IdentityStanding]:
        """Yields what this node has of each home that joins; a home of which it has nothing is not among them."""
        self.drop_what_is_over()
        for applicant in dict.fromkeys((*self._shown, *self._carried)):
            shown, carried = self._shown.get(applicant), self._carried.get(applicant)
            yield IdentityStanding(
                applicant=applicant,
                panel=(shown or carried).panel,  # type: ignore[union-attr]
                box=None if shown is None else shown.box,
                fault=None if shown is None else shown.fault,
                deliveries={} if carried is None else {one: _told(of) for one, of in carried.deliveries.items()},
            )


def _told(delivery: _Delivery) -> BoxFault | bool:
    fault = None if delivery.answer is None else delivery.answer.fault
    return delivery.is_held if fault is None else fault
