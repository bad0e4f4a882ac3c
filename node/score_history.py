"""Every version of a member's score, with what moved it, in words."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from consensus.codec import decode
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.receipts import Receipt, Status
from contracts.state import LAST_BLOCK_KEY, LastBlock, Score, ScoreCause, Trade, score_key, trade_key
from ledger.ledger import Ledger
from node.api_story_models import ScoreHistoryReply, ScoreVersion
from node.member_names import find_member
from node.state_views import member_name, read, require
from node.story_words import hour_text, short
from node.trade_search import stored_block
from node.trade_story import named
from qscore.way_back import present_score

_PLAIN_WORDS: Final[Mapping[ScoreCause, str]] = {
    ScoreCause.GENESIS: "every member starts with it",
    ScoreCause.LEADER: "",
    ScoreCause.VALIDATOR: "",
    ScoreCause.STAKE: "changed its stake (transaction {transaction})",
    ScoreCause.SUSPENSION: "proven misconduct (transaction {transaction})",
}


def score_history(ledger: Ledger, member: str, *, after: int | None, versions_max: int) -> ScoreHistoryReply:
    """Returns the versions of a member's score above a height, oldest first.

    Args:
        ledger: of any member.
        member: name, address or its first 8 or more digits.
        after: a height; None for all versions, genesis' first.
        versions_max: most versions returned, at least one.

    Raises:
        NotFound: no such member.
    """
    address = find_member(ledger, member)
    key, parameters = score_key(address), ledger.genesis.scores
    first = -1 if after is None else after
    newer = ((height, raw) for height, raw in ledger.history(key) if height > first)
    found = list(islice(newer, versions_max + 1))
    page = found[:versions_max]
    before = None if first < 0 else ledger.get_at(key, Height(first))
    previous = None if before is None else decode(before, Score)
    versions = []
    for height, raw in page:
        score = decode(raw, Score)
        versions.append(_version(ledger, address, height, score, previous))
        previous = score
    newest = require(ledger, key, Score)
    return ScoreHistoryReply(
        member=named(ledger, address),
        present_millionths=present_score(newest.value, newest.way_back, ledger.tip_slot, parameters),
        tip_slot=ledger.tip_slot,
        threshold_trade_millionths=parameters.threshold_trade,
        versions=versions,
        next_after=page[-1][0] if len(found) > len(page) else None,
    )


def _version(ledger: Ledger, address: Address, height: Height, score: Score, previous: Score | None) -> ScoreVersion:
    slot = Slot(0) if height == 0 else stored_block(ledger, height).header.slot
    parameters = ledger.genesis.scores
    before = 0 if previous is None else present_score(previous.value, previous.way_back, slot, parameters)
    return ScoreVersion(
        height=height,
        slot=slot,
        value_millionths=score.value,
        change_millionths=0 if previous is None else score.value - before,
        cause=score.cause.value,
        reference=score.reference.hex(),
        words=_words(ledger, address, height, score),
        staked_millionths=score.staked,
        is_suspended=score.is_suspended,
        falls=score.falls,
        returns_at_slot=None if score.way_back is None else score.way_back.until_slot,
    )


def _words(ledger: Ledger, address: Address, height: Height, score: Score) -> str:
    """Returns all that moved a score in a block, which writes one version of it: service comes first."""
    reference = Digest(score.reference)
    match score.cause:
        case ScoreCause.SELLER:
            words = _trade_words(ledger, reference, "sold")
        case ScoreCause.BUYER:
            words = _trade_words(ledger, reference, "bought")
        case ScoreCause.FAULT:
            words = _fault_words(ledger, reference)
        case _:
            words = _PLAIN_WORDS[score.cause].format(transaction=short(reference.hex()))
    parts = [_service_words(ledger, address, height), words, _other_contracts(ledger, address, height, reference)]
    return "; ".join(filter(None, parts))


def _service_words(ledger: Ledger, address: Address, height: Height) -> str:
    """Returns what a member was rewarded for in a block as leader or validator of the one before."""
    if height <= 1:
        return ""
    trades = decode(ledger.get_at(LAST_BLOCK_KEY, Height(height - 1)) or b"", LastBlock).trades_rewarded
    certificate = stored_block(ledger, height).parent_certificate
    signed = certificate is not None and any(item.signer == address for item in certificate.endorsements)
    led = stored_block(ledger, Height(height - 1)).header.leader == address
    roles = [word for word, is_so in (("led", led), ("signed", signed)) if is_so]
    counted = f"{trades} rewarded trade{'s' if trades > 1 else ''}"
    return f"{' and '.join(roles)} block {height - 1} with {counted}" if trades and roles else ""


def _other_contracts(ledger: Ledger, address: Address, height: Height, reference: Digest) -> str:
    others = sum(
        address in receipt.parties and receipt.status is Status.EXECUTED and receipt.reference != reference
        for receipt in ledger.receipts(height)
    )
    return f"{others} other contract{'s' if others > 1 else ''} in this block" if others else ""


def _trade_words(ledger: Ledger, name: Digest, verb: str) -> str:
    trade = read(ledger, trade_key(name), Trade)
    if trade is None:
        return f"{verb} energy (trade {short(name.hex())})"
    other = trade.buyer if verb == "sold" else trade.seller
    to = "to" if verb == "sold" else "from"
    what = (
        f"{verb} {trade.delivered_wh:,} Wh of {hour_text(trade.interval_start_ms)} {to} {member_name(ledger, other)}"
    )
    return f"{what} (trade {short(name.hex())})"


def _fault_words(ledger: Ledger, name: Digest) -> str:
    location = ledger.find_transaction(name)
    if location is not None:
        receipt: Receipt = ledger.receipts(location.height)[location.index]
        return f"at fault: {receipt.reason.value}: {receipt.detail} (transaction {short(name.hex())})"
    trade = read(ledger, trade_key(name), Trade)
    if trade is None:
        return f"at fault ({short(name.hex())})"
    short_by = f"{trade.delivered_wh:,} of {trade.energy_wh:,} Wh of {hour_text(trade.interval_start_ms)} delivered"
    return f"at fault: forward trade {short(name.hex())} {trade.status.value}, {short_by}"
