"""Hashes, signatures and sealed boxes: BLAKE2b-256 with a domain per kind of object, Ed25519 and X25519 by libsodium.

Every node uses this one Ed25519 implementation: implementations differ on malformed points, and a signature
that one node accepts and another refuses would be a fork.
"""

from copy import copy
from enum import Enum
from hashlib import blake2b
from typing import Final

from nacl.bindings import (
    crypto_box_seal,
    crypto_box_seal_open,
    crypto_box_SEALBYTES,
    crypto_sign,
    crypto_sign_BYTES,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError, CryptoError

from consensus import vrf
from consensus.identifiers import (
    DIGEST_SIZE_BYTES,
    PUBLIC_KEY_SIZE_BYTES,
    SIGNATURE_SIZE_BYTES,
    Address,
    Digest,
    PublicKey,
    Signature,
)

SEED_SIZE_BYTES: Final = 32

BOX_ADDED_BYTES: Final = crypto_box_SEALBYTES
"""A sealed box has so many bytes more than what is in it: a key of its own, and what shows a change."""


class HashKind(bytes, Enum):
    """What a digest names. The value is BLAKE2b's `person` (at most 16 bytes), so no two kinds collide."""

    ADDRESS = b"p2p.address"
    BLOCK = b"p2p.block"
    BODY = b"p2p.body"
    CEREMONY = b"p2p.ceremony"
    CERTIFICATE = b"p2p.certificate"
    CLUSTER = b"p2p.cluster"
    COMMITMENT = b"p2p.commitment"
    ERA = b"p2p.era"
    FOUNDING = b"p2p.founding"
    GENESIS = b"p2p.genesis"
    MAP_EMPTY = b"p2p.map.empty"
    MAP_INNER = b"p2p.map.inner"
    MAP_KEY = b"p2p.map.key"
    MAP_LEAF = b"p2p.map.leaf"
    MAP_VALUE = b"p2p.map.value"
    MEMBERSHIP = b"p2p.membership"
    MISCONDUCT = b"p2p.misconduct"
    ORDER = b"p2p.order"
    PACKET = b"p2p.packet"
    PLAN = b"p2p.plan"
    RANDOMNESS = b"p2p.randomness"
    SIGN_STATE = b"p2p.signstate"
    STATEMENT = b"p2p.statement"
    TRADE = b"p2p.trade"
    TRANSACTION = b"p2p.transaction"
    TREE_INNER = b"p2p.tree.inner"
    TREE_LEAF = b"p2p.tree.leaf"


def digest(kind: HashKind, data: bytes) -> Digest:
    """Returns the 32-byte BLAKE2b of `data` in the domain of `kind`."""
    return Digest(blake2b(data, digest_size=DIGEST_SIZE_BYTES, person=kind.value).digest())


def address_of(public_key: PublicKey) -> Address:
    """Returns the address that belongs to an Ed25519 public key (32 bytes)."""
    return Address(digest(HashKind.ADDRESS, public_key))


def verify(public_key: PublicKey, message: bytes, signature: Signature) -> bool:
    """Says whether `signature` is the Ed25519 signature of `message` under `public_key`; never raises."""
    if len(public_key) != PUBLIC_KEY_SIZE_BYTES or len(signature) != SIGNATURE_SIZE_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, CryptoError, ValueError):
        return False
    return True


def seal(public_key: PublicKey, data: bytes) -> bytes:
    """Returns a box that only the owner of an Ed25519 public key (32 bytes) opens; it does not say who sealed it.

    libsodium's sealed box, under the X25519 key that belongs to the same secret.

    Raises:
        ValueError: the key is none: of another length or kind, or not one that a secret has.
    """
    try:
        key = crypto_sign_ed25519_pk_to_curve25519(public_key)
    except CryptoError:
        raise ValueError("is no Ed25519 public key") from None
    return crypto_box_seal(data, key)


class SigningKey:
    """An Ed25519 private key. Its bytes never appear in `repr`, logs or errors."""

    __slots__ = ("_secret", "address", "public_key")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_SIZE_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_SIZE_BYTES} bytes, not {len(seed)}")
        public_key, self._secret = crypto_sign_seed_keypair(seed)
        self.public_key: Final = PublicKey(public_key)
        self.address = address_of(self.public_key)

    def of_member(self, address: Address) -> "SigningKey":
        """Returns this key as that of a member, or an office, that had another one before: its address stays."""
        key = copy(self)
        key.address = address
        return key

    def sign(self, message: bytes) -> Signature:
        """Returns the 64-byte signature of `message`, which has not the 32 bytes of a point that `prove` hashes."""
        assert len(message) != vrf.POINT_SIZE_BYTES, "signature and proof would share a nonce"
        return Signature(crypto_sign(message, self._secret)[:crypto_sign_BYTES])

    def prove(self, statement: bytes) -> bytes:
        """Returns the 80-byte proof of this key's verifiable random function for a statement."""
        return vrf.prove(self._secret[:SEED_SIZE_BYTES], statement)

    def unseal(self, box: bytes) -> bytes | None:
        """Returns what `seal` put into a box for this key; None if it is for another one, or damaged."""
        if len(box) < BOX_ADDED_BYTES:
            return None
        key = crypto_sign_ed25519_pk_to_curve25519(self.public_key)
        try:
            return crypto_box_seal_open(box, key, crypto_sign_ed25519_sk_to_curve25519(self._secret))
        except CryptoError:
            return None

    def __repr__(self) -> str:
        return f"SigningKey({self.address.hex()[:8]})"
