"""Short forms of certificates: they come back whole, and nothing else passes for one."""

import dataclasses
from random import Random
from typing import Any, Final

import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.gathering import gathered_of
from consensus.identifiers import Domain, Signature, Slot
from consensus.messages import CertificateRequest, EndorsedStatement, Gathered
from consensus.verification import certificate_in
from tests.support.consensus import BLOCK_B, ERA, Members

SIZES: Final = (1, 2, 3, 4, 7, 8, 9, 13, 16, 17)
SEVEN: Final = Members(7)
QUORUM: Final = SEVEN.membership.quorum
VOTES: Final = gathered_of(SEVEN.prepared(9), SEVEN.membership)


def read(gathered: Gathered, members: Members = SEVEN) -> Any:
    return certificate_in(gathered, members.membership, members.era)


@pytest.mark.parametrize("count", SIZES)
def test_every_certificate_comes_back_whole_over_the_wire(count: int) -> None:
    members, random = Members(count), Random(count)
    for _ in range(10):
        by = random.sample(range(count), members.membership.quorum)
        for certificate in (members.prepared(9, by=by), members.committed(9, by=by)):
            gathered = gathered_of(certificate, members.membership)
            assert decode(encode(gathered), Gathered) == gathered
            assert read(gathered, members) == certificate


def test_a_request_comes_back() -> None:
    request = CertificateRequest(era=ERA.number, height=VOTES.height, slot=VOTES.slot)
    assert decode(encode(request), CertificateRequest) == request


def test_among_a_hundred_members_it_saves_a_third() -> None:
    members = Members(100)
    certificate = members.prepared(9)
    gathered = gathered_of(certificate, members.membership)
    assert len(certificate.endorsements) == 67
    assert (len(encode(certificate)), len(encode(gathered))) == (6_817, 4_358)


# --- what is none ------------------------------------------------------------------------------------------------


def bitmap(numbers: set[int], size_bytes: int = 1) -> bytes:
    return sum(1 << number for number in numbers).to_bytes(size_bytes, "little")


FIRST_Q: Final = set(range(QUORUM))
WRONG: Final[dict[str, dict[str, Any]]] = {
    "one fewer": {"signers": bitmap(FIRST_Q - {0}), "signatures": VOTES.signatures[64:]},
    "one more": {"signers": bitmap(FIRST_Q | {6}), "signatures": VOTES.signatures + VOTES.signatures[:64]},
    "a signature without its bit": {"signers": bitmap(FIRST_Q - {0})},
    "a bit without its signature": {"signatures": VOTES.signatures[:-64]},
    "half a signature more": {"signatures": VOTES.signatures + bytes(32)},
    "one signature twice for two": {"signatures": VOTES.signatures[:64] * 2 + VOTES.signatures[128:]},
    "signatures in another order": {"signatures": VOTES.signatures[64:] + VOTES.signatures[:64]},
    "a bit of nobody": {"signers": bitmap((FIRST_Q - {0}) | {7})},
    "a longer bitmap": {"signers": bitmap(FIRST_Q, 2)},
    "bits of others": {"signers": bitmap(set(range(7 - QUORUM, 7)))},
    "the other kind": {"kind": EndorsedStatement.COMMIT},
    "another slot": {"slot": Slot(10)},
    "another block": {"block": BLOCK_B},
    "another era": {"era": 1},
}


@pytest.mark.parametrize("change", WRONG)
def test_what_is_changed_is_no_certificate(change: str) -> None:
    assert read(VOTES) is not None
    assert read(replace(VOTES, **WRONG[change])) is None


def test_of_a_vote_no_commit_is_made_and_of_a_commit_no_vote() -> None:
    commits = gathered_of(SEVEN.committed(9), SEVEN.membership)
    assert read(commits) is not None
    assert read(replace(commits, kind=EndorsedStatement.VOTE)) is None


def test_one_bad_signature_among_them_is_enough() -> None:
    certificate = SEVEN.prepared(9)
    for place in range(QUORUM):
        endorsements = list(certificate.endorsements)
        endorsements[place] = replace(endorsements[place], signature=Signature(bytes(64)))
        forged = gathered_of(replace(certificate, endorsements=tuple(endorsements)), SEVEN.membership)
        assert read(forged) is None


def test_under_another_eras_domain_or_other_members_nothing_holds() -> None:
    assert certificate_in(VOTES, SEVEN.membership, dataclasses.replace(ERA, domain=Domain(bytes(32)))) is None
    assert certificate_in(VOTES, Members(8).membership, ERA) is None
    assert certificate_in(VOTES, Members(4).membership, ERA) is None


def test_what_is_no_certificate_is_not_shortened() -> None:
    certificate = SEVEN.prepared(9)
    with pytest.raises(AssertionError):
        gathered_of(replace(certificate, endorsements=certificate.endorsements[1:]), SEVEN.membership)
    with pytest.raises(AssertionError):
        gathered_of(certificate, Members(4).membership)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signers", b""),
        ("signers", bytes(33)),
        ("signatures", bytes(256 * 64 + 1)),
        ("height", 0),
        ("slot", -1),
        ("block", bytes(31)),
        ("kind", "neither"),
    ],
)
def test_no_field_is_beyond_its_bounds(field: str, value: Any) -> None:
    with pytest.raises(DecodeError):
        decode(encode(replace(VOTES, **{field: value})), Gathered)
