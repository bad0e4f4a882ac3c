"""Signed receipts: what a member's node hands out, and what anybody can check with nothing but genesis at hand.

The content is a transaction, its receipt with the path to a decided header, for contracts the postings of all their
stages, each with its path, and the proof of the contract's record at the exporter's tip. The exporter signs it: so
f + 1 equal receipts of different members are an answer too, and who hands out a wrong one can be shown to others.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import Meta

from consensus.codec import DecodeError, Record, decode, encode
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import Address, Digest, Signature
from consensus.messages import CommitCertificate
from consensus.rendering import render
from contracts.genesis import Genesis
from contracts.receipts import POSTINGS_PER_TRADE_MAX, Status
from contracts.state import Trade, trade_key
from contracts.transactions import (
    TRANSACTION_SIZE_BYTES_MAX,
    AddressBytes,
    CancelTrade,
    SubmitTrade,
    decode_transaction,
)
from ledger.block import BlockHeader, block_digest
from ledger.ledger import Ledger
from ledger.proofs import PostingProof, ReceiptProof, StateProof, prove_postings
from ledger.trusted_sets import CHANGES_MAX, SetStep, TrustedSets
from node.errors import FileRefused
from node.names.names import office_names
from node.proofs.signed_file import bytes_of, file_text, parse_file, require_unchanged
from node.stories.slices import Slices
from node.stories.trade_search import Found, find_receipt
from node.stories.words import hour_text, price_text, tokens_text

RECEIPT_FORMAT: Final = "p2pnode-receipt-2"

LATER_BLOCKS_MAX: Final = 4
"""A contract posts in the block that executes it and in the one that ends it."""

Postings = Annotated[tuple[PostingProof, ...], Meta(max_length=2 * POSTINGS_PER_TRADE_MAX)]


class LaterPostings(Record, frozen=True, kw_only=True, tag="later-postings"):
    """What another decided block posted of the contract."""

    header: BlockHeader
    certificate: CommitCertificate
    postings: Postings


class ReceiptContent(Record, frozen=True, kw_only=True, tag=RECEIPT_FORMAT):
    """What the exporter signs."""

    exporter: AddressBytes
    """Member whose node key signs."""
    transaction: Annotated[bytes, Meta(max_length=TRANSACTION_SIZE_BYTES_MAX)]
    """Raw, as it was submitted."""
    changes: Annotated[tuple[SetStep, ...], Meta(max_length=CHANGES_MAX)]
    """Every change of the members and every ceremony up to the exporter's tip: whose signatures count where."""
    proof: ReceiptProof
    postings: Postings
    """Of the contract, in the receipt's block; none for anything else."""
    later: Annotated[tuple[LaterPostings, ...], Meta(max_length=LATER_BLOCKS_MAX)]
    """Of a forward trade that ended in a later block."""
    record: StateProof | None
    """Of a contract that executed or was cancelled: its record at the exporter's tip, or that it has none since it
    was cancelled before. None of anything else."""


class SignedReceipt(Record, frozen=True, kw_only=True):
    """A content with its exporter's signature."""

    content: ReceiptContent
    signature: Signature

    def document(self, genesis: Genesis) -> dict[str, Any]:
        """Returns the JSON object of the file."""
        return {
            "format": RECEIPT_FORMAT,
            "about": _about(self.content, genesis),
            "content": encode(self.content).hex(),
            "signature": self.signature.hex(),
        }

    def text(self, genesis: Genesis) -> str:
        """Returns the file."""
        return file_text(self.document(genesis))


def export_receipt(ledger: Ledger, text: str, key: SigningKey) -> Slices[SignedReceipt]:
    """Returns the signed receipt of the transaction, or of the contract, whose name begins with `text`.

    Raises:
        NotFound: none, or several.
    """
    found = yield from find_receipt(ledger, text)
    content = _content(ledger, found, ledger.member_of(key.public_key) or key.address)
    return SignedReceipt(content=content, signature=key.sign(encode(content)))


def _content(ledger: Ledger, found: Found, exporter: Address) -> ReceiptContent:
    receipt, block = found.receipt, ledger.decided_block(found.height)
    is_contract = bool(receipt.parties) and receipt.status is Status.EXECUTED
    trade = receipt.reference if is_contract else None
    return ReceiptContent(
        exporter=exporter,
        transaction=block.transactions[found.index],
        changes=ledger.set_steps(),
        proof=ledger.prove_receipt(receipt.transaction),
        postings=() if trade is None else prove_postings(block, trade),
        later=() if trade is None else tuple(_later(ledger, found, trade)),
        record=None if trade is None else ledger.prove_state(trade_key(trade)),
    )


def _later(ledger: Ledger, found: Found, trade: Digest) -> list[LaterPostings]:
    later = []
    for height, _ in ledger.history(trade_key(trade)):
        block, certificate = ledger.decided_block(height), ledger.certificate(height)
        assert certificate is not None, f"height {height} is decided"
        postings = prove_postings(block, trade)
        if height > found.height and postings:
            later.append(LaterPostings(header=block.header, certificate=certificate, postings=postings))
    return later


