"""A panel's file shows a home that joins who verifies it, and no liar whom it asks can name somebody else."""

import json
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from contracts.applicants import Applicant
from contracts.genesis import Genesis
from contracts.state import account_key, applicant_key
from ledger.block import BlockHeader, block_digest
from ledger.proofs import StateProof
from node.errors import FileRefused, NotFound
from node.proofs.panel_file import PANEL_FORMAT, PanelContent, ProvenPanel, check_panel, document_of, export_panel
from node.proofs.signed_file import file_text
from tests.support.changing_members import ChangingChain, certify_by, changing_chain
from tests.support.contracts import make_genesis
from tests.support.joining import newcomer, request_of, verdict_on
from tests.support.ledger import ChainBuilder
from tests.support.stories import told

NEW, OTHER = newcomer(1), newcomer(2)
LAST = 12
ACCOMPLICE = SigningKey(b"\x66" * 32)


class Shown:
    """A chain on which a home asked in block 1, and the panel's file after each of its blocks."""

    def __init__(self, chain: ChangingChain) -> None:
        self.chain = chain
        self.genesis = chain.community.genesis
        self.files: dict[int, bytes] = {}
        chain.grow([chain.builder.transaction(0, request_of(chain.community, NEW))])
        self.keep()
        while chain.ledger.height < LAST:
            chain.grow()
            self.keep()

    def keep(self) -> None:
        self.files[self.chain.ledger.height] = text_of(told(export_panel(self.chain.ledger, NEW.address)))

    def content(self, height: int = LAST) -> PanelContent:
        return content_of(self.files[height])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with changing_chain(tmp_path_factory.mktemp("panel") / "ledger") as chain:
        yield Shown(chain)


def text_of(document: dict[str, object]) -> bytes:
    return file_text(document).encode()


def content_of(file: bytes) -> PanelContent:
    return decode(bytes.fromhex(json.loads(file)["content"]), PanelContent)


def forged(content: PanelContent, **fields: object) -> bytes:
    """The file of a liar, whose readable part follows from what it put in."""
    return text_of(document_of(replace(content, **fields)))


def refusal(content: bytes, genesis: Genesis) -> str:
    with pytest.raises(FileRefused) as refused:
        check_panel(content, genesis)
    return str(refused.value)


def test_the_verifiers_are_shown_with_the_keys_that_they_have_at_each_height(shown: Shown) -> None:
    chain, founders = shown.chain, shown.chain.community.node_keys
    for height, file in shown.files.items():
        proven = check_panel(file, shown.genesis)
        assert isinstance(proven, ProvenPanel)
        assert proven.height == height
        assert proven.panel.verifiers == chain.community.addresses
        assert (proven.panel.applicant, proven.panel.chain) == (NEW.address, chain.ledger.chain)
        members = chain.set_of(height + 2)
        assert proven.keys == tuple(
            (key.address, members.key_of(key.address)) for key in founders if members.key_of(key.address)
        )
    assert dict(check_panel(shown.files[5], shown.genesis).keys)[founders[1].address] == chain.rotated.public_key
    assert len(check_panel(shown.files[8], shown.genesis).keys) == 3, "who left is shown nothing"


# --- liars -----------------------------------------------------------------------------------------------------


def with_panel(proof: StateProof, *verifiers: SigningKey) -> StateProof:
    applicant = decode(proof.value or b"", Applicant)
    return replace(proof, value=encode(replace(applicant, panel=tuple(key.address for key in verifiers))))


def test_a_liar_names_no_other_verifiers(shown: Shown) -> None:
    content = shown.content()
    others = with_panel(content.proof, ACCOMPLICE, *shown.chain.community.node_keys[1:])
    assert "no quorum of the members of height 12 decided" in refusal(forged(content, proof=others), shown.genesis)
    fewer = with_panel(content.proof, *shown.chain.community.node_keys[:3])
    assert "no quorum" in refusal(forged(content, proof=fewer), shown.genesis)


def lied_header(shown: Shown, header: BlockHeader, signers: list[SigningKey]) -> StateProof:
    """A header with a state of a liar's own making, and signatures of some under it."""
    ledger = shown.chain.ledger
    certificate = certify_by(ledger, replace(ledger.decided_block(header.height), header=header), signers)
    assert certificate.block == block_digest(header)
    return replace(shown.content().proof, header=header, certificate=certificate)


