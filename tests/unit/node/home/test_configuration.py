"""meter.toml: what loads, what is refused and how it says so, and the commented file that explains every key."""

from pathlib import Path

import pytest

from node.errors import ConfigurationError
from node.home.configuration import (
    ApiTable,
    Configuration,
    MeterTable,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
    load_configuration,
)
from node.home.configuration_text import render_configuration

MINIMAL = """
[node]
name = "node1"
[p2p]
port = 7001
[api]
port = 8001
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "meter.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(write(tmp_path, text))
    return str(caught.value)


def full_configuration() -> Configuration:
    peers = tuple(PeerEntry(address=f"{index:064x}", host=f"host{index}", port=7000 + index) for index in (2, 3))
    return Configuration(
        node=NodeTable(name='node "one" ☀', log_format="json", log_level="debug"),
        p2p=PeerToPeerTable(host="0.0.0.0", port=7001, peers=peers),
        api=ApiTable(port=8001),
        meter=MeterTable(household_id="home = 1 # not a comment", hours=48, grace_period_s=2.5),
    )


def test_a_minimal_file_gets_every_default(tmp_path: Path) -> None:
    configuration = load_configuration(write(tmp_path, MINIMAL))
    assert configuration.node.name == "node1"
    assert configuration.api.host == "127.0.0.1"
    assert configuration.p2p.peers == ()
    assert configuration.meter is None
    assert configuration.price.sell_micro_per_kwh == 200_000
    assert configuration.price.buy_max_micro_per_kwh == 300_000
    assert configuration.mempool.transactions_max > 0


def test_paths_are_relative_to_the_file_and_to_home(tmp_path: Path) -> None:
    text = MINIMAL.replace("[p2p]", 'home = "data"\n[p2p]') + '[meter]\nhousehold_id = "h"\n'
    configuration = load_configuration(write(tmp_path, text))
    assert configuration.node.home == tmp_path / "data"
    assert configuration.home.node_key == tmp_path / "data" / "node.key"
    assert configuration.meter is not None
    assert configuration.meter.readings_file == tmp_path / "data" / "readings.csv"


def test_home_is_the_files_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert load_configuration(Path("meter.toml")).node.home == tmp_path


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PNODE_API__PORT", "9999")
    monkeypatch.setenv("P2PNODE_API__HOST_NAMES", '["meter.lan", "2001:db8::1"]')
    monkeypatch.setenv("P2PNODE_PRICE__SELL_MICRO_PER_KWH", "123456")
    configuration = load_configuration(write(tmp_path, MINIMAL))
    assert configuration.api.port == 9999
    assert configuration.api.host == "127.0.0.1"
    assert configuration.api.host_names == ("meter.lan", "2001:db8::1")
    assert configuration.price.sell_micro_per_kwh == 123_456


def test_the_environment_does_not_reach_configurations_that_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PNODE_API__PORT", "9999")
    assert full_configuration().api.port == 8001


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (MINIMAL.replace("port = 8001", ""), ("[api] port", "is missing")),
        (MINIMAL.replace("port = 8001", "port = 0"), ("[api] port", "greater than or equal to 1")),
        (MINIMAL.replace("port = 8001", "port = 65536"), ("[api] port", "65535")),
        (MINIMAL.replace("port = 8001", 'port = "http"'), ("[api] port", "integer")),
        (MINIMAL.replace("port = 8001", "port = 8001\nprot = 1"), ("[api] prot", "unknown key")),
        (MINIMAL.replace("port = 8001", 'port = 8001\nhost_names = "meter.lan"'), ("[api] host_names", "tuple")),
        (MINIMAL.replace("port = 8001", 'port = 8001\nhost_names = ["node1:8000"]'), ("[api] host_names.0", "port")),
        (MINIMAL.replace("port = 8001", 'port = 8001\nhost_names = ["http://a"]'), ("[api] host_names.0",)),
        (MINIMAL + "[metre]\nhours = 1\n", ("[metre]", "unknown table", "meter")),
        (MINIMAL + "[meter]\nhours = 1\n", ("[meter] household_id", "is missing")),
        (MINIMAL + '[meter]\nhousehold_id = "h"\nhours = -1\n', ("[meter] hours",)),
        (MINIMAL + '[meter]\nhousehold_id = "h"\nwindow_hours = 0\n', ("[meter] window_hours",)),
        (MINIMAL.replace('"node1"', '""'), ("[node] name",)),
        (MINIMAL.replace("[p2p]", 'log_format = "xml"\n[p2p]'), ("[node] log_format", "console")),
        (MINIMAL.replace("[p2p]", '[p2p]\npeers = [{name = "a"}]'), ("[p2p] peers.0.address", "is missing")),
        ("_env_file = 'x'\n" + MINIMAL, ("[_env_file]", "unknown table")),
        ("node = 1\n", ("[node]",)),
        ("[node\n", ("is not TOML", "line 1")),
    ],
)
def test_a_bad_file_is_refused_naming_file_table_and_key(tmp_path: Path, text: str, named: tuple[str, ...]) -> None:
    message = refusal(tmp_path, text)
    assert str(tmp_path / "meter.toml") in message
    assert "\n" not in message
    for part in named:
        assert part in message


def test_two_peers_with_one_address_are_refused(tmp_path: Path) -> None:
    peer = f'{{address = "{"0" * 64}", host = "h", port = 1}}'
    assert "same address" in refusal(tmp_path, MINIMAL.replace("[api]", f"peers = [{peer}, {peer}]\n[api]"))


def test_several_faults_are_named_at_once(tmp_path: Path) -> None:
    message = refusal(tmp_path, MINIMAL.replace("8001", "0").replace("7001", "0"))
    assert "[api] port" in message
    assert "[p2p] port" in message


def test_a_bad_override_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PNODE_API__PORT", "many")
    assert "environment variable P2PNODE_API__PORT: [api] port" in refusal(tmp_path, MINIMAL)


@pytest.mark.parametrize("variable", ["P2PNODE_APY__PORT", "P2PNODE_API__PROT", "P2PNODE_P2P__PEERS"])
def test_a_misspelt_or_unreadable_override_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "[")
    message = refusal(tmp_path, MINIMAL)
    assert "P2PNODE_" in message
    assert "\n" not in message


def test_other_variables_of_the_prefix_are_not_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PNODE_IMAGE", "p2pnode:1")
    assert load_configuration(write(tmp_path, MINIMAL)).node.name == "node1"


def test_a_missing_file_a_folder_and_other_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.toml: cannot be read: No such file"):
        load_configuration(tmp_path / "nothing.toml")
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_configuration(tmp_path)
    path = tmp_path / "latin.toml"
    path.write_bytes('[node]\nname = "Süd"'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load_configuration(path)


def test_a_rendered_file_loads_to_the_same_values(tmp_path: Path) -> None:
    configuration = full_configuration()
    loaded = load_configuration(write(tmp_path, render_configuration(configuration)))
    assert loaded.model_dump(exclude={"node": {"home"}, "meter": {"readings_file"}}) == configuration.model_dump(
        exclude={"node": {"home"}, "meter": {"readings_file"}}
    )


def test_every_key_of_a_rendered_file_has_a_comment() -> None:
    lines = render_configuration(full_configuration()).splitlines()
    keys = [number for number, line in enumerate(lines) if line and line[0].isalpha()]
    tables = type(full_configuration()).model_fields
    assert len(keys) == sum(len(type(getattr(full_configuration(), name)).model_fields) for name in tables)
    for number in keys:
        assert lines[number - 1].startswith("# "), lines[number]


def test_a_node_without_household_has_no_meter_table(tmp_path: Path) -> None:
    configuration = full_configuration().model_copy(update={"meter": None})
    text = render_configuration(configuration)
    assert "[meter]" not in text
    assert load_configuration(write(tmp_path, text)).meter is None


@pytest.mark.parametrize("place", ["0.0.0.0", "meter.lan:0", "a b", "wss://meter.lan", "fe80::1%eth0"])
def test_a_place_that_nobody_can_reach_is_not_advertised(tmp_path: Path, place: str) -> None:
    text = MINIMAL.replace("port = 7001", f'port = 7001\nadvertise = ["meter.lan", "{place}"]')
    assert "[p2p] advertise.1: " in refusal(tmp_path, text)


def test_at_most_four_places_are_advertised(tmp_path: Path) -> None:
    for count in (4, 5):
        text = MINIMAL.replace("port = 7001", f"port = 7001\nadvertise = {['meter.lan'] * count!r}")
        if count == 4:
            assert load_configuration(write(tmp_path, text)).p2p.advertise == ("meter.lan",) * 4
        else:
            assert "at most 4" in refusal(tmp_path, text)
