"""A founding is made by homes that keep their keys, and nothing that does not fit enters it: real keys and files."""

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.events import fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT
from contracts.genesis import chain_id
from contracts.units import MicroTokens
from node.admission.authority import Authority
from node.admission.chain import read_chain
from node.admission.endpoint import Endpoint
from node.admission.founding import (
    Founding,
    begin_founding,
    check_founding,
    founding_digest,
    missing_signatures,
    sign_founding,
    with_card,
    with_member,
    with_signature,
)
from node.admission.founding_file import (
    read_founding,
    read_from_home,
    render_founding,
    write_founding,
    write_signature,
)
from node.admission.founding_rules import Accounts, Tariffs, make_rules
from node.admission.identity import certificate_key, create_key, load_identity, load_key, load_private_key
from node.admission.meter_claim import MeterClaim, claim_meter
from node.admission.new_home import found_from, make_home
from node.admission.request import make_request, read_request
from node.errors import FoundingError, IdentityError
from node.home.configuration import (
    ApiTable,
    Configuration,
    NodeTable,
    PeerToPeerTable,
    PriceTable,
    load_configuration,
)
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from node.names.address_book import load_book
from node.names.card import Card, call, sign_card
from tests.support.contracts import seeded_key

NOW = datetime.now(UTC)
TOKENS = MicroTokens(5_000_000)
CAPACITY_W = 11_000
ACCOUNTS = {"issuer": seeded_key("issuer", 0).public_key, "grid": seeded_key("grid", 0).public_key}


class Street:
    """An authority, and homes that made their own keys."""

    def __init__(self, directory: Path, count: int = 4) -> None:
        self.directory = directory
        self.authority = Authority("street", now=NOW - timedelta(days=30))
        self.homes = [self.home(number) for number in range(1, count + 1)]
        rules = make_rules("street", Accounts(certificate_key(self.authority.root), **ACCOUNTS), Tariffs())
        self.begun = begin_founding(rules, self.authority.root)

    def home(self, number: int, *, port: int | None = None, price: PriceTable | None = None) -> Home:
        port = 7_000 + number if port is None else port
        configuration = Configuration(
            node=NodeTable(name=f"home{number}"),
            p2p=PeerToPeerTable(port=port),
            api=ApiTable(port=8_000 + number),
            price=price or PriceTable(),
        )
        directory = self.directory / f"home{number}"
        return make_home(directory, configuration, Endpoint("127.0.0.1", port), capacity_w=CAPACITY_W)

    def certificate(self, home: Home) -> str:
        asked = read_request(home.request)
        host, port = asked.endpoint
        return self.authority.issue(asked.node_key, host=host, port=port, meter=asked.meter).decode()

    def founding(self) -> Founding:
        founding = self.begun
        for home in self.homes:
            founding = with_member(founding, self.certificate(home), TOKENS, now=NOW)
        for number, home in enumerate(self.homes, start=1):
            founding = with_card(founding, card_of(home, f"home{number}"))
        return founding

    def issue(self, key: SigningKey, *, authority: Authority | None = None, **options: Any) -> str:
        """A certificate for another home."""
        claim = claim_meter(key.public_key, seeded_key("meter", 9), CAPACITY_W)
        options = {"host": "127.0.0.1", "port": 7_009, "meter": claim} | options
        return (authority or self.authority).issue(key.public_key, **options).decode()


def card_of(home: Home, name: str) -> Card:
    return sign_card(load_key(home.node_key), call(name))


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


