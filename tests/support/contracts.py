"""Deterministic chains, signed readings, transfers and contracts for any test that needs real ones.

Everything is made from fixed seeds: the same call gives the same bytes in every run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, TypeVar

from consensus.codec import Record, decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.execution import BlockContext, Execution, execute_block
from contracts.genesis import (
    PROTOCOL_VERSION,
    ClusterParameters,
    Genesis,
    GenesisMember,
    MembershipParameters,
    RuleParameters,
    chain_id,
)
from contracts.genesis_state import genesis_state
from contracts.state import (
    ATTENDANCE_KEY,
    HEIGHT_MARKS_KEY,
    TOTALS_KEY,
    Account,
    Deficit,
    Packet,
    Score,
    ScoreCause,
    StateKey,
    Totals,
    account_key,
    deficit_key,
    packet_key,
    score_key,
)
from contracts.transactions import (
    Action,
    CancelTrade,
    ForwardTerms,
    PublishReading,
    Reading,
    SpotTerms,
    SubmitTrade,
    TradeTerms,
    Transaction,
    Transfer,
    cancellation_bytes,
    decode_transaction,
    gross_commitment,
    packet_id,
    sign_transaction,
    transaction_digest,
)
from contracts.units import MS_PER_HOUR, MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours
from qscore.parameters import DEFAULT_PARAMETERS, Millionths

FIRST_INTERVAL_MS = Milliseconds(1_464_739_200_000)
"""2016-06-01T00:00:00Z, a multiple of an hour."""

PRICE_MICRO_PER_KWH = MicroTokensPerKwh(200_000)
VALID_UNTIL_HEIGHT = Height(1_000_000)
EXPIRY_SLOT = Slot(1_000_000_000)


def seeded_key(label: str, index: int) -> SigningKey:
    """Returns the key that belongs to a label and a number, always the same one."""
    return SigningKey(blake2b(f"{label}-{index}".encode(), digest_size=32).digest())


@dataclass(frozen=True)
class Community:
    """A chain's genesis with the private keys of its members, both in the order of admission."""

    genesis: Genesis
    node_keys: tuple[SigningKey, ...]
    meter_keys: tuple[SigningKey, ...]
    chain: Digest
    authority_key: SigningKey
    issuer_key: SigningKey
    grid_key: SigningKey

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(key.address for key in self.node_keys)

    @property
    def wallets(self) -> tuple[Address, ...]:
        """Of the members and the offices."""
        return (*self.addresses, self.authority_key.address, self.issuer_key.address, self.grid_key.address)


RULE_PARAMETERS: Final = {
    "block_transactions_max": 1_024,
    "block_size_bytes_max": 1024 * 1024,
    "gate_closure_slots": 40,
}


def make_genesis(
    members: int = 4,
    *,
    slot_duration_ms: int = 250,
    capacity_w: int = 20_000,
    tokens_micro: int = 10_000_000_000,
    **overrides: Any,
) -> Community:
    """Returns a community of `members` households; `overrides` are fields of genesis or of its rules."""
    node_keys = tuple(seeded_key("node", index) for index in range(members))
    meter_keys = tuple(seeded_key("meter", index) for index in range(members))
    authority_key, issuer_key, grid_key = (seeded_key(label, 0) for label in ("authority", "issuer", "grid"))
    fields: dict[str, Any] = {
        "protocol_version": PROTOCOL_VERSION,
        "network": "test",
        "start_ms": 1_700_000_000_000,
        "slot_duration_ms": slot_duration_ms,
        "attempt_max_ms": 60_000,
        "interval_ms": MS_PER_HOUR,
        "price_min_micro_per_kwh": 80_000,
        "price_max_micro_per_kwh": 320_000,
        "grid_fee_micro_per_kwh": 0,
        "authority_key": authority_key.public_key,
        "issuer_key": issuer_key.public_key,
        "grid_key": grid_key.public_key,
        "office_wait_slots": 100,
        "scores": DEFAULT_PARAMETERS,
        "parameters": RuleParameters(**{name: overrides.pop(name, value) for name, value in RULE_PARAMETERS.items()}),
        "membership": MembershipParameters(
            members_min=4, seen_window_slots=1_200, removal_wait_slots=1_000, verifier_keys=()
        ),
        "clusters": ClusterParameters(size=10, members_min=31),
        "members": tuple(
            GenesisMember(
                node_key=node_keys[index].public_key,
                meter_key=meter_keys[index].public_key,
                capacity_w=capacity_w,
                tokens_micro=MicroTokens(tokens_micro),
                valid_until_ms=None,
            )
            for index in range(members)
        ),
    }
    genesis = Genesis(**{**fields, **overrides})
    return Community(
        genesis=genesis,
        node_keys=node_keys,
        meter_keys=meter_keys,
        chain=chain_id(genesis),
        authority_key=authority_key,
        issuer_key=issuer_key,
        grid_key=grid_key,
    )


