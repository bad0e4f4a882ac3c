"""Proven misconduct: on the chain, in a file for others, and in a node's own folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from consensus.codec import encode
from contracts.state import misconduct_key
from contracts.transactions import DoubleOffer
from node.cli.story_tables import show_misconduct as print_misconduct
from node.errors import FileRefused, NotFound
from node.proofs.evidence_file import check_evidence_file, evidence_text, pending_evidence, prove_evidence
from node.stories.misconduct import list_misconduct, show_misconduct
from tests.support.contracts import make_genesis, trade_terms
from tests.support.names import names_in
from tests.support.stories import StoryChain, two_votes


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoryChain]:
    chain = StoryChain(tmp_path_factory.mktemp("evidence") / "ledger")
    yield chain
    chain.ledger.close()


def double_offer(chain: StoryChain) -> DoubleOffer:
    first = trade_terms(chain.community, 0, 1, 10, offer_counter=5)
    second = trade_terms(chain.community, 0, 2, 10, offer_counter=5)
    key = chain.community.node_keys[0]
    return DoubleOffer(
        offender=key.address,
        first=first,
        first_signature=key.sign(encode(first)),
        second=second,
        second_signature=key.sign(encode(second)),
    )


def file_of(chain: StoryChain, evidence) -> bytes:  # type: ignore[no-untyped-def]
    genesis = chain.community.genesis
    proof = prove_evidence(encode(evidence), genesis)
    return evidence_text(proof.evidence, proof.offence).encode()


def test_the_chain_lists_and_shows_what_was_proven(chain: StoryChain) -> None:
    (listed,) = list_misconduct(chain.ledger, names_in(chain.ledger)).misconducts
    assert (listed.offender.name, listed.offence) == ("home4", "two_votes")
    assert listed.words == "voted for two different blocks in one slot"
    reply = show_misconduct(chain.ledger, names_in(chain.ledger), listed.misconduct[:10])
    assert reply.misconduct == listed
    first, second = reply.statements
    assert first.fields["slot"] == second.fields["slot"] == 9
    assert first.fields["block"] != second.fields["block"]
    console = Console(width=300, force_terminal=False)
    with console.capture() as captured:
        print_misconduct(console, reply)
    assert "home4 voted for two different blocks in one slot" in captured.get()


@pytest.mark.parametrize("text", ["abc", "0" * 64, "home4"])
def test_what_was_not_proven_is_told(chain: StoryChain, text: str) -> None:
    with pytest.raises(NotFound) as refused:
        show_misconduct(chain.ledger, names_in(chain.ledger), text)
    assert refused.value.reason == "unknown_evidence"


def test_a_file_from_the_chain_convinces_with_genesis_alone(chain: StoryChain) -> None:
    (listed,) = list_misconduct(chain.ledger, names_in(chain.ledger)).misconducts
    encoded = bytes.fromhex(show_misconduct(chain.ledger, names_in(chain.ledger), listed.misconduct).encoded)
    for content in (encoded, file_of(chain, two_votes(chain.community, 3))):
        proof = check_evidence_file(content, chain.community.genesis)
        assert (proof.offence, proof.name.hex()) == ("two_votes", listed.misconduct)
    assert chain.ledger.get(misconduct_key(proof.name)) is not None


def test_a_double_offer_is_proven_by_a_file(chain: StoryChain) -> None:
    proof = check_evidence_file(file_of(chain, double_offer(chain)), chain.community.genesis)
    assert (proof.offence, proof.evidence.offender) == ("double_offer", chain.community.addresses[0])


@pytest.mark.parametrize("kind", ["votes", "offers"])
def test_no_flipped_byte_passes(chain: StoryChain, kind: str) -> None:
    evidence = two_votes(chain.community, 3) if kind == "votes" else double_offer(chain)
    content = file_of(chain, evidence)
    for place in range(0, len(content), 3):
        altered = content[:place] + bytes([content[place] ^ (1 << place % 7)]) + content[place + 1 :]
        with pytest.raises(FileRefused):
            check_evidence_file(altered, chain.community.genesis)


def test_what_proves_nothing_is_refused(chain: StoryChain) -> None:
    evidence, genesis = two_votes(chain.community, 3), chain.community.genesis
    twice = replace(evidence, second=evidence.first)
    blamed = replace(evidence, offender=chain.community.addresses[0])
    stranger = replace(evidence, offender=chain.ledger.tip)
    for wrong, reason in (
        (encode(twice), f"do not prove that {chain.community.addresses[3].hex()}"),
        (encode(blamed), f"do not prove that {chain.community.addresses[0].hex()}"),
        (encode(stranger), "is no member of this genesis"),
        (b"", "its content is damaged"),
        (b"{", "it is not JSON"),
    ):
        with pytest.raises(FileRefused, match=reason):
            check_evidence_file(wrong, genesis)
    with pytest.raises(FileRefused):
        check_evidence_file(encode(evidence), make_genesis(grid_fee_micro_per_kwh=1).genesis)


def test_a_nodes_folder_is_read_with_what_is_damaged_in_it(chain: StoryChain, tmp_path: Path) -> None:
    genesis = chain.community.genesis
    assert list(pending_evidence(tmp_path / "missing", genesis)) == []
    (tmp_path / "a.evidence").write_bytes(encode(double_offer(chain)))
    (tmp_path / "b.evidence").write_bytes(b"nonsense")
    (tmp_path / "c.partial").write_bytes(b"half")
    (_, good), (_, bad) = pending_evidence(tmp_path, genesis)
    assert not isinstance(good, FileRefused)
    assert good.offence == "double_offer"
    assert chain.ledger.get(misconduct_key(good.name)) is None
    assert isinstance(bad, FileRefused)
