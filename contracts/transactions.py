"""What members ask the chain to do: signed envelopes around typed actions.

A transaction travels, is stored and is hashed as the raw bytes of its `SignedTransaction`. The sender's
signature covers the encoding of `Envelope`, which names the chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, decode, encode
from consensus.cryptography import HashKind, SigningKey, digest, verify
from consensus.evidence import Equivocation
from consensus.identifiers import (
    DIGEST_SIZE_BYTES,
    SIGNATURE_SIZE_BYTES,
    Address,
    Digest,
    Height,
    PublicKey,
    Signature,
    Slot,
)
from contracts.applicants import Verdict
from contracts.genesis import EXPIRY_VERSION, SUSPENDING_VERSION, PublicKeyBytes
from contracts.proposal_records import Expulsion, SuspensionChange
from contracts.rule_records import RulesChange
from contracts.state import TradeKind
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours, contract_amount
from contracts.vouchers import Vouchers
from qscore.parameters import SCORE_MAX, Millionths

TRANSACTION_SIZE_BYTES_MAX: Final = 4_096
"""Largest encoded transaction: the largest trade with 16 packets takes about 1,200 bytes."""

PACKETS_PER_TRADE_MAX: Final = 16
ENERGY_WH_MAX: Final = 10**12
PRICE_MAX: Final = 10**12
TOKENS_MAX: Final = 10**18
COUNTER_MAX: Final = 2**63 - 1
NONCE_STEP_MAX: Final = 2**20
"""A nonce lies at most so far above the sender's last: else whoever had a key for a moment could use up all numbers
with one transaction, and no later key would ever act for that sender."""
METER_TIME_MS_MAX: Final = 4_102_444_800_000
"""The year 2100: a meter's time must have a date that people's tools can write."""

DigestBytes = Annotated[Digest, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
AddressBytes = Annotated[Address, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
SignatureBytes = Annotated[Signature, Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)]
Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]


class Reading(Record, frozen=True, kw_only=True, tag="reading"):
    """What the meter key signs: one interval's net energy, with a commitment to the gross values."""

    chain: DigestBytes
    meter: AddressBytes
    """The member whose registered meter key signs."""
    interval_start_ms: Annotated[Milliseconds, Meta(ge=0, le=METER_TIME_MS_MAX)]
    """Meter time; a multiple of genesis' `interval_ms`."""
    net_wh: Annotated[WattHours, Meta(ge=-ENERGY_WH_MAX, le=ENERGY_WH_MAX)]
    """Generation minus consumption."""
    source: Annotated[str, Meta(min_length=1, max_length=16)]
    """solar, wind, ... of a surplus; "grid" where there is none."""
    gross_commitment: DigestBytes
    """Hash of salt, consumption and generation: neighbours need the net, not the household's profile."""
    version: Counter = 0
    """0 is the reading itself; a correction is the version after the last one. Nothing is edited."""


class PublishReading(Record, frozen=True, kw_only=True, tag="publish-reading"):
    """Puts one signed reading on the chain: credits a packet or records a deficit, or corrects what it did."""

    reading: Reading
    meter_signature: SignatureBytes


class Transfer(Record, frozen=True, kw_only=True, tag="transfer"):
    """Moves tokens from the sender's wallet to another member's."""

    recipient: AddressBytes
    amount_micro: Annotated[MicroTokens, Meta(ge=1, le=TOKENS_MAX)]


class ContractTerms(Record, frozen=True, kw_only=True):
    """What a contract of any kind says. Each kind is a record of its own with its own tag: seller and buyer sign the
    encoding of that record, so a signature under one kind never holds for another.
    """

    chain: DigestBytes
    offer_counter: Counter
    """With `seller` the offer id: at most one contract per offer id executes, of whatever kind."""
    seller: AddressBytes
    buyer: AddressBytes
    energy_wh: Annotated[WattHours, Meta(ge=1, le=ENERGY_WH_MAX)]
    price_micro_per_kwh: Annotated[MicroTokensPerKwh, Meta(ge=0, le=PRICE_MAX)]
    origin_meter: AddressBytes
    """Route: where the energy enters the grid. The seller's meter."""
    destination_meter: AddressBytes
    """Route: where it leaves the grid. The buyer's meter."""
    expiry_slot: Annotated[Slot, Meta(ge=0, le=COUNTER_MAX)]
    """Last block slot in which the contract may execute; a forward trade that is not final ends after it."""


class SpotTerms(ContractTerms, frozen=True, kw_only=True, tag="spot"):
    """A contract over energy that is there, in packets."""

    packets: Annotated[tuple[DigestBytes, ...], Meta(max_length=PACKETS_PER_TRADE_MAX)]
    """Energy packets of the seller, all of one interval, drawn from in this order."""