def test_homes_found_a_chain_and_keep_their_keys(street: Street) -> None:
    founding = street.founding()
    keys = [home.node_key.read_bytes() + home.meter_key.read_bytes() for home in street.homes]
    everybody = check_founding(founding, now=NOW)
    assert missing_signatures(everybody) == ("home1", "home2", "home3", "home4")
    for home in street.homes:
        founding = with_signature(founding, found_from(home, founding, everybody))
    assert missing_signatures(check_founding(founding, now=NOW)) == ()
    for number, home in enumerate(street.homes, start=1):
        assert load_genesis(home) == founding.genesis
        assert load_identity(home).address == everybody[number - 1].address
        configuration = load_configuration(home.configuration)
        assert [(peer.address_bytes, peer.port) for peer in configuration.p2p.peers] == [
            (everybody[other - 1].address, 7_000 + other) for other in range(1, 5) if other != number
        ]
        assert [(entry.address, entry.called.name) for entry in load_book(home.address_book).entries] == [
            (founder.address, f"home{other}") for other, founder in enumerate(everybody, start=1)
        ]
        assert stat.S_IMODE(home.address_book.stat().st_mode) == 0o600
        assert stat.S_IMODE(home.sign_state.stat().st_mode) == 0o600
        file = SignStateFile(home.sign_state)
        assert read_sign_state(file) == fresh_sign_state(FIRST_HEIGHT)
        file.close()
    assert keys == [home.node_key.read_bytes() + home.meter_key.read_bytes() for home in street.homes]
    member = founding.genesis.members[0]
    assert (member.capacity_w, member.tokens_micro) == (CAPACITY_W, TOKENS)


def test_no_name_is_in_genesis_or_in_what_peers_see(street: Street) -> None:
    founding = street.founding()
    found_from(street.homes[0], founding, check_founding(founding, now=NOW))
    home = street.homes[0]
    for path in (home.genesis, home.genesis_text, home.certificate):
        assert not [number for number in range(1, 5) if f"home{number}".encode() in path.read_bytes()]
    der = [one.public_bytes(Encoding.DER) for one in read_chain(home.certificate.read_bytes())]
    assert b"home1" not in b"".join(der)


def test_a_card_changes_neither_the_chain_nor_what_was_signed(street: Street) -> None:
    founding, home = street.founding(), street.homes[0]
    without = replace(founding, cards=())
    signed = with_signature(without, found_from(home, without, check_founding(without, now=NOW)))
    own = [entry.called.name for entry in load_book(home.address_book).entries]
    assert own == ["home1"], "its own, from its beginning"
    with_cards = replace(signed, cards=founding.cards)
    assert founding_digest(with_cards) == founding_digest(signed)
    everybody = check_founding(with_cards, now=NOW)
    assert [founder.has_signed for founder in everybody] == [True, False, False, False]
    found_from(home, with_cards, everybody)  # signing again takes the cards that came since
    assert len(load_book(home.address_book).entries) == 4
    assert [founder.name for founder in check_founding(without, now=NOW)] == [
        founder.address.hex()[:16] for founder in everybody
    ]


def test_a_card_that_does_not_fit_is_refused(street: Street) -> None:
    founding, (first, second, *_) = street.founding(), street.homes
    stranger = sign_card(KEY, call("home9"))
    forged = replace(card_of(first, "home1"), called=call("home7"))
    for wrong, words in (
        (stranger, "is not among the members"),
        (card_of(second, "home1"), "two homes are called 'home1'"),
        (forged, "the signature of its card is wrong"),
    ):
        with pytest.raises(FoundingError, match=words):
            with_card(founding, wrong)
        cards = tuple(card for card in founding.cards if card.node_key != wrong.node_key)
        with pytest.raises(FoundingError, match=words):
            check_founding(replace(founding, cards=(*cards, wrong)), now=NOW)
    with pytest.raises(FoundingError, match="two cards"):
        check_founding(replace(founding, cards=(*founding.cards, card_of(first, "home8"))), now=NOW)
    renamed = with_card(founding, card_of(first, "home8"))
    assert check_founding(renamed, now=NOW)[0].name == "home8"


def test_no_private_key_is_in_what_goes_out(street: Street, tmp_path: Path) -> None:
    founding = street.founding()
    found_from(street.homes[0], founding, check_founding(founding, now=NOW))
    write_founding(tmp_path / "founding.json", founding)
    public = (tmp_path / "founding.json").read_bytes() + street.homes[0].request.read_bytes()
    for home in street.homes:
        for key in (home.node_key, home.meter_key):
            secret = b"".join(key.read_bytes().splitlines()[1:-1])
            assert secret not in public
    assert b"PRIVATE" not in public


