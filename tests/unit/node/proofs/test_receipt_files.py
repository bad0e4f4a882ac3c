"""Receipt files convince whoever has genesis, and nobody else's word is needed; no altered one does."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.era_plans import Departure
from consensus.identifiers import Height
from contracts import genesis as versions
from contracts.genesis import PROTOCOL_VERSION, Genesis
from contracts.transactions import ReplaceOfficeKey, office_successor, transaction_digest
from ledger.proofs import prove_postings
from node.errors import FileRefused, NotFound
from node.proofs.receipt_check import check_receipt_file
from node.proofs.receipt_file import (
    ReceiptContent,
    SignedReceipt,
    answer_of,
    export_receipt,
    parse_receipt,
    record_of,
)
from tests.support.begun_eras import ErasChain
from tests.support.changing_members import ChangingChain, member_changes
from tests.support.contracts import make_genesis, raw_transaction, seeded_key
from tests.support.stories import StoryChain, told


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoryChain]:
    chain = StoryChain(tmp_path_factory.mktemp("receipts") / "ledger")
    yield chain
    chain.ledger.close()


def receipt_of(chain: StoryChain, name: bytes, *, exporter: int = 0) -> SignedReceipt:
    return told(export_receipt(chain.ledger, name.hex(), chain.community.node_keys[exporter]))


def file_of(chain: StoryChain, receipt: SignedReceipt) -> bytes:
    return receipt.text(chain.community.genesis).encode()


def forged(chain: StoryChain, content: ReceiptContent, **changes: object) -> bytes:
    """Returns the file of a member that signs a content which it changed."""
    altered = replace(content, **changes)
    key = next(key for key in chain.community.node_keys if key.address == altered.exporter)
    return file_of(chain, SignedReceipt(content=altered, signature=key.sign(encode(altered))))


def refusal(chain: StoryChain, content: bytes, genesis: Genesis | None = None) -> str:
    with pytest.raises(FileRefused) as refused:
        check_receipt_file(content, genesis or chain.community.genesis)
    return str(refused.value)


def lines(chain: StoryChain, name: bytes) -> dict[str, str]:
    checked = check_receipt_file(file_of(chain, receipt_of(chain, name)), chain.community.genesis)
    return dict(line.split(": ", 1) for line in checked)


def test_a_spot_trades_receipt_proves_every_stage(chain: StoryChain) -> None:
    proven = lines(chain, chain.names.spot)
    assert list(proven) == [
        "genesis",
        "exporter",
        "block 2",
        "outcome",
        "transaction",
        "postings",
        "contract",
        "conditions 1 and 2",
        "conditions 3 and 4",
        "record",
    ]
    assert proven["outcome"] == "receipt 1 of 1 in that block says executed"
    assert proven["conditions 3 and 4"].endswith("100 Wh, the seller 0.020000 tokens, the grid account 0.002000")
    assert proven["record"].startswith("the contract is completed after block ")


def test_a_forward_trades_receipt_proves_delivery_and_refund_in_its_later_block(chain: StoryChain) -> None:
    proven = lines(chain, chain.names.partial)
    assert proven["refund"] == "0.011000 tokens went back to the buyer"
    assert "50 Wh" in proven["conditions 3 and 4"]
    assert len([name for name in proven if name.startswith("block ")]) == 2


@pytest.mark.parametrize("which", ["expired", "cancelled"])
def test_a_forward_trade_without_delivery_proves_the_refund(chain: StoryChain, which: str) -> None:
    proven = lines(chain, getattr(chain.names, which))
    assert proven["refund"] == "0.008800 tokens went back to the buyer"
    assert "conditions 3 and 4" not in proven
    assert proven["record"].startswith(f"the contract is {which} ")


def test_a_declined_contracts_receipt_says_why(chain: StoryChain) -> None:
    proven = lines(chain, chain.names.too_large)
    assert "says declined, condition_1_seller_energy: seller has 200 Wh" in proven["outcome"]
    assert "record" not in proven
    assert "contract" not in proven


def test_any_transaction_has_a_receipt(chain: StoryChain) -> None:
    reading = chain.ledger.receipts(Height(1))[2].transaction
    for name in (chain.names.transfer, chain.names.misconduct_transaction, reading):
        assert set(lines(chain, name)) >= {"outcome", "transaction"}


def test_one_attempt_of_several_is_chosen_by_its_transaction(chain: StoryChain) -> None:
    attempts = [
        receipt.transaction
        for height in range(1, chain.ledger.height + 1)
        for receipt in chain.ledger.receipts(Height(height))
        if receipt.reference == chain.names.altered
    ]
    outcomes = [receipt_of(chain, name).content.proof.receipt.status.value for name in attempts]
    assert outcomes == ["declined", "declined", "executed"]
    assert receipt_of(chain, chain.names.altered).content.proof.receipt.transaction == attempts[2]


def test_what_the_chain_does_not_have_has_no_receipt(chain: StoryChain) -> None:
    with pytest.raises(NotFound):
        receipt_of(chain, bytes(32))


def test_no_flipped_byte_passes(chain: StoryChain) -> None:
    content = file_of(chain, receipt_of(chain, chain.names.partial))
    refusals = set()
    for place in range(0, len(content), 5):
        altered = content[:place] + bytes([content[place] ^ (1 << place // 5 % 7)]) + content[place + 1 :]
        refusals.add(refusal(chain, altered).split(":", maxsplit=1)[0])
    assert {"its readable part is not what its content says", "it is not JSON"} <= refusals
    assert f"the signature of its exporter, {chain.community.addresses[0].hex()}, does not hold" in refusals


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"format": "p2pnode-receipt-2"}', b"\xff\xfe", b'{"format": 7}', b"[" * 100_000]
)
def test_what_is_no_receipt_is_refused(chain: StoryChain, content: bytes) -> None:
    assert refusal(chain, content)


def test_a_receipt_of_an_earlier_format_is_refused_with_both_formats_named(chain: StoryChain) -> None:
    content = file_of(chain, receipt_of(chain, chain.names.spot)).replace(b"p2pnode-receipt-2", b"p2pnode-receipt-1")
    assert refusal(chain, content) == "its format is 'p2pnode-receipt-1', this software reads 'p2pnode-receipt-2'"


def test_another_genesis_does_not_vouch(chain: StoryChain) -> None:
    content = file_of(chain, receipt_of(chain, chain.names.spot))
    fee = make_genesis(grid_fee_micro_per_kwh=1).genesis
    assert "belongs to chain" in refusal(chain, receipt_of(chain, chain.names.spot).text(fee).encode(), fee)
    assert refusal(chain, content, make_genesis(7).genesis)


def test_only_members_export(chain: StoryChain) -> None:
    stranger = seeded_key("stranger", 1)
    content = replace(receipt_of(chain, chain.names.spot).content, exporter=stranger.address)
    receipt = SignedReceipt(content=content, signature=stranger.sign(encode(content)))
    assert "is no member of this genesis" in refusal(chain, file_of(chain, receipt))


def test_a_member_that_signs_what_it_changed_is_refused_for_what_it_changed(chain: StoryChain) -> None:
    spot, partial = (receipt_of(chain, name).content for name in (chain.names.spot, chain.names.partial))
    other = receipt_of(chain, chain.names.altered).content
    proof, first = spot.proof, spot.postings[0]
    richer = replace(first, posting=replace(first.posting, after=first.posting.after + 1))
    declined = replace(proof.receipt, detail="nothing of this happened")
    certificate = replace(proof.certificate, endorsements=proof.certificate.endorsements[:2])
    for reason, altered in {
        "the Merkle path does not lead": forged(chain, spot, proof=replace(proof, receipt=declined)),
        "not exactly 3 valid COMMITs": forged(chain, spot, proof=replace(proof, certificate=certificate)),
        "for block": forged(chain, spot, proof=replace(proof, header=replace(proof.header, slot=99))),
        "the receipt is of another transaction": forged(chain, spot, transaction=other.transaction),
        "a posting is not one of this contract": forged(chain, spot, postings=(richer, *spot.postings[1:])),
        "is given twice": forged(chain, spot, postings=(first, *spot.postings)),
        "conditions 1 and 2": forged(chain, spot, postings=spot.postings[1:]),
        "conditions 3 and 4": forged(chain, spot, postings=spot.postings[:-1]),
        "its record is missing": forged(chain, spot, record=None),
        "the record is of something else": forged(chain, spot, record=other.record),
        "the buyer was refunded 0": forged(
            chain,
            partial,
            later=tuple(replace(later, postings=later.postings[:-1]) for later in partial.later),
        ),
        "not in their order": forged(chain, partial, later=partial.later * 2),
    }.items():
        assert reason in refusal(chain, altered), reason


def test_a_record_that_no_state_had_is_refused(chain: StoryChain) -> None:
    spot = receipt_of(chain, chain.names.spot).content
    trade = record_of(spot)
    assert spot.record is not None
    assert trade is not None
    stale = replace(spot.record, value=encode(replace(trade, delivered_wh=1)))
    assert "does not follow from a decided block's state" in refusal(chain, forged(chain, spot, record=stale))


def test_postings_of_a_transfer_are_refused(chain: StoryChain) -> None:
    transfer = receipt_of(chain, chain.names.transfer).content
    block = chain.ledger.block(Height(2))
    assert block is not None
    postings = prove_postings(block, chain.names.spot)
    assert "no contract" in refusal(chain, forged(chain, transfer, postings=postings))


def test_equal_answers_of_different_members_are_equal(chain: StoryChain) -> None:
    genesis = chain.community.genesis
    answers = {answer_of(receipt_of(chain, chain.names.spot, exporter=member)) for member in range(4)}
    assert len(answers) == 1
    files = {file_of(chain, receipt_of(chain, chain.names.spot, exporter=member)) for member in range(4)}
    assert len(files) == 4
    assert {parse_receipt(content, genesis).content.exporter for content in files} == set(chain.community.addresses)
    assert answer_of(receipt_of(chain, chain.names.partial)) not in answers


def test_the_readable_part_says_amounts_and_no_names(chain: StoryChain) -> None:
    seller, buyer = (address.hex() for address in chain.community.addresses[:2])
    about = receipt_of(chain, chain.names.partial).document(chain.community.genesis)["about"]
    assert (about["exported_by"], about["sent_by"], about["outcome"]) == (seller, buyer, "executed")
    contract = about["contract"]
    assert (contract["seller"], contract["buyer"], contract["energy_wh"]) == (seller, buyer, 100)
    assert (contract["delivered_wh"], contract["paid_to_seller_tokens"]) == (50, "0.010000")
    assert (
        transaction_digest(receipt_of(chain, chain.names.partial).content.transaction).hex() == about["transaction"]
    )


# --- a chain whose members changed -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangingChain]:
    """A transfer before the members change, and one after each change."""
    made = ChangingChain(tmp_path_factory.mktemp("changed") / "ledger")
    with member_changes(made.changes):
        while made.ledger.height < 12:
            is_noted = made.ledger.height % 3 == 0
            made.grow([made.builder.transfer(2, 3, 1)] if is_noted else [])
    yield made
    made.ledger.close()


def transfer_receipt(changed: ChangingChain, height: int) -> SignedReceipt:
    block = changed.ledger.block(Height(height))
    assert block is not None
    name = transaction_digest(block.transactions[0]).hex()
    return told(export_receipt(changed.ledger, name, changed.community.node_keys[2]))


@pytest.mark.parametrize("height", [1, 4, 7, 10])
def test_a_receipt_proves_itself_from_genesis_whoever_were_the_members_of_its_height(
    changed: ChangingChain, height: int
) -> None:
    receipt, genesis = transfer_receipt(changed, height), changed.community.genesis
    proven = check_receipt_file(receipt.text(genesis).encode(), genesis)
    sets = [line for line in proven if line.startswith("members: ")]
    assert [line.split(", as ")[0] for line in sets] == [
        "members: from height 4 on 5 members, of whom any 4 decide and 1 may lie",
        "members: from height 7 on 5 members, of whom any 4 decide and 1 may lie",
        "members: from height 10 on 4 members, of whom any 3 decide and 1 may lie",
    ]
    assert "block 2 says with the signatures of" in sets[0]
    assert f"block {height}: decided" in "\n".join(proven)


@pytest.mark.parametrize("left_out", range(3))
def test_a_receipt_without_a_change_of_the_members_proves_nothing_above_it(
    changed: ChangingChain, left_out: int
) -> None:
    genesis, key = changed.community.genesis, changed.community.node_keys[2]
    content = transfer_receipt(changed, 10).content
    changes = tuple(change for index, change in enumerate(content.changes) if index != left_out)
    content = replace(content, changes=changes)
    forgery = SignedReceipt(content=content, signature=key.sign(encode(content)))
    with pytest.raises(FileRefused, match="does not decide block"):
        check_receipt_file(forgery.text(genesis).encode(), genesis)


def test_who_joined_later_exports_and_who_never_was_a_member_does_not(changed: ChangingChain) -> None:
    genesis, content = changed.community.genesis, transfer_receipt(changed, 1).content
    for key, words in ((changed.fifth, ""), (seeded_key("stranger", 1), "is no member")):
        altered = replace(content, exporter=key.address)
        signed = SignedReceipt(content=altered, signature=key.sign(encode(altered))).text(genesis).encode()
        if words:
            with pytest.raises(FileRefused, match=words):
                check_receipt_file(signed, genesis)
        else:
            assert check_receipt_file(signed, genesis)


def test_an_older_format_is_refused_by_both_names(chain: StoryChain) -> None:
    content = file_of(chain, receipt_of(chain, chain.names.spot)).replace(b"p2pnode-receipt-2", b"p2pnode-receipt-1")
    said = refusal(chain, content)
    assert "p2pnode-receipt-2" in said
    assert "p2pnode-receipt-1" in said


def test_a_receipt_proves_itself_through_ceremonies(tmp_path_factory: pytest.TempPathFactory) -> None:
    chain = ErasChain(tmp_path_factory.mktemp("eras") / "ledger")
    names = []
    for era in (0, 1, 2):
        if era:
            chain.begin(chain.plan(era))
        block = chain.grow([chain.builder.transfer(2, 3, 1)])
        names.append(transaction_digest(block.transactions[0]).hex())
    genesis, key = chain.community.genesis, chain.community.node_keys[2]
    for name in names:
        receipt = told(export_receipt(chain.ledger, name, key))
        proven = check_receipt_file(receipt.text(genesis).encode(), genesis)
        said = [line.split(", as ")[1] for line in proven if line.startswith("members: ")]
        assert [line.split(", with")[0] for line in said] == ["era 1 begins there", "era 2 begins there"]
    content = told(export_receipt(chain.ledger, names[1], key)).content
    for changes in (content.changes[1:], content.changes[:1]):
        cut = replace(content, changes=changes)
        forgery = SignedReceipt(content=cut, signature=key.sign(encode(cut)))
        if changes == content.changes[:1]:
            assert check_receipt_file(forgery.text(genesis).encode(), genesis), "era 2 says nothing of block 2"
        else:
            with pytest.raises(FileRefused, match="follows another than era 0"):
                check_receipt_file(forgery.text(genesis).encode(), genesis)
    chain.ledger.close()


@pytest.mark.parametrize(("is_replaced", "is_absent"), [(True, True), (True, False), (False, True)])
def test_a_receipt_names_whose_word_counted_where_it_is_not_the_key_of_genesis(
    tmp_path: Path, is_replaced: bool, is_absent: bool
) -> None:
    chain, following = ErasChain(tmp_path / "ledger"), seeded_key("successor", 0)
    homes, first = chain.community, chain.authority
    if is_replaced:
        action = ReplaceOfficeKey(successor=office_successor(homes.chain, first.address, following))
        chain.grow([raw_transaction(homes, first, action, nonce=0)])
        chain.authority = following
    chain.begin(chain.plan(1, absent=[Departure(address=homes.addresses[3], node_key=None)] if is_absent else []))
    block = chain.grow([chain.builder.transfer(2, 1, 1)])
    name = transaction_digest(block.transactions[0]).hex()
    receipt = told(export_receipt(chain.ledger, name, homes.node_keys[2]))
    chain.ledger.close()
    proven = check_receipt_file(receipt.text(homes.genesis).encode(), homes.genesis)
    (said,) = [line for line in proven if "era 1" in line]
    words = f"the word of the authority, whose key they found to be {following.public_key.hex()}"
    assert (words in said) is (is_replaced and is_absent)
    assert ("the authority" in said) is (is_replaced and is_absent)


def test_a_program_does_not_judge_a_receipt_of_rules_that_it_lacks(
    chain: StoryChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = file_of(chain, receipt_of(chain, chain.names.spot))
    monkeypatch.setattr(versions, "KNOWN_VERSIONS", frozenset({PROTOCOL_VERSION + 1}))
    words = f"follows protocol version {PROTOCOL_VERSION}; this software knows {PROTOCOL_VERSION + 1}"
    assert words in refusal(chain, content)
