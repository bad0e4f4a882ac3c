"""What a member says of where it is: signed with its node key, passed on by anybody, checked by everybody.

A record names the node key that signed it and no address: whose that key is, the chain's state says, as for a link's
certificate. So a home that took a member's place begins anew, whatever sequence the old home had come to.
"""

from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, decode, encode
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import PUBLIC_KEY_SIZE_BYTES, Digest, PublicKey
from consensus.messages import MEMBERS_MAX, DigestField, SignatureField
from contracts.transactions import COUNTER_MAX
from contracts.units import Milliseconds
from node.home.configuration import ADVERTISED_MAX
from node.home.hosts import HOST_LENGTH_MAX, PORT_MAX, is_host

RECORD_SIZE_BYTES_MAX: Final = 1_280
"""Four of the longest names, key and signature take 1,180 bytes; checked before anything is decoded."""

RECORDS_MAX: Final = 2 * MEMBERS_MAX
"""Of all members: while a member's key changes, the state knows two keys of it."""

RawRecord = Annotated[bytes, Meta(min_length=1, max_length=RECORD_SIZE_BYTES_MAX)]
"""An encoded record, as its member signed it."""

KeyField = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_SIZE_BYTES, max_length=PUBLIC_KEY_SIZE_BYTES)]
SequenceField = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
WallField = Annotated[Milliseconds, Meta(ge=0, le=COUNTER_MAX)]


class Place(Record, frozen=True, kw_only=True):
    """A host, by name or address, and a port on which its member listens."""

    host: Annotated[str, Meta(min_length=1, max_length=HOST_LENGTH_MAX)]
    port: Annotated[int, Meta(ge=1, le=PORT_MAX)]

    def __post_init__(self) -> None:
        if not is_host(self.host):
            raise ValueError("a host is a name or an address")


PlacesField = Annotated[tuple[Place, ...], Meta(min_length=1, max_length=ADVERTISED_MAX)]


class EndpointStatement(Record, frozen=True, kw_only=True, tag="p2pnode-1-endpoint"):
    """The bytes under the signature: on this chain, the home with the signer's key is there."""

    chain: DigestField
    places: PlacesField
    sequence: SequenceField
    expires_ms: WallField


class EndpointRecord(Record, frozen=True, kw_only=True, tag="endpoint"):
    """Where the home with a node key is, by its own word."""

    node_key: KeyField
    places: PlacesField
    """In the order to try."""
    sequence: SequenceField
    """The higher one of a key is the newer one. The signer's wall clock when it signed, or one above its last."""
    expires_ms: WallField
    """On the wall clock. It is tried after all others from then on, and is still the newest."""
    signature: SignatureField

    def holds_on(self, chain: Digest) -> bool:
        """Says whether the key that it names signed it, for this chain."""
        statement = EndpointStatement(
            chain=chain, places=self.places, sequence=self.sequence, expires_ms=self.expires_ms
        )
        return verify(self.node_key, encode(statement), self.signature)


def sign_record(
    key: SigningKey, *, chain: Digest, places: tuple[Place, ...], sequence: int, expires_ms: Milliseconds
) -> EndpointRecord:
    """Returns a home's record of itself."""
    statement = EndpointStatement(chain=chain, places=places, sequence=sequence, expires_ms=expires_ms)
    return EndpointRecord(
        node_key=key.public_key,
        places=places,
        sequence=sequence,
        expires_ms=expires_ms,
        signature=key.sign(encode(statement)),
    )


def decode_record(raw: bytes) -> EndpointRecord:
    """Returns the record that somebody passed on; its signature is not checked.

    Raises:
        DecodeError: it is too long, or none.
    """
    return decode(raw, EndpointRecord, size_bytes_max=RECORD_SIZE_BYTES_MAX)