def raw_transaction(
    community: Community,
    sender: int | SigningKey,
    action: Action,
    *,
    nonce: int,
    chain: Digest | None = None,
    valid_until_height: int = VALID_UNTIL_HEIGHT,
) -> bytes:
    """Returns the raw bytes of a transaction that a member, by its number, or the owner of a key signed."""
    return sign_transaction(
        sender if isinstance(sender, SigningKey) else community.node_keys[sender],
        chain=community.chain if chain is None else chain,
        nonce=nonce,
        valid_until_height=Height(valid_until_height),
        action=action,
    )


def signed_reading(
    community: Community,
    member: int,
    net_wh: int,
    *,
    interval_start_ms: int = FIRST_INTERVAL_MS,
    meter_key: SigningKey | None = None,
    **overrides: Any,
) -> PublishReading:
    """Returns a member's reading, signed by its meter key (or `meter_key`); `overrides` are its fields."""
    fields: dict[str, Any] = {
        "chain": community.chain,
        "meter": community.addresses[member],
        "interval_start_ms": interval_start_ms,
        "net_wh": net_wh,
        "source": "solar" if net_wh > 0 else "grid",
        "gross_commitment": gross_commitment(bytes(32), WattHours(max(0, -net_wh)), WattHours(max(0, net_wh))),
    }
    reading = Reading(**{**fields, **overrides})
    key = community.meter_keys[member] if meter_key is None else meter_key
    return PublishReading(reading=reading, meter_signature=key.sign(encode(reading)))


def make_score(value: int) -> Score:
    """Returns the score of a member that a fault moved to a value, without a way back."""
    return Score(
        value=Millionths(value),
        staked=Millionths(0),
        unlocking=None,
        is_suspended=False,
        falls=0,
        way_back=None,
        cause=ScoreCause.FAULT,
        reference=b"",
    )


def transfer(community: Community, recipient: int, amount_micro: int) -> Transfer:
    """Returns a transfer to member number `recipient`."""
    return Transfer(recipient=community.addresses[recipient], amount_micro=MicroTokens(amount_micro))


def trade_terms(
    community: Community,
    seller: int,
    buyer: int,
    energy_wh: int,
    *,
    interval_start_ms: int = FIRST_INTERVAL_MS,
    packets: Sequence[Digest] | None = None,
    **overrides: Any,
) -> SpotTerms:
    """Returns the terms of a contract over the seller's one packet of an interval."""
    own = (packet_id(community.addresses[seller], Milliseconds(interval_start_ms)),)
    chosen = own if packets is None else tuple(packets)
    return SpotTerms(packets=chosen, **_common_terms(community, seller, buyer, energy_wh, **overrides))


def _common_terms(community: Community, seller: int, buyer: int, energy_wh: int, **overrides: Any) -> dict[str, Any]:
    addresses = community.addresses
    return {
        "chain": community.chain,
        "offer_counter": 0,
        "seller": addresses[seller],
        "buyer": addresses[buyer],
        "energy_wh": energy_wh,
        "price_micro_per_kwh": PRICE_MICRO_PER_KWH,
        "origin_meter": addresses[seller],
        "destination_meter": addresses[buyer],
        "expiry_slot": EXPIRY_SLOT,
        **overrides,
    }


def sign_trade(terms: TradeTerms, *, seller: SigningKey, buyer: SigningKey) -> SubmitTrade:
    """Returns the contract with the signatures that these two keys make over its terms."""
    return SubmitTrade(
        terms=terms,
        seller_signature=seller.sign(encode(terms)),
        buyer_signature=buyer.sign(encode(terms)),
    )


def resign(
    contract: SubmitTrade, *, seller: SigningKey | None = None, buyer: SigningKey | None = None
) -> SubmitTrade:
    """Returns the contract with signatures of its terms by other keys; who is not given keeps the present one."""
    terms = encode(contract.terms)
    return SubmitTrade(
        terms=contract.terms,
        seller_signature=contract.seller_signature if seller is None else seller.sign(terms),
        buyer_signature=contract.buyer_signature if buyer is None else buyer.sign(terms),
    )


def forward_terms(
    community: Community,
    seller: int,
    buyer: int,
    energy_wh: int,
    *,
    delivery_start_ms: int = FIRST_INTERVAL_MS,
    **overrides: Any,
) -> ForwardTerms:
    """Returns the terms of a forward trade, of the first interval unless told; `overrides` are its fields."""
    return ForwardTerms(
        delivery_start_ms=Milliseconds(delivery_start_ms),
        **_common_terms(community, seller, buyer, energy_wh, **overrides),
    )


def signed_forward(community: Community, seller: int, buyer: int, energy_wh: int, **overrides: Any) -> SubmitTrade:
    """Returns a forward trade that both parties signed; `overrides` as for `forward_terms`."""
    terms = forward_terms(community, seller, buyer, energy_wh, **overrides)
    keys = community.node_keys
    return sign_trade(terms, seller=keys[seller], buyer=keys[buyer])


