"""`p2pnode testnet init`: what it makes, that it changes nothing a second time, and what it refuses."""

import json
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from consensus.codec import decode
from consensus.events import SignState, fresh_sign_state
from consensus.identifiers import Height
from contracts.genesis import chain_id
from node.admission.identity import load_identity
from node.errors import ReadingsError, TestnetError
from node.home.configuration import load_configuration
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.meter.readings_file import SHIPPED_READINGS, read_readings
from node.names.address_book import load_book
from node.names.names import names_of_home
from node.testnet import init as testnet_init
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet

HEADER = "timestamp,household_id,consumption_wh,generation_wh"


def write_readings(path: Path, households: int, *, consumption_wh: int = 100, hours: int = 2) -> Path:
    rows = [
        f"2016-06-01T{hour:02}:00:00Z,home{household},{consumption_wh},{50 * household}"
        for hour in range(hours)
        for household in range(households)
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return path


def contents(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    """Returns every file with its bytes, permissions and time of change."""
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
        for path in directory.rglob("*")
        if path.is_file()
    }


def modes(directory: Path, pattern: str) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.glob(pattern)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Testnet:
    """A testnet of seven nodes for the five shipped households."""
    testnet, new = initialise_testnet(tmp_path_factory.mktemp("made") / "testnet", TestnetPlan(nodes=7))
    assert new
    return testnet


# --- what it makes -----------------------------------------------------------------------------------------


def test_each_household_has_a_node_and_further_nodes_only_validate(made: Testnet) -> None:
    assert [node.name for node in made.nodes] == [f"node{number}" for number in range(1, 8)]
    assert made.manifest.households == tuple(f"DE_KN_residential{number}" for number in range(1, 6))
    assert [node.household is None for node in made.nodes] == [False] * 5 + [True] * 2
    meters = [load_configuration(made.home(node).configuration).meter for node in made.nodes]
    assert [meter is None for meter in meters] == [False] * 5 + [True] * 2


def test_all_nodes_have_one_genesis_that_names_them_in_order(made: Testnet) -> None:
    genesis = load_genesis(made.home(made.nodes[0]))
    assert chain_id(genesis).hex() == made.manifest.chain
    for node, member in zip(made.nodes, genesis.members, strict=True):
        home = made.home(node)
        identity = load_identity(home)
        assert load_genesis(home) == genesis
        assert identity.address.hex() == node.address
        assert identity.node_key.public_key == member.node_key
        assert identity.meter_key.public_key == member.meter_key
        assert names_of_home(home).of(identity.address) == node.name
        assert {entry.called.name for entry in load_book(home.address_book).entries} == {
            other.name for other in made.nodes
        }
        assert member.tokens_micro == 10_000 * 1_000_000
        assert member.capacity_w == 43_000
    assert genesis.interval_ms == 3_600_000
    assert genesis.slot_duration_ms == 250


def test_genesis_is_readable_for_people(made: Testnet) -> None:
    shown = json.loads(made.home(made.nodes[0]).genesis_text.read_text(encoding="utf-8"))
    assert shown["chain"] == made.manifest.chain
    assert [member["address"] for member in shown["members"]] == [node.address for node in made.nodes]


def test_each_configuration_loads_and_names_all_others(made: Testnet) -> None:
    ports = set()
    for node in made.nodes:
        configuration = load_configuration(made.home(node).configuration)
        assert configuration.home == made.home(node)
        others = {other.address: other.p2p_port for other in made.nodes if other is not node}
        assert {peer.address: peer.port for peer in configuration.p2p.peers} == others
        assert (configuration.p2p.host, configuration.api.host) == ("127.0.0.1", "127.0.0.1")
        ports |= {configuration.p2p.port, configuration.api.port}
    assert len(ports) == 2 * len(made.nodes)


def test_each_meter_has_its_own_households_rows(made: Testnet) -> None:
    shipped = read_readings(SHIPPED_READINGS)
    for node in made.nodes[:5]:
        assert node.household is not None
        meter = load_configuration(made.home(node).configuration).meter
        assert meter is not None
        own = read_readings(meter.readings_file, households=(node.household,))
        assert own.by_household == {node.household: shipped.by_household[node.household]}
    assert not made.home(made.nodes[6]).readings.exists()


def test_the_sign_state_says_that_nothing_was_signed(made: Testnet) -> None:
    file = SignStateFile(made.home(made.nodes[0]).sign_state)
    assert decode(file.load(), SignState) == fresh_sign_state(Height(1))
    file.close()


def test_private_files_are_their_owners(made: Testnet) -> None:
    for pattern in ("*/node.key", "*/meter.key", "ca.passphrase", "ca/*.key", "*/sign-state", "*/readings.csv"):
        assert modes(made.directory, pattern) == {0o600}, pattern
    assert modes(made.directory, "node?") == {0o700}
    assert len(list(made.directory.glob("*/node.key"))) == 7


def test_the_authoritys_key_is_in_no_nodes_folder(made: Testnet) -> None:
    secrets = [
        path.read_bytes().strip() for path in (made.directory / "ca.passphrase", *made.directory.glob("ca/*.key"))
    ]
    assert len(secrets) == 3
    for path in made.directory.glob("node*/*"):
        assert not any(secret in path.read_bytes() for secret in secrets), path


def test_capacity_follows_the_largest_net(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "r.csv", 4, consumption_wh=51_001)
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(readings=readings))
    capacities = [member.capacity_w for member in load_genesis(testnet.home(testnet.nodes[0])).members]
    assert capacities == [52_000, 51_000, 51_000, 51_000]


