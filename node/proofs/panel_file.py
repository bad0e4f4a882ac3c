"""Who verifies a home that asked to join, for that home, which has genesis and nothing else; any member writes it.

It has what leads from genesis to the members of the newest height, and what the chain's state says of the
application, with the proof against a header that a quorum of its height decided. Who writes it can refuse to, and can
show an earlier state; it can name no verifier that was not drawn, and no key that a quorum did not decide. The
verifiers' keys are those of the members that the header commits to: were a change of them left out, its digest would
differ.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta

from consensus.codec import DecodeError, Record, decode, encode
from consensus.identifiers import FIXED_AHEAD, Address, Height, PublicKey
from contracts.applicants import Applicant
from contracts.genesis import Genesis
from contracts.state import applicant_key
from contracts.state_reading import read
from contracts.transactions import AddressBytes
from ledger.ledger import Ledger
from ledger.proofs import StateProof, state_proof_holds
from ledger.trusted_sets import CHANGES_MAX, SetStep, TrustedSets
from ledger.validation import version_fault
from node.admission.joining.sealing import Panel, panel_of
from node.errors import FileRefused, NotFound
from node.proofs.signed_file import bytes_of, parse_file, require_unchanged
from node.stories.slices import Slices

PANEL_FORMAT: Final = "p2pnode-panel-1"


class PanelContent(Record, frozen=True, kw_only=True, tag=PANEL_FORMAT):
    """What shows who verifies an application."""

    applicant: AddressBytes
    changes: Annotated[tuple[SetStep, ...], Meta(max_length=CHANGES_MAX)]
    """Every change of the members and every ceremony up to the proof's height: whose signatures count there."""
    proof: StateProof
    """Of what the state has of the applicant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenPanel:
    """Who verifies an application, as a quorum of members decided it."""

    panel: Panel
    keys: tuple[tuple[Address, PublicKey], ...]
    """Of the verifiers that are members still: whom the identity is sealed to."""
    height: Height
    """Of the block after which the state was so."""


def export_panel(ledger: Ledger, applicant: Address) -> Slices[dict[str, Any]]:
    """Returns the JSON object of the file.

    Raises:
        NotFound: nobody verifies an application of this home now.
    """
    yield from ()
    if panel_of(ledger.chain, applicant, read(ledger, applicant_key(applicant), Applicant)) is None:
        raise NotFound(
            "unknown_panel",
            f"no verifiers of home {applicant.hex()} are drawn: it never asked, they are still to be drawn, or its "
            "application is over",
        )
    proof = ledger.prove_state(applicant_key(applicant))
    return document_of(PanelContent(applicant=applicant, changes=ledger.set_steps(), proof=proof))


def check_panel(content: bytes, genesis: Genesis) -> ProvenPanel:
    """Returns who verifies an application, if a file shows that a quorum decided it.

    Args:
        content: of the file, from anyone.
        genesis: of the chain; nothing else is believed.

    Raises:
        FileRefused: it is no such file, or a signature, a step or a path in it does not hold.
    """
    document = parse_file(content, PANEL_FORMAT)
    try:
        shown = decode(bytes_of(document, "content"), PanelContent)
    except DecodeError as error:
        raise FileRefused(f"its content is damaged: {error}") from None
    proven = _proven(shown, genesis)
    require_unchanged(content, document_of(shown))
    return proven


def _proven(shown: PanelContent, genesis: Genesis) -> ProvenPanel:
    sets, proof = TrustedSets(genesis), shown.proof
    fault = sets.take_all(shown.changes) or version_fault(proof.header)
    if fault is not None:
        raise FileRefused(fault)
    height = proof.header.height
    if proof.key != applicant_key(shown.applicant):
        raise FileRefused("its proof is about something else than this home's application")
    if not state_proof_holds(proof, membership=sets.at(height), eras=sets.eras):
        raise FileRefused(f"no quorum of the members of height {height} decided what it shows of the application")
    members = sets.at(Height(height + FIXED_AHEAD))
    if members.digest() != proof.header.membership:
        raise FileRefused(f"a change of the members up to height {height} is missing")
    panel = panel_of(sets.eras.chain, shown.applicant, _applicant(proof))
    if panel is None:
        raise FileRefused(f"at height {height} nobody verified an application of this home")
    keys = ((verifier, members.key_of(verifier)) for verifier in panel.verifiers)
    present = tuple((verifier, key) for verifier, key in keys if key is not None)
    return ProvenPanel(panel=panel, keys=present, height=height)


def _applicant(proof: StateProof) -> Applicant | None:
    try:
        return None if proof.value is None else decode(proof.value, Applicant)
    except DecodeError as error:
        raise FileRefused(f"what it shows of the application is none: {error}") from None


def document_of(shown: PanelContent) -> dict[str, Any]:
    """Returns the JSON object of a content: what people read follows from it.

    Raises:
        FileRefused: what it shows of the application is none.
    """
    return {"format": PANEL_FORMAT, "about": _about(shown), "content": encode(shown).hex()}


def _about(shown: PanelContent) -> dict[str, Any]:
    applicant, header = _applicant(shown.proof), shown.proof.header
    panel = () if applicant is None else applicant.panel
    return {
        "chain": header.chain.hex(),
        "home": shown.applicant.hex(),
        "verifiers": [one.hex() for one in panel],
        "height": header.height,
        "until_slot": None if applicant is None else applicant.until_slot,
    }
