"""A home asks to join: what it writes is what its node starts with, what it asks with is what a chain takes."""

import json
from dataclasses import replace as with_fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.events import fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT, Digest
from contracts.genesis import chain_id
from contracts.receipts import Reason
from contracts.transactions import RequestJoin
from node.admission.authority import Authority
from node.admission.chain import Role
from node.admission.endpoint import Endpoint
from node.admission.identity import certificate_key, create_key, load_chain, load_identity
from node.admission.joining import home as joining_home
from node.admission.joining.files import Street, read_join_identity, read_join_request
from node.admission.joining.home import ask_to_join, terms_digest
from node.admission.meter_claim import claim_meter
from node.admission.new_home import make_home
from node.admission.request import read_request
from node.errors import ConfigurationError, IdentityError, JoinError
from node.home.checkpoint_file import load_checkpoint
from node.home.configuration import (
    ApiTable,
    Configuration,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
    PriceTable,
    load_configuration,
)
from node.home.configuration_text import with_changes
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from tests.support.checkpoints import proof_of_one_block
from tests.support.contracts import Community, make_genesis, seeded_key
from tests.support.joining import JoiningChain

NOW = datetime.now(UTC).replace(microsecond=0)
PERSON = Digest(bytes([7]) * 32)
WHO = "Ada Löwe, Sunny Street 5"
TERMS = terms_digest(b"the main contract")


