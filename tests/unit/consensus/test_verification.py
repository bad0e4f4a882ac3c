"""Signatures, certificates and justifications: each refusal, and every part that a liar could change."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.cryptography import SigningKey, verify
from consensus.eras import first_era
from consensus.identifiers import Digest, Height, PublicKey, Signature, Slot
from consensus.membership import Membership
from consensus.messages import (
    BodyRequest,
    Claim,
    CommitCertificate,
    Decided,
    Endorsement,
    Justification,
    Message,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    ViewChangeHeader,
)
from consensus.verification import Refusal, Verified, verify_message
from tests.support.consensus import BLOCK_A, BLOCK_B, ERA, A, B, Members, body

SEVEN = Members(7)
"""Q = 5."""
STRANGERS = Members(8)
"""Member 7 of these is none of the seven."""
OTHER_CHAIN = Members(7, era=first_era(BLOCK_B))
PREPARED = SEVEN.prepared(3)


def check(message: Message, members: Members = SEVEN) -> Refusal | None:
    result = verify_message(message, members.leaders, ERA)
    if isinstance(result, Verified):
        assert result.message == message
        return None
    return result


# --- what holds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        SEVEN.vote(2, 5),
        SEVEN.commit(2, 5),
        SEVEN.pre_prepare(5),
        SEVEN.pre_prepare(5, B, SEVEN.justification(5)),
        SEVEN.pre_prepare(5, A, SEVEN.justification(5, {0: PREPARED})),
        SEVEN.view_change(2, 5),
        SEVEN.view_change(2, 5, PREPARED),
        SEVEN.decided(5),
        SEVEN.status(2, 3),
        BodyRequest(height=Height(3), block=BLOCK_A),
        body(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_honest_members_send_holds(message: Message) -> None:
    assert check(message) is None


@pytest.mark.parametrize("members", range(1, 14))
def test_certificates_of_every_size_of_membership_hold(members: int) -> None:
    all_of_them = Members(members)
    assert check(all_of_them.decided(5), all_of_them) is None
    prepared = all_of_them.prepared(3)
    justified = all_of_them.pre_prepare(5, A, all_of_them.justification(5, {0: prepared}))
    assert check(justified, all_of_them) is None


# --- signer and signature --------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [STRANGERS.vote(7, 5), STRANGERS.commit(7, 5), STRANGERS.view_change(7, 5)])
def test_a_stranger_is_an_unknown_signer(message: Message) -> None:
    assert check(message) is Refusal.UNKNOWN_SIGNER


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(replace(SEVEN.vote(2, 5), slot=6), id="slot"),
        pytest.param(replace(SEVEN.vote(2, 5), height=2), id="height"),
        pytest.param(replace(SEVEN.vote(2, 5), block=BLOCK_B), id="block"),
        pytest.param(replace(SEVEN.vote(2, 5), signer=SEVEN.address(3)), id="names another signer"),
        pytest.param(replace(SEVEN.vote(2, 5), signature=SEVEN.commit(2, 5).signature), id="a commit's signature"),
        pytest.param(replace(SEVEN.commit(2, 5), signature=SEVEN.vote(2, 5).signature), id="a vote's signature"),
        pytest.param(OTHER_CHAIN.vote(2, 5), id="another chain"),
        pytest.param(replace(SEVEN.commit(2, 5), slot=6), id="commit's slot"),
        pytest.param(replace(SEVEN.view_change(2, 5), slot=6), id="view change's slot"),
        pytest.param(replace(SEVEN.view_change(2, 5, PREPARED), claim=None, certificate=None), id="claim taken out"),
        pytest.param(
            replace(SEVEN.view_change(2, 5), claim=Claim(slot=Slot(3), block=BLOCK_A), certificate=PREPARED),
            id="claim put in",
        ),
        pytest.param(replace(SEVEN.pre_prepare(5), block=BLOCK_B), id="proposal's block"),
    ],
)
def test_a_changed_statement_has_no_signature(message: Message) -> None:
    assert check(message) is Refusal.BAD_SIGNATURE


def test_a_flipped_bit_anywhere_in_a_signature_is_found() -> None:
    vote = SEVEN.vote(2, 5)
    for bit in range(512):
        flipped = bytearray(vote.signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert check(replace(vote, signature=bytes(flipped))) is Refusal.BAD_SIGNATURE


def test_a_signature_plus_the_group_order_is_refused() -> None:
    # malleability: S + L passes with careless implementations
    order = 2**252 + 27742317777372353535851937790883648493
    vote = SEVEN.vote(2, 5)
    scalar = int.from_bytes(vote.signature[32:], "little") + order
    assert (
        check(replace(vote, signature=vote.signature[:32] + scalar.to_bytes(32, "little"))) is Refusal.BAD_SIGNATURE
    )


@pytest.mark.parametrize("slot", range(7))
def test_only_the_leader_of_a_slot_proposes(slot: int) -> None:
    assert SEVEN.leaders.at(Slot(slot)) == SEVEN.address(slot)
    for member in range(7):
        expected = None if member == slot else Refusal.NOT_THE_LEADER
        assert check(SEVEN.pre_prepare(slot, by=member)) is expected


def test_verification_of_odd_sizes_never_raises() -> None:
    key = SEVEN.keys[0]
    assert not verify(PublicKey(b""), b"x", key.sign(b"x"))
    assert not verify(key.public_key, b"x", Signature(b""))
    assert not verify(PublicKey(bytes(32)), b"x", Signature(bytes(64)))


def test_a_key_never_shows_its_secret() -> None:
    key = SigningKey(bytes([9]) * 32)
    assert repr(key) == f"SigningKey({key.address.hex()[:8]})"
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey(b"short")


# --- certificates ----------------------------------------------------------------------------------------------

Certificate = PreparedCertificate | CommitCertificate
Change = Callable[[Certificate], Certificate]


def with_endorsements(certificate: Certificate, endorsements: tuple[Endorsement, ...]) -> Certificate:
    return replace(certificate, endorsements=endorsements)


def one_from(certificate: Certificate, other: Certificate) -> Certificate:
    """The last endorsement comes from another certificate of the same signers."""
    return with_endorsements(certificate, (*certificate.endorsements[:-1], other.endorsements[-1]))


def remade(slot: int, block: Digest, height: int, kind: type[Certificate]) -> Certificate:
    make = SEVEN.prepared if kind is PreparedCertificate else SEVEN.committed
    return make(slot, block, height=height)


CHANGES = [
    pytest.param(lambda c: replace(c, slot=c.slot + 1), id="slot"),
    pytest.param(lambda c: replace(c, height=c.height + 1), id="height"),
    pytest.param(lambda c: replace(c, block=BLOCK_B), id="block"),
    pytest.param(lambda c: one_from(c, remade(c.slot + 1, c.block, c.height, type(c))), id="one of another slot"),
    pytest.param(lambda c: one_from(c, remade(c.slot, BLOCK_B, c.height, type(c))), id="one of another block"),
    pytest.param(lambda c: one_from(c, remade(c.slot, c.block, c.height + 1, type(c))), id="one of another height"),
    pytest.param(lambda c: with_endorsements(c, c.endorsements[:-1]), id="Q - 1"),
    pytest.param(
        lambda c: with_endorsements(
            c, (SEVEN.prepared if isinstance(c, PreparedCertificate) else SEVEN.committed)(
                c.slot, c.block, by=range(6)
            ).endorsements
        ),
        id="Q + 1",
    ),
    pytest.param(lambda c: with_endorsements(c, ()), id="empty"),
    pytest.param(lambda c: with_endorsements(c, (*c.endorsements[:-1], c.endorsements[-2])), id="duplicate"),
    pytest.param(lambda c: with_endorsements(c, c.endorsements[::-1]), id="unsorted"),
    pytest.param(
        lambda c: with_endorsements(
            c, (STRANGERS.prepared if isinstance(c, PreparedCertificate) else STRANGERS.committed)(
                c.slot, c.block, by=(0, 1, 2, 3, 7)
            ).endorsements
        ),
        id="foreign member",
    ),
    pytest.param(
        lambda c: with_endorsements(
            c, (OTHER_CHAIN.prepared if isinstance(c, PreparedCertificate) else OTHER_CHAIN.committed)(
                c.slot, c.block
            ).endorsements
        ),
        id="another chain",
    ),
    pytest.param(
        lambda c: with_endorsements(
            c, (SEVEN.committed if isinstance(c, PreparedCertificate) else SEVEN.prepared)(
                c.slot, c.block
            ).endorsements
        ),
        id="the other statement's signatures",
    ),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_commit_certificate_decides_nothing(change: Change) -> None:
    message = SEVEN.decided(3)
    certificate = change(message.certificate)
    assert isinstance(certificate, CommitCertificate)
    assert check(Decided(certificate=certificate, proposal=A)) is Refusal.BAD_CERTIFICATE


@pytest.mark.parametrize("change", CHANGES)
def test_a_view_change_with_a_changed_certificate_is_thrown_away(change: Change) -> None:
    # its signature holds: the certificate is not signed, so the signer is not to blame
    certificate = change(PREPARED)
    assert isinstance(certificate, PreparedCertificate)
    message = replace(SEVEN.view_change(2, 5, PREPARED), certificate=certificate)
    assert check(message) is Refusal.CLAIM_WITHOUT_CERTIFICATE


@pytest.mark.parametrize("change", CHANGES)
def test_a_justification_with_a_changed_certificate_justifies_nothing(change: Change) -> None:
    justification = replace(SEVEN.justification(5, {0: PREPARED}), certificate=change(PREPARED))
    assert check(SEVEN.pre_prepare(5, A, justification)) is Refusal.BAD_JUSTIFICATION


def test_a_whole_certificate_of_another_slot_does_not_prove_a_claim() -> None:
    message = replace(SEVEN.view_change(2, 5, PREPARED), certificate=SEVEN.prepared(4))
    assert check(message) is Refusal.CLAIM_WITHOUT_CERTIFICATE


def test_a_claim_without_its_certificate_is_never_read_as_none() -> None:
    message = replace(SEVEN.view_change(2, 5, PREPARED), certificate=None)
    assert check(message) is Refusal.CLAIM_WITHOUT_CERTIFICATE


def test_a_certificate_without_a_claim_is_refused() -> None:
    assert check(replace(SEVEN.view_change(2, 5), certificate=PREPARED)) is Refusal.CLAIM_WITHOUT_CERTIFICATE


@pytest.mark.parametrize(("slot", "expected"), [(3, Refusal.CLAIM_WITHOUT_CERTIFICATE), (4, None)])
def test_a_claim_lies_below_the_slot_of_its_view_change(slot: int, expected: Refusal | None) -> None:
    assert check(SEVEN.view_change(2, slot, PREPARED)) is expected


def test_two_f_plus_one_votes_of_six_members_are_no_certificate() -> None:
    six = Members(6)  # F = 1: 3 are 2F + 1, 4 are Q
    message = Decided(certificate=six.committed(5, by=range(3)), proposal=A)
    assert check(message, six) is Refusal.BAD_CERTIFICATE
    assert check(Decided(certificate=six.committed(5, by=range(4)), proposal=A), six) is None


# --- justifications --------------------------------------------------------------------------------------------


def headers_from(view_changes: list[ViewChange]) -> tuple[ViewChangeHeader, ...]:
    return tuple(
        ViewChangeHeader(signer=one.signer, claim=one.claim, signature=one.signature)
        for one in sorted(view_changes, key=lambda one: one.signer)
    )


def swapped(justification: Justification, view_change: ViewChange) -> Justification:
    """One header is replaced by the signer's other VIEW-CHANGE."""
    headers = tuple(
        headers_from([view_change])[0] if header.signer == view_change.signer else header
        for header in justification.headers
    )
    return replace(justification, headers=headers)


