"""Which key acts for the authority after a block, proven to who has genesis and the block, and no state."""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from consensus.codec import DecodeError, Record, decode, encode
from consensus.identifiers import GENESIS_HEIGHT, Digest, PublicKey
from contracts.genesis import Genesis
from contracts.office_records import Office, OfficeName
from contracts.offices import office_addresses
from contracts.state import StateKey, office_key
from ledger.authenticated_map import MapProof, proof_holds
from ledger.block import Block, block_digest
from ledger.ledger import Ledger

OFFICE_SIZE_BYTES_MAX = 1_024
"""The record of an office has about 150 bytes."""


class AuthorityProof(Record, frozen=True, kw_only=True, tag="authority-proof"):
    """What the state says of the authority, with the path to its root, which the block's header names."""

    office: Annotated[bytes, Meta(max_length=OFFICE_SIZE_BYTES_MAX)]
    path: MapProof


def prove_authority(ledger: Ledger) -> bytes:
    """Returns the proof of the authority's key after the newest block; nothing at height 0: genesis says it."""
    if ledger.height == GENESIS_HEIGHT:
        return b""
    proof = ledger.prove_state(_key(ledger.genesis))
    assert proof.value is not None, "every state has the authority"
    return encode(AuthorityProof(office=proof.value, path=proof.path))


def authority_reader(genesis: Genesis) -> Callable[[Digest, bytes, bytes], PublicKey | None]:
    """Returns what reads the authority's key out of a block's name, the block and a proof; None if it shows none."""
    key = _key(genesis)

    def read(name: Digest, proposal: bytes, encoded: bytes) -> PublicKey | None:
        try:
            header, proof = decode(proposal, Block).header, decode(encoded, AuthorityProof)
            if block_digest(header) != name or not proof_holds(proof.path, header.state_root, key, proof.office):
                return None
            return decode(proof.office, Office).key
        except DecodeError:
            return None

    return read


def _key(genesis: Genesis) -> StateKey:
    return office_key(office_addresses(genesis)[OfficeName.AUTHORITY])
