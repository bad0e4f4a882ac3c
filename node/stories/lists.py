"""Replies that list trades, scores and offices, made from a ledger alone: API and command line answer the same."""

from typing import Any

from consensus.identifiers import Address, Height, Slot
from contracts.office_records import Office
from contracts.offices import office_addresses
from contracts.state import Score, office_key
from contracts.state_reading import read_members, require
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.offices import OfficeModel, OfficesReply
from node.replies.parameters import TradesParameters
from node.replies.state import ScoreModel, ScoresReply, TradeModel, TradesReply
from node.replies.views import trade_view
from node.stories.proposals import office_proposals
from node.stories.slices import Slices
from node.stories.trade_log import LoggedTrade, Place, read_trades
from qscore.way_back import present_score


def trade_list(ledger: Ledger, parameters: TradesParameters) -> Slices[TradesReply]:
    """Returns a page of trades."""
    page = yield from read_trades(
        ledger,
        after=_parse_place(parameters.after),
        trades_max=parameters.limit,
        newest_first=parameters.order == "newest",
    )
    behind = page.continues_behind
    return TradesReply(
        first_height=ledger.first_height,
        trades=[logged_trade_view(logged) for logged in page.trades],
        next_after=None if behind is None else f"{behind.height}.{behind.index}",
    )


def logged_trade_view(logged: LoggedTrade) -> TradeModel:
    """Returns a trade of the log as the API shows it."""
    return trade_view(logged.trade_id, logged.trade, index=logged.place.index)


def _parse_place(text: str | None) -> Place | None:
    if text is None:
        return None
    height, index = text.split(".")
    return Place(Height(int(height)), int(index))


def offices_of(ledger: Ledger, names: Names) -> OfficesReply:
    """Returns the offices with their present keys, and the members' last proposals about them."""
    addresses = office_addresses(ledger.genesis).values()
    offices = {address: require(ledger, office_key(address), Office) for address in addresses}
    return OfficesReply(
        offices=[
            OfficeModel(
                name=office.name.value,
                address=address.hex(),
                key=office.key.hex(),
                first_height=office.first_height,
                objected_slot=office.objected_slot,
            )
            for address, office in offices.items()
        ],
        proposals=list(office_proposals(ledger, names)),
    )


def _unlocking(score: Score, slot: Slot) -> dict[str, Any]:
    """Returns what of a stake that was taken back is still locked at a slot."""
    unlocking = score.unlocking
    if unlocking is None or unlocking.until_slot <= slot:
        return {"unlocking_millionths": 0, "unlocked_at_slot": None}
    return {"unlocking_millionths": unlocking.amount, "unlocked_at_slot": unlocking.until_slot}


def scores_of(ledger: Ledger, names: Names) -> ScoresReply:
    """Returns every member's quality of transaction as of the tip's slot."""
    return ScoresReply(
        scores=[score_view(ledger, names, state.address, state.score) for state in read_members(ledger)]
    )


def score_view(ledger: Ledger, names: Names, address: Address, score: Score) -> ScoreModel:
    """Returns somebody's quality of transaction as of the tip's slot."""
    slot = ledger.tip_slot
    return ScoreModel(
        **_unlocking(score, slot),
        address=address.hex(),
        name=names.of(address),
        score_millionths=present_score(score.value, score.way_back, slot, ledger.genesis.scores),
        staked_millionths=score.staked,
        is_suspended=score.is_suspended,
        returns_at_slot=None if score.way_back is None else score.way_back.until_slot,
        cause=score.cause.value,
        reference=score.reference.hex(),
    )