NONE_CLAIMED = SEVEN.justification(5)
ONE_CLAIMED = SEVEN.justification(5, {0: PREPARED})
TWO_CLAIMED = SEVEN.justification(5, {0: PREPARED, 1: SEVEN.prepared(4, BLOCK_B)})


@pytest.mark.parametrize(
    "proposal",
    [
        pytest.param(SEVEN.pre_prepare(5, A, SEVEN.justification(5, by=range(4))), id="Q - 1"),
        pytest.param(SEVEN.pre_prepare(5, A, SEVEN.justification(5, by=range(6))), id="Q + 1"),
        pytest.param(
            SEVEN.pre_prepare(5, A, replace(NONE_CLAIMED, headers=NONE_CLAIMED.headers[::-1])), id="unsorted"
        ),
        pytest.param(
            SEVEN.pre_prepare(5, A, replace(NONE_CLAIMED, headers=(NONE_CLAIMED.headers[0],) * 5)), id="one signer"
        ),
        pytest.param(SEVEN.pre_prepare(5, A, SEVEN.justification(4)), id="view changes of an earlier slot"),
        pytest.param(SEVEN.pre_prepare(5, A, SEVEN.justification(6)), id="view changes of a later slot"),
        pytest.param(
            SEVEN.pre_prepare(5, A, swapped(NONE_CLAIMED, SEVEN.view_change(2, 4))), id="one of an earlier slot"
        ),
        pytest.param(SEVEN.pre_prepare(5, A, SEVEN.justification(5, height=2)), id="another height"),
        pytest.param(SEVEN.pre_prepare(5, A, OTHER_CHAIN.justification(5)), id="another chain"),
        pytest.param(SEVEN.pre_prepare(5, A, STRANGERS.justification(5, by=(0, 1, 2, 3, 7))), id="foreign member"),
        pytest.param(
            SEVEN.pre_prepare(5, A, replace(NONE_CLAIMED, certificate=PREPARED)), id="certificate without a claim"
        ),
        pytest.param(
            SEVEN.pre_prepare(5, A, replace(ONE_CLAIMED, certificate=None)), id="claim without a certificate"
        ),
        pytest.param(SEVEN.pre_prepare(5, B, ONE_CLAIMED), id="not the claimed block"),
        pytest.param(SEVEN.pre_prepare(5, A, TWO_CLAIMED), id="not the highest claimed block"),
        pytest.param(
            SEVEN.pre_prepare(5, A, replace(TWO_CLAIMED, certificate=PREPARED)), id="certificate of a lower claim"
        ),
        pytest.param(
            SEVEN.pre_prepare(3, A, SEVEN.justification(3, {0: PREPARED})), id="claims the proposal's own slot"
        ),
        pytest.param(
            SEVEN.pre_prepare(5, B, replace(swapped(ONE_CLAIMED, SEVEN.view_change(0, 5)), certificate=PREPARED)),
            id="claim dropped",
        ),
        pytest.param(
            SEVEN.pre_prepare(
                5,
                B,
                replace(
                    ONE_CLAIMED,
                    headers=tuple(replace(header, claim=None) for header in ONE_CLAIMED.headers),
                    certificate=None,
                ),
            ),
            id="claim blanked in a signed header",
        ),
    ],
)
def test_a_wrong_justification_is_refused(proposal: PrePrepare) -> None:
    assert check(proposal) is Refusal.BAD_JUSTIFICATION


