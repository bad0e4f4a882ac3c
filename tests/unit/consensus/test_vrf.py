"""The verifiable random function against the RFC's examples, and against whoever bends a proof."""

import json
from pathlib import Path
from typing import Final

import pytest
from nacl.bindings import crypto_core_ed25519_add

from consensus import vrf
from consensus.cryptography import SigningKey
from consensus.identifiers import PublicKey

EXAMPLES: Final = [
    {name: bytes.fromhex(value) for name, value in example.items()}
    for example in json.loads((Path(__file__).parent / "vectors" / "vrf.json").read_text())["examples"]
]
SEED: Final = bytes(range(32))
PUBLIC_KEY: Final = SigningKey(SEED).public_key
ALPHA: Final = b"height 1"
PROOF: Final = vrf.prove(SEED, ALPHA)
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
IDENTITY: Final = (1).to_bytes(32, "little")
OF_ORDER_TWO: Final = (2**255 - 20).to_bytes(32, "little")
OF_ORDER_FOUR: Final = bytes(32)


@pytest.mark.parametrize("example", EXAMPLES, ids=["16", "17", "18"])
def test_the_examples_of_the_rfc(example: dict[str, bytes]) -> None:
    public_key = PublicKey(example["public_key"])
    assert SigningKey(example["seed"]).public_key == public_key
    assert vrf.prove(example["seed"], example["alpha"]) == example["proof"]
    assert vrf.verify(public_key, example["alpha"], example["proof"]) == example["output"]


def test_one_input_has_one_output_however_often_it_is_proved() -> None:
    assert vrf.prove(SEED, ALPHA) == PROOF
    shown = vrf.verify(PUBLIC_KEY, ALPHA, PROOF)
    assert shown == vrf.output(PROOF)
    assert shown is not None
    assert len(shown) == vrf.OUTPUT_SIZE_BYTES
    assert vrf.output(vrf.prove(SEED, b"height 2")) != shown


def test_no_proof_with_one_bit_changed_is_one() -> None:
    for bit in range(8 * vrf.PROOF_SIZE_BYTES):
        changed = bytearray(PROOF)
        changed[bit // 8] ^= 1 << bit % 8
        assert vrf.verify(PUBLIC_KEY, ALPHA, bytes(changed)) is None, bit


@pytest.mark.parametrize("size", [0, 1, vrf.PROOF_SIZE_BYTES - 1, vrf.PROOF_SIZE_BYTES + 1, 1_000_000])
def test_a_proof_has_its_size(size: int) -> None:
    assert vrf.verify(PUBLIC_KEY, ALPHA, (PROOF * (size // len(PROOF) + 1))[:size]) is None


def test_a_proof_is_of_one_key_and_one_input() -> None:
    assert vrf.verify(PUBLIC_KEY, b"height 2", PROOF) is None
    assert vrf.verify(SigningKey(bytes(32)).public_key, ALPHA, PROOF) is None
    assert vrf.verify(PublicKey(PUBLIC_KEY[:31]), ALPHA, PROOF) is None


def test_the_same_proof_has_no_second_form() -> None:
    answer = int.from_bytes(PROOF[48:], "little") + ORDER
    assert vrf.verify(PUBLIC_KEY, ALPHA, PROOF[:48] + answer.to_bytes(32, "little")) is None


def test_points_outside_the_main_subgroup_prove_nothing() -> None:
    shifted = crypto_core_ed25519_add(PROOF[:32], OF_ORDER_TWO)
    assert vrf.verify(PUBLIC_KEY, ALPHA, shifted + PROOF[32:]) is None
    for point in (IDENTITY, OF_ORDER_TWO, OF_ORDER_FOUR):
        assert vrf.verify(PUBLIC_KEY, ALPHA, point + PROOF[32:]) is None
        assert vrf.verify(PublicKey(point), ALPHA, PROOF) is None


def test_scalars_of_zero_are_refused_and_not_raised() -> None:
    assert vrf.verify(PUBLIC_KEY, ALPHA, PROOF[:32] + bytes(48)) is None
    assert vrf.verify(PUBLIC_KEY, ALPHA, PROOF[:48] + bytes(32)) is None


def test_nothing_of_a_points_size_is_signed() -> None:
    """Its signature and a proof could share a nonce, and show the key."""
    with pytest.raises(AssertionError, match="nonce"):
        SigningKey(SEED).sign(bytes(32))
    for size in (0, 31, 33):
        SigningKey(SEED).sign(bytes(size))
