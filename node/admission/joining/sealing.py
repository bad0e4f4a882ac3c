"""Who lives in a home that joins, for its verifiers alone: sealed to the node key of each member of the drawn panel.

What is sealed says for which panel and for whom it is, so a box shows nothing to who was not drawn, and counts for no
other application. All boxes have one size: nobody learns how long a name is. A box says nothing of who made it; what
is in it must be what the application commits to, and only who has the salt can make that.

Whoever opened a box knows what is in it, and can pass it on: no software prevents that. So few are drawn, and the
household is told who they are before it seals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta
from nacl.bindings import sodium_pad, sodium_unpad
from nacl.exceptions import CryptoError

from consensus.codec import DecodeError, Record, decode, encode
from consensus.cryptography import BOX_ADDED_BYTES, HashKind, SigningKey, digest, seal
from consensus.identifiers import Address, Digest, PublicKey, Slot
from contracts.applicants import Applicant, Standing
from contracts.genesis import PublicKeyBytes
from contracts.panels import PANEL_MAX
from contracts.transactions import AddressBytes, DigestBytes
from ledger.side_files import write_whole
from node.admission.joining.files import IDENTITY_SIZE_BYTES_MAX, JoinIdentity, fault_of_identity
from node.errors import BoxFault, BoxRefused, JoinError
from node.home.json_record import json_of, read_json_record

CONTENT_SIZE_BYTES: Final = IDENTITY_SIZE_BYTES_MAX + 512
"""Of what is sealed, filled up: the longest identity, with what it is bound to."""

BOX_SIZE_BYTES: Final = CONTENT_SIZE_BYTES + BOX_ADDED_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The verifiers of an open application, as the chain has them."""

    chain: Digest
    applicant: Address
    number: int
    """Of its application."""
    identity: Digest
    """What the application commits to."""
    request: Digest
    """The transaction that brought it."""
    verifiers: tuple[Address, ...]
    """In the order drawn."""
    until_slot: Slot
    """When another panel is drawn, or the application lapses."""

    @property
    def name(self) -> Digest:
        """Names the chain, the application and its verifiers of now: what boxes are bound to."""
        return digest(
            HashKind.COMMITMENT,
            encode(("p2pnode panel", self.chain, self.applicant, self.request, self.identity, self.verifiers)),
        )


def panel_of(chain: Digest, address: Address, applicant: Applicant | None) -> Panel | None:
    """Returns who verifies what a home asked for last; None while nobody does, and once that is over.

    Args:
        chain: hash of genesis.
        address: the home's.
        applicant: what the state has of it.
    """
    if applicant is None or applicant.standing is not Standing.OPEN or not applicant.panel:
        return None
    return Panel(
        chain=chain,
        applicant=address,
        number=applicant.number,
        identity=applicant.identity,
        request=applicant.request,
        verifiers=applicant.panel,
        until_slot=applicant.until_slot,
    )


class IdentityBox(Record, frozen=True, kw_only=True, tag="p2pnode-2-identity-box"):
    """An identity, sealed for one verifier."""

    verifier: AddressBytes
    key: PublicKeyBytes
    """Node key of the verifier."""
    sealed: Annotated[bytes, Meta(min_length=BOX_SIZE_BYTES, max_length=BOX_SIZE_BYTES)]


class SealedIdentity(Record, frozen=True, kw_only=True, tag="p2pnode-2-sealed-identity"):
    """An identity, sealed for the verifiers of an application."""

    chain: DigestBytes
    applicant: AddressBytes
    panel: DigestBytes
    """The panel's name."""
    boxes: Annotated[tuple[IdentityBox, ...], Meta(min_length=1, max_length=PANEL_MAX)]


FILE_SIZE_BYTES_MAX: Final = 2 * PANEL_MAX * (BOX_SIZE_BYTES + 512)
"""Of a sealed identity's file: boxes in hexadecimal, with what names them."""


def read_sealed_identity(path: Path) -> SealedIdentity:
    """Returns a sealed identity as it is passed on; nobody but its verifiers can say what is in it.

    Raises:
        JoinError: it cannot be read, or is none.
    """
    return read_json_record(
        path, SealedIdentity, what="sealed identity", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=JoinError
    )


def write_sealed_identity(path: Path, sealed: SealedIdentity) -> None:
    """Writes a sealed identity in the place of an earlier one."""
    write_whole(path, json_of(sealed))


