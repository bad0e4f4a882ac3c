"""What `p2pnode trade`, `qscore`, `statement` and `evidence` print, for people."""

from collections.abc import Iterable, Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table

from consensus.identifiers import Address
from contracts.units import WH_PER_KWH
from node.names.names import Names
from node.replies.node import PostingModel
from node.replies.state import TradeModel, TradesReply
from node.replies.stories import (
    MisconductModel,
    MisconductReply,
    PendingMisconduct,
    ScoreHistoryReply,
    ScoreMove,
    ScoreVersion,
    SignedStatementModel,
    StatementLine,
    StatementReply,
    TradeBlock,
    TradeStoryReply,
)
from node.stories.words import change_text, hour_text, moment_text, price_text, score_text, short, tokens_text

LISTED_DIGITS: Final = 10
"""Of an id in a list, which then fits 80 columns: more than the eight that commands take."""

NOTHING: Final = "-"

SCORE: Final = "score"
"""Heading of the only column of a statement that may take two lines: its figures have a place to break."""


def show_story(console: Console, story: TradeStoryReply) -> None:
    """Prints a contract's story."""
    console.print(f"Trade {story.trade}: {story.status}", style="bold", markup=False)
    console.print(story.sentence, markup=False, soft_wrap=True)
    console.print(_facts(_story_facts(story)))
    console.print(_attempts(story))
    _say_from_where(console, story.first_height)
    if story.attempts_left_out:
        console.print(f"{story.attempts_left_out:,} earlier attempts were declined", markup=False)
    console.print(_conditions(story))
    console.print(_blocks(story.blocks))
    if story.scores:
        console.print(_scores(story.scores))
    proof = story.proof
    path = f"Merkle path of {len(proof.siblings)} hashes from receipt {proof.index + 1} of {proof.count}"
    console.print(
        f"Proof: {path} to the header of its block, which a quorum signed. To keep it as a file that proves itself:\n"
        f"  p2pnode receipt export {short(story.trade)[:-1]} --config meter.toml --output receipt.json",
        markup=False,
        soft_wrap=True,
    )