class ForwardTerms(ContractTerms, frozen=True, kw_only=True, tag="forward"):
    """A contract over energy that is promised for a delivery window."""

    delivery_start_ms: Annotated[Milliseconds, Meta(ge=0, le=METER_TIME_MS_MAX)]
    """Start of the metering interval that is the window."""


TradeTerms = SpotTerms | ForwardTerms
"""The contract that seller and buyer agreed off the chain; both sign its bytes."""


class SubmitTrade(Record, frozen=True, kw_only=True, tag="submit-trade"):
    """Puts a contract on the chain; the sender is one of its two parties."""

    terms: TradeTerms
    seller_signature: SignatureBytes
    buyer_signature: SignatureBytes


class Cancellation(Record, frozen=True, kw_only=True, tag="cancellation"):
    """What seller and buyer both sign to end a contract that is not final."""

    chain: DigestBytes
    trade: DigestBytes
    """Trade id."""


class CancelTrade(Record, frozen=True, kw_only=True, tag="cancel-trade"):
    """Ends a contract by the will of both: a pending one is refunded, one that is not on the chain never executes."""

    terms: TradeTerms
    seller_signature: SignatureBytes
    """Under the `Cancellation`, as the buyer's."""
    buyer_signature: SignatureBytes


class IssueTokens(Record, frozen=True, kw_only=True, tag="issue-tokens"):
    """The issuer puts new tokens into a wallet."""

    recipient: AddressBytes
    amount_micro: Annotated[MicroTokens, Meta(ge=1, le=TOKENS_MAX)]


class RedeemTokens(Record, frozen=True, kw_only=True, tag="redeem-tokens"):
    """Takes tokens of the sender out of circulation; the issuer pays for them off the chain."""

    amount_micro: Annotated[MicroTokens, Meta(ge=1, le=TOKENS_MAX)]


class PayDebt(Record, frozen=True, kw_only=True, tag="pay-debt"):
    """Pays the grid account for energy that the sender sold and, as a correction showed, did not deliver."""

    amount_micro: Annotated[MicroTokens, Meta(ge=1, le=TOKENS_MAX)]


class SetStake(Record, frozen=True, kw_only=True, tag="set-stake"):
    """Says how much of the sender's own Q-score stands as its stake from now on; 0 takes all of it back."""

    staked: Annotated[Millionths, Meta(ge=0, le=SCORE_MAX)]


class SetLeaving(Record, frozen=True, kw_only=True, tag="set-leaving"):
    """Says that the sender wants to be a member no more, or that it wants to stay after all."""

    leaving: bool


class ShowPresence(Record, frozen=True, kw_only=True, tag="show-presence"):
    """Does nothing but show that the sender is there: a change of members waits for who was not seen lately."""


class KeyUse(Enum):
    """What a key signs for its member."""

    NODE = "node"
    """Votes, transactions, links."""
    METER = "meter"
    """Readings."""


class KeyPossession(Record, frozen=True, kw_only=True, tag="key-possession"):
    """What a new key signs, so that nobody brings one that nobody holds, or somebody else's."""

    chain: DigestBytes
    owner: AddressBytes
    use: KeyUse
    key: PublicKeyBytes


class RotateKey(Record, frozen=True, kw_only=True, tag="rotate-key"):
    """The sender is to act and to vote by another node key, in its place among the members."""

    key: PublicKeyBytes
    possession: SignatureBytes
    """Of `KeyPossession`, by `key`."""
    vouchers: Vouchers
    """For `key` and the sender's meter."""


class ReplaceMeter(Record, frozen=True, kw_only=True, tag="replace-meter"):
    """The sender's readings are those of another meter from here on."""

    key: PublicKeyBytes
    possession: SignatureBytes
    """Of `KeyPossession`, by `key`."""
    vouchers: Vouchers
    """For the sender's node key and `key`."""


class Renew(Record, frozen=True, kw_only=True, tag="renew"):
    """Shows that the authority vouches for the sender's present keys until a later time."""

    vouchers: Vouchers


class Application(Record, frozen=True, kw_only=True, tag="p2pnode-2-application"):
    """What a home that wants to join signs with its node key and its meter's: that it has both, for this chain."""

    chain: DigestBytes
    number: Counter
    """Higher than in any application of this home before: the home's clock in milliseconds."""
    node_key: PublicKeyBytes
    """Its hash becomes the home's address."""
    meter_key: PublicKeyBytes
    identity: DigestBytes
    """Salted commitment to who lives there; verifiers alone see what it commits to."""
    terms: DigestBytes
    """Hash of the main contract that the home signed with the network provider."""


class RequestJoin(Record, frozen=True, kw_only=True, tag="request-join"):
    """A member brings the application of a home that has no account yet."""

    application: Application
    node_signature: SignatureBytes
    meter_signature: SignatureBytes
    vouchers: Vouchers


