"""A member that alters anything in a receipt and signs the file again is refused, whatever it is."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Digest, Height, Slot
from contracts.receipts import Stage
from contracts.state import Trade, TradeStatus, trade_key
from contracts.transactions import trade_id, transaction_digest
from contracts.units import Milliseconds
from ledger.proofs import prove_postings
from node.errors import FileRefused
from node.proofs.receipt_check import check_receipt_file
from node.proofs.receipt_file import RECEIPT_FORMAT, ReceiptContent, SignedReceipt, export_receipt, record_of
from node.proofs.signed_file import file_text
from tests.support.contracts import (
    Community,
    resign,
    seeded_key,
    signed_cancellation,
    signed_forward,
    signed_reading,
    signed_trade,
)
from tests.support.ledger import HOUR_MS
from tests.support.stories import StoryChain, told

FAR_INTERVAL_MS = (2**63 - 1) // HOUR_MS * HOUR_MS
"""An hour of the year 292 million, which earlier versions of the chain's rules took."""


class Contents:
    """A receipt of each kind, and the key of the member that exported them."""

    def __init__(self, directory: Path) -> None:
        chain = StoryChain(directory)
        self.community: Community = chain.community
        self.key: SigningKey = chain.community.node_keys[0]
        self._builder = chain.builder
        names = chain.names
        pending, unborn, both = self._more()
        self.by_kind: Mapping[str, ReceiptContent] = {
            "spot": self._of(names.spot),
            "declined": self._of(names.too_large),
            "completed forward": self._of(names.partial),
            "expired forward": self._of(names.expired),
            "cancelled forward": self._of(names.cancelled),
            "pending forward": self._of(pending),
            "cancellation": self._of(self._cancellation_of(names.cancelled)),
            "cancellation before": self._of(unborn),
            "cancellation in one block": self._of(both),
            "transfer": self._of(names.transfer),
        }
        self.beside_declined = self._beside_declined()
        chain.ledger.close()

    def _of(self, name: Digest) -> ReceiptContent:
        return told(export_receipt(self._builder.ledger, name.hex(), self.key)).content

    def _more(self) -> tuple[Digest, Digest, Digest]:
        """Returns a pending contract, a cancellation of one that never executed, and one in its contract's block."""
        builder, keys = self._builder, self.community.node_keys
        start = 1_464_739_200_000 + 20 * HOUR_MS
        pending, unborn, both = (
            signed_forward(
                self.community, 1, 2, 30, offer_counter=40 + number, delivery_start_ms=start, expiry_slot=Slot(10**6)
            )
            for number in range(3)
        )
        end_unborn, end_both = (
            builder.transaction(
                2, signed_cancellation(contract.terms, seller=keys[1], buyer=keys[2]), nonce=1_000 + place
            )
            for place, contract in enumerate((unborn, both))
        )
        self.older_absence = builder.ledger.prove_state(trade_key(trade_id(both.terms)))
        raw = [
            builder.transaction(1, contract, nonce=1_000 + place) for place, contract in enumerate((pending, both))
        ]
        builder.append([*raw, end_unborn, end_both])
        builder.append()
        return trade_id(pending.terms), transaction_digest(end_unborn), transaction_digest(end_both)

    def _cancellation_of(self, trade: Digest) -> Digest:
        ledger = self._builder.ledger
        (found,) = (
            receipt.transaction
            for height in range(1, ledger.height + 1)
            for receipt in ledger.receipts(Height(height))
            if receipt.reference == trade and receipt.sender == self.key.address
        )
        return Digest(found)

    def _beside_declined(self) -> ReceiptContent:
        """Returns the receipt of a declined attempt with the postings of the honest one in the same block."""
        builder = self._builder
        hour = 1_464_739_200_000 + 50 * HOUR_MS
        builder.append(
            [
                builder.transaction(
                    member, signed_reading(self.community, member, net, interval_start_ms=hour), nonce=2_000
                )
                for member, net in ((2, 90), (1, -90))
            ]
        )
        honest = signed_trade(self.community, 2, 1, 20, offer_counter=90, interval_start_ms=hour)
        forged = builder.transaction(2, resign(honest, buyer=seeded_key("stranger", 1)), nonce=2_001)
        block = builder.append([forged, builder.transaction(1, honest, nonce=2_001)])
        content = self._of(transaction_digest(forged))
        return replace(content, postings=prove_postings(block, trade_id(honest.terms)))

    def file(self, content: ReceiptContent) -> bytes:
        """Returns the file of a content that its exporter signed."""
        signature = self.key.sign(encode(content))
        return SignedReceipt(content=content, signature=signature).text(self.community.genesis).encode()

    def file_of_bytes(self, content: bytes, about: dict[str, Any]) -> bytes:
        """Returns the file of any bytes that the exporter signed; what they say, if they are a content at all."""
        try:
            return self.file(decode(content, ReceiptContent))
        except DecodeError:
            pass
        fields = {"format": RECEIPT_FORMAT, "about": about, "content": content.hex()}
        return file_text({**fields, "signature": self.key.sign(content).hex()}).encode()

    def refusal(self, file: bytes) -> str:
        with pytest.raises(FileRefused) as refused:
            check_receipt_file(file, self.community.genesis)
        return str(refused.value)