def _facts(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    return table


def _story_facts(story: TradeStoryReply) -> list[tuple[str, str]]:
    kind = {
        "spot": "spot: of energy that was there",
        "forward": "forward: promised before the energy was there",
    }[story.kind]
    hour = NOTHING if story.interval_start_ms is None else hour_text(story.interval_start_ms)
    rows = [
        ("seller", f"{story.seller.name} ({short(story.seller.address)})"),
        ("buyer", f"{story.buyer.name} ({short(story.buyer.address)})"),
        ("kind", kind),
        ("energy of", hour),
        ("contracted", f"{story.energy_wh:,} Wh"),
        ("delivered", f"{story.delivered_wh:,} Wh"),
        ("price", f"{price_text(story.price_micro_per_kwh)} tokens per kWh"),
        ("seller got", f"{tokens_text(story.amount_micro)} tokens"),
        ("grid fee", f"{tokens_text(story.fee_micro)} tokens"),
        ("refunded", f"{tokens_text(story.refunded_micro)} tokens"),
        ("offer", f"number {story.offer_counter} of the seller, until slot {story.expiry_slot:,}"),
    ]
    if story.quality_total is not None:
        rows.append(("Eq. 2's total", _signed_score(story.quality_total)))
    return rows


def _signed_score(millionths: int) -> str:
    return score_text(millionths) if millionths >= 0 else f"-{score_text(-millionths)}"


def _attempts(story: TradeStoryReply) -> Table:
    table = Table(title="What was brought to the chain", title_justify="left")
    for heading in ("transaction", "what", "by", "block", "outcome"):
        table.add_column(heading)
    for attempt in story.attempts:
        outcome: str = attempt.status
        if attempt.status == "declined":
            fault = "nobody" if attempt.fault is None else attempt.fault.name
            outcome = f"declined, {attempt.reason}: {attempt.detail}; at fault: {fault}"
        what = "cancellation" if attempt.kind == "cancel-trade" else "contract"
        place = f"{attempt.height:,}, number {attempt.index + 1}"
        table.add_row(short(attempt.transaction), what, attempt.sender.name, place, outcome)
    return table


def _conditions(story: TradeStoryReply) -> Table:
    table = Table(title="The four conditions", title_justify="left")
    for heading in ("", "what must hold", "outcome", "block", "values before and after"):
        table.add_column(heading)
    for condition in story.conditions:
        values = "; ".join(_posting_text(posting) for posting in condition.postings) or condition.detail or NOTHING
        height = NOTHING if condition.height is None else f"{condition.height:,}"
        outcome = condition.outcome.replace("_", " ")
        style = "red" if condition.outcome == "failed" else None
        table.add_row(f"{condition.number}", condition.about, outcome, height, values, style=style)
    return table


def _posting_text(posting: PostingModel) -> str:
    if posting.asset == "energy_wh":
        return f"{posting.party} {posting.before:,} -> {posting.after:,} Wh"
    return f"{posting.party} {tokens_text(posting.before)} -> {tokens_text(posting.after)} tokens"


def _blocks(blocks: Sequence[TradeBlock]) -> Table:
    table = Table(title="The blocks", title_justify="left")
    for heading in (
        "block",
        "digest",
        "slot",
        "slot began",
        "leader",
        "validators who signed it",
        "the contract then",
    ):
        table.add_column(heading)
    for block in blocks:
        record = block.record
        table.add_row(
            f"{block.height:,}",
            short(block.digest),
            f"{block.slot:,}",
            moment_text(block.slot_start_ms),
            block.leader.name,
            ", ".join(member.name for member in block.validators),
            NOTHING if record is None else record.status + _held(record.held_micro, record.set_aside_wh),
        )
    return table


def _held(held_micro: int, set_aside_wh: int) -> str:
    tokens = f", {tokens_text(held_micro)} tokens held" if held_micro else ""
    energy = f", {set_aside_wh:,} Wh set aside" if set_aside_wh else ""
    return f"{tokens}{energy}"


def _scores(moves: Sequence[ScoreMove]) -> Table:
    table = Table(title="Scores before and after the block that moved them", title_justify="left")
    for heading in ("role", "member", "block", "before", "after", "change", "moved last by"):
        table.add_column(heading)
    for move in moves:
        change = move.after_millionths - move.before_millionths
        cause = (
            NOTHING if move.cause is None else move.cause + (f" ({short(move.reference)})" if move.reference else "")
        )
        table.add_row(
            move.role,
            move.member.name,
            f"{move.height:,}",
            score_text(move.before_millionths),
            score_text(move.after_millionths),
            change_text(change) if change else NOTHING,
            cause,
        )
    table.caption = "a block may move a score for several reasons; leader and validators follow in the next block"
    return table


def show_trades(console: Console, reply: TradesReply, names: Names) -> None:
    """Prints a list of contracts that executed."""
    table = Table(title="Trades, the newest first", title_justify="left", box=SIMPLE_HEAD, padding=0)
    for heading in ("trade", "energy of (UTC)", "seller", "buyer", "Wh", "per kWh", "tokens", "status", "block"):
        table.add_column(heading, no_wrap=heading in {"trade", "energy of (UTC)", "tokens"})
    for trade in reply.trades:
        table.add_row(
            trade.trade[:LISTED_DIGITS],
            hour_text(trade.interval_start_ms).removesuffix(" UTC"),
            names.of(Address(bytes.fromhex(trade.seller))),
            names.of(Address(bytes.fromhex(trade.buyer))),
            _delivered_text(trade),
            price_text(trade.price_micro_per_kwh),
            tokens_text(trade.amount_micro + trade.fee_micro),
            trade.status,
            f"{trade.height:,}",
        )
    console.print(table)
    _say_from_where(console, reply.first_height)


def _say_from_where(console: Console, first_height: int) -> None:
    if first_height > 1:
        console.print(
            f"Told from block {first_height:,} on: what lies below is not here.", markup=False, highlight=False
        )


def _delivered_text(trade: TradeModel) -> str:
    whole = trade.delivered_wh == trade.energy_wh
    return f"{trade.delivered_wh:,}" if whole else f"{trade.delivered_wh:,} of {trade.energy_wh:,}"


# --- scores ----------------------------------------------------------------------------------------------------


def show_score_history(console: Console, history: ScoreHistoryReply, versions: Sequence[ScoreVersion]) -> None:
    """Prints a score line by line."""
    present = f"{score_text(history.present_millionths)} at slot {history.tip_slot:,}"
    threshold = score_text(history.threshold_trade_millionths)
    console.print(f"{history.member.name}: {present}; trades from {threshold} on", style="bold", markup=False)
    table = Table()
    for heading in ("block", "slot", "score", "change", "what moved it", "stake", "standing"):
        table.add_column(heading)
    for version in versions:
        table.add_row(
            f"{version.height:,}",
            f"{version.slot:,}",
            score_text(version.value_millionths),
            change_text(version.change_millionths) if version.change_millionths else NOTHING,
            version.words,
            score_text(version.staked_millionths) if version.staked_millionths else NOTHING,
            _standing(version),
        )
    console.print(table)
    _say_from_where(console, history.first_height)


def _standing(version: ScoreVersion) -> str:
    parts = ["suspended"] if version.is_suspended else []
    if version.returns_at_slot is not None:
        parts.append(f"way back until slot {version.returns_at_slot:,} (fall {version.falls})")
    return ", ".join(parts) or NOTHING


# --- evidence --------------------------------------------------------------------------------------------------


def show_misconducts(
    console: Console, found: Sequence[MisconductModel], pending: Sequence[tuple[str, str, str]]
) -> None:
    """Prints proven misconduct, and what this node keeps that is not on the chain: id, offender, offence."""
    table = Table(title="Proven misconduct", title_justify="left")
    for heading in ("id", "member", "what it did", "since block", "transaction"):
        table.add_column(heading)
    for item in found:
        words = f"{item.words} ({item.offence})"
        table.add_row(short(item.misconduct), item.offender.name, words, f"{item.height:,}", short(item.transaction))
    for name, offender, offence in pending:
        table.add_row(short(name), offender, offence, "pending", NOTHING)
    if not found and not pending:
        table.caption = "nobody was proven to have contradicted itself"
    console.print(table)


def show_misconduct(console: Console, reply: MisconductReply) -> None:
    """Prints a misconduct with its statements."""
    item = reply.misconduct
    console.print(f"Misconduct {item.misconduct}", style="bold", markup=False)
    console.print(
        f"{item.offender.name} {item.words}; on the chain since block {item.height:,} "
        f"(transaction {short(item.transaction)}).",
        markup=False,
        soft_wrap=True,
    )
    _show_statements(console, reply.statements)


def show_pending_misconduct(console: Console, item: PendingMisconduct) -> None:
    """Prints a misconduct that no block has yet."""
    console.print(f"Misconduct {item.misconduct}", style="bold", markup=False)
    console.print(
        f"{item.offender.name} {item.words}; pending: this node keeps the proof, and no block has it yet.",
        markup=False,
        soft_wrap=True,
    )
    _show_statements(console, item.statements)


def _show_statements(console: Console, statements: Sequence[SignedStatementModel]) -> None:
    """Prints the two statements beside each other: what differs proves the offence."""
    first, second = statements
    table = Table(title="What it signed", title_justify="left")
    for heading in ("", "first", "second"):
        table.add_column(heading, overflow="fold")
    rows = {"kind": (first.kind, second.kind)}
    rows |= {name: (_text(first.fields.get(name)), _text(second.fields.get(name))) for name in first.fields}
    rows |= {name: (NOTHING, _text(value)) for name, value in second.fields.items() if name not in first.fields}
    rows["signature"] = (first.signature, second.signature)
    for name, (left, right) in rows.items():
        table.add_row(name, left, right, style=None if left == right or name == "signature" else "bold")
    console.print(table)


def _text(value: object) -> str:
    return NOTHING if value is None else str(value)


# --- statements ------------------------------------------------------------------------------------------------


def show_month(console: Console, statement: StatementReply) -> None:
    """Prints a month, a line per day."""
    total = statement.total
    console.print(f"{statement.member.name}, {statement.month}", style="bold", markup=False)
    for title, headings, row in (
        ("Energy in Wh", ("bought", "imported", "sold", "exported", "open", SCORE), _energy_row),
        ("Bought, in tokens", ("paid", "grid fee", "per kWh", "saved"), _bought_row),
        ("Sold, in tokens", ("received", "per kWh", "gained"), _sold_row),
    ):
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0, show_footer=True)
        for heading, foot in zip(("day", *headings), row(total), strict=True):
            justify: JustifyMethod = "left" if heading == "day" else "right"
            table.add_column(heading, foot, justify=justify, no_wrap=heading != SCORE)
        for line in statement.days:
            table.add_row(*row(line))
        console.print(table)
    console.print("Days are of meter time (UTC).")
    console.print(_month_sentence(statement), markup=False, soft_wrap=True)


