"""Vouchers in certificates: what a chain checks of a home comes with its certificate, and from nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from msgspec.structs import replace

from consensus.cryptography import SigningKey
from consensus.identifiers import Digest
from contracts.vouchers import are_valid_at, vouchers_hold
from node.admission.authority import Authority, certify_issuing, make_root
from node.admission.chain import read_chain, require_chain
from node.admission.identity import certificate_key
from node.admission.meter_claim import claim_meter
from node.admission.voucher import vouchers_of
from node.errors import IdentityError

NOW = datetime(2026, 5, 1, tzinfo=UTC)
NODE, METER = SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
PERSON = Digest(b"\x03" * 32)


def chain_of(
    authority: Authority, *, person: Digest | None = PERSON, has_meter: bool = True
) -> tuple[x509.Certificate, ...]:
    meter = claim_meter(NODE.public_key, METER, 11_000) if has_meter else None
    pem = authority.issue(NODE.public_key, meter=meter, person=person, now=NOW, validity=timedelta(days=9))
    return read_chain(pem)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("street", now=NOW)


def test_a_home_that_has_its_certificate_has_its_vouchers(authority: Authority) -> None:
    chain, root_key = chain_of(authority), certificate_key(authority.root)
    require_chain(chain, authority.root)
    vouchers = vouchers_of(chain, root_key)
    home = vouchers.home
    assert vouchers_hold(vouchers, root_key)
    assert (home.node_key, home.meter_key) == (NODE.public_key, METER.public_key)
    assert (home.capacity_w, home.person) == (11_000, PERSON)
    now_ms = int(NOW.timestamp()) * 1_000
    assert [are_valid_at(vouchers, now_ms + days * 86_400_000) for days in (-1, 0, 9, 10)] == [
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("without", [{"person": None}, {"has_meter": False}])
def test_a_certificate_without_a_meter_or_a_person_vouches_for_nothing(authority: Authority, without: dict) -> None:
    with pytest.raises(IdentityError, match="vouches for no meter on a chain"):
        vouchers_of(chain_of(authority, **without), certificate_key(authority.root))


def test_another_authoritys_vouchers_are_refused(authority: Authority) -> None:
    with pytest.raises(IdentityError, match="not signed by the authority's root"):
        vouchers_of(chain_of(authority), certificate_key(Authority("other", now=NOW).root))


def test_the_vouchers_of_a_renewed_issuing_authority_hold_under_the_same_root() -> None:
    root_key, root = make_root("street", NOW)
    for moment in (NOW, NOW + timedelta(days=1)):
        renewed = Authority.of(*certify_issuing(root_key, root, moment), root)
        vouchers = vouchers_of(chain_of(renewed), certificate_key(root))
        assert vouchers.issuing.issuing_key == certificate_key(renewed.issuing)
        changed = replace(vouchers, home=replace(vouchers.home, capacity_w=1))
        assert not vouchers_hold(changed, certificate_key(root))
