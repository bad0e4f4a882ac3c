"""genesis.json is read back as exactly the genesis that it shows, or refused."""

import json
from pathlib import Path

import msgpack
import pytest

from consensus.codec import encode
from node.errors import ConfigurationError
from node.home.genesis_file import load_genesis_file, parse_genesis, render_genesis
from tests.support.contracts import make_genesis


@pytest.mark.parametrize("members", [1, 4, 9])
def test_both_forms_hold_the_same_genesis(tmp_path: Path, members: int) -> None:
    genesis = make_genesis(members).genesis
    (tmp_path / "genesis.json").write_text(render_genesis(genesis), encoding="utf-8")
    (tmp_path / "genesis.msgpack").write_bytes(encode(genesis))
    for name in ("genesis.json", "genesis.msgpack"):
        assert encode(load_genesis_file(tmp_path / name)) == encode(genesis)


def test_layout_and_order_do_not_matter() -> None:
    genesis = make_genesis().genesis
    fields = json.loads(render_genesis(genesis))
    assert parse_genesis(json.dumps(dict(reversed(fields.items()))).encode()) == genesis


def changes() -> dict[str, object]:
    return {
        "slot_duration_ms": 500,
        "chain": "00" * 32,
        "grid_key": "11" * 32,
        "network": 7,
        "members": [],
        "start_ms": -1,
        "scores": None,
        "surplus": 1,
        "issuer_key": "not hex",
    }


@pytest.mark.parametrize("field", list(changes()))
def test_a_changed_genesis_is_refused(tmp_path: Path, field: str) -> None:
    fields = json.loads(render_genesis(make_genesis().genesis)) | {field: changes()[field]}
    path = tmp_path / "genesis.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is damaged"):
        load_genesis_file(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"{\xff}", b"\x00\x01"])
def test_what_is_no_genesis_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "genesis.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError):
        load_genesis_file(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_genesis_file(tmp_path / "missing")


def test_a_genesis_of_an_earlier_protocol_is_refused_with_both_versions_named(tmp_path: Path) -> None:
    """Whatever else that version's genesis had."""
    fields = {"chain": "00" * 32, "protocol_version": 2, "network": "old"}
    (tmp_path / "genesis.json").write_text(json.dumps(fields), encoding="utf-8")
    (tmp_path / "genesis.msgpack").write_bytes(msgpack.packb([2, "old", 1_700_000_000_000]))
    for name in ("genesis.json", "genesis.msgpack"):
        with pytest.raises(ConfigurationError, match="follows protocol version 2; this software knows version 5"):
            load_genesis_file(tmp_path / name)
