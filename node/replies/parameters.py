"""What requests may ask for: one pydantic model per route, path and query parameters together.

A parameter that is not in the model is refused, so that a misspelt one is not silently ignored.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from consensus.messages import NUMBER_MAX

BLOCKS_PER_PAGE_MAX: Final = 200
"""Headers in one reply: about 100 kB."""

VERSIONS_PER_PAGE_MAX: Final = 500
TRADES_PER_PAGE_MAX: Final = 1_000
OWN_TRANSACTIONS_PER_PAGE_MAX: Final = 200
"""Trades in one reply: about 600 kB."""

WAIT_MAX_S: Final = 60.0
"""Longest wait for a commit in one request; a wallet that waits longer asks again by digest."""

MONTH_PATTERN: Final = "^(19[7-9]|2[0-9][0-9])[0-9]-(0[1-9]|1[0-2])$"
"""From 1970 to 2999: meter time has no earlier month, and every one of these is in the calendar."""

DigestText = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower), Field(examples=["00" * 32])
]

INTEGER: Final = re.compile("0|[1-9][0-9]{0,18}")
NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?")
"""JSON's number without a sign. Python would also take `1_0`, ` 1`, `+1` and the digits of any script."""
PLACE: Final = f"^({INTEGER.pattern})\\.({INTEGER.pattern})$"

TRUTHS: Final = ("0", "1", "false", "true")


def _integer(value: object) -> object:
    if isinstance(value, str) and not INTEGER.fullmatch(value):
        raise ValueError("is not a whole number in digits 0 to 9, without sign, spaces or leading zeros")
    return value


def _number(value: object) -> object:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("is not a number such as 10 or 2.5")
    return value


def _truth(value: object) -> object:
    if isinstance(value, str) and value not in TRUTHS:
        raise ValueError(f"is none of {', '.join(TRUTHS)}")
    return value


INTEGER_FORM: Final = BeforeValidator(_integer)
HeightText = Annotated[int, Field(ge=0, le=NUMBER_MAX), INTEGER_FORM]
BlockHeightText = Annotated[int, Field(ge=1, le=NUMBER_MAX), INTEGER_FORM]


class Parameters(BaseModel):
    """Base of all parameter models."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True)


class NoParameters(Parameters):
    """The route takes none."""


class BlocksParameters(Parameters):
    """Which blocks to list."""

    from_height: Annotated[BlockHeightText | None, Field(alias="from")] = None
    """First height of the list; without it, the list ends at the tip."""
    limit: Annotated[int, Field(ge=1, le=BLOCKS_PER_PAGE_MAX), INTEGER_FORM] = 50
    """Most blocks returned."""


class BlockParameters(Parameters):
    """Which block."""

    height: BlockHeightText
    """The block's height; the first block is 1."""


class SubmissionParameters(Parameters):
    """How long to wait."""

    wait: Annotated[float, Field(ge=0, le=WAIT_MAX_S, allow_inf_nan=False), BeforeValidator(_number)] = 0
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
    proof: Annotated[bool, BeforeValidator(_truth)] = False
    """Also prove presence or absence; for the newest state only."""


class HistoryParameters(Parameters):
    """Which key, and which part of its history."""

    key: Annotated[str, Field(min_length=1, max_length=300, examples=["totals"])]
    """State key in its readable form."""
    after: HeightText | None = None
    """Only versions written above this height."""
    limit: Annotated[int, Field(ge=1, le=VERSIONS_PER_PAGE_MAX), INTEGER_FORM] = 100
    """Most versions returned."""


class PanelParameters(Parameters):
    """Whose panel."""

    address: DigestText
    """Address of a home that asked to join."""


class ApplicationsParameters(Parameters):
    """Whose application."""

    address: DigestText | None = None
    """Address of a home: its last application, whatever became of it. Without, all that are not over."""


class AccountParameters(Parameters):
    """Which wallet."""

    address: DigestText
    """Address: BLAKE2b-256 of the owner's public key."""


class OwnTransactionsParameters(Parameters):
    """Whose transactions to list."""

    address: DigestText
    """Address: BLAKE2b-256 of the owner's public key."""
    limit: Annotated[int, Field(ge=1, le=OWN_TRANSACTIONS_PER_PAGE_MAX), INTEGER_FORM] = 100
    """Most transactions returned."""
    after: Annotated[str, StringConstraints(pattern=PLACE)] | None = None
    """Continues behind this place, `HEIGHT.INDEX`: a `next_after` of an earlier reply."""


class TradesParameters(Parameters):
    """Which trades to list."""

    limit: Annotated[int, Field(ge=1, le=TRADES_PER_PAGE_MAX), INTEGER_FORM] = 100
    """Most trades returned."""
    after: Annotated[str, StringConstraints(pattern=PLACE)] | None = None
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


class MemberParameters(Parameters):
    """Which member."""

    member: MemberText
    """Name or address of who is or was a member, or the first 8 or more digits of the address."""


class ScoreHistoryParameters(Parameters):
    """Whose score, and which part of its history."""

    member: MemberText
    """Name or address of the member, or the first 8 or more digits of the address."""
    after: HeightText | None = None
    """Only versions written above this height."""
    limit: Annotated[int, Field(ge=1, le=VERSIONS_PER_PAGE_MAX), INTEGER_FORM] = 100
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

    from_height: Annotated[BlockHeightText | None, Field(alias="from")] = None
    """First height whose events are sent; without it, the next block's."""


def parameter_fields(model: type[Parameters]) -> dict[str, Any]:
    """Returns the JSON schema of each parameter by the name that requests use."""
    properties: dict[str, Any] = model.model_json_schema(by_alias=True).get("properties", {})
    return properties


def required_parameters(model: type[Parameters]) -> frozenset[str]:
    """Returns the names of the parameters that each request must give."""
    return frozenset(model.model_json_schema(by_alias=True).get("required", ()))
