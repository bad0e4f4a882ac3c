import dataclasses
import threading

import pytest
from msgspec.structs import replace

from consensus.identifiers import Digest, Height, PublicKey
from contracts.genesis import EXPIRY_VERSION, PROTOCOL_VERSION
from contracts.proposal_records import Expulsion, SuspensionChange
from contracts.transactions import NONCE_STEP_MAX, TRANSACTION_SIZE_BYTES_MAX, Envelope, Propose, transaction_digest
from ledger.errors import TransactionRefusal, TransactionRefused
from ledger.transactions import TransactionVerifier, envelope_refusal
from tests.support.contracts import make_genesis, raw_transaction, transaction_of, transfer
from tests.support.validity import renewal

COMMUNITY = make_genesis()


def raw(nonce: int = 0, **overrides) -> bytes:
    return raw_transaction(COMMUNITY, 0, transfer(COMMUNITY, 1, 5), nonce=nonce, **overrides)


def refusal(data: bytes) -> TransactionRefusal:
    with pytest.raises(TransactionRefused) as caught:
        TransactionVerifier(COMMUNITY.chain).verify(data, transaction_digest(data))
    return caught.value.reason


def test_a_good_transaction_is_verified_and_remembered():
    verifier = TransactionVerifier(COMMUNITY.chain)
    data = raw()
    assert verifier.known(transaction_digest(data)) is None
    transaction = verifier.verify(data, transaction_digest(data))
    assert transaction.envelope.sender == COMMUNITY.addresses[0]
    assert verifier.verify(data, transaction_digest(data)) is transaction, "decoded and verified a second time"
    assert verifier.known(transaction_digest(data)) is transaction


def test_what_is_remembered_is_bounded_and_the_oldest_unused_goes_first():
    verifier = TransactionVerifier(COMMUNITY.chain, remembered_max=3)
    datas = [raw(nonce) for nonce in range(4)]
    for data in datas[:3]:
        verifier.verify(data, transaction_digest(data))
    verifier.verify(datas[0], transaction_digest(datas[0]))
    verifier.verify(datas[3], transaction_digest(datas[3]))
    known = [verifier.known(transaction_digest(data)) is not None for data in datas]
    assert known == [True, False, True, True]


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\xff" * 50, raw() + b"\x00", raw()[:-1]])
def test_what_is_no_transaction_is_malformed(data):
    assert refusal(data) is TransactionRefusal.MALFORMED


def test_the_size_limit_comes_first():
    assert refusal(bytes(TRANSACTION_SIZE_BYTES_MAX)) is TransactionRefusal.MALFORMED
    assert refusal(bytes(TRANSACTION_SIZE_BYTES_MAX + 1)) is TransactionRefusal.TOO_LARGE
    assert refusal(bytes(10_000_000)) is TransactionRefusal.TOO_LARGE


def test_another_chain_is_told_from_a_bad_signature():
    assert refusal(raw(chain=Digest(bytes(32)))) is TransactionRefusal.WRONG_CHAIN


def test_every_flipped_bit_is_refused():
    data = raw()
    reasons = set()
    for place in range(len(data)):
        for bit in range(8):
            reasons.add(refusal(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]))
    assert reasons == {
        TransactionRefusal.MALFORMED,
        TransactionRefusal.WRONG_CHAIN,
        TransactionRefusal.BAD_SIGNATURE,
    }


@pytest.mark.parametrize(
    ("last_nonce", "height", "reason"),
    [
        (None, 1, TransactionRefusal.UNKNOWN_SENDER),
        (7, 1, TransactionRefusal.NONCE_PASSED),
        (8, 1, TransactionRefusal.NONCE_PASSED),
        (6, 1, None),
        (7 - NONCE_STEP_MAX, 1, None),
        (6 - NONCE_STEP_MAX, 1, TransactionRefusal.NONCE_TOO_HIGH),
        (-1, 10, None),
        (-1, 11, TransactionRefusal.EXPIRED),
    ],
)
def test_sender_nonce_and_last_valid_height(last_nonce, height, reason):
    transaction = transaction_of(raw(7, valid_until_height=10))
    key = transaction.envelope.sender_key
    found = envelope_refusal(
        transaction, last_nonce=last_nonce, height=Height(height), key=key, version=PROTOCOL_VERSION
    )
    assert (found and found.reason) is reason


def test_only_the_present_key_acts_for_a_sender():
    transaction = transaction_of(raw(7))
    envelope = transaction.envelope
    other = COMMUNITY.node_keys[1]

    def reason(envelope: Envelope, key: PublicKey | None) -> TransactionRefusal | None:
        present = dataclasses.replace(transaction, envelope=envelope)
        found = envelope_refusal(present, last_nonce=6, height=Height(1), key=key, version=PROTOCOL_VERSION)
        return found and found.reason

    assert reason(envelope, envelope.sender_key) is None
    assert reason(envelope, other.public_key) is TransactionRefusal.OTHER_KEY
    assert reason(envelope, None) is TransactionRefusal.OTHER_KEY  # the hash of a key gives it no right
    replaced = replace(envelope, sender_key=other.public_key)
    assert reason(replaced, other.public_key) is None


def test_threads_may_share_a_verifier():
    verifier = TransactionVerifier(COMMUNITY.chain, remembered_max=2)
    datas = [raw(nonce) for nonce in range(6)]
    failures: list[BaseException] = []

    def verify_all() -> None:
        try:
            for _ in range(30):
                for data in datas:
                    verifier.verify(data, transaction_digest(data))
        except BaseException as error:  # noqa: BLE001  (a thread's failure must reach the test)
            failures.append(error)

    threads = [threading.Thread(target=verify_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_version_of_the_rules_has_only_the_actions_that_its_programs_could_read():
    """A program of version 5 cannot decode a renewal: did others put it into a block, the chain would split."""
    other = COMMUNITY.addresses[1]
    actions = {
        "renewal": renewal(COMMUNITY, 0, 10),
        "suspension": Propose(subject=SuspensionChange(member=other, suspended=True)),
        "expulsion": Propose(subject=Expulsion(member=other)),
        "transfer": transfer(COMMUNITY, 1, 5),
    }
    found = {
        (kind, version): envelope_refusal(
            transaction_of(raw_transaction(COMMUNITY, 0, action, nonce=7)),
            last_nonce=6,
            height=Height(1),
            key=COMMUNITY.node_keys[0].public_key,
            version=version,
        )
        for kind, action in actions.items()
        for version in (EXPIRY_VERSION - 1, EXPIRY_VERSION)
    }
    for kind in ("renewal", "suspension"):
        refused = found.pop((kind, EXPIRY_VERSION - 1))
        assert refused is not None
        assert refused.reason is TransactionRefusal.MALFORMED
    assert set(found.values()) == {None}
