"""The authority's register: what it tells of certificates, and what it takes for none."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import PublicKey
from node.admission import register as registers
from node.admission.chain import Role
from node.admission.register import (
    Issued,
    IssuedToHome,
    Reason,
    Register,
    Revoked,
    State,
    read_register,
    render_register,
)
from node.errors import IdentityError

NOW = datetime(2026, 6, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]


def issued(
    number: int, serial: str, *, name: str | None = None, until: datetime = NOW + YEAR, by: str = "a"
) -> IssuedToHome:
    key = KEYS[number - 1]
    return IssuedToHome(
        serial=serial,
        valid_from=NOW - YEAR,
        valid_until=until,
        name=name or f"node{number}",
        address=key.address.hex(),
        node_key=key.public_key.hex(),
        role=Role.MEMBER,
        endpoint=None,
        issued_by=by,
    )


def register(*certificates: IssuedToHome) -> Register:
    issuing = tuple(Issued(serial=serial, valid_from=NOW - YEAR, valid_until=NOW + YEAR) for serial in ("a", "b"))
    return Register(network="test", list_number=1, issuing=issuing, certificates=certificates)


REVOKED = Revoked(at=NOW, reason=Reason.SUPERSEDED)


def states(found: Register) -> list[State]:
    return [state for _, state in found.entries(NOW)]


def test_what_a_certificate_is_worth_follows_from_its_time_its_key_and_who_revoked_what() -> None:
    found = register(
        issued(1, "1"), issued(1, "2"), issued(2, "3", until=NOW - YEAR / 2), issued(3, "4"), issued(4, "5", by="b")
    )
    expected = [State.REPLACED, State.VALID, State.EXPIRED, State.VALID, State.VALID]
    assert states(found) == expected
    assert states(found.with_revoked(["4"], REVOKED)) == [*expected[:3], State.REVOKED, State.VALID]
    assert states(found.with_revoked(["a"], REVOKED)) == [State.REVOKED] * 4 + [State.VALID]


def test_it_is_read_back_as_it_was_written() -> None:
    found = register(issued(1, "1"), issued(2, "2")).with_revoked(["2", "b"], REVOKED).with_next_list()
    assert read_register(render_register(found)) == found
    assert [one.serial_number for one in found.revocations] == [0x2, 0xB]


def test_a_name_means_the_key_that_still_counts() -> None:
    """A replaced home has the name of its successor; once the old key is revoked, the name is the new one's."""
    found = register(issued(1, "1", name="node4"), issued(2, "2", name="node4"), issued(3, "3"))
    with pytest.raises(IdentityError, match="has 2 keys: name one by its address"):
        found.named("node4")
    after = found.with_revoked(["1"], REVOKED)
    assert [one.serial for one in after.named("node4")] == ["2"]
    assert [one.serial for one in after.named(KEYS[0].address.hex()[:8])] == ["1"]
    for text in ("node", "", KEYS[0].address.hex()[:7], "f" * 64):
        with pytest.raises(IdentityError, match="no certificate of this name or address"):
            found.named(text)


def test_a_key_has_one_name_and_once_revoked_none() -> None:
    found = register(issued(1, "1"))
    assert found.require_free("node1", KEYS[0].public_key) is None
    assert found.require_free("node1", KEYS[1].public_key) is None, "a name may get another key"
    with pytest.raises(IdentityError, match="name: is node2, and this key is registered as node1"):
        found.require_free("node2", KEYS[0].public_key)
    with pytest.raises(IdentityError, match=r"node_key: was revoked on 2026-06-01 \(superseded\)"):
        found.with_revoked(["1"], REVOKED).require_free("node1", KEYS[0].public_key)


def changed(**fields: Any) -> bytes:
    document = json.loads(render_register(register(issued(1, "1"), issued(2, "2"))))
    for path, value in fields.items():
        place: Any = document
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("__")]
        for step in steps:
            place = place[step]
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is damaged: Invalid JSON"),
        (b"[" * 100_000, "is damaged: Invalid JSON"),
        (changed(format="p2pnode-register-2"), "is damaged: format:"),
        (changed(more=1), "is damaged: more: Extra inputs"),
        (changed(certificates__1__serial="1"), "serial: one is there twice"),
        (changed(certificates__1__serial="xyz"), "certificates.1.serial:"),
        (changed(certificates__1__address="0" * 64), "address: is not that of node_key"),
        (changed(certificates__1__node_key="0" * 63), "certificates.1.node_key:"),
        (changed(certificates__1__endpoint="http://x"), "endpoint: is none"),
        (changed(certificates__1__role="king"), "certificates.1.role:"),
        (changed(certificates__1__valid_until="2026-06-01T00:00:00"), "certificates.1.valid_until:"),
        (changed(certificates__1__valid_until="2026-06-01T00:00:00+02:00"), "must be in UTC"),
        (changed(list_number=-1), "list_number:"),
    ],
)
def test_a_damaged_register_is_refused_by_its_field(text: bytes, words: str) -> None:
    with pytest.raises(IdentityError) as refused:
        read_register(text)
    assert words in str(refused.value)
    assert len(str(refused.value)) < 400


def test_its_size_is_bounded_before_it_is_read_and_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    found = register(issued(1, "1"))
    monkeypatch.setattr(registers, "SIZE_BYTES_MAX", len(render_register(found)))
    assert read_register(render_register(found)) == found
    with pytest.raises(IdentityError, match=r"would have more than .* nothing was changed"):
        render_register(found.with_certificates([issued(2, "2")]))
    with pytest.raises(IdentityError, match="is larger than"):
        read_register(render_register(found) + b" ")


def test_the_key_of_a_certificate_is_read_back() -> None:
    assert issued(1, "1").public_key == PublicKey(KEYS[0].public_key)
