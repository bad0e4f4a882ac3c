"""A ledger whose chain goes through ceremonies: real plans of real statements, real blocks of every era."""

from collections.abc import Sequence
from pathlib import Path

from consensus import ceremony
from consensus.ceremony_records import SignedMemberStatement, SignedPlan
from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import AppliedEra, Departure, EraProof, Join, join_bytes
from consensus.events import EraStanding, PreparedBlock, fresh_sign_state, standing_in
from consensus.identifiers import EraNumber, Height
from consensus.membership import Membership
from consensus.messages import Endorsement, PreparedCertificate, vote_bytes
from consensus.past import FIRST, Past
from consensus.plans import carried_proposal, follow, make_plan
from consensus.replica import Start
from ledger.block import Block, block_digest
from ledger.eras import BegunEra, authority_in, members_in, parent_of
from ledger.ledger import Ledger
from ledger.trusted_sets import SetChange
from node.chain.application import read_decided
from tests.support.changing_members import certify_by
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder


class ErasChain:
    """One ledger of a community of four, and what its members would do."""

    def __init__(self, directory: Path, community: Community | None = None) -> None:
        self.directory = directory
        self.builder = ChainBuilder.create(directory, community)
        self.community = self.builder.community
        self.keys: dict[bytes, SigningKey] = {key.public_key: key for key in self.community.node_keys}
        self.begun: list[BegunEra] = []
        self.applied: AppliedEra = FIRST
        self.authority = self.community.authority_key
        genesis = Membership.of_keys([key.public_key for key in self.community.node_keys])
        self.past = Past(
            self.ledger.chain,
            lambda _: genesis,
            first_authority=self.authority.public_key,
            parent_of=parent_of,
            authority_in=authority_in,
            members_in=members_in,
        )

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    def reopen(self) -> None:
        self.ledger.close()
        self.builder.ledger = Ledger.open(self.directory, self.community.genesis, begun=self.begun)

    def signers(self, height: int) -> list[SigningKey]:
        members = self.ledger.membership_at(Height(height))
        return [self.keys[key] for _, key in members.members[: members.quorum]]

    def grow(self, transactions: Sequence[bytes] = (), *, slot: int | None = None) -> Block:
        block = self.builder.build(transactions, slot=slot)
        self.ledger.append(block, certify_by(self.ledger, block, self.signers(block.header.height)))
        return block

    def prepared(self, block: Block) -> PreparedBlock:
        """A certificate of votes for a block above the tip."""
        height, slot, name = block.header.height, block.header.slot, block_digest(block.header)
        era = self.ledger.eras.at(height)
        signed = vote_bytes(era.domain, height, slot, name)
        endorsements = [Endorsement(signer=key.address, signature=key.sign(signed)) for key in self.signers(height)]
        certificate = PreparedCertificate(
            era=era.number,
            height=height,
            slot=slot,
            block=name,
            endorsements=tuple(sorted(endorsements, key=lambda one: one.signer)),
        )
        return PreparedBlock(certificate=certificate, proposal=encode(block))

    def state(self, key: SigningKey, era: int, prepared: PreparedBlock | None) -> SignedMemberStatement:
        ledger = self.ledger
        newest = ledger.eras.newest
        newest_two = range(max(1, ledger.height - 1), ledger.height + 1)
        standing = standing_in(newest) if newest.number else EraStanding()
        home = ceremony.Home(
            chain=ledger.chain,
            start=Start(
                height=Height(ledger.height + 1),
                eras=ledger.eras,
                memberships=ledger.memberships(),
                tip=ledger.tip,
                parent_slot=ledger.tip_slot,
                sign_state=fresh_sign_state(Height(ledger.height), standing),
                prepared=prepared,
            ),
            decided=[read_decided(ledger, Height(height)) for height in newest_two],
        )
        stated = ceremony.state(home, EraNumber(era), key)
        assert not isinstance(stated, ceremony.CeremonyRefusal), stated
        return ceremony.signed_statement(stated[1], key)

    def plan(
        self, era: int, *, absent: Sequence[Departure] = (), prepared: PreparedBlock | None = None
    ) -> SignedPlan:
        """All members state but those who are said to be gone or replaced."""
        for step in self.ledger.set_steps():
            if isinstance(step, SetChange) and step.header.era == self.applied.era:
                self.past.learn(self.applied, step.first_height, Membership(step.members))
        left = {departure.address for departure in absent}
        there = [key for address, key in self.ledger.membership().members if address not in left]
        statements = [self.state(self.keys[key], era, prepared) for key in there]
        made = make_plan(statements, absent, era=EraNumber(era), past=self.past)
        assert isinstance(made, SignedPlan), made
        signed = SignedPlan(
            plan=made.plan,
            statements=made.statements,
            added=made.added,
            changes=(),
            authority=self.authority.sign(encode(made.plan)),
        )
        assert follow(signed, self.past) is None
        return signed

    def begin(self, signed: SignedPlan) -> None:
        """The home applies a plan that all who stated agreed to."""
        plan = signed.plan
        joins = tuple(
            Join(author=name.author, signature=self.keys[name.node_key].sign(join_bytes(plan, name.author)))
            for name in plan.statements
        )
        proof = EraProof(plan=plan, joins=joins, authority=signed.authority)
        self.begun.append(BegunEra(proof=proof, carried=carried_proposal(signed, self.past)))
        self.applied = plan.applied
        self.reopen()

    def decoded(self, proposal: bytes) -> Block:
        return decode(proposal, Block)
