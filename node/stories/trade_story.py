"""The story of a contract: who, what, when, at which price, and everything the chain can show for it.

Read from what any member has: the receipts of its transactions, the versions of its record, the postings of the
blocks in which its stages ran, and the versions of the scores that it moved.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from consensus.codec import decode, encode
from consensus.identifiers import Address, Height, Slot
from contracts.receipts import Asset, Party, Posting, Reason, Stage, Status
from contracts.state import Packet, Score, Trade, packet_key, score_key, trade_key
from contracts.state_reading import read
from contracts.transactions import ForwardTerms, SpotTerms, contract_kind
from ledger.block import block_digest
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.stories import (
    ScoreMove,
    TradeAttempt,
    TradeBlock,
    TradeCondition,
    TradeStoryReply,
    TradeVersion,
)
from node.replies.views import posting_view, receipt_proof_view
from node.stories.member_names import named
from node.stories.sentence import story_sentence
from node.stories.slices import Progress, Slices
from node.stories.trade_search import Contract, Found, find_contract, transaction_of
from qscore.way_back import present_score

CONDITIONS: Final[tuple[tuple[str, Stage, Asset, frozenset[Party], Reason], ...]] = (
    (
        "the contract's energy left the seller for the escrow",
        Stage.EXECUTION,
        Asset.ENERGY_WH,
        frozenset({Party.SELLER, Party.ESCROW}),
        Reason.CONDITION_1_SELLER_ENERGY,
    ),
    (
        "the amount and the grid fee left the buyer's wallet for the escrow",
        Stage.EXECUTION,
        Asset.TOKENS_MICRO,
        frozenset({Party.BUYER, Party.ESCROW}),
        Reason.CONDITION_2_BUYER_TOKENS,
    ),
    (
        "the energy left the escrow for the buyer",
        Stage.FINAL,
        Asset.ENERGY_WH,
        frozenset({Party.BUYER, Party.ESCROW}),
        Reason.CONDITION_3_BUYER_ENERGY,
    ),
    (
        "the tokens left the escrow for the seller, the fee for the grid account",
        Stage.FINAL,
        Asset.TOKENS_MICRO,
        frozenset({Party.SELLER, Party.ESCROW, Party.GRID}),
        Reason.CONDITION_4_SELLER_TOKENS,
    ),
)
"""Of each condition: what it says, and which postings show it."""


def trade_story(ledger: Ledger, names: Names, text: str) -> Slices[TradeStoryReply]:
    """Returns the story of the contract that `text` names (its trade id or a transaction, 8 digits or more).

    Raises:
        NotFound: none, or several.
        BlocksNotHere: some of it lies below what this ledger can tell.
    """
    contract = yield from find_contract(ledger, text)
    return (yield from _Story(ledger, names, contract).reply())


def trade_versions(ledger: Ledger, contract: Contract) -> dict[Height, Trade]:
    """Returns the versions of a contract's record by height; none if it never executed."""
    return {height: decode(raw, Trade) for height, raw in ledger.history(trade_key(contract.name))}


