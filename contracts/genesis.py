"""Genesis: the members and parameters that every node of a chain starts from. Its hash is the chain's name."""

from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest
from consensus.identifiers import PUBLIC_KEY_SIZE_BYTES, TIME_MS_MAX, Digest, PublicKey
from consensus.messages import MEMBERS_MAX
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds
from qscore.parameters import ScoreParameters

ATTENDANCE_VERSION: Final = 6
"""From here on validators are rewarded for attending (`attendance`), before for standing in the one certificate that
the next leader put together; verifiers for their verdicts; and evidence gets too old (`evidence_window`)."""

EXPIRY_VERSION: Final = 6
"""From here on the chain knows until when the authority vouches for a member (`validity`)."""

SUSPENDING_VERSION: Final = 6
"""From here on a quorum suspends members, and ends suspensions (`proposals`)."""

PROTOCOL_VERSION: Final = 6
"""Of the rules that a new chain begins with: the newest that this program knows."""

KNOWN_VERSIONS: Final = frozenset({5, PROTOCOL_VERSION})
"""Of all rules that this program can execute. A chain goes from one to the next at a height that its members agree on
(`rule_records.Rules`); a node whose program lacks the next one stops before that height."""

CLUSTER_SIZE_MIN: Final = 7
CLUSTER_SIZE_MAX: Final = 64

CAPACITY_W_MAX: Final = 1_000_000_000
"""Of one connection."""

PublicKeyBytes = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_SIZE_BYTES, max_length=PUBLIC_KEY_SIZE_BYTES)]


class GenesisMember(Record, frozen=True, kw_only=True):
    """One member at height 0, in the order of admission that Eq. 1 counts in."""

    node_key: PublicKeyBytes
    """Ed25519 key of the node: votes, transactions, TLS. Its hash is the member's address, and its only name here."""
    meter_key: PublicKeyBytes
    """Ed25519 key of the meter: readings."""
    capacity_w: Annotated[int, Meta(ge=1, le=CAPACITY_W_MAX)]
    """Registered connection capacity in W; no reading's net may exceed it times the interval, either way."""
    tokens_micro: Annotated[MicroTokens, Meta(ge=0, le=10**15)]
    """Tokens issued to the wallet at genesis."""
    valid_until_ms: Annotated[Milliseconds, Meta(ge=0, le=TIME_MS_MAX)] | None
    """Until when the authority vouches for it, since the epoch, as its certificate says (`validity`). None: the chain
    learns it with the member's first renewal, and until then it does not end."""


class MembershipParameters(Record, frozen=True, kw_only=True):
    """When members may come and go."""

    members_min: Annotated[int, Meta(ge=3, le=256)]
    """Nobody leaves by itself below so many: four stand one liar, three none."""
    seen_window_slots: Annotated[int, Meta(ge=8, le=10**9)]
    """W: a member that the chain saw within so many slots counts as there."""
    removal_wait_slots: Annotated[int, Meta(ge=1, le=10**9)]
    """In which people can act: from a quorum's approval of an expulsion to the expulsion; from one removal by the
    authority's word to the next one; from a first proof that a member contradicted itself to when another one removes
    it."""
    verifier_keys: tuple[PublicKeyBytes, ...]
    """Node keys of the founders that may verify who joins until enough members staked for that; they consent by
    signing genesis; empty: all founders.
    """


class ClusterParameters(Record, frozen=True, kw_only=True):
    """Who votes are sent to first, and who leads: a cluster that is drawn for each height and slot."""

    size: Annotated[int, Meta(ge=CLUSTER_SIZE_MIN, le=CLUSTER_SIZE_MAX)]
    """m: members of a cluster. Of seven drawn of any number of members, not all are liars but once in 2,000 draws."""
    members_min: Annotated[int, Meta(ge=8, le=MEMBERS_MAX + 1)]
    """Among fewer members nothing is drawn: all are the cluster."""


class RuleParameters(Record, frozen=True, kw_only=True):
    """What members may change while the chain runs.

    The rest stays as genesis has it: what contracts that wait were made under, and the times in which people can act.
    Those protect the few from a quorum, so a quorum does not shorten them.
    """

    block_transactions_max: Annotated[int, Meta(ge=1, le=8_192)]
    block_size_bytes_max: Annotated[int, Meta(ge=4_096, le=4 * 1024 * 1024)]
    """Largest sum of the transactions' bytes in a block."""
    gate_closure_slots: Annotated[int, Meta(ge=1, le=10**9)]
    """Slots from an interval's last decided reading until its unsold rest is exported."""


class Genesis(Record, frozen=True, kw_only=True):
    """Everything that must be equal on every node before the first block."""

    protocol_version: int
    """Of the rules from height 1 on."""
    network: Annotated[str, Meta(min_length=1, max_length=64)]
    """Label for people."""
    start_ms: Annotated[Milliseconds, Meta(ge=0)]
    """t0: wall clock of slot 0, milliseconds since the epoch."""
    slot_duration_ms: Annotated[Milliseconds, Meta(ge=20, le=60_000)]
    """tau."""
    attempt_max_ms: Annotated[Milliseconds, Meta(ge=1_000, le=3_600_000)]
    """Bound on the back-off between view changes."""
    interval_ms: Annotated[Milliseconds, Meta(ge=60_000, le=86_400_000)]
    """Length of every metering interval; intervals start at multiples of it."""
    price_min_micro_per_kwh: Annotated[MicroTokensPerKwh, Meta(ge=0)]
    price_max_micro_per_kwh: Annotated[MicroTokensPerKwh, Meta(ge=1, le=10**12)]
    """Bounds on a contract's price: feed-in tariff and retail price. A seller's shortfall costs the latter."""
    grid_fee_micro_per_kwh: Annotated[MicroTokensPerKwh, Meta(ge=0, le=10**12)]
    """What a buyer pays to the grid account for energy that it receives, apart from the seller's income."""
    authority_key: PublicKeyBytes
    """First Ed25519 key of the authority's root, which vouches for who is absent when an era begins; no member's. Its
    hash names the office for ever; the present key stands in the state (`Office`), as for the two below."""
    issuer_key: PublicKeyBytes
    """First Ed25519 key of the account that issues tokens; no member's."""
    grid_key: PublicKeyBytes
    """First Ed25519 key of the account that receives grid fees and what sellers owe; no member's."""
    office_wait_slots: Annotated[int, Meta(ge=1, le=10**9)]
    """Slots between a quorum's approval of another key for an office and that key, in which the owner may object."""
    scores: ScoreParameters
    parameters: RuleParameters
    """Of the rules from height 1 on; the present ones stand in the state."""
    membership: MembershipParameters
    clusters: ClusterParameters
    members: tuple[GenesisMember, ...]
    """1 to 256 of them, all keys different."""


def knows_version(version: int) -> bool:
    """Says whether this program can execute the rules of a version."""
    return version in KNOWN_VERSIONS


def known_versions() -> tuple[int, ...]:
    """Returns the versions of the rules that this program can execute, in their order."""
    return tuple(sorted(KNOWN_VERSIONS))


def known_text() -> str:
    """Returns the same for people."""
    return " and ".join(str(version) for version in known_versions())


def chain_id(genesis: Genesis) -> Digest:
    """Returns the hash of genesis, which every signature of this chain covers."""
    return digest(HashKind.GENESIS, encode(genesis))