# --- who may be added -------------------------------------------------------------------------------------------


def yesterday(days: int) -> datetime:
    return NOW - timedelta(days=days)


REFUSED: dict[str, tuple[str, Callable[[Street], str]]] = {
    "another authority": (
        "the authority did not sign",
        lambda street: street.issue(KEY, authority=Authority("elsewhere")),
    ),
    "no endpoint": ("does not name where its home is reached", lambda street: street.issue(KEY, port=None)),
    "no meter": ("does not name its meter", lambda street: street.issue(KEY, meter=None)),
    "expired": (
        "is valid from",
        lambda street: street.issue(KEY, now=yesterday(9), validity=timedelta(days=3)),
    ),
    "valid from tomorrow": ("is valid from", lambda street: street.issue(KEY, now=yesterday(-2))),
    "the same home twice": ("duplicate_key", lambda street: street.certificate(street.homes[1])),
    "the meter of another": ("duplicate_key", lambda street: street.issue(KEY, meter=taken_meter(street))),
    "a meter that signed for another home": (
        "meter: it did not sign",
        lambda street: street.issue(KEY, meter=read_request(street.homes[0].request).meter),
    ),
    "a larger connection than the meter signed for": (
        "meter: it did not sign",
        lambda street: street.issue(KEY, meter=CLAIM._replace(capacity_w=CAPACITY_W + 1)),
    ),
    "an absurd connection": ("at most", lambda street: street.issue(KEY, meter=CLAIM._replace(capacity_w=9 * 10**9))),
    "no certificate": (
        "not a certificate in PEM form",
        lambda _: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ),
}
KEY = seeded_key("node", 9)
CLAIM = claim_meter(KEY.public_key, seeded_key("meter", 9), CAPACITY_W)


def taken_meter(street: Street) -> MeterClaim:
    return claim_meter(KEY.public_key, load_key(street.homes[0].meter_key), CAPACITY_W)


@pytest.mark.parametrize("case", REFUSED)
def test_who_does_not_fit_is_not_added(street: Street, case: str) -> None:
    words, certificate = REFUSED[case]
    with pytest.raises(FoundingError, match=words):
        with_member(street.founding(), certificate(street), TOKENS, now=NOW)


def test_a_home_that_fits_is_added(street: Street) -> None:
    grown = with_member(street.founding(), street.issue(KEY), TOKENS, now=NOW)
    assert check_founding(grown, now=NOW)[-1].address == KEY.address


def test_two_homes_at_one_place_found_nothing(street: Street) -> None:
    crowded = with_member(street.founding(), street.issue(KEY, port=7_002), TOKENS, now=NOW)
    with pytest.raises(FoundingError, match=r"would be at .*:7002, where [0-9a-f]{16} is"):
        check_founding(crowded, now=NOW)


def test_a_request_with_a_foreign_meter_is_refused(street: Street, tmp_path: Path) -> None:
    key = create_key(tmp_path / "node.key")
    claim = read_request(street.homes[0].request).meter
    (tmp_path / "node.csr").write_bytes(make_request("thief", tmp_path / "node.key", Endpoint("a", 1), claim))
    with pytest.raises(IdentityError, match="meter: it did not sign for this node"):
        read_request(tmp_path / "node.csr")
    assert claim is not None
    assert claim.meter_key != key.public_key


def test_a_request_with_two_meters_is_refused(street: Street, tmp_path: Path) -> None:
    key = create_key(tmp_path / "node.key")
    claims = [claim_meter(key.public_key, seeded_key("meter", number), CAPACITY_W) for number in (1, 2)]
    names = [Endpoint("a", 1).uri, *(claim.uri for claim in claims)]
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "two")])
    ).add_extension(
        x509.SubjectAlternativeName([x509.UniformResourceIdentifier(name) for name in names]), critical=False
    )
    signed = builder.sign(load_private_key(tmp_path / "node.key"), algorithm=None)
    (tmp_path / "node.csr").write_bytes(signed.public_bytes(Encoding.PEM))
    with pytest.raises(IdentityError, match="meter: it names two"):
        read_request(tmp_path / "node.csr")