class GiveVerdict(Record, frozen=True, kw_only=True, tag="give-verdict"):
    """One of an application's verifiers says what it found."""

    applicant: AddressBytes
    number: Counter
    """Of the application, so that a verdict never counts for a later one."""
    verdict: Verdict


class SayReady(Record, frozen=True, kw_only=True, tag="say-ready"):
    """A candidate says that it has followed the chain up to a block, and is ready to take part."""

    height: Annotated[Height, Meta(ge=1, le=COUNTER_MAX)]
    block: DigestBytes


class DoubleOffer(Record, frozen=True, kw_only=True, tag="double-offer"):
    """Two contracts under one offer id with different terms, both signed by one of their parties."""

    offender: AddressBytes
    first: TradeTerms
    first_signature: SignatureBytes
    second: TradeTerms
    second_signature: SignatureBytes


class ReportMisconduct(Record, frozen=True, kw_only=True, tag="report-misconduct"):
    """Puts two signed statements that contradict each other on the chain, once."""

    evidence: Equivocation | DoubleOffer


class RevocationReason(Enum):
    """Why the authority revokes a key: names of RFC 5280, 5.3.1."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    CA_COMPROMISE = "ca-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION = "cessation"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"


class Revocation(Record, frozen=True, kw_only=True, tag="p2pnode-2-revocation"):
    """What the authority signs with the key that acts for it: a node key is no home's of this chain any more.

    It names the key and nobody: whose it is, the state says. A key never comes back, so this never needs to end.
    """

    chain: DigestBytes
    node_key: PublicKeyBytes
    reason: RevocationReason


class Revoke(Record, frozen=True, kw_only=True, tag="revoke"):
    """Brings the authority's word on a key to the chain; it convinces by itself, whoever sends it."""

    revocation: Revocation
    signature: SignatureBytes
    """The authority's."""


class OfficePossession(Record, frozen=True, kw_only=True, tag="office-possession"):
    """What the next key of an office signs, so that nobody installs one that nobody holds, or somebody else's."""

    chain: DigestBytes
    office: AddressBytes
    key: PublicKeyBytes


class OfficeSuccessor(Record, frozen=True, kw_only=True, tag="office-successor"):
    """A key that is to act for an office from now on."""

    office: AddressBytes
    key: PublicKeyBytes
    possession: SignatureBytes
    """Under the `OfficePossession`, by `key`."""


class ReplaceOfficeKey(Record, frozen=True, kw_only=True, tag="replace-office-key"):
    """The sender, an office, acts by another key from the next block on."""

    successor: OfficeSuccessor


class Propose(Record, frozen=True, kw_only=True, tag="propose"):
    """A member proposes what a quorum of the members may do; the transaction's digest is the proposal's name."""

    subject: OfficeSuccessor | Expulsion | SuspensionChange | RulesChange


class Approve(Record, frozen=True, kw_only=True, tag="approve"):
    """A member agrees to a proposal."""

    proposer: AddressBytes
    proposal: DigestBytes


class Withdraw(Record, frozen=True, kw_only=True, tag="withdraw"):
    """A member takes its approval of a proposal back."""

    proposer: AddressBytes
    proposal: DigestBytes


class RaiseObjection(Record, frozen=True, kw_only=True, tag="raise-objection"):
    """The sender, an office, ends an approved proposal to give it another key: its owner is there."""

    proposal: DigestBytes


Action = (
    PublishReading
    | Transfer
    | SubmitTrade
    | CancelTrade
    | IssueTokens
    | RedeemTokens
    | PayDebt
    | SetStake
    | SetLeaving
    | ShowPresence
    | RotateKey
    | ReplaceMeter
    | Renew
    | RequestJoin
    | GiveVerdict
    | SayReady
    | ReportMisconduct
    | Revoke
    | ReplaceOfficeKey
    | Propose
    | Approve
    | Withdraw
    | RaiseObjection
)


_FIRST_VERSIONS: Final[Mapping[type[Record], int]] = {Renew: EXPIRY_VERSION, SuspensionChange: SUSPENDING_VERSION}
"""Of the kinds, of what is proposed too, that a later version than the oldest known one brought. Below it none is in
a block: programs of then cannot read them."""


class Envelope(Record, frozen=True, kw_only=True):
    """What the sender signs."""

    chain: DigestBytes
    sender: AddressBytes
    """The wallet and member that this transaction acts for."""
    sender_key: PublicKeyBytes
    """Its present key, as the state says: a member's node key, an office's key."""
    nonce: Counter
    """Above the sender's last, by `NONCE_STEP_MAX` at most; gaps are allowed."""
    valid_until_height: Annotated[Height, Meta(ge=0, le=COUNTER_MAX)]
    """Last height whose block may contain this transaction."""
    action: Action