class Joining:
    """A chain with its authority, and a home that was no part of its founding."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority("street", now=NOW - timedelta(days=30))
        founders = make_genesis(4)
        genesis = replace(founders.genesis, authority_key=certificate_key(self.authority.root))
        self.community: Community = with_fields(founders, genesis=genesis, chain=chain_id(genesis))
        configuration = Configuration(
            node=NodeTable(name="fifth"),
            p2p=PeerToPeerTable(port=7_005),
            api=ApiTable(port=8_005),
            price=PriceTable(sell_micro_per_kwh=1, buy_max_micro_per_kwh=7),
        )
        self.home = make_home(directory / "fifth", configuration, Endpoint("127.0.0.1", 7_005), capacity_w=11_000)
        self.address = address_of(read_request(self.home.request).node_key)
        peers = (PeerEntry(address=founders.addresses[0].hex(), host="192.0.2.1", port=7_001),)
        proof = proof_of_one_block(self.community)
        self.street = Street(genesis=genesis, root=self.authority.root, proof=proof, peers=peers)

    def certificate(self, *, authority: Authority | None = None, person: Digest | None = PERSON) -> bytes:
        asked = read_request(self.home.request)
        host, port = asked.endpoint
        return (authority or self.authority).issue(
            asked.node_key, host=host, port=port, meter=asked.meter, person=person
        )

    def ask(self, *, street: Street | None = None, certificate: bytes | None = None) -> RequestJoin:
        return ask_to_join(
            self.home,
            street or self.street,
            certificate=certificate or self.certificate(),
            identity=WHO,
            terms=TERMS,
        )

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.home.directory.iterdir() if path.is_file()}


@pytest.fixture
def joining(tmp_path: Path) -> Joining:
    return Joining(tmp_path)


def sign_state_of(home: Home) -> object:
    file = SignStateFile(home.sign_state)
    try:
        return read_sign_state(file)
    finally:
        file.close()


def test_a_chain_takes_what_a_home_asks_with(joining: Joining) -> None:
    request, genesis = joining.ask(), joining.community.genesis
    chain = JoiningChain(joining.community)
    now_slot = int(NOW.timestamp() * 1_000 - genesis.start_ms) // genesis.slot_duration_ms
    (receipt,) = chain.block((0, request), slot=now_slot).receipts
    assert receipt.reason is Reason.NONE
    assert read_join_request(joining.home.join_request) == request
    shown = read_join_identity(joining.home.join_identity)
    assert (shown.identity, shown.commitment) == (WHO, request.application.identity)
    assert joining.home.join_identity.stat().st_mode & 0o777 == 0o600
    assert request.application.terms == TERMS != terms_digest(b"another contract")


def test_it_writes_all_that_a_node_starts_with(joining: Joining) -> None:
    itself = PeerEntry(address=joining.address.hex(), host="127.0.0.1", port=7_005)
    joining.ask(street=with_fields(joining.street, peers=(itself, *joining.street.peers)))
    home = joining.home
    assert load_identity(home).address == joining.address
    assert load_genesis(home) == joining.community.genesis
    assert load_chain(home.authority_certificate)[0] == joining.authority.root
    configuration = load_configuration(home.configuration)
    assert configuration.p2p.peers == joining.street.peers, "a home is not its own peer"
    assert (configuration.price.sell_micro_per_kwh, configuration.price.buy_max_micro_per_kwh) == (200_000, 320_000)
    assert sign_state_of(home) == fresh_sign_state(FIRST_HEIGHT)
    assert load_checkpoint(home.checkpoint, joining.community.chain) == joining.street.checkpoint
    for path in home.directory.iterdir():
        assert path == home.join_identity or WHO.encode() not in path.read_bytes(), f"{path} names who lives there"


def test_asking_again_asks_anew_and_begins_nothing_afresh(joining: Joining) -> None:
    first = joining.ask()
    text = with_changes(joining.home.configuration.read_text(), price={"buy_max_micro_per_kwh": 99_000})
    joining.home.configuration.write_text(text)
    salt = read_join_identity(joining.home.join_identity).salt
    while (again := joining.ask()).application.number == first.application.number:
        pass  # in the same millisecond
    assert again.application.number > first.application.number
    assert again.application.identity != first.application.identity
    assert read_join_identity(joining.home.join_identity).salt != salt
    assert load_configuration(joining.home.configuration).price.buy_max_micro_per_kwh == 99_000
    moved = with_fields(joining.street, peers=(joining.street.peers[0].model_copy(update={"port": 7_999}),))
    joining.home.sign_state.unlink()  # what it signed is lost: the node asks the others, it does not begin afresh
    joining.ask(street=moved)
    assert not joining.home.sign_state.exists()
    assert load_configuration(joining.home.configuration).p2p.peers == moved.peers


@pytest.mark.parametrize(("interval", "expected"), [(1, "snapshot"), (2, "genesis")])
def test_it_begins_with_a_snapshot_where_the_chain_is_long_enough_that_there_is_one(
    joining: Joining, monkeypatch: pytest.MonkeyPatch, interval: int, expected: str
) -> None:
    monkeypatch.setattr(joining_home, "SNAPSHOT_INTERVAL", interval)
    joining.ask()
    assert load_configuration(joining.home.configuration).node.begins_with == expected
    text = joining.home.configuration.read_text(encoding="utf-8")
    other = "genesis" if expected == "snapshot" else "snapshot"
    joining.home.configuration.write_text(with_changes(text, node={"begins_with": other}), encoding="utf-8")
    joining.ask()
    assert load_configuration(joining.home.configuration).node.begins_with == other, "people chose it"


def test_what_was_cut_off_is_asked_again(joining: Joining) -> None:
    """Genesis comes last: without it a home has begun nothing."""
    joining.ask()
    joining.home.genesis.unlink()
    before = joining.home.sign_state.read_bytes()
    joining.ask()
    assert joining.home.sign_state.read_bytes() == before
    assert load_genesis(joining.home) == joining.community.genesis


def test_it_goes_by_the_root_that_certifies_it_also_where_genesis_names_an_earlier_one(joining: Joining) -> None:
    """The chain says on its own which key acts for the authority."""
    renewed = Authority("street", now=NOW - timedelta(days=1))
    street = with_fields(joining.street, root=renewed.root)
    request = joining.ask(street=street, certificate=joining.certificate(authority=renewed))
    assert request.vouchers.issuing.issuing_key == certificate_key(renewed.issuing)


def other_chain(joining: Joining) -> None:
    joining.ask()
    joining.street = with_fields(joining.street, genesis=make_genesis(5).genesis)


def lost_genesis(joining: Joining) -> None:
    joining.home.ledger.mkdir()


def no_key(joining: Joining) -> None:
    joining.home.meter_key.unlink()


def another_key(joining: Joining) -> None:
    joining.home.node_key.unlink()
    create_key(joining.home.node_key)


def another_meter(joining: Joining) -> None:
    joining.home.meter_key.unlink()
    create_key(joining.home.meter_key)


def no_configuration(joining: Joining) -> None:
    joining.home.configuration.write_text("[node]\nname = 1\n")


REFUSED = [
    (other_chain, JoinError, "takes part in another chain already, and is not changed"),
    (lost_genesis, JoinError, "takes part in another chain already, and is not changed"),
    (no_key, IdentityError, "meter.key"),
    (another_key, IdentityError, "the certificate is not that of"),
    (another_meter, IdentityError, "the certificate is of another meter than"),
    (no_configuration, ConfigurationError, "meter.toml"),
]


@pytest.mark.parametrize(("happens", "error", "text"), REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    joining: Joining, happens: object, error: type[Exception], text: str
) -> None:
    certificate = joining.certificate()
    happens(joining)  # type: ignore[operator]
    before = joining.content()
    with pytest.raises(error, match=text):
        joining.ask(certificate=certificate)
    assert joining.content() == before


def of_another_authority(joining: Joining) -> bytes:
    return joining.certificate(authority=Authority("elsewhere", now=NOW - timedelta(days=30)))


def without_a_person(joining: Joining) -> bytes:
    return joining.certificate(person=None)


def alone(joining: Joining) -> bytes:
    first, end, _ = joining.certificate().partition(b"-----END CERTIFICATE-----\n")
    return first + end


def of_a_provider(joining: Joining) -> bytes:
    asked = read_request(joining.home.request)
    return joining.authority.issue(asked.node_key, meter=asked.meter, person=PERSON, role=Role.PROVIDER)


def of_a_neighbour(joining: Joining) -> bytes:
    key = seeded_key("neighbour", 0)
    claim = claim_meter(key.public_key, seeded_key("meter", 9), 11_000)
    return joining.authority.issue(key.public_key, meter=claim, person=PERSON)


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (of_another_authority, "the authority did not sign"),
        (without_a_person, "vouches for no meter on a chain"),
        (alone, "there are 1 certificates, not 2"),
        (of_a_provider, "member"),
        (of_a_neighbour, "the certificate is not that of"),
        (lambda _: b"none", "is not a certificate"),
    ],
)
def test_a_certificate_that_is_not_the_homes_is_refused_and_changes_nothing(
    joining: Joining, certificate: object, text: str
) -> None:
    made = certificate(joining)  # type: ignore[operator]
    before = joining.content()
    with pytest.raises(IdentityError, match=text):
        joining.ask(certificate=made)
    assert joining.content() == before


def test_the_identity_file_holds_what_the_commitment_is_of(joining: Joining) -> None:
    request = joining.ask()
    fields = json.loads(joining.home.join_identity.read_text())
    assert bytes.fromhex(fields["salt"]) not in encode(request)
    assert fields["identity"] == WHO
