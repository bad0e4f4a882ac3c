"""Homes that want to join: their keys, the authority's vouchers, their applications, from fixed seeds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from consensus.vrf import OUTPUT_SIZE_BYTES
from contracts.applicants import Applicant, Applications, Verdict
from contracts.execution import Execution
from contracts.joining import READY_HEIGHTS_MAX
from contracts.randomness_records import Randomness
from contracts.receipts import Receipt
from contracts.run import DecidedBlock
from contracts.state import APPLICATIONS_KEY, RANDOMNESS_KEY, applicant_key
from contracts.transactions import Application, GiveVerdict, RequestJoin, SayReady
from contracts.vouchers import HomeVoucher, Vouchers
from tests.support.contracts import Community, DictChain, seeded_key
from tests.support.vouchers import home_voucher, signed_vouchers


@dataclass(frozen=True)
class Newcomer:
    """A home with its keys, and what the authority says of it."""

    node_key: SigningKey
    meter_key: SigningKey
    voucher: HomeVoucher

    @property
    def address(self) -> Address:
        return self.node_key.address


def newcomer(number: int, **voucher: Any) -> Newcomer:
    """Returns the home of a number; fields of its voucher may be others."""
    node_key, meter_key = seeded_key("new-node", number), seeded_key("new-meter", number)
    fields: dict[str, Any] = {
        "node_key": node_key.public_key,
        "meter_key": meter_key.public_key,
        "person": Digest(bytes([number]) * 32),
        **voucher,
    }
    return Newcomer(node_key=node_key, meter_key=meter_key, voucher=home_voucher(**fields))


def vouchers_of(
    community: Community, home: Newcomer, *, root_key: SigningKey | None = None, **issuing: Any
) -> Vouchers:
    """Returns what the community's authority signs of a home, by its first key if no other is given."""
    return signed_vouchers(community, home.voucher, root_key=root_key, **issuing)


def request_of(
    community: Community, home: Newcomer, *, number: int = 1, root_key: SigningKey | None = None, **overrides: Any
) -> RequestJoin:
    """Returns a home's application as a member brings it; `overrides` are fields of the application, signed so."""
    fields: dict[str, Any] = {
        "chain": community.chain,
        "number": number,
        "node_key": home.node_key.public_key,
        "meter_key": home.meter_key.public_key,
        "identity": Digest(b"\x01" * 32),
        "terms": Digest(b"\x02" * 32),
        **overrides,
    }
    application = Application(**fields)
    signed = encode(application)
    return RequestJoin(
        application=application,
        node_signature=home.node_key.sign(signed),
        meter_signature=home.meter_key.sign(signed),
        vouchers=vouchers_of(community, home, root_key=root_key),
    )


def verdict_on(home: Newcomer, verdict: Verdict = Verdict.ACCEPT, *, number: int = 1) -> GiveVerdict:
    return GiveVerdict(applicant=home.address, number=number, verdict=verdict)


class JoiningChain(DictChain):
    """A chain whose blocks have digests that candidates may name."""

    def block_digest(self, height: int) -> Digest:
        return Digest(height.to_bytes(32, "big"))

    def decided_below(self, height: int) -> tuple[DecidedBlock, ...]:
        """The newest blocks below a height, as the ledger of that height's block knows them."""
        heights = range(max(1, height - READY_HEIGHTS_MAX), height)
        return tuple(DecidedBlock(height=Height(one), digest=self.block_digest(one)) for one in heights)

    def apply(self, *args: Any, **context: Any) -> Execution:
        return super().apply(*args, **{"decided": self.decided_below(self.height + 1), **context})

    def ready(self, **overrides: Any) -> SayReady:
        """What a candidate says that has caught up."""
        height = max(1, self.height)
        fields: dict[str, Any] = {"height": height, "block": self.block_digest(height), **overrides}
        return SayReady(**fields)

    def applicant(self, home: Newcomer) -> Applicant:
        return self.read(applicant_key(home.address), Applicant)

    def unfinished(self) -> tuple[Address, ...]:
        return self.read(APPLICATIONS_KEY, Applications).unfinished

    def request(self, home: Newcomer, *, sponsor: int = 0, slot: int | None = None, **fields: Any) -> Receipt:
        """Brings an application in a block of its own."""
        action = request_of(self.community, home, **fields)
        (receipt,) = self.block((sponsor, action), slot=slot).receipts
        return receipt

    def draw(self) -> None:
        """Leaders prove something, each in a slot of its own, until nothing waits for a draw any more."""
        while self.read(RANDOMNESS_KEY, Randomness).draws:
            self.block(randomness_output=self.slot.to_bytes(OUTPUT_SIZE_BYTES, "big"))

    def judge(
        self, home: Newcomer, verifiers: Iterable[int], verdict: Verdict = Verdict.ACCEPT, *, number: int = 1
    ) -> None:
        """Verifiers say what they found, in one block."""
        self.block(*((verifier, verdict_on(home, verdict, number=number)) for verifier in verifiers))

    def admit(self, home: Newcomer, *, sponsor: int = 0, number: int = 1) -> None:
        """Makes a candidate of a home, with all verdicts that its panel may give."""
        self.request(home, sponsor=sponsor, number=number)
        panel = self.applicant(home).panel
        self.judge(home, [self.community.addresses.index(one) for one in panel], number=number)


def with_verifiers(community: Community, *numbers: int) -> Any:
    """Returns membership parameters whose verifiers are some of the founders."""
    keys = tuple(community.node_keys[number].public_key for number in numbers)
    return replace(community.genesis.membership, verifier_keys=keys)
