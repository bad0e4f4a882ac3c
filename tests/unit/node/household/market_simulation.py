"""A community of households on a virtual clock, network and chain; everything else is the production code.

The chain is the real rules on a dictionary: a block takes what its leader has received, in the order of nonces.
The network loses and delays messages and hands transactions to some members only; households crash, losing all
that was not synced, and start again from their journals. A seed replays a run.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from consensus.eras import FIRST_ERA
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.messages import CommitCertificate
from contracts.execution import BlockContext, execute_block
from contracts.genesis_state import genesis_state
from contracts.receipts import Receipt, Status
from contracts.run import DecidedBlock as RunBlock
from contracts.state import TOTALS_KEY, Account, Packet, StateKey, Totals, account_key, packet_key
from contracts.state_reading import read, require
from contracts.transactions import (
    PublishReading,
    SubmitTrade,
    decode_transaction,
    packet_id,
    trade_id,
    transaction_digest,
)
from contracts.units import MS_PER_HOUR, Milliseconds, WattHours
from ledger.block import Block, BlockHeader
from ledger.reading import TransactionLocation
from node.home.append_log import Entry
from node.home.configuration import PriceTable
from node.household.agent import MarketFactory
from node.household.bilateral import MarketParts, bilateral_market
from node.household.duties import MemberDuties, Turn
from node.household.household import Household, Progress
from node.household.market_design import Moment
from node.household.own_transactions import OwnTransactions
from node.household.promises import Promises
from node.mesh.messages import OfferReply
from node.meter.meter import Meter, MeterIdentity
from node.meter.readings_file import GrossReading
from tests.support.contracts import FIRST_INTERVAL_MS, Community, make_genesis, transaction_of

TICK_MS = 50
SLOT_MS = 250
NO_DIGEST = Digest(bytes(32))


class MemoryJournal:
    """A journal that a crash shortens to what was synced."""

    def __init__(self) -> None:
        self._durable: list[Entry] = []
        self._added: list[Entry] = []

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._durable)

    def append(self, entry: Entry) -> None:
        self._added.append(dict(entry))

    def sync(self) -> None:
        self._durable += self._added
        self._added = []

    def replace(self, entries: Iterable[Entry]) -> None:
        assert not self._added
        self._durable = [dict(entry) for entry in entries]

    def crash(self) -> None:
        self._added = []

    @property
    def is_synced(self) -> bool:
        return not self._added


@dataclass
class DecidedBlock:
    block: Block
    receipts: tuple[Receipt, ...]
    changes: dict[StateKey, bytes]


class SharedChain:
    """All decided blocks. Each member's ledger has applied a prefix of them."""

    def __init__(self, community: Community) -> None:
        self.community = community
        self.blocks: list[DecidedBlock] = []
        self.state = dict(genesis_state(community.genesis))

    def decide(self, slot: Slot, raws: list[bytes], *, voters: tuple[Address, ...] | None = None) -> None:
        """Decides what may be decided of these transactions; `voters` of the parent: all members unless told."""
        height = Height(len(self.blocks) + 1)
        chosen = []
        nonces: dict[Address, int] = {}
        for raw in sorted(raws, key=lambda raw: decode_transaction(raw).envelope.nonce):
            envelope = decode_transaction(raw).envelope
            account = read(StateOf(self.state), account_key(envelope.sender), Account)
            assert account is not None
            last = nonces.get(envelope.sender, account.nonce)
            if envelope.nonce > last and envelope.valid_until_height >= height:
                nonces[envelope.sender] = envelope.nonce
                chosen.append(raw)
        if not chosen:
            return
        addresses = self.community.addresses
        context = BlockContext(
            chain=self.community.chain,
            height=height,
            slot=slot,
            leader=addresses[0],
            randomness_output=b"",
            parent_slot=Slot(slot - 1),
            parent_leader=None if height == 1 else addresses[0],
            parent_voters=() if height == 1 else addresses if voters is None else voters,
            cluster=addresses,
            decided=tuple(RunBlock(height=Height(one), digest=block_name(one)) for one in range(1, height)),
        )
        execution = execute_block(
            StateOf(self.state), self.community.genesis, context, [transaction_of(raw) for raw in chosen]
        )
        self.state.update(execution.changes)
        block = Block(
            header=_header(self.community, height, slot),
            transactions=tuple(chosen),
            postings=execution.postings,
            parent_certificate=None,
        )
        self.blocks.append(DecidedBlock(block=block, receipts=execution.receipts, changes=dict(execution.changes)))