class SignedTransaction(Record, frozen=True, kw_only=True):
    """An envelope with its sender's signature."""

    envelope: Envelope
    signature: SignatureBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A verified transaction as it travels inside a node: each of its forms is made once."""

    raw: bytes
    """As its sender signed and sent it."""
    digest: Digest
    """Its name."""
    envelope: Envelope

    @property
    def sender(self) -> Address:
        """The wallet and member that it acts for."""
        return self.envelope.sender


def transaction_digest(raw: bytes) -> Digest:
    """Returns the name of a transaction: the hash of its raw bytes."""
    return digest(HashKind.TRANSACTION, raw)


def sign_transaction(
    key: SigningKey, *, chain: Digest, nonce: int, valid_until_height: Height, action: Action
) -> bytes:
    """Returns the raw bytes of a transaction of `key`'s member, ready to submit."""
    envelope = Envelope(
        chain=chain,
        sender=key.address,
        sender_key=key.public_key,
        nonce=nonce,
        valid_until_height=valid_until_height,
        action=action,
    )
    return encode(SignedTransaction(envelope=envelope, signature=key.sign(encode(envelope))))


def decode_transaction(raw: bytes) -> SignedTransaction:
    """Returns the transaction that `raw` encodes; its signature is not checked.

    Raises:
        DecodeError: not the canonical encoding of a transaction of at most `TRANSACTION_SIZE_BYTES_MAX`.
    """
    return decode(raw, SignedTransaction, size_bytes_max=TRANSACTION_SIZE_BYTES_MAX)


def signature_holds(transaction: SignedTransaction) -> bool:
    """Says whether the sender signed the envelope."""
    return verify(transaction.envelope.sender_key, encode(transaction.envelope), transaction.signature)


def first_version(action: Action) -> int:
    """Returns the first version of the rules that has an action of this kind; 0: all that this program knows do."""
    said = action.subject if isinstance(action, Propose) else action
    return _FIRST_VERSIONS.get(type(said), 0)


def contract_kind(terms: TradeTerms) -> TradeKind:
    """Returns the kind of a contract, which its tag names."""
    return TradeKind(terms.__struct_config__.tag)


def trade_id(terms: TradeTerms) -> Digest:
    """Returns the name of a contract: the hash of its terms without signatures."""
    return digest(HashKind.TRADE, encode(terms))


def cancellation_bytes(terms: TradeTerms) -> bytes:
    """Returns what both parties sign to cancel a contract."""
    return encode(Cancellation(chain=terms.chain, trade=trade_id(terms)))


def possession_bytes(chain: Digest, owner: Address, use: KeyUse, key: PublicKey) -> bytes:
    """Returns what a new key of a member signs."""
    return encode(KeyPossession(chain=chain, owner=owner, use=use, key=key))


def rotation(chain: Digest, owner: Address, key: SigningKey, vouchers: Vouchers) -> RotateKey:
    """Returns the action by which a member exchanges its node key for `key`, with the authority's vouchers for it."""
    possession = key.sign(possession_bytes(chain, owner, KeyUse.NODE, key.public_key))
    return RotateKey(key=key.public_key, possession=possession, vouchers=vouchers)


def replacement(chain: Digest, owner: Address, key: SigningKey, vouchers: Vouchers) -> ReplaceMeter:
    """Returns the action by which a member takes its readings from the meter that signs with `key`, likewise."""
    possession = key.sign(possession_bytes(chain, owner, KeyUse.METER, key.public_key))
    return ReplaceMeter(key=key.public_key, possession=possession, vouchers=vouchers)


def office_possession_bytes(chain: Digest, office: Address, key: PublicKey) -> bytes:
    """Returns what the next key of an office signs."""
    return encode(OfficePossession(chain=chain, office=office, key=key))


def office_successor(chain: Digest, office: Address, key: SigningKey) -> OfficeSuccessor:
    """Returns `key` as the next one of an office."""
    possession = key.sign(office_possession_bytes(chain, office, key.public_key))
    return OfficeSuccessor(office=office, key=key.public_key, possession=possession)


def trade_amount(terms: TradeTerms) -> MicroTokens:
    """Returns what the buyer pays for the whole contract."""
    return contract_amount(terms.energy_wh, terms.price_micro_per_kwh)


def packet_id(owner: Address, interval_start_ms: Milliseconds) -> Digest:
    """Returns the name of the energy packet that `owner`'s reading of an interval credits."""
    return digest(HashKind.PACKET, encode((owner, interval_start_ms)))


def gross_commitment(salt: bytes, consumption: WattHours, generation: WattHours) -> Digest:
    """Returns the salted commitment to an interval's gross values; `salt` has 32 random bytes."""
    return digest(HashKind.COMMITMENT, encode((salt, consumption, generation)))
