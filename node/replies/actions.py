"""The models of what transactions ask for: one for each action of `contracts.transactions`."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from contracts.applicants import Verdict
from contracts.transactions import RevocationReason
from node.replies.fields import AmountMicro, ApiModel, Count, EnergyWh, Hash, HeightNumber, SignatureHex, SlotNumber
from node.replies.offices import OfficeSuccessorModel, RaiseObjectionModel, ReplaceOfficeKeyModel
from node.replies.proposals import ApproveModel, ExpulsionModel, SuspensionChangeModel, WithdrawModel
from node.replies.rules import RulesChangeModel


class ReadingModel(ApiModel):
    """What a meter signs: one interval's net energy."""

    chain: Hash
    meter: Hash
    interval_start_ms: Count
    """Start of the interval in meter time, milliseconds since the epoch (UTC)."""
    net_wh: int
    """Generation minus consumption in Wh."""
    source: str
    """Kind of generation; `grid` where there is no surplus."""
    gross_commitment: Hash
    """Salted hash of consumption and generation."""
    version: Count
    """0 is the reading itself, each correction the next."""


class PublishReadingModel(ApiModel):
    """Puts a signed reading on the chain."""

    kind: Literal["publish-reading"]
    reading: ReadingModel
    meter_signature: SignatureHex


class TransferModel(ApiModel):
    """Moves tokens to another member."""

    kind: Literal["transfer"]
    recipient: Hash
    amount_micro: AmountMicro


class ContractTermsModel(ApiModel):
    """What a contract of any kind says."""

    chain: Hash
    offer_counter: Count
    seller: Hash
    buyer: Hash
    energy_wh: EnergyWh
    price_micro_per_kwh: Count
    """Millionths of a token per kWh."""
    origin_meter: Hash
    destination_meter: Hash
    expiry_slot: SlotNumber
    """Last slot whose block may execute the contract; a forward trade that is not final ends after it."""


class SpotTermsModel(ContractTermsModel):
    """A contract over energy that is there."""

    kind: Literal["spot"]
    packets: list[Hash]
    """Energy packets drawn from, in order."""


class ForwardTermsModel(ContractTermsModel):
    """A contract over energy that is promised."""

    kind: Literal["forward"]
    delivery_start_ms: Count
    """Start of the delivery window."""


TradeTermsModel = Annotated[SpotTermsModel | ForwardTermsModel, Field(discriminator="kind")]
"""The contract that seller and buyer signed."""


class SubmitTradeModel(ApiModel):
    """Puts a contract on the chain."""

    kind: Literal["submit-trade"]
    terms: TradeTermsModel
    seller_signature: SignatureHex
    buyer_signature: SignatureHex


class CancelTradeModel(ApiModel):
    """Ends a contract by the will of both parties."""

    kind: Literal["cancel-trade"]
    terms: TradeTermsModel
    seller_signature: SignatureHex
    buyer_signature: SignatureHex


class IssueTokensModel(ApiModel):
    """The issuer puts new tokens into a wallet."""

    kind: Literal["issue-tokens"]
    recipient: Hash
    amount_micro: AmountMicro


class RedeemTokensModel(ApiModel):
    """Takes tokens of the sender out of circulation."""

    kind: Literal["redeem-tokens"]
    amount_micro: AmountMicro


class PayDebtModel(ApiModel):
    """Pays the grid account what the sender owes it."""

    kind: Literal["pay-debt"]
    amount_micro: AmountMicro


class SetStakeModel(ApiModel):
    """Says how much of the sender's score stands as its stake."""

    kind: Literal["set-stake"]
    staked: Annotated[int, Field(ge=0, description="Millionths.")]


class SetLeavingModel(ApiModel):
    """Says that the sender wants to be a member no more, or to stay after all."""

    kind: Literal["set-leaving"]
    leaving: bool


class ShowPresenceModel(ApiModel):
    """Shows that the sender is there, and does nothing else."""

    kind: Literal["show-presence"]


