import pytest

from consensus.codec import DecodeError, decode, encode
from consensus.eras import Eras
from consensus.identifiers import Address
from consensus.membership import Membership
from contracts.state import TOTALS_KEY, account_key
from ledger.proofs import ReceiptProof, StateProof, receipt_proof_holds, state_proof_holds
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    builder = ChainBuilder.create(tmp_path_factory.mktemp("proofs") / "ledger")
    builder.append_trading_hour()
    yield builder
    builder.ledger.close()


def test_every_receipt_is_proven(chain):
    ledger = chain.ledger
    membership = ledger.membership()
    for height in (1, 2):
        for receipt in ledger.receipts(height):
            proof = ledger.prove_receipt(receipt.transaction)
            assert proof.receipt == receipt
            assert receipt_proof_holds(proof, membership=membership, eras=ledger.eras)


def test_presence_and_absence_in_the_state_are_proven(chain):
    ledger = chain.ledger
    keys = [TOTALS_KEY, account_key(chain.community.addresses[0]), account_key(Address(bytes(32)))]
    for key in keys:
        proof = ledger.prove_state(key)
        assert proof.value == ledger.get(key)
        assert state_proof_holds(proof, membership=ledger.membership(), eras=ledger.eras)
    assert ledger.prove_state(keys[2]).value is None


@pytest.mark.parametrize("name", ["receipt", "value", "absence"])
def test_no_flipped_byte_passes(chain, name):
    ledger = chain.ledger
    trade = ledger.receipts(2)[0].transaction
    absent = account_key(Address(bytes(32)))
    proof, expected, holds = {
        "receipt": (lambda: ledger.prove_receipt(trade), ReceiptProof, receipt_proof_holds),
        "value": (lambda: ledger.prove_state(TOTALS_KEY), StateProof, state_proof_holds),
        "absence": (lambda: ledger.prove_state(absent), StateProof, state_proof_holds),
    }[name]
    data = encode(proof())
    decoded_count = 0
    for place in range(0, len(data), 2):
        altered = data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :]
        try:
            forged = decode(altered, expected)
        except DecodeError:
            continue
        decoded_count += 1
        if holds(forged, membership=ledger.membership(), eras=ledger.eras):
            # another absent key whose path ends at the same leaf: another statement, and a true one
            assert name == "absence", place
            assert forged.key != absent
            assert ledger.get(forged.key) is None
    assert decoded_count > 100


def test_another_chain_and_other_members_do_not_vouch(chain):
    ledger = chain.ledger
    proof = ledger.prove_state(TOTALS_KEY)
    foreign = make_genesis(5)
    assert not state_proof_holds(proof, membership=ledger.membership(), eras=Eras(foreign.chain))
    five = Membership.of_keys([key.public_key for key in foreign.node_keys])
    assert not state_proof_holds(proof, membership=five, eras=ledger.eras)
