"""One home of five exchanges its node key: which key acts in which block, and what can still be proven of all of it.

Block 3 has the rotation. So the old key acts up to block 3 and votes up to height 4, the new one from then on.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Digest, Domain, Height, Slot
from consensus.messages import VoteStatement
from contracts.receipts import Reason
from contracts.transactions import Action, ReportMisconduct, SetLeaving, trade_id
from ledger.block import block_digest
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from node.names.names import label_of
from node.proofs.receipt_check import check_receipt_file
from node.proofs.receipt_file import export_receipt
from node.stories.slices import to_the_end
from tests.support.changing_members import certify_by
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    make_genesis,
    raw_transaction,
    seeded_key,
    signed_reading,
    signed_trade,
    transfer,
)
from tests.support.ledger import ChainBuilder
from tests.support.vouchers import rotate_to

WHO, BUYER, ROTATED_BY, LAST = 1, 2, 3, 8


class RotatedChain:
    """A chain that grows with a contract of the member in each block behind the first two."""

    def __init__(self, directory: Path, rotated_by: int = ROTATED_BY) -> None:
        self.rotated_by = rotated_by
        self.directory = directory
        self.homes = make_genesis(5)
        self.builder = ChainBuilder.create(directory, self.homes)
        self.old = self.homes.node_keys[WHO]
        self.new = seeded_key("next", WHO).of_member(self.old.address)
        self.contracts: dict[int, Digest] = {}
        self.nonce = 100

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    def key(self, height: int) -> SigningKey:
        return self.old if height <= self.rotated_by else self.new

    def voters(self, height: int) -> list[SigningKey]:
        own = self.old if height <= self.rotated_by + 1 else self.new
        return [self.homes.node_keys[0], own, *self.homes.node_keys[2:4]]

    def signed(self, sender: int | SigningKey, action: Action) -> bytes:
        self.nonce += 1
        return raw_transaction(self.homes, sender, action, nonce=self.nonce)

    def append(self, *raws: bytes) -> None:
        block = self.builder.build(raws)
        assert len(block.transactions) == len(raws), "a transaction was left out"
        self.ledger.append(block, certify_by(self.ledger, block, self.voters(block.header.height)))

    def reasons(self) -> list[Reason]:
        return [receipt.reason for receipt in self.ledger.receipts(self.ledger.height)]

    def contract(self, height: int) -> bytes:
        """Signed and brought by the member under its key of that block."""
        key = self.key(height)
        homes = dataclasses.replace(self.homes, node_keys=(self.homes.node_keys[0], key, *self.homes.node_keys[2:]))
        made = signed_trade(homes, WHO, BUYER, 100, offer_counter=height, interval_start_ms=FIRST_INTERVAL_MS)
        self.contracts[height] = trade_id(made.terms)
        return self.signed(key, made)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotatedChain]:
    made = RotatedChain(tmp_path_factory.mktemp("rotated") / "ledger")
    made.append(
        made.signed(WHO, signed_reading(made.homes, WHO, 2_000)),
        made.signed(BUYER, signed_reading(made.homes, BUYER, -2_000)),
    )
    for height in range(2, LAST + 1):
        raws = [made.contract(height)]
        if height == ROTATED_BY:
            raws.append(made.signed(made.old, rotate_to(made.homes, WHO, made.new)))
        made.append(*raws)
        assert set(made.reasons()) == {Reason.NONE}, made.ledger.receipts(made.ledger.height)
    yield made
    made.ledger.close()


def test_the_old_key_acts_up_to_the_block_of_the_rotation_and_the_new_one_from_the_next_on(tmp_path: Path) -> None:
    made = RotatedChain(tmp_path / "ledger")
    for height in range(1, ROTATED_BY + 4):
        other = made.new if made.key(height) is made.old else made.old
        wrong, right = (made.signed(key, transfer(made.homes, 0, 1)) for key in (other, made.key(height)))
        assert made.builder.build([wrong, right]).transactions == (right,)
        raws = [right]
        if height == ROTATED_BY:
            raws.append(made.signed(made.old, rotate_to(made.homes, WHO, made.new)))
        made.append(*raws)
        assert set(made.reasons()) == {Reason.NONE}
    made.ledger.close()


def test_the_whole_chain_is_found_in_order(chain: RotatedChain) -> None:
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.homes.genesis, lambda *_: None)
    chain.builder.ledger = Ledger.open(chain.directory, chain.homes.genesis)
    assert (report.damage, report.heights_checked) == ((), LAST)


@pytest.mark.parametrize("height", range(2, LAST + 1))
def test_a_receipt_of_any_block_convinces_whoever_has_genesis(chain: RotatedChain, height: int) -> None:
    receipt = to_the_end(export_receipt(chain.ledger, chain.contracts[height].hex(), chain.new))
    lines = check_receipt_file(receipt.text(chain.homes.genesis).encode(), chain.homes.genesis)
    assert any(line.startswith("members: from height 5 on") for line in lines)
    assert any(f"is signed by its seller {label_of(chain.homes.addresses[1])}" in line for line in lines)


def test_the_new_key_counts_in_certificates_from_its_height_on(chain: RotatedChain) -> None:
    for height in range(1, LAST + 3):
        expected = chain.old if height <= ROTATED_BY + 1 else chain.new
        assert chain.ledger.membership_at(Height(height)).key_of(chain.old.address) == expected.public_key
    assert chain.ledger.member_of(chain.old.public_key) is None
    assert chain.ledger.member_of(chain.new.public_key) == chain.old.address


def test_what_the_old_key_signed_at_its_heights_is_still_evidence(tmp_path: Path) -> None:
    made = RotatedChain(tmp_path / "ledger", rotated_by=1)
    made.append(made.signed(made.old, rotate_to(made.homes, WHO, made.new)))
    cases = ((2, made.old, True), (2, made.new, False), (3, made.old, False), (3, made.new, True))
    for height, key, proves in cases:
        at = {"domain": Domain(made.homes.chain), "height": Height(height), "slot": Slot(9)}
        statements = [VoteStatement(**at, block=bytes([one]) * 32) for one in (1, 2)]  # type: ignore[arg-type]
        first, second = (SignedStatement(statement=one, signature=key.sign(encode(one))) for one in statements)
        evidence = Equivocation(offender=made.old.address, era=FIRST_ERA, first=first, second=second)
        block = made.builder.build([made.signed(0, ReportMisconduct(evidence=evidence))])
        found = made.ledger._executed[block_digest(block.header)].execution.receipts
        assert block.transactions
        assert found[0].reason is (Reason.NONE if proves else Reason.EVIDENCE_PROVES_NOTHING)
    made.ledger.close()


def test_who_rotates_and_leaves_is_known_by_its_last_key_alone(tmp_path: Path) -> None:
    """It may still ask how far the chain is; the key that it gave up may not."""
    made = RotatedChain(tmp_path / "ledger", rotated_by=1)

    made.append(made.signed(made.old, rotate_to(made.homes, WHO, made.new)))
    made.append()
    made.append(made.signed(made.new, SetLeaving(leaving=True)))
    keys = [made.homes.node_keys[0], made.homes.node_keys[2], *made.homes.node_keys[3:]]
    for _ in range(3):
        block = made.builder.build()
        made.ledger.append(block, certify_by(made.ledger, block, keys[: made.ledger.membership().quorum]))
    assert made.ledger.memberships().followers == ((made.old.address, made.new.public_key),)
    assert made.ledger.member_of(made.old.public_key) is None
    made.ledger.close()
