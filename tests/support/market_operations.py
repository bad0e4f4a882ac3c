"""Random operations of a market, plausible ones and malicious ones, each made for the state that it meets.

The last member forges contracts, the last but one is proven guilty of equivocation at some time; all others make
mistakes, and are framed, but trade on however long the run is.

The same seed on the same chain gives the same operations. Nothing here knows what an operation should come to: it
only looks at the state to send things that have a chance, and at what it sent before to repeat and to forge it.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from consensus.codec import Record, decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Address, Digest
from consensus.messages import CommitStatement, VoteStatement
from contracts.genesis import MembershipParameters
from contracts.office_records import Office
from contracts.proposal_records import Proposal
from contracts.state import (
    Account,
    Debt,
    Deficit,
    Member,
    MeterReading,
    Packet,
    PromiseBook,
    StateKey,
    Trade,
    account_key,
    debt_key,
    deficit_key,
    member_key,
    office_key,
    packet_key,
    promises_key,
    proposal_key,
    reading_key,
    trade_key,
)
from contracts.transactions import (
    TOKENS_MAX,
    Action,
    Approve,
    ContractTerms,
    DoubleOffer,
    ForwardTerms,
    IssueTokens,
    OfficeSuccessor,
    PayDebt,
    Propose,
    RaiseObjection,
    RedeemTokens,
    ReplaceOfficeKey,
    ReportMisconduct,
    SetLeaving,
    SetStake,
    ShowPresence,
    SpotTerms,
    SubmitTrade,
    TradeTerms,
    Transfer,
    office_successor,
    packet_id,
)
from contracts.units import MS_PER_HOUR, Milliseconds
from qscore.parameters import DEFAULT_PARAMETERS
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    resign,
    seeded_key,
    signed_cancellation,
    signed_forward,
    signed_reading,
    signed_trade,
    trade_terms,
)
from tests.support.joining import JoiningChain
from tests.support.joining_operations import JoiningOperations
from tests.support.removal_operations import RemovalOperations
from tests.support.rules_operations import RulesOperations
from tests.support.vouchers import replace_by, rotate_to

Operation = tuple[int | SigningKey, Action]
V = TypeVar("V", bound=Record)

CAPACITY_W: Final = 1_000
TOKENS_MICRO: Final = 2_000_000
OPERATIONS_PER_INTERVAL: Final = 40
"""On average, then the next metering interval begins."""

CONTRACTS_REMEMBERED_MAX: Final = 40
OPERATIONS_REMEMBERED_MAX: Final = 20


def busy_market(members: int = 8) -> Community:
    """Returns a community in which gates close, promises end and faulty members come back within some ten slots."""
    scores = replace(DEFAULT_PARAMETERS, fault_share=25_000, way_back_slots=20)
    return make_genesis(
        members,
        capacity_w=CAPACITY_W,
        tokens_micro=TOKENS_MICRO,
        gate_closure_slots=12,
        office_wait_slots=6,
        membership=MembershipParameters(
            members_min=4, seen_window_slots=1_200, removal_wait_slots=6, verifier_keys=()
        ),
        grid_fee_micro_per_kwh=10_500,
        scores=scores,
    )


OFFICE_KEYS: Final = tuple(seeded_key("office", index) for index in range(10))
"""What the authority may act by."""


class MarketOperations:
    """Gives one operation after the other for a chain that somebody else executes them on."""

    def __init__(self, random: Random, chain: JoiningChain) -> None:
        """Starts at the first interval.

        Args:
            random: all randomness comes from it.
            chain: only read; a community as `busy_market` returns.
        """
        self._random: Final = random
        self._chain: Final = chain
        self._homes = chain.community
        """With the keys that the members have now."""
        self._next_keys: list[SigningKey] = []
        self._members_read: dict[int, bytes] = {}
        self._members: Final = range(len(self._homes.addresses))
        self._interval = 3
        self._counter = 0
        self._forger: Final = self._members[-1]
        self._equivocator: Final = self._members[-2]
        self._traders: list[int] = list(self._members)
        self._asked_wh: Counter[tuple[int, int]] = Counter()
        self._asked_at = 0
        self._contracts: list[SubmitTrade] = []
        self._sent: list[Operation] = []
        self._joining: Final = JoiningOperations(random, chain, OFFICE_KEYS)
        self._removals: Final = RemovalOperations(random, chain, self._owner)
        self._rules: Final = RulesOperations(random, chain, self._owner)
        self._kinds: Final[dict[Callable[[], Operation], int]] = {
            self._reading: 30,
            self._spot: 26,
            self._forward: 9,
            self._correction: 5,
            self._forged_trade: 7,
            self._cancellation: 4,
            self._pay_debt: 4,
            self._repeated: 4,
            self._stake: 2,
            self._leaving: 1,
            self._presence: 1,
            self._rotation: 1,
            self._meter: 1,
            self._report: 4,
            self._bad_reading: 2,
            self._transfer: 2,
            self._issue: 2,
            self._redeem: 1,
        }

    def next(self) -> Operation:
        """Returns who sends what next."""
        if self._random.random() * OPERATIONS_PER_INTERVAL < 1:
            self._interval += 1
        self._take_new_keys()
        (kind,) = self._random.choices(list(self._kinds), weights=list(self._kinds.values()))
        operation = self._signable(kind())
        self._sent = [*self._sent, operation][-OPERATIONS_REMEMBERED_MAX:]
        return operation

    def _signable(self, operation: Operation) -> Operation:
        """Has a member that is named by its number sign with the key that acts for it now."""
        sender, action = operation
        return sender if isinstance(sender, SigningKey) else self._homes.node_keys[sender], action

    # -- readings

    def _start(self, *, back: int = 0, ahead: int = 0) -> int:
        """Returns the start of an interval, from some before the present one to some after it."""
        return FIRST_INTERVAL_MS + (self._interval + self._random.randint(-back, ahead)) * MS_PER_HOUR

    def _net_wh(self, member: int, start: int) -> int:
        """Members of even numbers mostly generate, the others mostly consume, and both mostly what they promised."""
        size = self._random.choice((0, 1, 50, 400, CAPACITY_W, self._random.randint(0, CAPACITY_W)))
        promised = self._promised_wh(member, start)
        if promised and self._random.random() < 0.85:
            return min(CAPACITY_W, promised + size) if promised > 0 else max(-CAPACITY_W, promised - size)
        is_usual = self._random.random() < 0.9
        return size if (member % 2 == 0) is is_usual else -size

    def _promised_wh(self, member: int, start: int) -> int:
        """Returns what a member promised to deliver in a window, less what it promised to take."""
        address = self._homes.addresses[member]
        book = self._read(promises_key(address, start), PromiseBook)
        trades = [self._read(trade_key(name), Trade) for name in (() if book is None else book.trades)]
        return sum(
            trade.energy_wh if trade.seller == address else -trade.energy_wh for trade in trades if trade is not None
        )

    def _version(self, member: int, start: int) -> int:
        """Returns the version of a meter's next reading of an interval."""
        last = self._read(reading_key(self._homes.addresses[member], start), MeterReading)
        return 0 if last is None else last.version + 1

    def _reading(self) -> Operation:
        """One that is missing, if there is one: of the present interval or, late, of an earlier one."""
        start = self._start(back=self._random.choice((0, 0, 0, 2)))
        missing = [member for member in self._members if self._version(member, start) == 0]
        member = self._random.choice(missing or self._members)
        return member, signed_reading(self._homes, member, self._net_wh(member, start), interval_start_ms=start)

    def _correction(self) -> Operation:
        start, member = self._start(back=3), self._random.choice(self._members)
        version = self._version(member, start) + self._random.choice((0, 0, 0, 0, 1, -1))
        return member, signed_reading(
            self._homes, member, self._net_wh(member, start), interval_start_ms=start, version=max(0, version)
        )

    def _bad_reading(self) -> Operation:
        start, member = self._start(), self._random.choice(self._members)
        changes: dict[str, Any] = self._random.choice(
            (
                {"net_wh": CAPACITY_W + 1},
                {"net_wh": -CAPACITY_W - 1},
                {"interval_start_ms": start + 1},
                {"chain": bytes(32)},
                {"meter_key": self._homes.node_keys[member]},
                {"meter": self._homes.addresses[member - 1]},
            )
        )
        fields = {"net_wh": 5, "interval_start_ms": start, "version": self._version(member, start), **changes}
        sender: int | SigningKey = self._random.choice((member, member, member - 1, self._homes.issuer_key))
        return (sender % len(self._members) if isinstance(sender, int) else sender), signed_reading(
            self._homes, member, **fields
        )

    # -- contracts

    def _offer_counter(self) -> int:
        self._counter += 1
        return self._counter

    def _price(self) -> int:
        return self._random.choice((80_000, 200_000, 320_000, 123_457))

    def _expiry(self) -> int:
        return self._chain.slot + self._random.choice((0, 5, 60, 120, 120, 120, 120, 120, 120, 120))

    def _remembered(self, contract: SubmitTrade) -> SubmitTrade:
        self._contracts = [*self._contracts, contract][-CONTRACTS_REMEMBERED_MAX:]
        return contract

    def _rests_wh(self, start: int) -> tuple[Counter[int], Counter[int]]:
        """Returns what traders have and lack in an interval, less what was asked since the last block."""
        if self._asked_at != self._chain.height:
            self._asked_at, self._asked_wh = self._chain.height, Counter()
        surplus, lack = Counter[int](), Counter[int]()
        for member in self._traders:
            address = self._homes.addresses[member]
            packet = self._read(packet_key(packet_id(address, start)), Packet)
            deficit = self._read(deficit_key(address, start), Deficit)
            asked = self._asked_wh[member, start]
            surplus[member] = 0 if packet is None else packet.available_wh - asked
            lack[member] = 0 if deficit is None else deficit.open_wh - asked
        return +surplus, +lack

    def _spot(self) -> Operation:
        """Mostly of what two members have and lack in an interval, and sometimes of more."""
        start = self._start(back=1)
        surplus, lack = self._rests_wh(start)
        if surplus and lack:
            seller, buyer = self._random.choice(list(surplus)), self._random.choice(list(lack))
            most = min(surplus[seller], lack[buyer])
            energy = self._random.choice((most, most, self._random.randint(1, most), self._random.randint(1, most)))
        elif self._random.random() < 0.9:
            return self._forward()
        else:
            (seller, buyer), energy = self._random.choices(self._members, k=2), self._random.randint(1, CAPACITY_W)
        energy += self._random.random() < 0.03
        for member in (seller, buyer):
            self._asked_wh[member, start] += energy
        contract = signed_trade(
            self._homes,
            seller,
            buyer,
            energy,
            offer_counter=self._offer_counter(),
            interval_start_ms=start,
            price_micro_per_kwh=self._price(),
            expiry_slot=self._expiry(),
        )
        return self._random.choice((seller, buyer)), self._remembered(contract)

    def _forward(self) -> Operation:
        """For a window to come, or for the present one while the parties' readings are missing."""
        seller, buyer = self._random.sample(self._traders, 2)
        if seller % 2 > buyer % 2:
            seller, buyer = buyer, seller
        contract = signed_forward(
            self._homes,
            seller,
            buyer,
            CAPACITY_W + 1 if self._random.random() < 0.02 else self._random.choice((1, 100, 300, 300, 700)),
            offer_counter=self._offer_counter(),
            delivery_start_ms=self._start(ahead=2) + (self._random.random() < 0.03),
            price_micro_per_kwh=self._price(),
            expiry_slot=self._expiry(),
        )
        return self._random.choice((seller, buyer)), self._remembered(contract)

    def _keys(self, terms: TradeTerms) -> tuple[SigningKey, SigningKey]:
        numbers = (self._homes.addresses.index(address) for address in (terms.seller, terms.buyer))
        seller, buyer = (self._homes.node_keys[number] for number in numbers)
        return seller, buyer

    def _altered(self, terms: TradeTerms) -> TradeTerms:
        addresses = self._homes.addresses
        if self._random.random() < 0.1:
            return _of_the_other_kind(terms)
        own: tuple[dict[str, Any], ...] = ({"delivery_start_ms": FIRST_INTERVAL_MS},)
        if isinstance(terms, SpotTerms):
            own = ({"packets": (bytes(32),)}, {"packets": terms.packets * 2})
        changes: dict[str, Any] = self._random.choice(
            (
                {"energy_wh": terms.energy_wh + 1},
                {"energy_wh": 1},
                {"price_micro_per_kwh": self._random.choice((79_999, 90_000, 320_001))},
                {"origin_meter": addresses[0]},
                {"buyer": terms.seller},
                {"buyer": bytes(32)},
                *own,
                {"chain": bytes(32)},
                {"expiry_slot": 0},
            )
        )
        fresh = {"offer_counter": self._offer_counter()} if self._random.random() < 0.5 else {}
        return replace(terms, **changes, **fresh)

    def _forged_trade(self) -> Operation:
        """A contract that was seen, altered, and signed again by one party, by nobody, or even by both."""
        if not self._contracts:
            return self._spot()
        contract = self._random.choice(self._contracts)
        seller, buyer = self._keys(contract.terms)
        altered = replace(contract, terms=self._altered(contract.terms))
        signers: dict[str, SigningKey] = self._random.choice(
            ({}, {"seller": seller}, {"buyer": buyer}, {"seller": seller, "buyer": buyer})
        )
        forger = self._homes.node_keys[self._forger]
        sender = self._random.choices((seller, buyer, forger, self._homes.grid_key), weights=(1, 1, 6, 1))[0]
        return sender, resign(altered, **signers)

    def _cancellation(self) -> Operation:
        if not self._contracts:
            return self._forward()
        terms = self._random.choice(self._contracts).terms
        seller, buyer = self._keys(terms)
        if self._random.random() < 0.2:
            seller = buyer = self._random.choice((seller, buyer))
        cancellation = signed_cancellation(terms, seller=seller, buyer=buyer)
        return self._random.choice(self._members), cancellation

    def _repeated(self) -> Operation:
        """What was sent before, from whoever sent it or from somebody else."""
        if not self._sent:
            return self._reading()
        sender, action = self._random.choice(self._sent)
        return self._random.choice((sender, sender, self._random.choice(self._members))), action

    # -- tokens, stakes, members

    def _amount(self, sender: SigningKey) -> int:
        """Returns little, seldom all that the sender has, or a little more than that."""
        wallet = self._read(account_key(sender.address), Account)
        available = 0 if wallet is None else wallet.available_micro
        amounts = (1, 1_000, 50_000, max(1, available), available + 1)
        return self._random.choices(amounts, weights=(4, 4, 4, 1, 3))[0]

    def _recipient(self) -> Address:
        return self._random.choice((*self._homes.wallets, *self._homes.addresses, Address(bytes(32))))

    def _transfer(self) -> Operation:
        sender = self._homes.node_keys[self._random.choice(self._members)]
        return sender, Transfer(recipient=self._recipient(), amount_micro=self._amount(sender))

    def _issue(self) -> Operation:
        """Mostly to the poorest member, so that it can go on buying."""
        sender = self._random.choice((*(self._homes.issuer_key,) * 5, self._homes.node_keys[0]))
        wallets = {address: self._read(account_key(address), Account) for address in self._homes.addresses}
        available = {address: wallet.available_micro for address, wallet in wallets.items() if wallet is not None}
        recipient = self._random.choice((*(min(available, key=available.__getitem__),) * 4, self._recipient()))
        amount = self._random.choice((*(1_000_000,) * 5, TOKENS_MAX))
        return sender, IssueTokens(recipient=recipient, amount_micro=amount)

    def _redeem(self) -> Operation:
        sender = self._random.choice((*self._homes.node_keys, self._homes.grid_key))
        return sender, RedeemTokens(amount_micro=self._amount(sender))

    def _pay_debt(self) -> Operation:
        """Of somebody who owes, if there is anybody; what the grid account has comes back into circulation."""
        debts = {member: self._read(debt_key(self._homes.addresses[member]), Debt) for member in self._members}
        owing = [(member, debt.owed_micro) for member, debt in debts.items() if debt is not None and debt.owed_micro]
        if not owing:
            recipient = self._homes.addresses[self._random.choice(self._members)]
            amount = self._amount(self._homes.grid_key)
            return self._homes.grid_key, Transfer(recipient=recipient, amount_micro=amount)
        member, owed = self._random.choice(owing)
        return member, PayDebt(amount_micro=self._random.choice((owed, owed, max(1, owed // 2), owed + 1)))

    # -- who joins

    def next_about_joining(self) -> Operation:
        """Returns what somebody does about homes that want to join: mostly what brings an application on."""
        self._take_new_keys()
        return self._signable(self._joining.next())

    # -- who is removed

    def next_about_rules(self) -> Operation:
        """Returns who sends what next, mostly about the rules under which the others are executed."""
        return self._signable(self._rules.next()) if self._random.random() < 0.8 else self.next()

    def next_about_removals(self) -> Operation:
        """Returns what somebody does about members that are to go, and now and then what a market does."""
        if self._random.random() < 0.2:
            return self.next()
        self._take_new_keys()
        return self._signable(self._removals.next())

    # -- the authority's key

    def next_about_an_office(self) -> Operation:
        """Returns what somebody does about the authority's key: its owner, who was that, a member, or a stranger."""
        self._take_new_keys()
        kinds = (self._replacement, self._proposal, self._approval, self._objection)
        (kind,) = self._random.choices(kinds, weights=(1, 3, 8, 8))
        return self._signable(kind())

    def _owner(self) -> SigningKey:
        """The authority under its present key, seldom under one that it had or will have."""
        first = self._homes.authority_key
        office = self._read(office_key(first.address), Office)
        assert office is not None
        keys = (first, *OFFICE_KEYS)
        acting = next(key for key in keys if key.public_key == office.key)
        return self._random.choice((acting,) * 5 + (self._random.choice(keys),)).of_member(first.address)

    def _successor(self) -> OfficeSuccessor:
        office = self._homes.authority_key.address
        key = self._random.choice((*OFFICE_KEYS, self._homes.grid_key, self._homes.meter_keys[0]))
        right = office_successor(self._homes.chain, office, key)
        forged = replace(right, possession=bytes(64))
        elsewhere = office_successor(self._homes.chain, self._homes.addresses[0], key)
        return self._random.choices((right, forged, elsewhere), weights=(8, 1, 1))[0]

    def _replacement(self) -> Operation:
        sender = self._random.choice((*(self._owner(),) * 3, self._homes.grid_key))
        return sender, ReplaceOfficeKey(successor=self._successor())

    def _proposal(self) -> Operation:
        sender = self._random.choice((*self._homes.node_keys[:2], self._homes.grid_key))
        return sender, Propose(subject=self._successor())

    def _last_proposal(self) -> tuple[Address, Proposal | None]:
        proposer = self._random.choice(self._homes.addresses[:2])
        return proposer, self._read(proposal_key(proposer), Proposal)

    def _approval(self) -> Operation:
        proposer, proposal = self._last_proposal()
        approvals = () if proposal is None else proposal.approvals
        missing = [key for key in self._homes.node_keys if key.address not in approvals]
        sender = self._random.choice((*missing * 4, *self._homes.node_keys, self._homes.grid_key))
        name = Digest(bytes(32)) if proposal is None else proposal.name
        return sender, Approve(proposer=proposer, proposal=name)

    def _objection(self) -> Operation:
        """To what waits, mostly; there is no other way that an objection has a chance."""
        office = self._read(office_key(self._homes.authority_key.address), Office)
        assert office is not None
        if office.waiting is None and self._random.random() < 0.8:
            return self._approval()
        waiting = None if office.waiting is None else self._read(proposal_key(office.waiting), Proposal)
        name = Digest(bytes(32)) if waiting is None else waiting.name
        return self._random.choice((*(self._owner(),) * 5, self._homes.node_keys[0])), RaiseObjection(proposal=name)

    def _stake(self) -> Operation:
        sender = self._random.choice((*self._members, self._homes.grid_key))
        return sender, SetStake(staked=self._random.choice((0, 100_000, 500_000, 9_000_000)))

    def _leaving(self) -> Operation:
        """Of one member, which is not sure and is gone one day, or of who is none."""
        sender = self._random.choice((self._homes.node_keys[-3], self._homes.node_keys[-3], self._homes.issuer_key))
        return sender, SetLeaving(leaving=self._random.random() < 0.5)

    def _presence(self) -> Operation:
        return self._random.choice((*self._members, self._homes.issuer_key)), ShowPresence()

    # -- keys

    def _key(self) -> SigningKey:
        """Mostly a new one, else one that is or was somebody's."""
        if self._random.random() < 0.2:
            return self._random.choice((*self._homes.node_keys, *self._homes.meter_keys, *self._next_keys))
        self._next_keys.append(SigningKey(self._random.randbytes(32)))
        return self._next_keys[-1]

    def _take_new_keys(self) -> None:
        """Uses those that the chain took."""
        for number, address in enumerate(self._homes.addresses):
            raw = self._chain.state[member_key(address)]
            if self._members_read.get(number) == raw:
                continue
            self._members_read[number], member = raw, decode(raw, Member)
            known = {key.public_key: key for key in self._next_keys}
            nodes, meters = list(self._homes.node_keys), list(self._homes.meter_keys)
            nodes[number] = known.get(member.node_key, nodes[number]).of_member(address)
            meters[number] = known.get(member.meter_key, meters[number])
            self._homes = dataclasses.replace(self._homes, node_keys=tuple(nodes), meter_keys=tuple(meters))

    def _rotation(self) -> Operation:
        """Of a member or of who is none; sometimes of what is for another member."""
        number = self._random.choice(self._members)
        senders = (*(self._homes.node_keys[number],) * 4, self._homes.issuer_key, self._homes.node_keys[number - 1])
        return self._random.choice(senders), rotate_to(self._homes, number, self._key(), root_key=self._root())

    def _meter(self) -> Operation:
        """As a rotation."""
        number = self._random.choice(self._members)
        senders = (*(self._homes.node_keys[number],) * 4, self._homes.issuer_key, self._homes.node_keys[number - 1])
        return self._random.choice(senders), replace_by(self._homes, number, self._key(), root_key=self._root())

    def _root(self) -> SigningKey:
        """Sometimes somebody else vouches."""
        return self._random.choice((self._owner(),) * 3 + (self._homes.issuer_key,))

    # -- evidence

    def _report(self) -> Operation:
        """Seldom a proof against the equivocator, else statements of which somebody else signed one."""
        first = self._chain.community.node_keys  # at the heights that the statements are about they voted
        offender = self._random.choice(self._members)
        key = self._random.choice((first[offender],) * 9 + (self._homes.issuer_key,))
        is_proof = offender == self._equivocator and self._random.random() < 0.5
        if is_proof and offender in self._traders:
            self._traders.remove(offender)
        signer = key if is_proof else first[offender - 1]
        evidence = self._random.choice((self._double_offer, self._equivocation))(key, signer)
        return self._random.choice((*self._members, self._homes.issuer_key)), ReportMisconduct(evidence=evidence)

    def _double_offer(self, key: SigningKey, signer: SigningKey) -> DoubleOffer:
        """Two contracts under one offer id, the second signed by `signer`."""
        terms = trade_terms(self._homes, 0, 1, 5, offer_counter=self._offer_counter())
        first, second = (replace(terms, seller=key.address, energy_wh=energy) for energy in (5, 6))
        return DoubleOffer(
            offender=key.address,
            first=first,
            first_signature=key.sign(encode(first)),
            second=second,
            second_signature=signer.sign(encode(second)),
        )

    def _equivocation(self, key: SigningKey, signer: SigningKey) -> Equivocation:
        """Two votes or two commits of one slot, the second signed by `signer`."""
        kind = self._random.choice((VoteStatement, CommitStatement))
        at = {"domain": self._homes.chain, "height": self._random.randint(1, 3), "slot": 4}
        first, second = (kind(**at, block=bytes([number]) * 32) for number in (1, 2))
        return Equivocation(
            offender=key.address,
            era=FIRST_ERA,
            first=SignedStatement(statement=first, signature=key.sign(encode(first))),
            second=SignedStatement(statement=second, signature=signer.sign(encode(second))),
        )

    def _read(self, key: StateKey, expected: type[V]) -> V | None:
        raw = self._chain.state.get(key)
        return None if raw is None else decode(raw, expected)


def _of_the_other_kind(terms: TradeTerms) -> TradeTerms:
    """Returns a contract that says the same as far as both kinds say it."""
    common = {name: getattr(terms, name) for name in ContractTerms.__struct_fields__}
    if isinstance(terms, SpotTerms):
        return ForwardTerms(**common, delivery_start_ms=Milliseconds(FIRST_INTERVAL_MS))
    return SpotTerms(**common, packets=(packet_id(terms.seller, terms.delivery_start_ms),))