# --- signatures -------------------------------------------------------------------------------------------------


def test_signatures_are_of_this_founding_and_of_its_members(street: Street) -> None:
    founding = street.founding()
    first = sign_founding(founding, load_key(street.homes[0].node_key))
    signed = with_signature(founding, first)
    assert with_signature(signed, first) == signed
    other_rules = replace(founding, genesis=replace(founding.genesis, price_max_micro_per_kwh=999_999))
    for wrong, words in (
        (sign_founding(other_rules, load_key(street.homes[1].node_key)), "signed another founding"),
        (replace(first, member=KEY.address), "not among the members"),
        (replace(first, member=check_founding(founding, now=NOW)[1].address), "its signature is wrong"),
    ):
        with pytest.raises(FoundingError, match=words):
            with_signature(signed, wrong)
    with pytest.raises(FoundingError, match="not among the members"):
        sign_founding(founding, KEY)
    with pytest.raises(FoundingError, match="signed twice"):
        check_founding(replace(signed, signatures=(first, first)), now=NOW)


def test_another_home_takes_the_signatures_away(street: Street) -> None:
    founding = street.founding()
    signed = with_signature(founding, sign_founding(founding, load_key(street.homes[0].node_key)))
    assert with_member(signed, street.issue(KEY), TOKENS, now=NOW).signatures == ()


# --- the file ---------------------------------------------------------------------------------------------------


def test_the_file_is_read_back_exactly(street: Street, tmp_path: Path) -> None:
    path, founding = tmp_path / "founding.json", street.founding()
    founding = with_signature(founding, sign_founding(founding, load_key(street.homes[0].node_key)))
    write_founding(path, founding)
    assert read_founding(path) == founding


def test_a_signature_is_read_back_exactly_or_refused(street: Street, tmp_path: Path) -> None:
    path, signature = (
        tmp_path / "home1.signature",
        sign_founding(street.founding(), load_key(street.homes[0].node_key)),
    )
    write_signature(path, signature)
    assert read_from_home(path) == signature
    fields = json.loads(path.read_text(encoding="utf-8"))
    for wrong in (fields | {"surplus": 1}, fields | {"type": "other"}, fields | {"member": fields["member"].upper()}):
        path.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(FoundingError):
            read_from_home(path)


def altered(fields: dict[str, Any]) -> list[dict[str, Any]]:
    genesis, members = fields["genesis"], fields["genesis"]["members"]
    return [
        fields | {"genesis": genesis | {"price_max_micro_per_kwh": 1}},
        fields | {"genesis": genesis | {"members": members[1:]}},
        fields | {"genesis": genesis | {"members": [members[0] | {"tokens_micro": 1}, *members[1:]]}},
        fields | {"certificates": fields["certificates"][::-1]},
        fields | {"certificates": fields["certificates"][1:]},
        fields | {"type": "p2pnode-other"},
        fields | {"surplus": 1},
        fields | {"signatures": 7},
        {name: value for name, value in fields.items() if name != "authority"},
    ]


def test_what_was_altered_is_refused(street: Street, tmp_path: Path) -> None:
    founding = street.founding()
    founding = with_signature(founding, sign_founding(founding, load_key(street.homes[0].node_key)))
    fields = json.loads(render_founding(founding))
    path = tmp_path / "founding.json"
    for wrong in altered(fields):
        path.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(FoundingError):
            read_founding(path)


