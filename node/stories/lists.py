"""Replies that list trades, scores and offices, made from a ledger alone: API and command line answer the same."""

from collections.abc import Collection, Iterator
from typing import Any

from consensus.identifiers import Address, Height, Slot
from consensus.quorum import quorum
from contracts.office_records import Office, OfficeName, Proposal, ProposalStatus
from contracts.offices import office_addresses
from contracts.state import MEMBER_LIST_KEY, MemberList, Score, office_key, proposal_key
from contracts.state_reading import member_name, read, read_members, require
from ledger.ledger import Ledger
from node.replies.offices import OfficeModel, OfficesReply, ProposalModel
from node.replies.parameters import TradesParameters
from node.replies.state import ScoreModel, ScoresReply, TradeModel, TradesReply
from node.replies.views import trade_view
from node.stories.slices import Slices
from node.stories.trade_log import LoggedTrade, Place, read_trades


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


def offices_of(ledger: Ledger) -> OfficesReply:
    """Returns the offices with their present keys, and the members' last proposals about them."""
    addresses = office_addresses(ledger.genesis).values()
    offices = {address: require(ledger, office_key(address), Office) for address in addresses}
    present = frozenset(require(ledger, MEMBER_LIST_KEY, MemberList).addresses)
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
        proposals=[
            _proposal_view(ledger, proposer, proposal, offices[proposal.subject.office].name, present)
            for proposer, proposal in _proposals(ledger)
        ],
    )


def _proposals(ledger: Ledger) -> Iterator[tuple[Address, Proposal]]:
    """Yields the last proposal of everybody who is or was a member."""
    terms = require(ledger, MEMBER_LIST_KEY, MemberList).terms
    for address in dict.fromkeys(term.address for term in terms):
        proposal = read(ledger, proposal_key(address), Proposal)
        if proposal is not None:
            yield address, proposal


def _proposal_view(
    ledger: Ledger, proposer: Address, proposal: Proposal, office: OfficeName, present: Collection[Address]
) -> ProposalModel:
    genesis, is_open = ledger.genesis, proposal.status is ProposalStatus.OPEN
    counting = [address for address in proposal.approvals if not is_open or address in present]
    return ProposalModel(
        proposal=proposal.name.hex(),
        proposer=proposer.hex(),
        proposer_name=member_name(ledger, proposer),
        office=office.value,
        key=proposal.subject.key.hex(),
        status=proposal.status.value,
        approvals=[address.hex() for address in counting],
        quorum=quorum(len(present)),
        slot=proposal.slot,
        until_slot=proposal.until_slot,
        until_ms=genesis.start_ms + proposal.until_slot * genesis.slot_duration_ms,
    )


def _unlocking(score: Score, slot: Slot) -> dict[str, Any]:
    """Returns what of a stake that was taken back is still locked at a slot."""
    unlocking = score.unlocking
    if unlocking is None or unlocking.until_slot <= slot:
        return {"unlocking_millionths": 0, "unlocked_at_slot": None}
    return {"unlocking_millionths": unlocking.amount, "unlocked_at_slot": unlocking.until_slot}


def scores_of(ledger: Ledger) -> ScoresReply:
    """Returns every member's quality of transaction as of the tip's slot."""
    slot, parameters = ledger.tip_slot, ledger.genesis.scores
    scores = [
        ScoreModel(
            **_unlocking(state.score, slot),
            address=state.address.hex(),
            name=state.member.name,
            score_millionths=state.score_at(slot, parameters),
            staked_millionths=state.score.staked,
            is_suspended=state.score.is_suspended,
            returns_at_slot=None if state.score.way_back is None else state.score.way_back.until_slot,
            cause=state.score.cause.value,
            reference=state.score.reference.hex(),
        )
        for state in read_members(ledger)
    ]
    return ScoresReply(scores=scores)
