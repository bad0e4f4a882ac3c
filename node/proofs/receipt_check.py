"""Checks a signed receipt, step by step, with nothing but genesis at hand; each step says what it proves.

Whoever handed it out is not believed: the first members and the parameters come from genesis, everything else must
follow from the members' signatures under the block headers, later members included.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.era_plans import EraProof, joiners
from consensus.identifiers import FIRST_HEIGHT, Address, Height
from consensus.membership import Membership
from consensus.messages import CommitCertificate
from contracts.conditions import Balances, ContractSize, condition_1, condition_2, condition_3, condition_4
from contracts.genesis import Genesis, chain_id
from contracts.receipts import Asset, Party, Posting, Stage, Status
from contracts.settlement import contract_size, execution_postings, final_postings, refund_postings
from contracts.state import Trade, TradeStatus, trade_key
from contracts.transactions import (
    CancelTrade,
    SubmitTrade,
    TradeTerms,
    cancellation_bytes,
    decode_transaction,
    signature_holds,
    trade_id,
    transaction_digest,
)
from contracts.units import MicroTokens, WattHours
from ledger.block import BlockHeader, block_digest
from ledger.merkle_tree import inclusion_holds
from ledger.proofs import PostingProof, StateProof, posting_proof_holds, state_proof_holds
from ledger.trusted_sets import SetStep
from ledger.validation import certificate_fault, version_fault
from node.errors import FileRefused
from node.names.names import office_names
from node.proofs.receipt_file import SignedReceipt, parse_receipt, record_of, trusted_sets
from node.stories.words import tokens_text

ENDED: Final = frozenset({TradeStatus.COMPLETED, TradeStatus.EXPIRED, TradeStatus.CANCELLED})


def check_receipt_file(content: bytes, genesis: Genesis) -> tuple[str, ...]:
    """Returns what a receipt file proves, a line per step.

    Raises:
        FileRefused: a step fails; the message says which.
    """
    return check_receipt(parse_receipt(content, genesis), genesis)


def check_receipt(receipt: SignedReceipt, genesis: Genesis) -> tuple[str, ...]:
    """Returns what a receipt proves that its exporter signed, a line per step.

    Raises:
        FileRefused: a step fails; the message says which.
    """
    return tuple(_Check(receipt, genesis).lines())


class _Check:
    def __init__(self, receipt: SignedReceipt, genesis: Genesis) -> None:
        self._genesis = genesis
        self._chain = chain_id(genesis)
        self._sets = trusted_sets(receipt.content, genesis)
        self._names = office_names(genesis)
        self._content = receipt.content
        self._receipt = receipt.content.proof.receipt
        self._transaction = decode_transaction(receipt.content.transaction)

    def lines(self) -> Iterable[str]:
        yield from self._origin()
        yield self._decided(self._content.proof.header, self._content.proof.certificate)
        yield self._outcome()
        yield self._sender()
        action, is_executed = self._transaction.envelope.action, self._receipt.status is Status.EXECUTED
        if is_executed and isinstance(action, SubmitTrade):
            yield from self._contract(action)
        elif is_executed and isinstance(action, CancelTrade):
            yield from self._cancellation(action)
        elif self._content.postings or self._content.later or self._content.record is not None:
            why = "is no contract" if is_executed else "was declined"
            raise FileRefused(f"it has postings or a record, and its transaction {why}: nothing moved")

    def _origin(self) -> Iterable[str]:
        yield f"genesis: chain {self._chain.hex()}, {_quorum_text(self._sets.at(FIRST_HEIGHT))}"
        for step in self._content.changes:
            yield self._step(step)
        yield f"exporter: the member {self._name(self._content.exporter)} signed this file as it stands"

    def _step(self, step: SetStep) -> str:
        if isinstance(step, EraProof):
            first, plan = Height(step.plan.base + 1), step.plan
            agreed = ", ".join(self._name(address) for address, _ in sorted(joiners(plan, step.joins)))
            why = f"era {plan.era} begins there, with the agreement of {agreed}"
            if not plan.is_everybody_there and plan.authority != self._genesis.authority_key:
                why += f" and the word of the authority, whose key they found to be {plan.authority.hex()} by then"
        else:
            first = step.first_height
            signers = self._signers(step.certificate)
            why = f"block {step.header.height} says with the signatures of {signers}"
        return f"members: from height {first} on {_quorum_text(self._sets.at(first))}, as {why}"

    def _require_known(self, header: BlockHeader) -> None:
        unknown = version_fault(header)
        if unknown is not None:
            raise FileRefused(f"{unknown}: newer software checks this receipt")

    def _decided(self, header: BlockHeader, certificate: CommitCertificate) -> str:
        self._require_known(header)
        if header.chain != self._chain:
            raise FileRefused(f"block {header.height} belongs to chain {header.chain.hex()}, not to this genesis")
        fault = certificate_fault(
            certificate,
            header.height,
            block_digest(header),
            self._sets.at(header.height),
            self._sets.eras.at(header.height),
        )
        if fault is not None:
            raise FileRefused(f"the certificate does not decide block {header.height}: {fault}")
        signers = self._signers(certificate)
        return f"block {header.height}: decided, with the signatures of {signers} under {block_digest(header).hex()}"

    def _signers(self, certificate: CommitCertificate) -> str:
        return ", ".join(self._name(item.signer) for item in certificate.endorsements)

    def _outcome(self) -> str:
        proof, receipt = self._content.proof, self._receipt
        if not inclusion_holds(proof.inclusion, proof.header.receipts_root, encode(receipt)):
            raise FileRefused("the Merkle path does not lead from the receipt to the block's receipts")
        why = "" if receipt.status is Status.EXECUTED else f", {receipt.reason.value}: {receipt.detail}"
        place = f"receipt {proof.inclusion.index + 1} of {proof.inclusion.count} in that block"
        return f"outcome: {place} says {receipt.status.value}{why}"

    def _sender(self) -> str:
        envelope, name = self._transaction.envelope, transaction_digest(self._content.transaction)
        if (name, envelope.sender) != (self._receipt.transaction, self._receipt.sender):
            raise FileRefused("the receipt is of another transaction")
        if envelope.chain != self._chain or not signature_holds(self._transaction):
            raise FileRefused("the transaction's sender did not sign it for this chain")
        return f"transaction: {name.hex()} of {self._name(envelope.sender)}, signed by it"

    # --- contracts ---------------------------------------------------------------------------------------------

    def _contract(self, action: SubmitTrade) -> Iterable[str]:
        self._require_reference(action.terms)
        yield from self._postings()
        yield self._signed(action, encode(action.terms), "contract: {} is signed")
        proof, trade = self._recorded()
        if trade is None or trade.transaction != self._receipt.transaction:
            raise FileRefused("the record names another transaction")
        yield self._execution(action.terms)
        yield from self._final(trade)
        yield from self._ended(trade, is_executed_here=True)
        yield f"record: the contract is {trade.status.value} after block {proof.header.height}"

    def _cancellation(self, action: CancelTrade) -> Iterable[str]:
        """A pending contract ends and is refunded; one that was not on the chain has no record, which is proven."""
        self._require_reference(action.terms)
        yield from self._postings()
        yield self._signed(action, cancellation_bytes(action.terms), "contract: the end of {} is signed")
        proof, trade = self._recorded()
        if trade is None:
            if self._content.postings or self._content.later:
                raise FileRefused("it has postings, and no contract executed")
            yield f"record: the contract has not executed up to block {proof.header.height}, and never will"
            return
        if trade.status is not TradeStatus.CANCELLED:
            raise FileRefused(f"it was cancelled, and the record says {trade.status.value}")
        yield from self._ended(trade, is_executed_here=trade.height == self._height)
        yield f"record: the contract is cancelled after block {proof.header.height}"

    def _require_reference(self, terms: TradeTerms) -> None:
        if trade_id(terms) != self._receipt.reference or self._receipt.parties != (terms.seller, terms.buyer):
            raise FileRefused("the receipt is of another contract than the transaction's")

    def _signed(self, action: SubmitTrade | CancelTrade, signed: bytes, words: str) -> str:
        members = self._sets.at(Height(self._height + 1))  # the newest that its block's execution knew
        parties = ((action.terms.seller, action.seller_signature), (action.terms.buyer, action.buyer_signature))
        for address, signature in parties:
            key = members.key_of(address)
            if key is None or not verify(key, signed, signature):
                raise FileRefused(f"{self._name(address)} did not sign the contract")
        seller, buyer = (self._name(address) for address, _ in parties)
        return f"{words.format(self._reference)} by its seller {seller} and its buyer {buyer}"

    def _postings(self) -> Iterable[str]:
        self._require_postings(self._content.postings, self._content.proof.header)
        if self._content.postings:
            yield f"postings: {len(self._content.postings)} of this contract are in block {self._height}"
        heights = [self._height]
        for later in self._content.later:
            if not later.postings:
                raise FileRefused(f"it has block {later.header.height}, and no posting of it")
            yield self._decided(later.header, later.certificate)
            self._require_postings(later.postings, later.header)
            heights.append(later.header.height)
            yield f"postings: {len(later.postings)} of this contract are in block {later.header.height}"
        if heights != sorted(set(heights)):
            raise FileRefused("its blocks are not in their order")

    def _require_postings(self, postings: Sequence[PostingProof], header: BlockHeader) -> None:
        for item in postings:
            if item.posting.trade != self._receipt.reference or not posting_proof_holds(item, header):
                raise FileRefused(f"a posting is not one of this contract in block {header.height}")
        places = [item.inclusion.index for item in postings]
        if len(set(places)) < len(places):
            raise FileRefused(f"a posting of block {header.height} is given twice")
        if places != sorted(places):
            raise FileRefused(f"the postings of block {header.height} are not in their order")

    def _recorded(self) -> tuple[StateProof, Trade | None]:
        proof, reference = self._content.record, self._receipt.reference
        if proof is None or reference is None:
            raise FileRefused("the contract executed or was cancelled, and the proof of its record is missing")
        if proof.key != trade_key(reference):
            raise FileRefused("the record is of something else")
        self._require_known(proof.header)
        if proof.header.height < self._height:
            raise FileRefused(f"the record is older than the receipt: of block {proof.header.height}")
        if not state_proof_holds(proof, membership=self._sets.at(proof.header.height), eras=self._sets.eras):
            raise FileRefused("the record does not follow from a decided block's state")
        return proof, record_of(self._content)

    def _execution(self, terms: TradeTerms) -> str:
        size = contract_size(self._genesis, energy=terms.energy_wh, price=terms.price_micro_per_kwh)
        self._require_conditions(Stage.EXECUTION, size, "1 and 2", (condition_1, condition_2))
        moved = f"{size.energy_wh:,} Wh from the seller and {tokens_text(size.held_micro)} tokens from the buyer"
        return f"conditions 1 and 2: hold; the escrow received {moved}"

    def _final(self, trade: Trade) -> Iterable[str]:
        if trade.status is not TradeStatus.COMPLETED:
            return
        size = contract_size(self._genesis, energy=trade.delivered_wh, price=trade.price_micro_per_kwh)
        self._require_conditions(Stage.FINAL, size, "3 and 4", (condition_3, condition_4))
        paid = f"the seller {tokens_text(size.amount_micro)} tokens, the grid account {tokens_text(size.fee_micro)}"
        yield f"conditions 3 and 4: hold; the buyer received {size.energy_wh:,} Wh, {paid}"

    def _require_conditions(
        self,
        stage: Stage,
        size: ContractSize,
        names: str,
        conditions: tuple[Callable[[ContractSize, Balances, Balances], object], ...],
    ) -> None:
        shown = {
            (posting.party, posting.asset): posting for posting in self._all_postings() if posting.stage is stage
        }
        before, after = _balances(shown, is_after=False), _balances(shown, is_after=True)
        for condition in conditions:
            failure = condition(size, before, after)
            if failure is not None:
                raise FileRefused(f"the postings do not satisfy conditions {names}: {getattr(failure, 'detail', '')}")

    def _ended(self, trade: Trade, *, is_executed_here: bool) -> Iterable[str]:
        """The postings are all that the contract had up to its record, and what was not used went back."""
        refunded = sum(
            posting.after - posting.before
            for posting in self._all_postings()
            if (posting.stage, posting.party) == (Stage.REFUND, Party.BUYER)
        )
        size = contract_size(self._genesis, energy=trade.energy_wh, price=trade.price_micro_per_kwh)
        unused = size.held_micro - trade.amount_micro - trade.fee_micro
        due = MicroTokens(unused if trade.status in ENDED else 0)
        if refunded != due:
            raise FileRefused(f"the buyer was refunded {refunded} micro-tokens, and {due} were due")
        expected = _expected_rows(trade, refunded_micro=due, is_executed_here=is_executed_here)
        if [_row(posting) for posting in self._all_postings()] != expected:
            raise FileRefused("its postings are not all that a contract with this record has")
        if refunded:
            yield f"refund: {tokens_text(refunded)} tokens went back to the buyer"

    def _all_postings(self) -> list[Posting]:
        blocks = (self._content.postings, *(later.postings for later in self._content.later))
        return [item.posting for postings in blocks for item in postings]

    @property
    def _height(self) -> int:
        return self._content.proof.header.height

    @property
    def _reference(self) -> str:
        return "" if self._receipt.reference is None else self._receipt.reference.hex()

    def _name(self, address: Address) -> str:
        return self._names.get(address, address.hex())


def _quorum_text(members: Membership) -> str:
    return f"{len(members)} members, of whom any {members.quorum} decide and {members.fault_bound} may lie"


Row = tuple[Stage, Party, Asset]


def _row(posting: Posting) -> Row:
    return posting.stage, posting.party, posting.asset


def _expected_rows(trade: Trade, *, refunded_micro: MicroTokens, is_executed_here: bool) -> list[Row]:
    """Returns which postings a contract with this record has, in the order of the chain."""
    name, before = trade.transaction, _balances({}, is_after=False)
    postings: list[Posting] = []
    if is_executed_here:
        postings += execution_postings(name, before, before)
    if trade.status is TradeStatus.COMPLETED:
        postings += final_postings(name, before, replace(before, grid_micro=trade.fee_micro))
    postings += refund_postings(name, escrow_micro=refunded_micro, buyer_micro=MicroTokens(0))
    return [_row(posting) for posting in postings]


def _balances(shown: dict[tuple[Party, Asset], Posting], *, is_after: bool) -> Balances:
    """Returns the balances that a stage's postings show; what a stage does not post counts as nothing.

    How much the buyer lacked is in no posting: condition 3 is asked with just enough, since the members who decided
    the block knew it.
    """

    def value(party: Party, asset: Asset) -> int:
        posting = shown.get((party, asset))
        if posting is None:
            return 0
        return posting.after if is_after else posting.before

    lacked = shown.get((Party.BUYER, Asset.ENERGY_WH))
    return Balances(
        seller_wh=WattHours(value(Party.SELLER, Asset.ENERGY_WH)),
        seller_micro=MicroTokens(value(Party.SELLER, Asset.TOKENS_MICRO)),
        buyer_wh=WattHours(value(Party.BUYER, Asset.ENERGY_WH)),
        buyer_micro=MicroTokens(value(Party.BUYER, Asset.TOKENS_MICRO)),
        buyer_deficit_wh=WattHours(0 if lacked is None else lacked.after),
        escrow_wh=WattHours(value(Party.ESCROW, Asset.ENERGY_WH)),
        escrow_micro=MicroTokens(value(Party.ESCROW, Asset.TOKENS_MICRO)),
        grid_micro=MicroTokens(value(Party.GRID, Asset.TOKENS_MICRO)),
    )
