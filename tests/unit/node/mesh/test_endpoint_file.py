"""The file of the members' endpoints: what it gives back, and what it refuses."""

from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.identifiers import Digest
from node.errors import EndpointsDamaged
from node.mesh.endpoint_file import FILE_SIZE_BYTES_MAX, load_endpoints, save_endpoints
from node.mesh.endpoint_record import RECORD_SIZE_BYTES_MAX, RECORDS_MAX

CHAIN = Digest(bytes([7]) * 32)
RAWS = (b"one", b"two")


def refusal(path: Path) -> str:
    with pytest.raises(EndpointsDamaged) as caught:
        load_endpoints(path, CHAIN)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_saved_is_loaded_and_no_file_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    assert load_endpoints(path, CHAIN) == ()
    save_endpoints(path, CHAIN, RAWS)
    assert load_endpoints(path, CHAIN) == RAWS
    save_endpoints(path, CHAIN, ())
    assert load_endpoints(path, CHAIN) == ()


def test_the_largest_file_is_loaded_and_a_larger_one_not_read(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    most = (bytes(RECORD_SIZE_BYTES_MAX),) * RECORDS_MAX
    save_endpoints(path, CHAIN, most)
    assert FILE_SIZE_BYTES_MAX - 128 < path.stat().st_size <= FILE_SIZE_BYTES_MAX
    assert load_endpoints(path, CHAIN) == most
    path.write_bytes(bytes(FILE_SIZE_BYTES_MAX + 1))
    assert "is larger than" in refusal(path)


def test_what_is_damaged_in_any_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    save_endpoints(path, CHAIN, RAWS)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path)
    path.write_bytes(whole + b"\0")
    assert "damaged" in refusal(path)
    path.write_bytes(encode(("p2pnode-1-endpoints", CHAIN, (b"x" * (RECORD_SIZE_BYTES_MAX + 1),))))
    assert "damaged" in refusal(path)


def test_another_chains_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "endpoints"
    save_endpoints(path, Digest(bytes(32)), RAWS)
    assert "another chain" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "cannot be read" in refusal(path)
