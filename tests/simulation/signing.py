"""Keys of simulated members: real Ed25519, or a keyed hash behind the same types that costs a twentieth.

Production code looks `verify` up in its own module at each call; `keyed_hashes` puts the hash in its
place while it is entered, so no production code knows of it. The hash is keyed with the public key: a forger would
have it easy, but the simulator's liars sign with their own keys only. A share of the seeds runs on Ed25519.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from hashlib import blake2b
from unittest.mock import patch

from consensus import era_plans, evidence, recovery, statements, verification
from consensus.cryptography import SigningKey, address_of
from consensus.identifiers import SIGNATURE_SIZE_BYTES, Address, PublicKey, Signature


class KeyedHashKey:
    """Signs with a keyed hash; stands where `SigningKey` does."""

    __slots__ = ("address", "public_key")

    def __init__(self, seed: bytes) -> None:
        self.public_key = PublicKey(blake2b(seed, digest_size=32, person=b"simulation.key").digest())
        self.address = address_of(self.public_key)

    def of_member(self, address: Address) -> "KeyedHashKey":
        key = copy(self)
        key.address = address
        return key

    def sign(self, message: bytes) -> Signature:
        return _keyed_hash(self.public_key, message)


Key = SigningKey | KeyedHashKey


def keyed_hash_keys(members: int) -> list[KeyedHashKey]:
    return [KeyedHashKey(bytes([index + 1])) for index in range(members)]


def _keyed_hash(public_key: PublicKey, message: bytes) -> Signature:
    return Signature(blake2b(message, digest_size=SIGNATURE_SIZE_BYTES, key=public_key).digest())


def is_signed(public_key: PublicKey, message: bytes, signature: Signature) -> bool:
    """Says whether a `KeyedHashKey` signed: for checkers, whatever production code believes."""
    return _keyed_hash(public_key, message) == signature


def _verify(public_key: PublicKey, message: bytes, signature: Signature) -> bool:
    return _keyed_hash(public_key, message) == signature


@contextmanager
def keyed_hashes() -> Iterator[None]:
    """Has consensus accept the signatures of `KeyedHashKey`, and no others, while entered."""
    with ExitStack() as stack:
        for module in (verification, evidence, recovery, era_plans, statements):
            stack.enter_context(patch.object(module, "verify", _verify))
        yield