class _Story:
    def __init__(self, ledger: Ledger, names: Names, contract: Contract) -> None:
        self._ledger = ledger
        self._names = names
        self._contract = contract
        self._versions = trade_versions(ledger, contract)
        self._heights = sorted({*self._versions, *(attempt.height for attempt in contract.attempts)})
        self._postings: dict[Height, tuple[Posting, ...]] = {}

    def reply(self) -> Slices[TradeStoryReply]:
        """Returns the reply, block by block: each may be full."""
        steps = 3 * len(self._heights)
        for height in self._heights:
            postings = self._ledger.decided_block(height).postings
            self._postings[height] = tuple(posting for posting in postings if posting.trade == self._contract.name)
            yield Progress(len(self._postings), steps)
        attempts = []
        for attempt in self._contract.attempts:
            attempts.append(self._attempt(attempt))
            yield Progress(len(self._heights) + len(attempts), steps)
        blocks = []
        for height in self._heights:
            blocks.append(self._block(height))
            yield Progress(steps - len(self._heights) + len(blocks), steps)
        return self._reply(attempts, blocks)

    def _reply(self, attempts: list[TradeAttempt], blocks: list[TradeBlock]) -> TradeStoryReply:
        terms, decisive, trade = self._contract.terms, self._contract.decisive, self._newest
        proof = self._ledger.prove_receipt(decisive.receipt.transaction)
        return TradeStoryReply(
            first_height=self._ledger.first_height,
            trade=self._contract.name.hex(),
            status=self._status,
            sentence=story_sentence(self._names, self._contract, trade, self._refunded_micro),
            kind=contract_kind(terms).value,
            offer_counter=terms.offer_counter,
            seller=named(self._names, terms.seller),
            buyer=named(self._names, terms.buyer),
            interval_start_ms=interval_start_of(self._ledger, self._contract, trade),
            energy_wh=terms.energy_wh,
            delivered_wh=0 if trade is None else trade.delivered_wh,
            price_micro_per_kwh=terms.price_micro_per_kwh,
            amount_micro=0 if trade is None else trade.amount_micro,
            fee_micro=0 if trade is None else trade.fee_micro,
            refunded_micro=self._refunded_micro,
            expiry_slot=terms.expiry_slot,
            quality_total=decisive.receipt.quality_total if trade is None else trade.quality_total,
            attempts=attempts,
            attempts_left_out=self._contract.attempts_left_out,
            blocks=blocks,
            conditions=list(self._conditions()),
            scores=list(self._scores()),
            receipt_transaction=decisive.receipt.transaction.hex(),
            header_encoded=encode(proof.header).hex(),
            certificate_encoded=encode(proof.certificate).hex(),
            proof=receipt_proof_view(proof),
        )

    @property
    def _newest(self) -> Trade | None:
        return self._versions[max(self._versions)] if self._versions else None

    @property
    def _status(self) -> Literal["pending", "completed", "expired", "cancelled", "declined"]:
        if self._newest is not None:
            return self._newest.status.value
        return "declined" if self._contract.decisive.receipt.status is Status.DECLINED else "cancelled"

    @property
    def _refunded_micro(self) -> int:
        return sum(
            posting.after - posting.before
            for postings in self._postings.values()
            for posting in postings
            if (posting.stage, posting.party) == (Stage.REFUND, Party.BUYER)
        )

    @property
    def _outcome_height(self) -> Height:
        """Block of the outcome: where the record got its last status, or the contract was declined."""
        trade = self._newest
        if trade is None:
            return self._contract.decisive.height
        return min(height for height, version in self._versions.items() if version.status is trade.status)

    def _attempt(self, attempt: Found) -> TradeAttempt:
        receipt = attempt.receipt
        action = transaction_of(self._ledger, attempt).envelope.action
        return TradeAttempt.model_validate(
            {
                "transaction": receipt.transaction.hex(),
                "kind": action.__struct_config__.tag,
                "sender": named(self._names, receipt.sender),
                "height": attempt.height,
                "index": attempt.index,
                "status": receipt.status.value,
                "reason": receipt.reason.value,
                "detail": receipt.detail,
                "fault": None if receipt.fault is None else named(self._names, receipt.fault),
            }
        )

    def _block(self, height: Height) -> TradeBlock:
        header = self._ledger.decided_block(height).header
        genesis, version = self._ledger.genesis, self._versions.get(height)
        return TradeBlock(
            height=height,
            digest=block_digest(header).hex(),
            slot=header.slot,
            slot_start_ms=genesis.start_ms + header.slot * genesis.slot_duration_ms,
            leader=named(self._names, header.leader),
            validators=[named(self._names, address) for address in self._voters(height)],
            record=None if version is None else _version_view(version),
            postings=[posting_view(posting) for posting in self._postings[height]],
        )

    def _voters(self, height: Height) -> tuple[Address, ...]:
        """Returns the signers of the certificate that the next block carries, who are rewarded, else of the own."""
        is_tip = height == self._ledger.height
        following = None if is_tip else self._ledger.decided_block(Height(height + 1))
        certificate = self._ledger.certificate(height) if following is None else following.parent_certificate
        assert certificate is not None, f"height {height} is decided"
        return tuple(endorsement.signer for endorsement in certificate.endorsements)

    def _conditions(self) -> Iterator[TradeCondition]:
        reason = self._contract.decisive.receipt.reason
        failed = next((place for place, row in enumerate(CONDITIONS) if row[-1] is reason), None)
        for place, (about, stage, asset, parties, _) in enumerate(CONDITIONS):
            shown = self._shown(stage, asset, parties)
            held = bool(shown) or (failed is not None and place < failed)
            yield TradeCondition(
                number=place + 1,
                about=about,
                outcome="failed" if place == failed else "held" if held else "not_asked",
                height=min(shown, default=None),
                postings=[posting_view(posting) for postings in shown.values() for posting in postings],
                detail=self._contract.decisive.receipt.detail if place == failed else "",
            )

    def _shown(self, stage: Stage, asset: Asset, parties: frozenset[Party]) -> Mapping[Height, Sequence[Posting]]:
        chosen = {
            height: [
                posting
                for posting in postings
                if (posting.stage, posting.asset) == (stage, asset) and posting.party in parties
            ]
            for height, postings in self._postings.items()
        }
        return {height: postings for height, postings in chosen.items() if postings}

    def _scores(self) -> Iterator[ScoreMove]:
        height, terms = self._outcome_height, self._contract.terms
        for role, address in (("seller", terms.seller), ("buyer", terms.buyer)):
            if self._ledger.get(score_key(address)) is not None:
                yield self._move(role, address, height)
        if self._status == "completed" and height < self._ledger.height:
            rewarded = Height(height + 1)
            yield self._move("leader", self._ledger.decided_block(height).header.leader, rewarded)
            for address in self._voters(height):
                yield self._move("validator", address, rewarded)

    def _move(self, role: str, address: Address, height: Height) -> ScoreMove:
        slot = self._ledger.decided_block(height).header.slot
        before, after = self._score(address, Height(height - 1)), self._score(address, height)
        moved = before != after
        return ScoreMove.model_validate(
            {
                "role": role,
                "member": named(self._names, address),
                "height": height,
                "before_millionths": self._present(before, slot),
                "after_millionths": self._present(after, slot),
                "cause": after.cause.value if moved else None,
                "reference": after.reference.hex() if moved else "",
            }
        )

    def _score(self, address: Address, height: Height) -> Score:
        raw = self._ledger.get_at(score_key(address), height)
        assert raw is not None, "every member has a score from genesis on"
        return decode(raw, Score)

    def _present(self, score: Score, slot: Slot) -> int:
        return present_score(score.value, score.way_back, slot, self._ledger.genesis.scores)


def interval_start_of(ledger: Ledger, contract: Contract, trade: Trade | None) -> int | None:
    """Returns the start of the interval that a contract is about, None if its packets do not exist."""
    if trade is not None:
        return trade.interval_start_ms
    match contract.terms:
        case ForwardTerms(delivery_start_ms=start_ms):
            return start_ms
        case SpotTerms(packets=names):
            packets = (read(ledger, packet_key(name), Packet) for name in names)
            return next((packet.interval_start_ms for packet in packets if packet is not None), None)


def _version_view(version: Trade) -> TradeVersion:
    return TradeVersion(
        status=version.status.value,
        set_aside_wh=version.set_aside_wh,
        reserved_wh=version.reserved_wh,
        held_micro=version.held_micro,
        delivered_wh=version.delivered_wh,
    )
