"""Homes that hold a ceremony by hand: each has what a test gives it, and every step is the production code's.

Blocks are (parent, number, the authority's key after it); certificates are signed by whoever the test says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from consensus import ceremony
from consensus.ceremony import Applied, CeremonyRefusal, LedgerFacts
from consensus.ceremony_records import SignedMemberStatement, SignedPlan
from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import AppliedEra, Departure, Join, Plan, plan_digest
from consensus.eras import Era
from consensus.events import PreparedBlock, SignState, forgetful_sign_state, fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT, Address, Digest, EraNumber, Height, PublicKey, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Claim, Decided, PrePrepare
from consensus.past import FIRST, Past
from consensus.plans import PlanRefusal, follow, make_plan
from consensus.replica import Start
from tests.support.consensus import CHAIN, Members, block_of

AUTHORITY: Final = SigningKey(b"\x99" * 32)


def block(parent: Digest, number: int, authority: SigningKey = AUTHORITY) -> bytes:
    """A proposal that extends a block."""
    return encode((parent, number, authority.public_key))


def parent_of(name: Digest, proposal: bytes) -> Digest | None:
    try:
        parent = decode(proposal, tuple)[0]
    except DecodeError:
        return None
    return Digest(parent) if block_of(proposal) == name else None


def authority_in(proposal: bytes) -> PublicKey:
    return PublicKey(decode(proposal, tuple)[2])


@dataclass(slots=True)
class TestHome:
    """What lies on one home's disk."""

    __test__ = False

    key: SigningKey
    sign_state: SignState = field(default_factory=lambda: fresh_sign_state(FIRST_HEIGHT))
    decided: list[Decided] = field(default_factory=list)
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None
    applied: AppliedEra = FIRST

    @property
    def height(self) -> Height:
        return Height(len(self.decided))

    def block_at(self, height: int) -> Digest:
        return self.decided[height - 1].certificate.block if height else CHAIN


