"""The distinct types that every package names things by, so that a height is never passed for a slot."""

from typing import Final, NewType

Height = NewType("Height", int)
"""Position of a block in the chain; genesis is 0, the first block is 1."""

Slot = NewType("Slot", int)
"""Timeslot since the chain's start time: floor((t - t0) / slot duration). The view number of PBFT."""

Address = NewType("Address", bytes)
"""32 bytes: the BLAKE2b-256 of an Ed25519 public key. Names a member and its wallet."""

Digest = NewType("Digest", bytes)
"""32 bytes: BLAKE2b-256 under the `person` of the kind of object (see `cryptography.HashKind`)."""

Domain = NewType("Domain", bytes)
"""32 bytes that every statement of consensus names: the hash of genesis in era 0, of era and plan above (`eras`)."""

EraNumber = NewType("EraNumber", int)
"""How many ceremonies the chain has had."""

PublicKey = NewType("PublicKey", bytes)
"""32 bytes: an Ed25519 public key."""

Signature = NewType("Signature", bytes)
"""64 bytes: an Ed25519 signature."""

DIGEST_SIZE_BYTES: Final = 32
PUBLIC_KEY_SIZE_BYTES: Final = 32
SIGNATURE_SIZE_BYTES: Final = 64
TIME_MS_MAX: Final = 2**53
"""Of a certificate's end, since the epoch."""

GENESIS_HEIGHT: Final = Height(0)
FIRST_HEIGHT: Final = Height(1)
"""Of the first block."""

FIXED_AHEAD: Final = 2
"""Block b writes the list of members of height b + 2."""