@pytest.mark.parametrize("households", [4, 12])
def test_any_file_from_four_households_on_makes_a_testnet(tmp_path: Path, households: int) -> None:
    readings = write_readings(tmp_path / "r.csv", households)
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(readings=readings))
    assert len(testnet.nodes) == households
    assert testnet.readings().households == testnet.manifest.households


def test_a_base_port_numbers_all_ports(tmp_path: Path) -> None:
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(base_port=21_000))
    assert [(node.p2p_port, node.api_port) for node in testnet.nodes] == [
        (21_000 + 2 * index, 21_001 + 2 * index) for index in range(5)
    ]


def test_containers_reach_each_other_by_name(tmp_path: Path) -> None:
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(layout="containers"))
    configuration = load_configuration(testnet.home(testnet.nodes[0]).configuration)
    assert [peer.host for peer in configuration.p2p.peers] == ["node2", "node3", "node4", "node5"]
    assert len({peer.port for peer in configuration.p2p.peers} | {configuration.p2p.port}) == 1
    assert configuration.api.host == "0.0.0.0"
    named = [load_configuration(testnet.home(node).configuration).api.host_names for node in testnet.nodes]
    assert named == [(f"node{number}",) for number in range(1, 6)]


# --- a second time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan",
    [TestnetPlan(), TestnetPlan(nodes=7), TestnetPlan(readings=SHIPPED_READINGS, layout="loopback")],
)
def test_the_same_input_changes_nothing(made: Testnet, plan: TestnetPlan) -> None:
    before = contents(made.directory)
    again, new = initialise_testnet(made.directory, plan)
    assert not new
    assert again.manifest == made.manifest
    assert contents(made.directory) == before


def test_a_copy_of_the_same_readings_is_the_same_input(made: Testnet, tmp_path: Path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(SHIPPED_READINGS.read_bytes())
    assert initialise_testnet(made.directory, TestnetPlan(readings=copy))[1] is False


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (TestnetPlan(nodes=5), "has 7 nodes, not 5"),
        (TestnetPlan(nodes=8), "has 7 nodes, not 8"),
        (TestnetPlan(layout="containers"), "was made for loopback, not for containers"),
        (TestnetPlan(base_port=1_234), "not from 1234"),
        (TestnetPlan(cluster_size=7), "draws clusters of 10, not of 7"),
    ],
)
def test_other_input_is_refused_and_changes_nothing(made: Testnet, plan: TestnetPlan, complaint: str) -> None:
    before = contents(made.directory)
    with pytest.raises(TestnetError, match=complaint):
        initialise_testnet(made.directory, plan)
    assert contents(made.directory) == before


def test_other_readings_are_refused(made: Testnet, tmp_path: Path) -> None:
    other = write_readings(tmp_path / "other.csv", 5)
    with pytest.raises(TestnetError, match=r"other readings \(households\.csv\) than .*other\.csv"):
        initialise_testnet(made.directory, TestnetPlan(readings=other))
    with pytest.raises(ReadingsError, match="cannot be read"):
        initialise_testnet(made.directory, TestnetPlan(readings=tmp_path / "nothing.csv"))