def _header(community: Community, height: Height, slot: Slot) -> BlockHeader:
    return BlockHeader(
        version=1,
        chain=community.chain,
        era=FIRST_ERA,
        height=height,
        slot=slot,
        leader=community.addresses[0],
        parent=NO_DIGEST,
        parent_certificate=NO_DIGEST,
        transactions_root=NO_DIGEST,
        postings_root=NO_DIGEST,
        receipts_root=NO_DIGEST,
        state_root=NO_DIGEST,
        membership=NO_DIGEST,
        authority=community.genesis.authority_key,
        ceremony=NO_DIGEST,
        vrf_proof=b"",
    )


def block_name(height: int) -> Digest:
    return Digest(height.to_bytes(32, "big"))


@dataclass
class StateOf:
    state: dict[StateKey, bytes]

    def get(self, key: StateKey) -> bytes | None:
        return self.state.get(key)


class MemberLedger:
    """What one member has applied of the shared chain."""

    def __init__(self, shared: SharedChain) -> None:
        self._shared = shared
        self.genesis = shared.community.genesis
        self.chain = shared.community.chain
        self._state = dict(genesis_state(self.genesis))
        self._locations: dict[Digest, TransactionLocation] = {}
        self.height = Height(0)
        self.tip_slot = Slot(0)

    @property
    def tip(self) -> Digest:
        return block_name(self.height)

    def apply_next(self) -> bool:
        if self.height == len(self._shared.blocks):
            return False
        decided = self._shared.blocks[self.height]
        self.height = Height(self.height + 1)
        self.tip_slot = decided.block.header.slot
        self._state.update(decided.changes)
        for index, raw in enumerate(decided.block.transactions):
            self._locations[transaction_digest(raw)] = TransactionLocation(height=self.height, index=index)
        return True

    def get(self, key: StateKey) -> bytes | None:
        return self._state.get(key)

    def last_nonce(self, sender: Address) -> int | None:
        account = read(self, account_key(sender), Account)
        return None if account is None else account.nonce

    def find_transaction(self, digest: Digest) -> TransactionLocation | None:
        return self._locations.get(digest)

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        return self._shared.blocks[height - 1].receipts

    def decided_block(self, height: Height) -> Block:
        return self._shared.blocks[height - 1].block

    def certificate(self, height: Height) -> CommitCertificate | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How bad the surroundings are; probabilities per message or tick."""

    loss: float = 0.0
    delay_ms_max: int = 0
    gossip_loss: float = 0.0
    lag: float = 0.0
    """A member applies no block in a tick."""


@dataclass
class Member:
    index: int
    ledger: MemberLedger
    journals: tuple[MemoryJournal, MemoryJournal, MemoryJournal, MemoryJournal]
    home: MemberDuties | None = None
    offers: Promises | None = None
    contracts: Promises | None = None
    mempool: dict[Digest, bytes] = field(default_factory=dict)

    def progress(self) -> Progress | None:
        """How far its household is; None while it is down."""
        return None if self.home is None else self.home.progress()


class Simulation:
    """Households with the given nets, one row per household."""

    def __init__(
        self,
        nets: list[list[int]],
        *,
        seed: int = 0,
        faults: Faults | None = None,
        validators: int = 0,
        prices: list[PriceTable] | None = None,
        markets: dict[int, MarketFactory] | None = None,
        window_hours: int = 2,
        grace_ms: int = 1_000,
        **genesis: Any,
    ) -> None:
        self.nets = nets
        self.random = Random(seed)
        self.faults = faults or Faults()
        self.community = make_genesis(
            len(nets) + validators, slot_duration_ms=SLOT_MS, **{"gate_closure_slots": 100_000, **genesis}
        )
        self.shared = SharedChain(self.community)
        self.now_ms = 0
        self.prices = prices or [PriceTable()] * len(nets)
        self.markets = markets or {}
        self.window_hours, self.grace_ms = window_hours, grace_ms
        self.signed: dict[tuple[Address, Address, int], set[Digest]] = {}
        """Contracts per signer and offer id that left a household with its signature."""
        self._letters: list[tuple[int, Address, Address, Any]] = []
        journal = MemoryJournal
        self.members = [
            Member(
                index=index,
                ledger=MemberLedger(self.shared),
                journals=(journal(), journal(), journal(), journal()),
            )
            for index in range(len(nets))
        ]
        for index in range(len(nets)):
            self.start(index)

    # --- life ----------------------------------------------------------------------------------------------

    def start(self, index: int) -> None:
        member, community = self.members[index], self.community
        salts, own, offers, contracts = member.journals
        ledger = member.ledger
        key = community.node_keys[index]
        member.offers = Promises(journal=offers, state=ledger, tip=ledger.tip_slot)
        member.contracts = Promises(journal=contracts, state=ledger, tip=ledger.tip_slot)
        transactions = OwnTransactions(key=key, chain=community.chain, ledger=ledger, journal=own)
        factory = self.markets.get(index, bilateral_market)
        meter = Meter(
            identity=MeterIdentity(key=community.meter_keys[index], member=key.address, chain=community.chain),
            hours={hour_start(hour): gross(net) for hour, net in enumerate(self.nets[index])},
            salts=salts,
        )
        parts = MarketParts(
            key=key,
            ledger=ledger,
            chain=community.chain,
            prices=self.prices[index],
            offers=member.offers,
            contracts=member.contracts,
            transactions=transactions,
            net_wh=meter.net_wh,
            grace_ms=self.grace_ms,
            first_number=self.now_ms,
        )
        household = Household(
            address=key.address,
            ledger=ledger,
            meter=meter,
            transactions=transactions,
            market=factory(parts),
            window_hours=self.window_hours,
        )
        member.home = MemberDuties(address=key.address, ledger=ledger, transactions=transactions, household=household)

    def crash(self, index: int) -> None:
        member = self.members[index]
        member.home = None
        member.mempool.clear()
        for journal in member.journals:
            journal.crash()

    # --- time ----------------------------------------------------------------------------------------------

    @property
    def slot(self) -> Slot:
        return Slot(self.now_ms // SLOT_MS)

    def tick(self) -> None:
        self.now_ms += TICK_MS
        alive = [member for member in self.members if member.home is not None]
        self._deliver()
        if alive and self.random.random() < 0.7:
            leader = self.random.choice(alive)
            self.shared.decide(self.slot, list(leader.mempool.values()))
        for member in self.random.sample(alive, len(alive)):
            self._turn(member, frozenset(self.community.addresses[other.index] for other in alive))
        self.check_promises()

    def _turn(self, member: Member, connected: frozenset[Address]) -> None:
        own = self.community.addresses[member.index]
        while self.random.random() >= self.faults.lag and member.ledger.apply_next():
            pass
        for digest, raw in tuple(member.mempool.items()):
            envelope = decode_transaction(raw).envelope
            last = member.ledger.last_nonce(envelope.sender)
            if last is not None and envelope.nonce <= last:
                del member.mempool[digest]
        assert member.home is not None
        turn = member.home.turn(Moment(now_ms=self.now_ms, present_slot=self.slot, connected=connected - {own}))
        assert all(journal.is_synced for journal in member.journals), "a turn's output is durable"
        self._note_signatures(own, turn)
        for recipient, message in turn.messages:
            if self.random.random() >= self.faults.loss:
                due_ms = self.now_ms + self.random.randint(0, self.faults.delay_ms_max)
                self._letters.append((due_ms, own, recipient, message))
        for transaction in turn.transactions:
            if transaction.digest not in member.mempool:
                self._gossip(member, transaction.digest, transaction.raw)

    def _note_signatures(self, own: Address, turn: Turn) -> None:
        contracts = [message.terms for _, message in turn.messages if isinstance(message, OfferReply)]
        actions = [transaction.envelope.action for transaction in turn.transactions]
        contracts += [action.terms for action in actions if isinstance(action, SubmitTrade)]
        for terms in contracts:
            if terms is not None:
                self.signed.setdefault((own, terms.seller, terms.offer_counter), set()).add(trade_id(terms))

    def _gossip(self, member: Member, digest: Digest, raw: bytes) -> None:
        member.mempool[digest] = raw
        for other in self.members:
            if other.home is not None and self.random.random() >= self.faults.gossip_loss:
                other.mempool[digest] = raw

    def _deliver(self) -> None:
        due = [letter for letter in self._letters if letter[0] <= self.now_ms]
        self._letters = [letter for letter in self._letters if letter[0] > self.now_ms]
        for _, sender, recipient, message in due:
            home = self.members[self.community.addresses.index(recipient)].home
            if home is not None:
                home.receive(sender, message, self.now_ms)

    def run(self, ticks_max: int = 4_000) -> int:
        """Ticks until every household is finished; returns how many ticks that took."""
        for tick in range(ticks_max):
            if self.is_finished():
                return tick
            self.tick()
        raise AssertionError(f"not finished after {ticks_max} ticks: {self.progress()}")

    def is_finished(self) -> bool:
        return all(
            (progress := member.progress()) is not None
            and progress.is_finished
            and member.ledger.height == len(self.shared.blocks)
            for member in self.members
        )

    def progress(self) -> list[Any]:
        return [member.progress() for member in self.members]

    # --- checks --------------------------------------------------------------------------------------------

    def check_promises(self) -> None:
        """Never more is promised than the chain shows available, nor more bought than lacks and can be paid."""
        for member in self.members:
            if member.home is None:
                continue
            assert member.offers is not None
            own = self.community.addresses[member.index]
            for hour in range(len(self.nets[member.index])):
                promised = member.offers.energy_wh(hour_start(hour))
                packet = read(member.ledger, packet_key(packet_id(own, hour_start(hour))), Packet)
                assert promised <= (0 if packet is None else packet.available_wh), (own.hex(), hour)

    def traded_wh(self) -> int:
        return require(StateOf(self.shared.state), TOTALS_KEY, Totals).claimed_wh

    def tradable_wh(self) -> int:
        hours = zip(*self.nets, strict=True)
        return sum(min(sum(net for net in hour if net > 0), -sum(net for net in hour if net < 0)) for hour in hours)

    def receipts_of(self, kind: type[PublishReading] | type[SubmitTrade]) -> list[Receipt]:
        return [
            receipt
            for decided in self.shared.blocks
            for raw, receipt in zip(decided.block.transactions, decided.receipts, strict=True)
            if isinstance(decode_transaction(raw).envelope.action, kind)
        ]

    def declined(self, kind: type[PublishReading] | type[SubmitTrade]) -> list[Receipt]:
        return [receipt for receipt in self.receipts_of(kind) if receipt.status is Status.DECLINED]


def hour_start(hour: int) -> Milliseconds:
    return Milliseconds(FIRST_INTERVAL_MS + hour * MS_PER_HOUR)


def gross(net: int) -> GrossReading:
    return GrossReading(consumption_wh=WattHours(max(0, -net) + 100), generation_wh=WattHours(max(0, net) + 100))
