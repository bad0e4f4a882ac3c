"""Turns records into the models that the REST API shows. Pure: takes records, reads nothing."""

from collections.abc import Sequence
from enum import Enum

from pydantic import JsonValue

from consensus.codec import Record, encode
from consensus.identifiers import Digest
from consensus.membership import Leaders
from consensus.messages import CommitCertificate
from contracts.receipts import Posting, Receipt
from contracts.state import Trade
from contracts.transactions import ContractTerms, SignedTransaction, decode_transaction, transaction_digest
from ledger.block import Block, BlockHeader, block_digest
from ledger.checkpoint import CheckpointProof
from ledger.past_leaders import collectors_of, expected_leader
from ledger.proofs import ReceiptProof
from node.replies.node import (
    BlockReply,
    BlockSummary,
    BlockTransaction,
    CertificateModel,
    CheckpointReply,
    HeaderModel,
    PostingModel,
    ReceiptModel,
    ReceiptProofModel,
    TransactionModel,
)
from node.replies.state import TradeModel


def plain(value: object) -> JsonValue:
    """Returns a record's value as JSON's types: records by field name, bytes in hexadecimal, enums by value.

    A contract's terms have their kind besides.
    """
    if isinstance(value, ContractTerms):
        return {"kind": record_kind(value), **record_fields(value)}
    if isinstance(value, Record):
        return record_fields(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    assert value is None or isinstance(value, str | int), type(value)
    return value


def record_fields(record: Record) -> dict[str, JsonValue]:
    """Returns a record's fields by name as JSON's types."""
    return {name: plain(getattr(record, name)) for name in record.__struct_fields__}


def record_kind(record: Record) -> str:
    """Returns the tag of a record's class, e.g. `account`."""
    return str(record.__struct_config__.tag)


def transaction_view(transaction: SignedTransaction) -> TransactionModel:
    """Returns a transaction as the API shows it."""
    envelope = transaction.envelope
    action = {"kind": record_kind(envelope.action), **record_fields(envelope.action)}
    return TransactionModel.model_validate(
        {
            "sender": envelope.sender.hex(),
            "sender_key": envelope.sender_key.hex(),
            "nonce": envelope.nonce,
            "valid_until_height": envelope.valid_until_height,
            "action": action,
            "signature": transaction.signature.hex(),
        }
    )


def receipt_view(receipt: Receipt) -> ReceiptModel:
    """Returns a receipt as the API shows it."""
    return ReceiptModel.model_validate(record_fields(receipt))


def checkpoint_view(proof: CheckpointProof) -> CheckpointReply:
    """Returns the proof of a block as the API shows it."""
    header = proof.header
    return CheckpointReply(height=header.height, digest=block_digest(header).hex(), proof=encode(proof).hex())


def header_view(header: BlockHeader) -> HeaderModel:
    """Returns a header as the API shows it."""
    return HeaderModel.model_validate(record_fields(header))


def certificate_view(certificate: CommitCertificate) -> CertificateModel:
    """Returns a certificate as the API shows it."""
    return CertificateModel.model_validate(record_fields(certificate))


def summary_view(block: Block, leaders: Leaders | None) -> BlockSummary:
    """Returns a block as lists show it; `leaders` are those of its height (`ledger.past_leaders`)."""
    header = block.header
    return BlockSummary(
        height=header.height,
        digest=block_digest(header).hex(),
        slot=header.slot,
        leader=header.leader.hex(),
        expected_leader=expected_leader(leaders, header).hex(),
        transactions=len(block.transactions),
        state_root=header.state_root.hex(),
    )


def block_view(
    block: Block, receipts: Sequence[Receipt], certificate: CommitCertificate, leaders: Leaders | None
) -> BlockReply:
    """Returns a decided block as the API shows it; `leaders` are those of its height (`ledger.past_leaders`)."""
    header = block.header
    return BlockReply(
        height=header.height,
        digest=block_digest(header).hex(),
        slot=header.slot,
        leader=header.leader.hex(),
        expected_leader=expected_leader(leaders, header).hex(),
        collectors=[address.hex() for address in collectors_of(leaders, header)],
        header=header_view(header),
        header_encoded=encode(header).hex(),
        transactions=[
            _block_transaction(index, raw, receipt)
            for index, (raw, receipt) in enumerate(zip(block.transactions, receipts, strict=True))
        ],
        postings=[posting_view(posting) for posting in block.postings],
        certificate=certificate_view(certificate),
        certificate_encoded=encode(certificate).hex(),
    )


def _block_transaction(index: int, raw: bytes, receipt: Receipt) -> BlockTransaction:
    return BlockTransaction(
        index=index,
        digest=transaction_digest(raw).hex(),
        size_bytes=len(raw),
        transaction=transaction_view(decode_transaction(raw)),
        receipt=receipt_view(receipt),
    )


def posting_view(posting: Posting) -> PostingModel:
    """Returns a balance change as the API shows it."""
    return PostingModel.model_validate(record_fields(posting))


def receipt_proof_view(proof: ReceiptProof) -> ReceiptProofModel:
    """Returns the path from a receipt to its header as the API shows it."""
    return ReceiptProofModel(
        receipt_encoded=encode(proof.receipt).hex(),
        index=proof.inclusion.index,
        count=proof.inclusion.count,
        siblings=[sibling.hex() for sibling in proof.inclusion.siblings],
        encoded=encode(proof).hex(),
    )


def trade_view(trade_id: Digest, trade: Trade, *, index: int) -> TradeModel:
    """Returns a trade as the API shows it; `index` is the place of its transaction in its block."""
    fields = {**record_fields(trade), "trade": trade_id.hex(), "index": index}
    return TradeModel.model_validate(fields)
