"""Vouchers in certificates: what a chain checks of a home, signed beside what TLS checks.

The issuing authority's certificate has the root's signature under its voucher among its names, a home's certificate a
person's tag and the issuing authority's signature. What they sign follows from the certificates themselves
(`contracts/vouchers.py`), so a home that has its certificate has its vouchers.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509

from consensus.codec import encode
from consensus.identifiers import Digest, PublicKey, Signature
from contracts.units import Milliseconds
from contracts.vouchers import HomeVoucher, IssuingVoucher, Vouchers, vouchers_hold
from node.admission.chain import UNREADABLE
from node.admission.identity import certificate_key
from node.admission.meter_claim import MeterClaim, meter_claim_of
from node.errors import IdentityError

_ISSUING: Final = "urn:p2pnode:issuing-voucher:"
_HOME: Final = "urn:p2pnode:home-voucher:"
_ISSUING_FORM: Final = re.compile(rf"{_ISSUING}([0-9a-f]{{128}})")
_HOME_FORM: Final = re.compile(rf"{_HOME}([0-9a-f]{{64}}):([0-9a-f]{{128}})")


def issuing_voucher(issuing_key: PublicKey, first: datetime, until: datetime) -> IssuingVoucher:
    """Returns what the root says of the key of an issuing authority."""
    return IssuingVoucher(issuing_key=issuing_key, valid_from_ms=time_ms(first), valid_until_ms=time_ms(until))


def home_voucher(
    node_key: PublicKey, meter: MeterClaim, person: Digest, first: datetime, until: datetime
) -> HomeVoucher:
    """Returns what the issuing authority says of a home's keys."""
    return HomeVoucher(
        node_key=node_key,
        meter_key=meter.meter_key,
        capacity_w=meter.capacity_w,
        person=person,
        valid_from_ms=time_ms(first),
        valid_until_ms=time_ms(until),
    )


def issuing_uri(signature: bytes) -> str:
    """Returns how an issuing authority's certificate names the root's signature."""
    return f"{_ISSUING}{signature.hex()}"


def home_uri(person: Digest, signature: bytes) -> str:
    """Returns how a home's certificate names its person's tag and the issuing authority's signature."""
    return f"{_HOME}{person.hex()}:{signature.hex()}"


def vouchers_of(chain: Sequence[x509.Certificate], root_key: PublicKey) -> Vouchers:
    """Returns the vouchers in a home's certificate and its issuing authority's.

    Args:
        chain: both, the home's first; as `chain.require_chain` accepts it.
        root_key: the root's, as the homes have it.

    Raises:
        IdentityError: they have none, as certificates made before there were any, or others' ones.
    """
    home, issuing = chain
    named, issued = _named(home, _HOME, _HOME_FORM), _named(issuing, _ISSUING, _ISSUING_FORM)
    node_key = certificate_key(home)
    meter = meter_claim_of(home.extensions, node_key)
    if named is None or issued is None or meter is None:
        raise IdentityError(
            "the certificate vouches for no meter on a chain: ask the authority for one that does (p2pnode ca issue; "
            "an issuing authority of before makes its next one first, p2pnode ca renew --issuing)"
        )
    person, signature = named.groups()
    vouchers = Vouchers(
        issuing=issuing_voucher(certificate_key(issuing), issuing.not_valid_before_utc, issuing.not_valid_after_utc),
        issuing_signature=Signature(bytes.fromhex(issued.group(1))),
        home=home_voucher(
            node_key, meter, Digest(bytes.fromhex(person)), home.not_valid_before_utc, home.not_valid_after_utc
        ),
        home_signature=Signature(bytes.fromhex(signature)),
    )
    if not vouchers_hold(vouchers, root_key):
        raise IdentityError("what the certificate vouches for was not signed by the authority's root")
    return vouchers


def signed_bytes(voucher: IssuingVoucher | HomeVoucher) -> bytes:
    """Returns what is signed."""
    return encode(voucher)


def _named(certificate: x509.Certificate, prefix: str, form: re.Pattern[str]) -> re.Match[str] | None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:
        raise IdentityError("its extensions are damaged") from None
    found = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith(prefix)]
    return form.fullmatch(found[0]) if len(found) == 1 else None


def time_ms(moment: datetime) -> Milliseconds:
    """Returns a moment of a certificate as a chain has it: certificates know seconds."""
    return Milliseconds(int(moment.timestamp()) * 1_000)