def test_fewer_than_a_quorum_decide_no_state_of_their_own(shown: Shown) -> None:
    content, members = shown.content(), shown.chain.signers(LAST, 4)
    header = replace(content.proof.header, state_root=bytes(32))
    for signers in (members[:2], [*members[:2], ACCOMPLICE], [ACCOMPLICE, shown.chain.community.node_keys[0]]):
        lied = lied_header(shown, header, signers)
        assert "no quorum" in refusal(forged(content, proof=lied), shown.genesis)
    assert "no quorum" in refusal(forged(content, proof=lied_header(shown, header, members[:3])), shown.genesis), (
        "nor has the true path anything to do with another root"
    )


def test_a_liar_gives_no_verifier_the_key_that_it_had_before(shown: Shown) -> None:
    for height in (5, 6):
        content = shown.content(height)
        changes = tuple(one for one in content.changes if one.header.height != 5)  # type: ignore[union-attr]
        assert len(changes) == len(content.changes) - 1
        assert f"a change of the members up to height {height} is missing" in refusal(
            forged(content, changes=changes), shown.genesis
        )
    content = shown.content()
    for left_out in range(len(content.changes)):
        changes = (*content.changes[:left_out], *content.changes[left_out + 1 :])
        refusal(forged(content, changes=changes), shown.genesis)


def test_a_liar_shows_nothing_else_that_is_on_the_chain(shown: Shown) -> None:
    content, ledger = shown.content(), shown.chain.ledger
    wallet = ledger.prove_state(account_key(shown.chain.community.addresses[0]))
    assert "something else" in refusal(forged(content, applicant=OTHER.address), shown.genesis)
    none = PanelContent(
        applicant=OTHER.address, changes=content.changes, proof=ledger.prove_state(applicant_key(OTHER.address))
    )
    assert "at height 12 nobody verified" in refusal(forged(none), shown.genesis)
    document = document_of(content) | {"content": encode(replace(content, proof=wallet)).hex()}
    assert "something else" in refusal(text_of(document), shown.genesis)
    wrong = replace(content.proof, value=wallet.value)
    document = document_of(content) | {"content": encode(replace(content, proof=wrong)).hex()}
    assert "no quorum" in refusal(text_of(document), shown.genesis)


def test_another_chain_shows_nothing_here(shown: Shown) -> None:
    other = make_genesis(5)
    assert refusal(shown.files[LAST], other.genesis)


CHANGES: dict[str, Callable[[dict[str, object]], object]] = {
    "another verifier is read": lambda file: file["about"].update(verifiers=["00" * 32]),  # type: ignore[attr-defined]
    "another time is read": lambda file: file["about"].update(until_slot=1),  # type: ignore[attr-defined]
    "another format": lambda file: file.update(format="p2pnode-receipt-2"),
    "no bytes": lambda file: file.update(content="zz"),
    "cut bytes": lambda file: file.update(content=str(file["content"])[:-2]),
    "a field more": lambda file: file.update(note="seen"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_refused(shown: Shown, change: Callable[[dict[str, object]], object]) -> None:
    document = json.loads(shown.files[LAST])
    assert document["format"] == PANEL_FORMAT
    change(document)
    assert refusal(text_of(document), shown.genesis)


# --- when there is nothing to show -----------------------------------------------------------------------------


def test_nobody_verifies_who_never_asked_or_is_admitted(tmp_path) -> None:  # type: ignore[no-untyped-def]
    homes = make_genesis(4)
    builder = ChainBuilder.create(tmp_path / "ledger", homes)
    with pytest.raises(NotFound, match="it never asked"):
        told(export_panel(builder.ledger, NEW.address))
    builder.append([builder.transaction(0, request_of(homes, NEW))])
    file = text_of(told(export_panel(builder.ledger, NEW.address)))
    assert check_panel(file, homes.genesis).height == Height(1)
    builder.append([builder.transaction(verifier, verdict_on(NEW)) for verifier in range(3)])
    with pytest.raises(NotFound, match="its application is over"):
        told(export_panel(builder.ledger, NEW.address))
    builder.ledger.close()