def test_what_was_altered_with_its_digest_is_refused_by_whom_it_concerns(street: Street) -> None:
    founding = street.founding()
    swapped = replace(founding, certificates=founding.certificates[::-1])
    with pytest.raises(FoundingError, match="names another key, meter, capacity or end"):
        check_founding(swapped, now=NOW)
    with pytest.raises(FoundingError, match="4 members and 3 certificates"):
        check_founding(replace(founding, certificates=founding.certificates[:3]), now=NOW)
    foreign = replace(founding, genesis=replace(founding.genesis, authority_key=KEY.public_key))
    with pytest.raises(FoundingError, match="the authority's certificate"):
        check_founding(foreign, now=NOW)


# --- a home's own step ------------------------------------------------------------------------------------------


def content(home: Home) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.directory.iterdir() if path.is_file()}


def test_signing_again_changes_nothing_and_begins_nothing_afresh(street: Street) -> None:
    founding, home = street.founding(), street.homes[0]
    everybody = check_founding(founding, now=NOW)
    signature = found_from(home, founding, everybody)
    before = content(home)
    assert found_from(home, founding, everybody) == signature
    assert content(home) == before
    home.sign_state.unlink()  # what it signed is lost: the node asks the others, it does not begin afresh
    assert found_from(home, founding, everybody) == signature
    assert not home.sign_state.exists()


def test_a_home_that_runs_founds_nothing_else(street: Street) -> None:
    founding, home = street.founding(), street.homes[0]
    found_from(home, founding, check_founding(founding, now=NOW))
    other = with_member(founding, street.issue(KEY), TOKENS, now=NOW)
    everybody = check_founding(other, now=NOW)
    found_from(home, other, everybody)
    assert load_genesis(home) == other.genesis, "it had not begun"
    home.ledger.mkdir()
    before = content(home)
    with pytest.raises(FoundingError, match="takes part in another chain"):
        found_from(home, founding, check_founding(founding, now=NOW))
    assert content(home) == before
    assert chain_id(load_genesis(home)) == chain_id(other.genesis)


def test_a_home_that_is_not_there_or_has_another_meter_signs_nothing(street: Street) -> None:
    founding, stranger = street.founding(), street.home(7)
    everybody = check_founding(founding, now=NOW)
    before = content(stranger)
    with pytest.raises(FoundingError, match="not among the members"):
        found_from(stranger, founding, everybody)
    assert content(stranger) == before
    home = street.homes[0]
    home.meter_key.unlink()
    create_key(home.meter_key)
    before = content(home)
    with pytest.raises(FoundingError, match="names another meter than"):
        found_from(home, founding, everybody)
    assert content(home) == before


@pytest.mark.parametrize(("asked", "kept"), [(200_000, 200_000), (80_000, 80_000), (1, 190_000), (999_999, 190_000)])
def test_prices_are_those_that_the_street_allows(street: Street, asked: int, kept: int) -> None:
    home = street.home(5, price=PriceTable(sell_micro_per_kwh=asked, buy_max_micro_per_kwh=7))
    founding = with_member(street.founding(), street.certificate(home), TOKENS, now=NOW)
    found_from(home, founding, check_founding(founding, now=NOW))
    price = load_configuration(home.configuration).price
    assert (price.sell_micro_per_kwh, price.buy_max_micro_per_kwh) == (kept, 300_000)


def test_a_home_that_is_there_is_not_made_again(street: Street) -> None:
    before = content(street.homes[0])
    with pytest.raises(FoundingError, match="is there already"):
        street.home(1)
    assert content(street.homes[0]) == before


def test_what_is_signed_covers_all_but_the_signatures(street: Street) -> None:
    founding = street.founding()
    key = load_key(street.homes[0].node_key)
    for changed in (
        replace(founding, authority=founding.authority + "\n"),
        replace(founding, certificates=(*founding.certificates[:3], founding.certificates[3] + "\n")),
        replace(founding, genesis=replace(founding.genesis, network="other")),
    ):
        assert sign_founding(changed, key).founding != sign_founding(founding, key).founding
    assert encode(founding) != encode(with_signature(founding, sign_founding(founding, key)))
