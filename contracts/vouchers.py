"""Vouchers: what the authority says of a home, in the form that a chain keeps and every member checks.

The authority's certificates are X.509. They name a home and where it is reached, which no chain should keep for ever;
and libraries differ about damaged ones, which would split a chain. A voucher says of the keys what certificates say,
in this project's own encoding: the root vouches for the key of its issuing authority, and that one for a home's.
"""

from typing import Annotated

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import verify
from consensus.identifiers import TIME_MS_MAX, PublicKey
from consensus.messages import DigestField, SignatureField
from contracts.genesis import CAPACITY_W_MAX, PublicKeyBytes
from contracts.units import Milliseconds

Time = Annotated[Milliseconds, Meta(ge=0, le=TIME_MS_MAX)]
"""Since the epoch; certificates know seconds."""


class IssuingVoucher(Record, frozen=True, kw_only=True, tag="p2pnode-2-issuing-voucher"):
    """The root says that a key certifies homes."""

    issuing_key: PublicKeyBytes
    valid_from_ms: Time
    valid_until_ms: Time


class HomeVoucher(Record, frozen=True, kw_only=True, tag="p2pnode-2-home-voucher"):
    """The issuing authority says that a node and a meter are those of a home that it certified."""

    node_key: PublicKeyBytes
    meter_key: PublicKeyBytes
    capacity_w: Annotated[int, Meta(ge=1, le=CAPACITY_W_MAX)]
    """Of the home's connection."""
    person: DigestField
    """A person's tag, the same in all its vouchers: it says nothing to who does not have the authority's register."""
    valid_from_ms: Time
    valid_until_ms: Time


class Vouchers(Record, frozen=True, kw_only=True):
    """A home's voucher, and what leads from it to the root."""

    issuing: IssuingVoucher
    issuing_signature: SignatureField
    """The root's."""
    home: HomeVoucher
    home_signature: SignatureField
    """The issuing authority's."""


def vouchers_hold(vouchers: Vouchers, root_key: PublicKey) -> bool:
    """Says whether the root stands behind a home's voucher, at whatever time."""
    issuing = vouchers.issuing
    return verify(root_key, encode(issuing), vouchers.issuing_signature) and verify(
        issuing.issuing_key, encode(vouchers.home), vouchers.home_signature
    )


def valid_until_ms(vouchers: Vouchers) -> Milliseconds:
    """Returns the last moment at which both vouchers are valid."""
    return min(vouchers.issuing.valid_until_ms, vouchers.home.valid_until_ms)


def are_valid_at(vouchers: Vouchers, time_ms: Milliseconds) -> bool:
    """Says whether both vouchers are valid at a time, the moments at their ends included."""
    return all(one.valid_from_ms <= time_ms <= one.valid_until_ms for one in (vouchers.issuing, vouchers.home))