def _energy_row(line: StatementLine) -> list[str]:
    start, end = line.score_start_millionths, line.score_end_millionths
    return [
        line.day,
        f"{line.bought_wh:,}",
        f"{line.imported_wh:,}",
        f"{line.sold_wh:,}",
        f"{line.exported_wh:,}",
        f"{line.unsettled_wh:,}",
        NOTHING if start is None or end is None else f"{score_text(start)} -> {score_text(end)}",
    ]


def _bought_row(line: StatementLine) -> list[str]:
    return [
        line.day,
        tokens_text(line.paid_micro),
        tokens_text(line.fee_micro),
        average_price_text(line.paid_micro, line.bought_wh),
        tokens_text(line.saved_micro),
    ]


def _sold_row(line: StatementLine) -> list[str]:
    return [
        line.day,
        tokens_text(line.received_micro),
        average_price_text(line.received_micro, line.sold_wh),
        tokens_text(line.gained_micro),
    ]


def average_price_text(micro: int, energy_wh: int) -> str:
    """Returns the average price of energy in tokens per kWh, rounded to a millionth; nothing of no energy."""
    if energy_wh == 0:
        return NOTHING
    return price_text((micro * WH_PER_KWH + energy_wh // 2) // energy_wh)


def _month_sentence(statement: StatementReply) -> str:
    total = statement.total
    retail, feed_in = price_text(statement.retail_micro_per_kwh), price_text(statement.feed_in_micro_per_kwh)
    checked = "they agree" if statement.is_balanced else "they DO NOT agree"
    unsettled = f" {total.unsettled_wh:,} Wh are not settled yet." if total.unsettled_wh else ""
    gain = f"saved {tokens_text(total.saved_micro)} and gained {tokens_text(total.gained_micro)} tokens"
    return (
        f"Against the grid ({retail} tokens per kWh bought, {feed_in} fed in): {gain}.{unsettled} Read from the "
        f"chain at block {statement.height:,}; meter records and trades were compared: {checked}."
    )
