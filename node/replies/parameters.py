"""What requests may ask for: one pydantic model per route, path and query parameters together.

A parameter that is not in the model is refused, so that a misspelt one is not silently ignored.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from consensus.messages import NUMBER_MAX

BLOCKS_PER_PAGE_MAX: Final = 200
"""Headers in one reply: about 100 kB."""

VERSIONS_PER_PAGE_MAX: Final = 500
TRADES_PER_PAGE_MAX: Final = 1_000
"""Trades in one reply: about 600 kB."""

WAIT_MAX_S: Final = 60.0
"""Longest wait for a commit in one request; a wallet that waits longer asks again by digest."""

MONTH_PATTERN: Final = "^(19[7-9]|2[0-9][0-9])[0-9]-(0[1-9]|1[0-2])$"
"""From 1970 to 2999: meter time has no earlier month, and every one of these is in the calendar."""

DigestText = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower), Field(examples=["00" * 32])
]
HeightText = Annotated[int, Field(ge=0, le=NUMBER_MAX)]


class Parameters(BaseModel):
    """Base of all parameter models."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True)


class NoParameters(Parameters):
    """The route takes none."""


class BlocksParameters(Parameters):
    """Which blocks to list."""

    from_height: Annotated[HeightText | None, Field(alias="from", ge=1)] = None
    """First height of the list; without it, the list ends at the tip."""
    limit: Annotated[int, Field(ge=1, le=BLOCKS_PER_PAGE_MAX)] = 50
    """Most blocks returned."""


class BlockParameters(Parameters):
    """Which block."""

    height: Annotated[HeightText, Field(ge=1)]
    """The block's height; the first block is 1."""


class SubmissionParameters(Parameters):
    """How long to wait."""

    wait: Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False)] = 0
    """Seconds to wait for the commit; 0 answers as soon as the transaction is accepted."""


class TransactionParameters(Parameters):
    """Which transaction."""

    digest: DigestText
    """Name of the transaction: BLAKE2b-256 of its raw bytes."""


class StateParameters(Parameters):
    """Which key, when, and whether with a proof."""

    key: Annotated[str, Field(min_length=1, max_length=300, examples=["totals"])]
    """State key in its readable form, e.g. `account:ADDRESS`, as `p2pnode ledger show` takes it."""
    height: HeightText | None = None
    """Height whose value is asked for; without it, the newest."""
    proof: bool = False
    """Also prove presence or absence; for the newest state only."""


class HistoryParameters(Parameters):
    """Which key, and which part of its history."""

    key: Annotated[str, Field(min_length=1, max_length=300, examples=["totals"])]
    """State key in its readable form."""
    after: HeightText | None = None
    """Only versions written above this height."""
    limit: Annotated[int, Field(ge=1, le=VERSIONS_PER_PAGE_MAX)] = 100
    """Most versions returned."""


class AccountParameters(Parameters):
    """Which wallet."""

    address: DigestText
    """Address: BLAKE2b-256 of the owner's public key."""


class TradesParameters(Parameters):
    """Which trades to list."""

    limit: Annotated[int, Field(ge=1, le=TRADES_PER_PAGE_MAX)] = 100
    """Most trades returned."""
    after: Annotated[str, StringConstraints(pattern=r"^\d{1,18}\.\d{1,9}$")] | None = None
    """Continues behind this place, `HEIGHT.INDEX`: a `next_after` of an earlier reply."""
    order: Literal["oldest", "newest"] = "oldest"
    """Which trades come first."""


NamePrefix = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{8,64}$"),
    AfterValidator(str.lower),
    Field(examples=["00" * 32]),
]
MemberText = Annotated[str, Field(min_length=1, max_length=64, examples=["node1"])]


class TradeParameters(Parameters):
    """Which contract."""

    trade: NamePrefix
    """Trade id or digest of one of its transactions, or the first 8 or more digits of one."""


class ReceiptParameters(Parameters):
    """Which receipt."""

    trade: NamePrefix
    """Trade id or digest of any decided transaction, or the first 8 or more digits of one."""


class ScoreHistoryParameters(Parameters):
    """Whose score, and which part of its history."""

    member: MemberText
    """Name or address of the member, or the first 8 or more digits of the address."""
    after: HeightText | None = None
    """Only versions written above this height."""
    limit: Annotated[int, Field(ge=1, le=VERSIONS_PER_PAGE_MAX)] = 100
    """Most versions returned."""


class EvidenceParameters(Parameters):
    """Which misconduct."""

    misconduct: NamePrefix
    """Its id, or the first 8 or more digits of it."""


class StatementParameters(Parameters):
    """Whose statement, of which month."""

    member: MemberText
    """Name or address of the member, or the first 8 or more digits of the address."""
    month: Annotated[str, StringConstraints(pattern=MONTH_PATTERN), Field(examples=["2016-08"])]
    """Month of meter time."""


class EventsParameters(Parameters):
    """Where to begin."""

    from_height: Annotated[HeightText | None, Field(alias="from", ge=1)] = None
    """First height whose events are sent; without it, the next block's."""


def parameter_fields(model: type[Parameters]) -> dict[str, Any]:
    """Returns the JSON schema of each parameter by the name that requests use."""
    properties: dict[str, Any] = model.model_json_schema(by_alias=True).get("properties", {})
    return properties
