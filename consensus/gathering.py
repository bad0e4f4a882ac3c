"""Certificates in few bytes, for who knows the members of the height: it is handed numbers in the place of addresses.

A certificate that blocks, justifications and disks carry has an address of 32 bytes with each signature; here a
member is a bit. Among 100 members that saves a third: 4.4 KB in the place of 6.8. Each certificate has one such form,
and nothing in it is believed before its signatures were checked.
"""

from collections.abc import Iterator

from consensus.identifiers import SIGNATURE_SIZE_BYTES, Address, Signature
from consensus.membership import Membership
from consensus.messages import (
    Commit,
    CommitCertificate,
    EndorsedStatement,
    Endorsement,
    Gathered,
    Prepare,
    PreparedCertificate,
)

Certificate = PreparedCertificate | CommitCertificate


def gathered_of(certificate: Certificate, membership: Membership) -> Gathered:
    """Returns a certificate that holds in its short form.

    Args:
        certificate: of Q members of its height.
        membership: of its height.
    """
    signatures = {endorsement.signer: endorsement.signature for endorsement in certificate.endorsements}
    signed = [address for address in membership.addresses if address in signatures]
    assert len(signed) == len(signatures) == membership.quorum, "a certificate has exactly Q members' signatures"
    is_of_votes = isinstance(certificate, PreparedCertificate)
    return Gathered(
        era=certificate.era,
        kind=EndorsedStatement.VOTE if is_of_votes else EndorsedStatement.COMMIT,
        height=certificate.height,
        slot=certificate.slot,
        block=certificate.block,
        signers=membership.bitmap_of(signatures),
        signatures=b"".join(signatures[address] for address in signed),
    )


def certificate_of(gathered: Gathered, membership: Membership) -> Certificate | None:
    """Returns the certificate whose short form this is, no signature checked; None if it has not the form of one.

    Args:
        gathered: from anybody.
        membership: of the height that it names.
    """
    signers = _signers(gathered, membership)
    if signers is None:
        return None
    starts = range(0, len(gathered.signatures), SIGNATURE_SIZE_BYTES)
    signatures = [Signature(gathered.signatures[start : start + SIGNATURE_SIZE_BYTES]) for start in starts]
    endorsements = tuple(
        Endorsement(signer=signer, signature=signature)
        for signer, signature in sorted(zip(signers, signatures, strict=True))
    )
    kind = PreparedCertificate if gathered.kind is EndorsedStatement.VOTE else CommitCertificate
    return kind(
        era=gathered.era,
        height=gathered.height,
        slot=gathered.slot,
        block=gathered.block,
        endorsements=endorsements,
    )


def statements_in(certificate: Certificate) -> Iterator[Prepare | Commit]:
    """Yields the statements that a certificate is made of, as their signers sent them."""
    kind = Prepare if isinstance(certificate, PreparedCertificate) else Commit
    for endorsement in certificate.endorsements:
        yield kind(
            height=certificate.height,
            slot=certificate.slot,
            block=certificate.block,
            signer=endorsement.signer,
            signature=endorsement.signature,
        )


def _signers(gathered: Gathered, membership: Membership) -> list[Address] | None:
    """Returns who signed, in the order of admission; None where the form is wrong: another length, bits of nobody,
    more or fewer than Q.
    """
    bits = int.from_bytes(gathered.signers, "little")
    is_formed = (
        len(gathered.signers) == membership.bitmap_size_bytes
        and bits >> len(membership) == 0
        and bits.bit_count() == membership.quorum
        and len(gathered.signatures) == membership.quorum * SIGNATURE_SIZE_BYTES
    )
    if not is_formed:
        return None
    return [address for number, address in enumerate(membership.addresses) if bits >> number & 1]
