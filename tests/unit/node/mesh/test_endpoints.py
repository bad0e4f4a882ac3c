"""Where a home looks for its peers, and where it says that it is."""

from collections.abc import Sequence
from itertools import product
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from consensus.cryptography import SigningKey
from consensus.era_plans import Departure, EraProof, Plan
from consensus.identifiers import Digest, EraNumber, Height
from consensus.past import FIRST
from contracts.units import Milliseconds
from ledger.eras import BegunEra
from node.admission.authority import Authority
from node.admission.endpoint import Endpoint
from node.home.configuration import PeerEntry, PeerToPeerTable
from node.mesh.endpoint_record import EndpointRecord, Place, sign_record
from node.mesh.endpoints import endpoints_of, own_places, places_of

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
PEERS = [
    PeerEntry(name=f"node{number}", address=key.address.hex(), host="192.0.2.1", port=7000 + number)
    for number, key in enumerate(KEYS, 1)
]
AUTHORITY = Authority("test")


def begun(era: int, departures: Sequence[Departure], gone: Sequence[int] = ()) -> BegunEra:
    members = tuple((key.address, key.public_key) for number, key in enumerate(KEYS, 1) if number not in gone)
    plan = Plan(
        chain=Digest(bytes(32)),
        era=EraNumber(era),
        follows=FIRST,
        base=Height(0),
        base_block=Digest(bytes(32)),
        carried=None,
        statements=(),
        departures=tuple(departures),
        quorums=(members,),
        members=members,
        authority=KEYS[0].public_key,
    )
    return BegunEra(proof=EraProof(plan=plan, joins=(), authority=None), carried=None)


def replaced(number: int, port: int | None, *, host: str = "meter.lan") -> Departure:
    key = SigningKey(bytes([number + 100]) * 32)
    pem = AUTHORITY.issue("new", key.public_key, host=host, port=port)
    certificates = tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))
    return Departure(address=KEYS[number - 1].address, node_key=key.public_key, certificates=certificates)


def found(*eras: BegunEra) -> dict[str, tuple[str, int]]:
    return {peer.name: (peer.host, peer.port) for peer in endpoints_of(PEERS, eras)}


AS_CONFIGURED = {f"node{number}": ("192.0.2.1", 7000 + number) for number in range(1, 5)}


def test_without_a_ceremony_peers_are_where_the_configuration_says() -> None:
    assert found() == AS_CONFIGURED
    assert found(begun(1, [])) == AS_CONFIGURED


def test_a_new_home_is_where_its_newest_certificate_says() -> None:
    moved = AS_CONFIGURED | {"node2": ("meter.lan", 9001)}
    assert found(begun(1, [replaced(2, 9001)])) == moved
    assert found(begun(1, [replaced(2, 9001)]), begun(2, [])) == moved, "an era that changes nothing"
    again = begun(2, [replaced(2, 9002, host="2001:db8::1")])
    assert found(begun(1, [replaced(2, 9001)]), again)["node2"] == ("2001:db8::1", 9002)


def test_a_certificate_without_an_endpoint_is_of_a_home_in_the_old_place() -> None:
    assert found(begun(1, [replaced(2, None)])) == AS_CONFIGURED


def test_who_is_gone_is_no_peer() -> None:
    gone = Departure(address=KEYS[2].address, node_key=None)
    assert list(found(begun(1, [gone], gone=(3,)))) == ["node1", "node2", "node4"]


# --- where a member is ------------------------------------------------------------------------------------------

PEER = endpoints_of(PEERS, ())[0]
FIRST_CONTACT = Endpoint(PEER.host, PEER.port)


def said(port: int, *, expires_ms: int, sequence: int = 1, hosts: Sequence[str] = ("meter.lan",)) -> EndpointRecord:
    places = tuple(Place(host=host, port=port) for host in hosts)
    chain, expires = Digest(bytes(32)), Milliseconds(expires_ms)
    return sign_record(KEYS[0], chain=chain, places=places, sequence=sequence, expires_ms=expires)


def test_a_member_is_where_it_said_last_then_where_the_files_say_then_where_it_said_long_ago() -> None:
    """Every combination of up to two records, valid or expired, at the files' place or another one."""
    for count in range(3):
        for ports in product((PEER.port, 9001, 9002), repeat=count):
            for expiries in product((99, 100, 101), repeat=count):
                records = [
                    said(port, expires_ms=expiry, hosts=[PEER.host])
                    for port, expiry in zip(ports, expiries, strict=True)
                ]
                places = places_of(PEER, records, wall_ms=100)
                assert len(set(places)) == len(places), "each once"
                assert set(places) == {FIRST_CONTACT, *(Endpoint(PEER.host, port) for port in ports)}
                valid = [port for port, expiry in zip(ports, expiries, strict=True) if expiry > 100]
                expected = dict.fromkeys([*valid, PEER.port, *ports])
                assert [place.port for place in places] == list(expected)


def test_all_places_of_a_record_are_tried_in_its_order() -> None:
    record = said(9001, expires_ms=200, hosts=("2001:db8::1", "meter.lan"))
    found = places_of(PEER, [record], wall_ms=100)
    assert found == (Endpoint("2001:db8::1", 9001), Endpoint("meter.lan", 9001), FIRST_CONTACT)


# --- where this node is -----------------------------------------------------------------------------------------


def own(certified: str | None = None, **keys: Any) -> list[str]:
    table = PeerToPeerTable(**{"port": 7000, **keys})
    places = own_places(table, None if certified is None else Endpoint(certified, 1))
    return [str(Endpoint(place.host, place.port)) for place in places]


def test_a_home_says_where_it_listens_and_what_its_certificate_names_at_its_own_port() -> None:
    assert own(host="192.0.2.7") == ["192.0.2.7:7000"]
    assert own("meter.lan", host="0.0.0.0") == ["meter.lan:7000"]
    assert own("meter.lan", host="::", port=7001) == ["meter.lan:7001"]
    assert own("meter.lan", host="2001:DB8::7") == ["[2001:db8::7]:7000", "meter.lan:7000"]
    assert own("192.0.2.7", host="192.0.2.7") == ["192.0.2.7:7000"]


def test_what_it_advertises_goes_before_all_that_is_guessed() -> None:
    advertised = ["Meter.lan", "router.example:17000", "[2001:db8::7]:7001", "2001:db8::8"]
    assert own("old.lan", advertise=advertised) == [
        "meter.lan:7000",
        "router.example:17000",
        "[2001:db8::7]:7001",
        "[2001:db8::8]:7000",
    ]


def test_a_home_that_nothing_names_says_nothing() -> None:
    assert own(host="0.0.0.0") == own(None, host="::") == []
