"""The authority's word that a node key is no home's any more, for a chain: a file without secrets, beside `ca.crl`.

The list is for who checks certificates; a chain keeps no list. Whoever has the file brings it to any member.
"""

from pathlib import Path
from typing import Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Digest, PublicKey
from contracts.transactions import Revocation, RevocationReason, Revoke
from node.errors import FileRefused
from node.home.json_record import json_of, read_json_record

REVOCATION_SUFFIX: Final = ".revocation"

FILE_SIZE_BYTES_MAX: Final = 4_096
"""One has about 500 bytes."""


def make_revocation(chain: Digest, node_key: PublicKey, reason: RevocationReason, authority: SigningKey) -> bytes:
    """Returns the content of the file in which the authority revokes a node key on a chain."""
    revocation = Revocation(chain=chain, node_key=node_key, reason=reason)
    return json_of(Revoke(revocation=revocation, signature=authority.sign(encode(revocation))))


def read_revocation(path: Path, chain: Digest) -> Revoke:
    """Returns the authority's word in a file; whether the authority's present key signed it, the chain says.

    Raises:
        FileRefused: it cannot be read, is none, or is another chain's.
    """
    made = read_json_record(
        path, Revoke, what="key's revocation", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=FileRefused
    )
    if made.revocation.chain != chain:
        found = made.revocation.chain.hex()
        raise FileRefused(f"{path}.revocation.chain: is {found}, and this chain is {chain.hex()}")
    return made
