"""Proven misconduct on the chain: who contradicted itself, and the two statements that it signed."""

from collections.abc import Iterator, Mapping
from typing import Final

from consensus.codec import Record, decode, encode
from consensus.evidence import Equivocation, Offence
from consensus.identifiers import Digest, Signature
from consensus.rendering import render
from contracts.member_records import Misconduct
from contracts.misconduct import DOUBLE_OFFER
from contracts.state import StateKey, Table
from contracts.transactions import DoubleOffer, ReportMisconduct, decode_transaction
from ledger.ledger import Ledger
from node.errors import NotFound
from node.names.names import Names
from node.replies.stories import MisconductModel, MisconductReply, MisconductsReply, SignedStatementModel
from node.stories.member_names import PREFIX, PREFIX_DIGITS_MIN, named

Evidence = Equivocation | DoubleOffer

UNKNOWN_EVIDENCE: Final = "unknown_evidence"
"""Reason of `NotFound`."""

OFFENCES: Final[Mapping[str, str]] = {
    Offence.TWO_VOTES.value: "voted for two different blocks in one slot",
    Offence.TWO_COMMITS.value: "committed to two different blocks in one slot",
    Offence.TWO_VIEW_CHANGES.value: "signed two different VIEW-CHANGEs for one slot",
    Offence.COMMIT_DENIED.value: "committed to a block and denied it in a later VIEW-CHANGE",
    DOUBLE_OFFER: "signed two different contracts under one offer id",
}


def list_misconduct(ledger: Ledger, names: Names) -> MisconductsReply:
    """Returns what the chain has, in its order."""
    found = sorted(_records(ledger), key=lambda item: (item[1].height, item[0]))
    return MisconductsReply(misconducts=[_model(names, name, record) for name, record in found])


def show_misconduct(ledger: Ledger, names: Names, text: str) -> MisconductReply:
    """Returns the misconduct whose id begins with `text`, with both statements.

    Raises:
        NotFound: none, or several.
        BlocksNotHere: the statements lie below what this ledger can tell.
    """
    if not PREFIX.fullmatch(text):
        raise NotFound(UNKNOWN_EVIDENCE, f"{text!r} is no id: give {PREFIX_DIGITS_MIN} or more of its digits")
    found = [(name, record) for name, record in _records(ledger) if name.hex().startswith(text.lower())]
    if len(found) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(found)} ids: give more digits")
    if not found:
        raise NotFound(UNKNOWN_EVIDENCE, f"the chain holds no misconduct {text}")
    name, record = found[0]
    evidence = _evidence_of(ledger, record)
    return MisconductReply(
        misconduct=_model(names, name, record),
        statements=statements_of(evidence),
        encoded=encode(evidence).hex(),
    )


def _records(ledger: Ledger) -> Iterator[tuple[Digest, Misconduct]]:
    for key, raw in ledger.scan(Table.MISCONDUCT):
        yield Digest(StateKey(key)[1:]), decode(raw, Misconduct)


def _model(names: Names, name: Digest, record: Misconduct) -> MisconductModel:
    return MisconductModel(
        misconduct=name.hex(),
        offender=named(names, record.offender),
        offence=record.offence,
        words=OFFENCES[record.offence],
        transaction=record.transaction.hex(),
        height=record.height,
    )


def _evidence_of(ledger: Ledger, record: Misconduct) -> Evidence:
    location = ledger.find_transaction(record.transaction)
    if location is None:
        ledger.require_whole()
    assert location is not None, "a misconduct names the transaction that brought it"
    raw = ledger.decided_block(location.height).transactions[location.index]
    action = decode_transaction(raw).envelope.action
    assert isinstance(action, ReportMisconduct), "only reports prove misconduct"
    return action.evidence


def statements_of(evidence: Evidence) -> list[SignedStatementModel]:
    """Returns the two statements with their signatures."""
    signed: list[tuple[Record, Signature]]
    if isinstance(evidence, Equivocation):
        signed = [(item.statement, item.signature) for item in (evidence.first, evidence.second)]
    else:
        signed = [(evidence.first, evidence.first_signature), (evidence.second, evidence.second_signature)]
    return [_statement(statement, signature) for statement, signature in signed]


def _statement(statement: Record, signature: Signature) -> SignedStatementModel:
    fields = render(statement)
    return SignedStatementModel(
        kind=fields.pop("type"), fields=fields, signature=signature.hex(), encoded=encode(statement).hex()
    )
