"""Where a home looks for its peers after ceremonies."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from consensus.cryptography import SigningKey
from consensus.era_plans import Departure, EraProof, Plan
from consensus.identifiers import Digest, EraNumber, Height
from consensus.plans import FIRST
from ledger.eras import BegunEra
from node.admission.authority import Authority
from node.home.configuration import PeerEntry
from node.mesh.endpoints import endpoints_of

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