KINDS = (
    "spot",
    "declined",
    "completed forward",
    "expired forward",
    "cancelled forward",
    "pending forward",
    "cancellation",
    "cancellation before",
    "cancellation in one block",
    "transfer",
)


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    return Contents(tmp_path_factory.mktemp("forgeries") / "ledger")


def test_the_receipts_are_of_their_kinds_and_hold(contents: Contents) -> None:
    assert tuple(contents.by_kind) == KINDS
    statuses = {kind: record_of(content) for kind, content in contents.by_kind.items()}
    assert {kind: None if trade is None else trade.status.value for kind, trade in statuses.items()} == {
        "spot": "completed",
        "declined": None,
        "completed forward": "completed",
        "expired forward": "expired",
        "cancelled forward": "cancelled",
        "pending forward": "pending",
        "cancellation": "cancelled",
        "cancellation before": None,
        "cancellation in one block": "cancelled",
        "transfer": None,
    }
    for content in contents.by_kind.values():
        check_receipt_file(contents.file(content), contents.community.genesis)


def alterations(value: Any) -> Iterator[Any]:
    """Yields a value of records with one thing in it altered, for everything in it."""
    match value:
        case bool() | None:
            yield not value
        case int():
            yield value + 1
            yield max(0, value - 1) if value else 2**40
        case str():
            yield f"{value}x"
        case bytes():
            for place in {0, len(value) // 2, len(value) - 1} if value else ():
                yield value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
            yield value + b"\0"
        case list() | tuple():
            yield from sequence_alterations(list(value))
        case _:
            raise AssertionError(f"{type(value)} is in no record")


def sequence_alterations(items: list[Any]) -> Iterator[list[Any]]:
    for place, item in enumerate(items):
        for altered in alterations(item):
            yield [*items[:place], altered, *items[place + 1 :]]
        if item is not None:
            yield [*items[:place], None, *items[place + 1 :]]
        yield items[:place] + items[place + 1 :]
        yield [*items[:place], item, *items[place:]]
    for place in range(len(items) - 1):
        if items[place] != items[place + 1]:
            yield [*items[:place], items[place + 1], items[place], *items[place + 2 :]]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_receipt_can_be_altered_by_who_signs_it(contents: Contents, kind: str) -> None:
    content = contents.by_kind[kind]
    about = SignedReceipt(content=content, signature=contents.key.sign(b"")).document(contents.community.genesis)[
        "about"
    ]
    original = msgspec.to_builtins(content, builtin_types=(bytes,))
    tried = 0
    for altered in alterations(original):
        raw = msgpack.packb(altered, use_bin_type=True)
        assert raw != encode(content)
        assert contents.refusal(contents.file_of_bytes(raw, about))
        tried += 1
    assert tried > 100


@pytest.mark.parametrize("kind", KINDS)
def test_no_part_of_another_receipt_fits(contents: Contents, kind: str) -> None:
    content = contents.by_kind[kind]
    for other_kind, other in contents.by_kind.items():
        for field in ("transaction", "proof", "postings", "later", "record"):
            if getattr(other, field) != getattr(content, field):
                altered = replace(content, **{field: getattr(other, field)})
                if (kind, other_kind, field) not in SAME_RECORD:
                    assert contents.refusal(contents.file(altered)), (other_kind, field)


SAME_RECORD = {
    ("cancelled forward", "cancellation", "record"),
    ("cancellation", "cancelled forward", "record"),
}
"""Two receipts of one contract carry one record."""


@pytest.mark.parametrize("status", [TradeStatus.COMPLETED, TradeStatus.CANCELLED, TradeStatus.EXPIRED])
@pytest.mark.parametrize("kind", ["declined", "cancellation", "cancellation before", "expired forward", "transfer"])
def test_an_invented_record_is_refused(contents: Contents, kind: str, status: TradeStatus) -> None:
    content, genuine = contents.by_kind[kind], contents.by_kind["spot"].record
    assert genuine is not None
    reference = content.proof.receipt.reference or content.proof.receipt.transaction
    lie = replace(decode(genuine.value or b"", Trade), status=status, delivered_wh=250, amount_micro=50_000_000)
    record = replace(genuine, key=trade_key(Digest(reference)), value=encode(lie))
    assert contents.refusal(contents.file(replace(content, record=record)))
    if content.record is not None:
        record = replace(content.record, value=encode(lie))
        assert contents.refusal(contents.file(replace(content, record=record)))


def test_an_older_proof_that_there_was_no_record_does_not_hide_a_contract(contents: Contents) -> None:
    hidden = replace(contents.by_kind["cancellation in one block"], record=contents.older_absence, postings=())
    assert "older than the receipt" in contents.refusal(contents.file(hidden))


def test_what_executed_beside_it_is_not_shown_with_a_declined_attempt(contents: Contents) -> None:
    assert {item.posting.stage for item in contents.beside_declined.postings} == {Stage.EXECUTION, Stage.FINAL}
    assert "was declined: nothing moved" in contents.refusal(contents.file(contents.beside_declined))


def test_a_cancellation_says_what_it_ended(contents: Contents) -> None:
    def lines(kind: str) -> dict[str, str]:
        told_lines = check_receipt_file(contents.file(contents.by_kind[kind]), contents.community.genesis)
        return dict(line.split(": ", 1) for line in told_lines)

    assert lines("cancellation")["refund"] == "0.008800 tokens went back to the buyer"
    assert lines("cancellation")["record"].startswith("the contract is cancelled after block ")
    assert lines("cancellation")["contract"].startswith("the end of ")
    assert lines("cancellation before")["record"].startswith("the contract has not executed up to block ")
    assert lines("cancellation in one block")["postings"].startswith("6 of this contract are in block ")


def test_a_receipt_of_an_hour_that_no_calendar_has_is_readable(contents: Contents) -> None:
    content = contents.by_kind["pending forward"]
    trade = record_of(content)
    assert content.record is not None
    assert trade is not None
    far = encode(replace(trade, interval_start_ms=Milliseconds(FAR_INTERVAL_MS)))
    altered = replace(content, record=replace(content.record, value=far))
    about = SignedReceipt(content=altered, signature=contents.key.sign(b"")).document(contents.community.genesis)[
        "about"
    ]
    assert about["contract"]["energy_of"] == f"{FAR_INTERVAL_MS} ms since 1970 (beyond the year 9999)"
    assert "does not follow" in contents.refusal(contents.file(altered))