class IdentityContent(Record, frozen=True, kw_only=True, tag="p2pnode-2-identity-shown"):
    """What is sealed."""

    panel: DigestBytes
    verifier: AddressBytes
    key: PublicKeyBytes
    shown: JoinIdentity


def seal_identity(shown: JoinIdentity, panel: Panel, keys: Sequence[tuple[Address, PublicKey]]) -> SealedIdentity:
    """Returns an identity for the verifiers of a panel.

    Args:
        shown: with the salt of its commitment.
        panel: as the chain has it, which the caller has checked.
        keys: verifiers of the panel with their node keys; who left is not among them.

    Raises:
        JoinError: names the field that is wrong: the identity is not the application's, or not lines of printable
            characters; a recipient is doubled, was not drawn, or its key is none.
    """
    fault = fault_of_identity(shown.identity)
    if fault is not None:
        raise JoinError(f"identity: {fault}")
    if shown.commitment != panel.identity:
        raise JoinError("identity: is not the one that the application commits to")
    require_recipients([verifier for verifier, _ in keys], panel)
    boxes = []
    for verifier, key in keys:
        content = IdentityContent(panel=panel.name, verifier=verifier, key=key, shown=shown)
        try:
            sealed = seal(key, sodium_pad(encode(content), CONTENT_SIZE_BYTES))
        except ValueError as error:
            raise JoinError(f"key of verifier {verifier.hex()}: {error}") from None
        boxes.append(IdentityBox(verifier=verifier, key=key, sealed=sealed))
    return SealedIdentity(chain=panel.chain, applicant=panel.applicant, panel=panel.name, boxes=tuple(boxes))


def require_recipients(recipients: Sequence[Address], panel: Panel) -> None:
    """Refuses recipients that are none, doubled, or not of a panel.

    Raises:
        JoinError: says which.
    """
    doubled = next((one for one in recipients if recipients.count(one) > 1), None)
    if not recipients:
        raise JoinError("boxes: there is no verifier to seal to: all of the panel have left")
    if doubled is not None:
        raise JoinError(f"boxes: verifier {doubled.hex()} stands twice")
    for one in recipients:
        if one not in panel.verifiers:
            raise JoinError(f"boxes: {one.hex()} is no verifier of this application")


def open_box(box: IdentityBox, panel: Panel, key: SigningKey) -> JoinIdentity:
    """Returns the identity in a box that was sealed for a verifier of a panel, fit to be printed.

    Args:
        box: from anyone.
        panel: as the verifier's own ledger has it.
        key: the verifier's node key, with its address as a member.

    Raises:
        BoxRefused: it was not sealed for this verifier, key and panel, or another identity is in it; says nothing of
            what is in it.
    """
    if box.verifier != key.address or key.address not in panel.verifiers:
        raise BoxRefused(BoxFault.OTHER_VERIFIER, f"it was sealed for {box.verifier.hex()}")
    if box.key != key.public_key:
        raise BoxRefused(BoxFault.OTHER_KEY, f"it was sealed to key {box.key.hex()}: the verifier has another one")
    opened = key.unseal(box.sealed)
    content = None if opened is None else _content(opened)
    if content is None:
        raise BoxRefused(BoxFault.UNREADABLE, "it cannot be opened, or no identity is in it")
    if content.panel != panel.name:
        raise BoxRefused(BoxFault.OTHER_PANEL, "it was sealed for another application, or for another panel of it")
    if (content.verifier, content.key) != (box.verifier, box.key):
        raise BoxRefused(BoxFault.OTHER_VERIFIER, "it was sealed for another verifier, and changed since")
    if content.shown.commitment != panel.identity:
        raise BoxRefused(BoxFault.NOT_COMMITTED, "another identity is in it than the application commits to")
    if fault_of_identity(content.shown.identity) is not None:
        raise BoxRefused(BoxFault.NOT_PRINTABLE, "the identity in it has characters that cannot be printed")
    return content.shown


def _content(opened: bytes) -> IdentityContent | None:
    try:
        return decode(sodium_unpad(opened, CONTENT_SIZE_BYTES), IdentityContent, size_bytes_max=CONTENT_SIZE_BYTES)
    except (CryptoError, DecodeError):
        return None