def parse_receipt(content: bytes, genesis: Genesis) -> SignedReceipt:
    """Returns the receipt in a file, whose exporter is a member and signed it as it stands; proofs are not checked.

    Raises:
        FileRefused: it is none, or a byte of it was changed.
    """
    document = parse_file(content, RECEIPT_FORMAT)
    signed, signature = bytes_of(document, "content"), Signature(bytes_of(document, "signature"))
    try:
        receipt = SignedReceipt(content=decode(signed, ReceiptContent), signature=signature)
        decode_transaction(receipt.content.transaction)
        record_of(receipt.content)
    except DecodeError as error:
        raise FileRefused(f"its content is damaged: {error}") from None
    exporter = receipt.content.exporter
    key = trusted_sets(receipt.content, genesis).key_of(exporter)
    if key is None:
        raise FileRefused(f"its exporter {exporter.hex()} is no member of this genesis' chain")
    if not verify(key, signed, signature):
        name = office_names(genesis).get(exporter, exporter.hex())
        raise FileRefused(f"the signature of its exporter, {name}, does not hold")
    require_unchanged(content, receipt.document(genesis))
    return receipt


def trusted_sets(content: ReceiptContent, genesis: Genesis) -> TrustedSets:
    """Returns the members of every height that a content proves from genesis.

    Raises:
        FileRefused: a change does not follow from those before it.
    """
    sets = TrustedSets(genesis)
    fault = sets.take_all(content.changes)
    if fault is not None:
        raise FileRefused(fault)
    return sets


def answer_of(receipt: SignedReceipt) -> bytes:
    """Returns what equal answers of different members have in common, whatever their tips and certificates are."""
    content, proof = receipt.content, receipt.content.proof
    blocks = (content.postings, *(later.postings for later in content.later))
    postings = tuple(item.posting for postings in blocks for item in postings)
    record = None if content.record is None else content.record.value
    place = (block_digest(proof.header), proof.inclusion.index)
    return encode((content.transaction, proof.receipt, place, postings, record))


# --- the readable part -----------------------------------------------------------------------------------------


def _about(content: ReceiptContent, genesis: Genesis) -> dict[str, Any]:
    names = office_names(genesis)
    header, receipt = content.proof.header, content.proof.receipt
    action = decode_transaction(content.transaction).envelope.action
    about: dict[str, Any] = {
        "chain": header.chain.hex(),
        "exported_by": names.get(content.exporter, content.exporter.hex()),
        "transaction": receipt.transaction.hex(),
        "kind": str(action.__struct_config__.tag),
        "sent_by": names.get(receipt.sender, receipt.sender.hex()),
        "height": header.height,
        "block": block_digest(header).hex(),
        "slot": header.slot,
        "leader": names.get(header.leader, header.leader.hex()),
        "signed_by": [names.get(item.signer, item.signer.hex()) for item in content.proof.certificate.endorsements],
        "outcome": receipt.status.value,
        "reason": receipt.reason.value,
        "detail": receipt.detail,
        "fault": None if receipt.fault is None else names.get(receipt.fault, receipt.fault.hex()),
    }
    if isinstance(action, SubmitTrade | CancelTrade):
        about["contract"] = _about_contract(content, action, names)
    return about


def _about_contract(
    content: ReceiptContent, action: SubmitTrade | CancelTrade, names: Mapping[Address, str]
) -> dict[str, Any]:
    terms, trade = action.terms, record_of(content)
    reference = content.proof.receipt.reference
    about: dict[str, Any] = {
        "trade": None if reference is None else reference.hex(),
        "seller": names.get(terms.seller, terms.seller.hex()),
        "buyer": names.get(terms.buyer, terms.buyer.hex()),
        "energy_wh": terms.energy_wh,
        "price_tokens_per_kwh": price_text(terms.price_micro_per_kwh),
    }
    if content.record is not None and trade is None:
        about |= {"status": "cancelled before it executed", "status_at_height": content.record.header.height}
    if content.record is not None and trade is not None:
        about |= {
            "status": trade.status.value,
            "status_at_height": content.record.header.height,
            "energy_of": hour_text(trade.interval_start_ms),
            "delivered_wh": trade.delivered_wh,
            "paid_to_seller_tokens": tokens_text(trade.amount_micro),
            "grid_fee_tokens": tokens_text(trade.fee_micro),
        }
    about["postings"] = [
        {name: value for name, value in render(item.posting).items() if name not in {"type", "trade"}}
        for postings in (content.postings, *(later.postings for later in content.later))
        for item in postings
    ]
    return about


def record_of(content: ReceiptContent) -> Trade | None:
    """Returns the contract's record that the content carries.

    Raises:
        DecodeError: it is none.
    """
    value = None if content.record is None else content.record.value
    return None if value is None else decode(value, Trade)