# --- what it refuses ---------------------------------------------------------------------------------------


def refusal(directory: Path, plan: TestnetPlan) -> str:
    with pytest.raises(TestnetError) as caught:
        initialise_testnet(directory, plan)
    assert not directory.exists()
    return str(caught.value)


def test_three_households_are_too_few(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "r.csv", 3)
    message = refusal(tmp_path / "t", TestnetPlan(readings=readings, nodes=9))
    assert "has 3 households; a testnet needs at least 4" in message


def test_fewer_nodes_than_households_are_refused(tmp_path: Path) -> None:
    assert "4 nodes asked for" in refusal(tmp_path / "t", TestnetPlan(nodes=4))
    assert "at most 256" in refusal(tmp_path / "t", TestnetPlan(nodes=257))


def test_clusters_are_drawn_of_more_nodes_than_they_have(tmp_path: Path) -> None:
    assert "drawn of more nodes than 7" in refusal(tmp_path / "t", TestnetPlan(nodes=7, cluster_size=7))
    testnet, _ = initialise_testnet(tmp_path / "u", TestnetPlan(nodes=9, cluster_size=7))
    clusters = load_genesis(testnet.home(testnet.nodes[0])).clusters
    assert (clusters.size, clusters.members_min) == (7, 8)
    assert initialise_testnet(tmp_path / "u", TestnetPlan(cluster_size=7))[1] is False


def test_a_household_that_could_not_pay_is_refused(tmp_path: Path) -> None:
    """10,000 tokens buy 31,250 kWh at the retail price of 0.30 tokens and the grid fee of 0.02."""
    enough = write_readings(tmp_path / "enough.csv", 4, consumption_wh=31_250_000, hours=1)
    initialise_testnet(tmp_path / "t", TestnetPlan(readings=enough))
    more = write_readings(tmp_path / "more.csv", 4, consumption_wh=31_250_001, hours=1)
    message = refusal(tmp_path / "u", TestnetPlan(readings=more))
    assert "household 'home0' lacks 31,250 kWh" in message
    assert "a wallet starts with 10,000" in message


def test_ports_past_the_last_are_refused(tmp_path: Path) -> None:
    assert "65535 is the last" in refusal(tmp_path / "t", TestnetPlan(base_port=65_527))


def test_bad_readings_leave_nothing_behind(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "r.csv", 4)
    readings.write_text(readings.read_text(encoding="utf-8").replace(",100,", ",-1,", 1), encoding="utf-8")
    with pytest.raises(ReadingsError, match="line 2: consumption_wh is negative"):
        initialise_testnet(tmp_path / "t", TestnetPlan(readings=readings))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv"]


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    directory = tmp_path / "home"
    directory.mkdir()
    (directory / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(TestnetError, match="neither empty nor a testnet"):
        initialise_testnet(directory, TestnetPlan())
    with pytest.raises(TestnetError, match="neither empty nor a testnet"):
        initialise_testnet(directory / "letter.txt", TestnetPlan())
    assert [path.name for path in directory.iterdir()] == ["letter.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    assert initialise_testnet(directory, TestnetPlan())[1] is True


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(testnet_init, "write_household", full)
    assert "No space left on device" in refusal(tmp_path / "t", TestnetPlan())
    assert list(tmp_path.iterdir()) == []


# --- opening -----------------------------------------------------------------------------------------------


def test_a_missing_testnet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TestnetError, match="p2pnode testnet init --dir"):
        Testnet.open(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_record_is_refused(tmp_path: Path, damage: Sequence[int]) -> None:
    (tmp_path / "testnet.json").write_bytes(bytes(damage))
    with pytest.raises(TestnetError, match=r"testnet\.json: is damaged"):
        Testnet.open(tmp_path)


def test_changed_readings_are_refused(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "r.csv", 4)
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(readings=readings))
    write_readings(testnet.directory / "readings.csv", 4, consumption_wh=99)
    with pytest.raises(ReadingsError, match="was changed since the testnet was made"):
        testnet.readings()