class ApplicationModel(ApiModel):
    """What a home signs that wants to join."""

    chain: Hash
    number: Count
    """Higher than in any application of this home before."""
    node_key: Hash
    meter_key: Hash
    identity: Hash
    """Salted commitment to who lives there."""
    terms: Hash
    """Hash of the main contract."""


class IssuingVoucherModel(ApiModel):
    """The root says that a key certifies homes."""

    issuing_key: Hash
    valid_from_ms: Count
    valid_until_ms: Count


class HomeVoucherModel(ApiModel):
    """The issuing authority says that keys are those of a home."""

    node_key: Hash
    meter_key: Hash
    capacity_w: Count
    person: Hash
    """A person's tag, the same in all its vouchers."""
    valid_from_ms: Count
    valid_until_ms: Count


class VouchersModel(ApiModel):
    """A home's voucher, and what leads from it to the root."""

    issuing: IssuingVoucherModel
    issuing_signature: SignatureHex
    home: HomeVoucherModel
    home_signature: SignatureHex


class RotateKeyModel(ApiModel):
    """Has the sender act and vote by another node key."""

    kind: Literal["rotate-key"]
    key: Hash
    possession: SignatureHex
    """By the new key."""
    vouchers: VouchersModel


class RenewModel(ApiModel):
    """Shows that the authority vouches for the sender's keys until a later time."""

    kind: Literal["renew"]
    vouchers: VouchersModel


class ReplaceMeterModel(ApiModel):
    """Takes the sender's readings from another meter."""

    kind: Literal["replace-meter"]
    key: Hash
    possession: SignatureHex
    """By the new key."""
    vouchers: VouchersModel


class RequestJoinModel(ApiModel):
    """Brings the application of a home that has no account yet."""

    kind: Literal["request-join"]
    application: ApplicationModel
    node_signature: SignatureHex
    meter_signature: SignatureHex
    vouchers: VouchersModel


class GiveVerdictModel(ApiModel):
    """What a verifier found about an application."""

    kind: Literal["give-verdict"]
    applicant: Hash
    number: Count
    """Of the application."""
    verdict: Verdict


class SayReadyModel(ApiModel):
    """A candidate says that it followed the chain up to a block."""

    kind: Literal["say-ready"]
    height: HeightNumber
    block: Hash


class ReportMisconductModel(ApiModel):
    """Brings two signed statements of one member that contradict each other."""

    kind: Literal["report-misconduct"]
    evidence: dict[str, JsonValue]
    """Fields of the evidence by name; bytes in hexadecimal."""


class RevocationModel(ApiModel):
    """What the authority says of a node key."""

    chain: Hash
    node_key: Hash
    reason: RevocationReason


class RevokeModel(ApiModel):
    """Brings the authority's word that a node key is no home's of this chain any more."""

    kind: Literal["revoke"]
    revocation: RevocationModel
    signature: SignatureHex


class ProposeModel(ApiModel):
    """A member proposes what a quorum of the members may do."""

    kind: Literal["propose"]
    subject: Annotated[
        OfficeSuccessorModel | ExpulsionModel | SuspensionChangeModel | RulesChangeModel, Field(discriminator="kind")
    ]


Action = Annotated[
    PublishReadingModel
    | TransferModel
    | SubmitTradeModel
    | CancelTradeModel
    | IssueTokensModel
    | RedeemTokensModel
    | PayDebtModel
    | SetStakeModel
    | SetLeavingModel
    | ShowPresenceModel
    | RotateKeyModel
    | ReplaceMeterModel
    | RenewModel
    | RequestJoinModel
    | GiveVerdictModel
    | SayReadyModel
    | ReportMisconductModel
    | RevokeModel
    | ReplaceOfficeKeyModel
    | ProposeModel
    | ApproveModel
    | WithdrawModel
    | RaiseObjectionModel,
    Field(discriminator="kind"),
]
