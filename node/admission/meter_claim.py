"""What ties a meter to a node: both keys and the capacity of the connection, signed with the meter's key.

It travels as one URI among the names of a request and of the certificate that answers it, so that whoever has the
certificate sees that the home has both keys: the request shows that it has the node's.
"""

import re
from typing import Final, NamedTuple

from cryptography import x509

from consensus.codec import encode
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import PublicKey, Signature
from contracts.genesis import CAPACITY_W_MAX
from node.errors import IdentityError

_PREFIX: Final = "urn:p2pnode:meter:"
_FORM: Final = re.compile(rf"{_PREFIX}([0-9a-f]{{64}}):([1-9][0-9]{{0,9}}):([0-9a-f]{{128}})")
_PURPOSE: Final = "p2pnode meter claim"
"""First element of what is signed, so that the signature serves nothing else."""


class MeterClaim(NamedTuple):
    """A meter's word that it belongs to a node."""

    meter_key: PublicKey
    """Ed25519 key of the meter: readings."""
    capacity_w: int
    """Capacity of the connection that it measures, in W."""
    signature: Signature
    """Of the meter, under the node's key and the capacity."""

    @property
    def uri(self) -> str:
        """Returns how a request and a certificate name it."""
        return f"{_PREFIX}{self.meter_key.hex()}:{self.capacity_w}:{self.signature.hex()}"


def claim_meter(node_key: PublicKey, meter_key: SigningKey, capacity_w: int) -> MeterClaim:
    """Returns the claim that a home makes: `capacity_w` from 1 to `CAPACITY_W_MAX`."""
    assert 1 <= capacity_w <= CAPACITY_W_MAX
    signature = meter_key.sign(_signed_bytes(node_key, capacity_w))
    return MeterClaim(meter_key.public_key, capacity_w, signature)


def meter_claim_of(names: x509.Extensions, node_key: PublicKey) -> MeterClaim | None:
    """Returns the claim among the names of a certificate or a request; None if there is none.

    Args:
        names: its extensions.
        node_key: the key that it is of.

    Raises:
        IdentityError: there are two, or it is damaged, absurd, or signed for another node.
    """
    try:
        alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    uris = alternatives.get_values_for_type(x509.UniformResourceIdentifier)
    claims = [uri for uri in uris if uri.startswith(_PREFIX)]
    if len(claims) > 1:
        raise IdentityError("meter: it names two")
    return parse_meter_claim(claims[0], node_key) if claims else None


def parse_meter_claim(uri: str, node_key: PublicKey) -> MeterClaim:
    """Returns the claim that a URI is.

    Raises:
        IdentityError: it is damaged, absurd, or signed for another node.
    """
    form = _FORM.fullmatch(uri)
    if form is None:
        raise IdentityError("meter: what it says of it is damaged")
    key, capacity_w, signature = form.groups()
    claim = MeterClaim(PublicKey(bytes.fromhex(key)), int(capacity_w), Signature(bytes.fromhex(signature)))
    if claim.capacity_w > CAPACITY_W_MAX:
        raise IdentityError(f"meter: a connection of {claim.capacity_w} W; at most {CAPACITY_W_MAX}")
    if not verify(claim.meter_key, _signed_bytes(node_key, claim.capacity_w), claim.signature):
        raise IdentityError("meter: it did not sign for this node and capacity")
    return claim


def _signed_bytes(node_key: PublicKey, capacity_w: int) -> bytes:
    return encode((_PURPOSE, node_key, capacity_w))
