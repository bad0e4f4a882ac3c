"""A verifiable random function: 64 bytes that only a key's owner can say, one value per input, and all can check.

RFC 9381, ECVRF-EDWARDS25519-SHA512-TAI (suite 0x03), under a member's node key. Whatever touches the secret runs in
libsodium. Two things that libsodium lacks stand here, both on public data: a point outside the main subgroup is
decompressed (RFC 8032, 5.1.3), and its cofactor cleared (its scalar multiplication refuses such points).

Verification is stricter than the RFC: key and Gamma lie in the main subgroup and are not the identity, as those of an
honest prover always do. That keeps Gamma, and so the output, unique.

One key signs with Ed25519 and proves here: their nonces are SHA-512(prefix || message) and SHA-512(prefix || H), and
could only be the same if a signed message were exactly the 32 bytes of H. `SigningKey.sign` takes none of that size.
"""

from hashlib import sha512
from typing import Final

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_core_ed25519_sub,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_scalarmult_ed25519_noclamp,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from consensus.identifiers import PUBLIC_KEY_SIZE_BYTES, PublicKey

PROOF_SIZE_BYTES: Final = 80
OUTPUT_SIZE_BYTES: Final = 64
POINT_SIZE_BYTES: Final = 32

_SUITE: Final = b"\x03"
_ENCODE, _CHALLENGE, _OUTPUT, _END = b"\x01", b"\x02", b"\x03", b"\x00"
_CHALLENGE_SIZE_BYTES: Final = 16
_COUNTERS: Final = 256

# the curve of RFC 8032, 5.1: -x^2 + y^2 = 1 + d x^2 y^2 over the integers modulo p, with a subgroup of prime order
_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SQUARE_ROOT_OF_MINUS_1: Final = pow(2, (_P - 1) // 4, _P)
_ORDER: Final = 2**252 + 27742317777372353535851937790883648493
_EIGHT: Final = (8).to_bytes(POINT_SIZE_BYTES, "little")
_SIGN_BIT: Final = 1 << 255
_IDENTITY: Final = (0, 1)

_Point = tuple[int, int]
"""Affine coordinates x, y."""


def prove(seed: bytes, alpha: bytes) -> bytes:
    """Returns the 80 bytes that prove the output for `alpha`, the same each time.

    Args:
        seed: the 32 bytes of an Ed25519 private key.
        alpha: the input, of any length.
    """
    public_key, _ = crypto_sign_seed_keypair(seed)
    secret, prefix = _expanded(seed)
    point = _encode_to_curve(PublicKey(public_key), alpha)
    gamma = crypto_scalarmult_ed25519_noclamp(secret, point)
    nonce = crypto_core_ed25519_scalar_reduce(sha512(prefix + point).digest())
    commitments = crypto_scalarmult_ed25519_base_noclamp(nonce), crypto_scalarmult_ed25519_noclamp(nonce, point)
    challenge = _challenge(public_key, point, gamma, *commitments)
    answer = crypto_core_ed25519_scalar_add(nonce, crypto_core_ed25519_scalar_mul(_scalar(challenge), secret))
    return gamma + challenge + answer


def verify(public_key: PublicKey, alpha: bytes, proof: bytes) -> bytes | None:
    """Returns the 64 bytes of output that `proof` shows for `alpha`; None for anything that is no proof."""
    if len(proof) != PROOF_SIZE_BYTES or len(public_key) != PUBLIC_KEY_SIZE_BYTES:
        return None
    gamma, rest = proof[:POINT_SIZE_BYTES], proof[POINT_SIZE_BYTES:]
    challenge, answer = rest[:_CHALLENGE_SIZE_BYTES], rest[_CHALLENGE_SIZE_BYTES:]
    if int.from_bytes(answer, "little") >= _ORDER:
        return None  # the same proof again under another name
    if not all(crypto_core_ed25519_is_valid_point(point) for point in (public_key, gamma)):
        return None
    try:
        point = _encode_to_curve(public_key, alpha)
        scalar = _scalar(challenge)
        first = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_base_noclamp(answer), crypto_scalarmult_ed25519_noclamp(scalar, public_key)
        )
        second = crypto_core_ed25519_sub(
            crypto_scalarmult_ed25519_noclamp(answer, point), crypto_scalarmult_ed25519_noclamp(scalar, gamma)
        )
        return output(proof) if _challenge(public_key, point, gamma, first, second) == challenge else None
    except CryptoError:  # a scalar of 0, or a product that is the identity: no honest proof has one
        return None


def output(proof: bytes) -> bytes:
    """Returns the 64 bytes of output of a proof that was verified, by whoever it was."""
    cleared = crypto_scalarmult_ed25519_noclamp(_EIGHT, proof[:POINT_SIZE_BYTES])
    return sha512(_SUITE + _OUTPUT + cleared + _END).digest()


def _expanded(seed: bytes) -> tuple[bytes, bytes]:
    """RFC 8032, 5.1.5: the secret scalar, reduced, which changes no product in the main subgroup; and the prefix."""
    expanded = bytearray(sha512(seed).digest())
    expanded[0] &= 0b1111_1000
    expanded[31] &= 0b0111_1111
    expanded[31] |= 0b0100_0000
    secret, prefix = bytes(expanded[:POINT_SIZE_BYTES]), bytes(expanded[POINT_SIZE_BYTES:])
    return crypto_core_ed25519_scalar_reduce(secret + bytes(POINT_SIZE_BYTES)), prefix


def _scalar(challenge: bytes) -> bytes:
    return challenge + bytes(POINT_SIZE_BYTES - _CHALLENGE_SIZE_BYTES)


def _challenge(*points: bytes) -> bytes:
    """RFC 9381, 5.4.3."""
    return sha512(_SUITE + _CHALLENGE + b"".join(points) + _END).digest()[:_CHALLENGE_SIZE_BYTES]


def _encode_to_curve(public_key: PublicKey, alpha: bytes) -> bytes:
    """RFC 9381, 5.4.1.1: try and increment, salted with the public key."""
    for counter in range(_COUNTERS):
        hashed = sha512(_SUITE + _ENCODE + public_key + alpha + bytes([counter]) + _END).digest()
        point = _decode(hashed[:POINT_SIZE_BYTES])
        if point is not None:
            cleared = _times_eight(point)
            if cleared != _IDENTITY:
                return _encode(cleared)
    raise AssertionError("each counter fails with a chance of a half: all of them with one of 2 ** -256")


def _decode(encoded: bytes) -> _Point | None:
    """RFC 8032, 5.1.3: a point of the curve, None where there is none of this y."""
    number = int.from_bytes(encoded, "little")
    is_odd, y = bool(number & _SIGN_BIT), number & (_SIGN_BIT - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * _SQUARE_ROOT_OF_MINUS_1 % _P
    elif v * x * x % _P != u:
        return None
    if x == 0 and is_odd:
        return None
    return (_P - x if bool(x & 1) != is_odd else x), y


def _encode(point: _Point) -> bytes:
    x, y = point
    return (y | (x & 1) * _SIGN_BIT).to_bytes(POINT_SIZE_BYTES, "little")


def _times_eight(point: _Point) -> _Point:
    """Three doublings in projective coordinates."""
    x, y, z = *point, 1
    for _ in range(3):
        a, b = x * x, y * y
        total, difference = (a + b) % _P, (a - b) % _P
        e, f = (total - (x + y) * (x + y)) % _P, (2 * z * z + difference) % _P
        x, y, z = e * f % _P, difference * total % _P, f * difference % _P
    inverse = pow(z, -1, _P)
    return x * inverse % _P, y * inverse % _P