def test_the_highest_claim_binds() -> None:
    assert check(SEVEN.pre_prepare(5, B, TWO_CLAIMED)) is None


def test_one_bad_header_spoils_a_justification() -> None:
    header = NONE_CLAIMED.headers[2]
    for wrong in (
        replace(header, signature=bytes(64)),
        replace(header, claim=Claim(slot=Slot(1), block=BLOCK_A)),
    ):
        headers = (*NONE_CLAIMED.headers[:2], wrong, *NONE_CLAIMED.headers[3:])
        assert check(SEVEN.pre_prepare(5, A, replace(NONE_CLAIMED, headers=headers))) is Refusal.BAD_JUSTIFICATION


def test_garbage_in_a_view_change_costs_one_signature_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []

    def counting(key: PublicKey, signed: bytes, signature: Signature) -> bool:
        checked.append(signed)
        return verify(key, signed, signature)

    monkeypatch.setattr("consensus.verification.verify", counting)
    check(replace(SEVEN.view_change(2, 5, PREPARED), signature=Signature(bytes(64))))
    assert len(checked) == 1


# --- membership ------------------------------------------------------------------------------------------------


def test_a_membership_names_its_members_in_order() -> None:
    membership = SEVEN.membership
    assert len(membership) == 7
    assert SEVEN.address(0) in membership
    assert STRANGERS.address(7) not in membership
    assert membership.key_of(SEVEN.address(3)) == SEVEN.keys[3].public_key
    assert membership.key_of(STRANGERS.address(7)) is None
    turned = Membership.of_keys([key.public_key for key in SEVEN.keys[::-1]])
    assert turned.digest() != membership.digest() == Members(7).membership.digest()


@pytest.mark.parametrize("keys", [[], [SEVEN.keys[0].public_key] * 2])
def test_a_membership_is_never_empty_and_has_no_one_twice(keys: list[PublicKey]) -> None:
    with pytest.raises(AssertionError):
        Membership.of_keys(keys)