def signed_cancellation(terms: TradeTerms, *, seller: SigningKey, buyer: SigningKey) -> CancelTrade:
    """Returns the cancellation of a contract with the signatures that these two keys make."""
    signed = cancellation_bytes(terms)
    return CancelTrade(terms=terms, seller_signature=seller.sign(signed), buyer_signature=buyer.sign(signed))


def signed_trade(community: Community, seller: int, buyer: int, energy_wh: int, **overrides: Any) -> SubmitTrade:
    """Returns a contract that both parties signed; `overrides` as for `trade_terms`."""
    terms = trade_terms(community, seller, buyer, energy_wh, **overrides)
    keys = community.node_keys
    return sign_trade(terms, seller=keys[seller], buyer=keys[buyer])


def transaction_of(raw: bytes) -> Transaction:
    """Returns a transaction as the node has it once it is verified."""
    envelope = decode_transaction(raw).envelope
    return Transaction(raw=raw, digest=transaction_digest(raw), envelope=envelope)


def block_context(community: Community, *, height: int, slot: int, **overrides: Any) -> BlockContext:
    """Returns the context of a block led by Eq. 1's leader, with all members as cluster and parent's voters."""
    addresses = community.addresses
    fields: dict[str, Any] = {
        "chain": community.chain,
        "height": Height(height),
        "slot": Slot(slot),
        "leader": addresses[slot % len(addresses)],
        "randomness_output": b"",
        "parent_slot": Slot(max(0, slot - 1)),
        "parent_leader": None if height == 1 else addresses[(slot - 1) % len(addresses)],
        "parent_voters": () if height == 1 else tuple(sorted(addresses)),
        "cluster": addresses,
    }
    return BlockContext(**{**fields, **overrides})


V = TypeVar("V", bound=Record)


def moved_keys(execution: Execution) -> set[StateKey]:
    """Returns what a block wrote, but for what blocks note of themselves: who attends, which slots heights have."""
    return {key for key in execution.changes if key not in (ATTENDANCE_KEY, HEIGHT_MARKS_KEY)}


def moved_tables(execution: Execution) -> set[bytes]:
    """Returns the first bytes of `moved_keys`."""
    return {bytes(key[:1]) for key in moved_keys(execution)}


class DictChain:
    """A chain's state as a plain dict: executes blocks of actions and keeps the last execution.

    It is a real chain without consensus and disk: real genesis, real signatures, real execution.
    """

    def __init__(self, community: Community) -> None:
        self.community = community
        self.state: dict[StateKey, bytes] = dict(genesis_state(community.genesis))
        self.height = 0
        self.slot = 0
        self._nonce = 0

    def sign(self, sender: int | SigningKey, action: Action) -> Transaction:
        """Returns a transaction with the next nonce (one counter for all members: gaps are allowed)."""
        self._nonce += 1
        return transaction_of(raw_transaction(self.community, sender, action, nonce=self._nonce))

    def block(
        self,
        *actions: tuple[int | SigningKey, Action],
        slot: int | None = None,
        **context: Any,
    ) -> Execution:
        """Executes one block of (sender, action) pairs, one slot later unless told, and applies it."""
        return self.apply([self.sign(sender, action) for sender, action in actions], slot=slot, **context)

    def apply(self, transactions: Sequence[Transaction], *, slot: int | None = None, **context: Any) -> Execution:
        """Executes one block of signed transactions and applies it."""
        self.height += 1
        parent_slot, self.slot = Slot(self.slot), self.slot + 1 if slot is None else slot
        context = {"parent_slot": parent_slot, **context}
        block = block_context(self.community, height=self.height, slot=self.slot, **context)
        execution = execute_block(self.state, self.community.genesis, block, transactions)
        self.state.update(execution.changes)
        return execution

    def read(self, key: StateKey, expected: type[V]) -> V:
        """Returns a record that must exist."""
        return decode(self.state[key], expected)

    def account(self, member: int) -> Account:
        return self.read(account_key(self.community.addresses[member]), Account)

    def score(self, member: int) -> Score:
        return self.read(score_key(self.community.addresses[member]), Score)

    def totals(self) -> Totals:
        return self.read(TOTALS_KEY, Totals)

    def packet(self, member: int, interval_start_ms: int = FIRST_INTERVAL_MS) -> Packet:
        owner = self.community.addresses[member]
        return self.read(packet_key(packet_id(owner, Milliseconds(interval_start_ms))), Packet)

    def deficit(self, member: int, interval_start_ms: int = FIRST_INTERVAL_MS) -> Deficit:
        owner = self.community.addresses[member]
        return self.read(deficit_key(owner, Milliseconds(interval_start_ms)), Deficit)