class Street:
    """N homes, member i under key i of `Members`, and the files that people carry."""

    def __init__(self, count: int) -> None:
        self.members = Members(count)
        self.authority = AUTHORITY  # after the blocks made from now on, and what it signs with
        self.past = Past(
            CHAIN,
            lambda _: self.members.membership,
            first_authority=self.authority.public_key,
            parent_of=parent_of,
            authority_in=authority_in,
            members_in=lambda *_: None,
        )
        self.homes = [TestHome(key) for key in self.members.keys]
        self.joins: dict[Digest, list[Join]] = {}

    # --- what happened before -----------------------------------------------------------------------------------

    def era_of(self, home: TestHome) -> Era:
        return self.past.eras(home.applied).at(Height(home.height + 1))

    def signers(self, applied: AppliedEra) -> Members:
        """Members whose certificates are those of an era."""
        members = Members(len(self.members.keys), era=self.past.eras(applied).newest)
        members.keys = self.members.keys
        members.membership = self.members.membership
        return members

    def decide(
        self, number: int, *, by: Sequence[int] | None = None, seen_by: Iterable[int], slot: int = 4
    ) -> Digest:
        """The members of `by` decide the next block; only `seen_by` come to know."""
        numbers = list(seen_by)
        home = self.homes[numbers[0]]
        proposal = block(home.block_at(home.height), number, self.authority)
        members, before = self.signers(home.applied), home.height
        height = before + 1
        decided = Decided(certificate=members.committed(slot, block_of(proposal), by, height), proposal=proposal)
        for one in numbers:
            assert self.homes[one].height == before, "they are at one height"
            self.homes[one].decided.append(decided)
            self.homes[one].voted = self.homes[one].prepared = None
        return block_of(proposal)

    def prepare(self, number: int, *, holders: Iterable[int], slot: int = 4) -> Digest:
        """A block above is prepared; `holders` keep its certificate and sent their COMMIT."""
        name = Digest(b"")
        for one in holders:
            home = self.homes[one]
            proposal = block(home.block_at(home.height), number, self.authority)
            name, height = block_of(proposal), home.height + 1
            certificate = self.signers(home.applied).prepared(slot, name, height=height)
            home.prepared = PreparedBlock(certificate=certificate, proposal=proposal)
            claim = Claim(slot=Slot(slot), block=name)
            home.sign_state = replace(fresh_sign_state(Height(height), home.sign_state.standing), prepared=claim)
        return name

    def vote(self, number: int, *, voters: Iterable[int], slot: int = 4) -> Digest:
        """`voters` voted for a block above, and saw no more of it."""
        name = Digest(b"")
        for one in voters:
            home = self.homes[one]
            proposal = block(home.block_at(home.height), number, self.authority)
            name, height = block_of(proposal), home.height + 1
            home.voted = self.signers(home.applied).pre_prepare(slot, proposal, height=height)
            claim = Claim(slot=Slot(slot), block=name)
            home.sign_state = replace(fresh_sign_state(Height(height), home.sign_state.standing), voted=claim)
        return name

    def forget(self, *numbers: int) -> None:
        """Sign state and records are lost."""
        for one in numbers:
            home = self.homes[one]
            home.sign_state, home.voted, home.prepared = forgetful_sign_state(FIRST_HEIGHT), None, None

    # --- the steps ------------------------------------------------------------------------------------------------

    def start_of(self, number: int) -> Start:
        home = self.homes[number]
        sets = [self.past.membership(home.applied, Height(home.height + ahead)) for ahead in (1, 2)]
        undecided, following = (one for one in sets if one is not None)
        return Start(
            height=Height(home.height + 1),
            eras=self.past.eras(home.applied),
            memberships=Memberships(undecided=undecided, following=following),
            tip=home.block_at(home.height),
            parent_slot=Slot(0),
            sign_state=home.sign_state,
            voted=home.voted,
            prepared=home.prepared,
        )

    def state(self, number: int, era: int = 1) -> SignedMemberStatement | CeremonyRefusal:
        home = self.homes[number]
        found = ceremony.state(
            ceremony.Home(chain=CHAIN, start=self.start_of(number), decided=home.decided), EraNumber(era), home.key
        )
        if isinstance(found, CeremonyRefusal):
            return found
        home.sign_state = found[0]
        return ceremony.signed_statement(found[1], home.key)

    def stated(self, *numbers: int, era: int = 1) -> list[SignedMemberStatement]:
        found = [self.state(number, era) for number in numbers]
        assert not any(isinstance(one, CeremonyRefusal) for one in found), found
        return found  # type: ignore[return-value]

    def plan(
        self,
        statements: Iterable[SignedMemberStatement],
        departures: Iterable[Departure] = (),
        *,
        era: int = 1,
        added: Sequence[Decided] = (),
    ) -> SignedPlan | PlanRefusal:
        made = make_plan(statements, departures, era=EraNumber(era), past=self.past, added=added)
        if isinstance(made, PlanRefusal):
            return made
        return replace(made, authority=self.authority.sign(encode(made.plan)))

    def made(
        self,
        statements: Iterable[SignedMemberStatement],
        departures: Iterable[Departure] = (),
        *,
        era: int = 1,
        added: Sequence[Decided] = (),
    ) -> SignedPlan:
        """A plan that is one, known to all."""
        signed = self.plan(statements, departures, era=era, added=added)
        assert isinstance(signed, SignedPlan), signed
        fault = follow(signed, self.past)
        assert fault is None, fault
        return signed

    def join(self, number: int, plan: Plan) -> CeremonyRefusal | None:
        home = self.homes[number]
        found = ceremony.join(plan, home.sign_state, home.key)
        if isinstance(found, CeremonyRefusal):
            return found
        home.sign_state = found[0]
        self.joins.setdefault(plan_digest(plan), []).append(found[1])
        return None

    def join_all(self, plan: Plan, *numbers: int) -> None:
        for number in numbers:
            refusal = self.join(number, plan)
            assert refusal is None, refusal

    def joins_of(self, plan: Plan) -> list[Join]:
        return self.joins.get(plan_digest(plan), [])

    def apply(self, number: int, plan: Plan, *, signed_in: int = 0) -> Applied | CeremonyRefusal:
        home = self.homes[number]
        facts = LedgerFacts(height=home.height, block_at=home.block_at, signed_in=EraNumber(signed_in))
        found = ceremony.apply(
            plan, self.joins_of(plan), signed=home.sign_state, key=home.key.public_key, ledger=facts
        )
        if isinstance(found, Applied):
            home.sign_state, home.voted, home.prepared = found.sign_state, None, None
            home.applied = plan.applied
            if found.drops_carried:
                home.decided.pop()
        return found

    def address(self, number: int) -> Address:
        return self.homes[number].key.address

    def gone(self, number: int) -> Departure:
        return Departure(address=self.address(number), node_key=None)

    def replaced(self, number: int, key: SigningKey) -> Departure:
        return Departure(address=self.address(number), node_key=key.public_key)

    def membership_of(self, plan: Plan) -> Membership:
        return Membership(plan.members)
