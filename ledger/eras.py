"""Which eras this ledger lives in, and whose heights are whose: what ceremonies begun here say beside the state.

An era begins above its base. Its first own block, of its own number, carries the plan and the agreements, and its
execution writes the members; up to the height after it, they are the plan's. A carried block lies in between: the
same bytes as an earlier era made them, so it is checked as that era would.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.codec import DecodeError, decode
from consensus.era_plans import EraProof, Plan, first_height_of
from consensus.eras import Era, Eras
from consensus.identifiers import Address, Digest, EraNumber, Height, PublicKey
from consensus.membership import Membership, Memberships
from contracts.applicants import Standing
from contracts.clusters import sampling_above
from contracts.genesis import Genesis, chain_id
from contracts.joining import read_unfinished
from contracts.misconduct import suspended_among
from contracts.run import EraBeginning
from contracts.state import ERAS_KEY, MEMBER_LIST_KEY, EraTable, MemberList, Overlay, StateReader
from contracts.units import Milliseconds
from ledger.block import Block, block_digest, block_is_whole

DEPARTED_MAX: Final = 16
"""Of so many that left last the links stay open: whoever was away then still learns that it is a member no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunEra:
    """An era that this home began, from its files."""

    proof: EraProof
    carried: bytes | None
    """The block that the height above the base must be, as it is stored and sent."""

    @property
    def number(self) -> EraNumber:
        """Of the era."""
        return self.proof.plan.era

    @property
    def base(self) -> Height:
        """Last height of the eras before it."""
        return self.proof.plan.base

    @property
    def first_block(self) -> Height:
        """Height of the first block that the era made itself."""
        return Height(self.base + (1 if self.carried is None else 2))


class BegunEras:
    """All of them, in their order, and what they say of heights."""

    __slots__ = ("_begun", "_genesis", "eras")

    def __init__(self, genesis: Genesis, begun: Sequence[BegunEra] = ()) -> None:
        """Takes the chain's genesis and the eras that its ceremonies began, each followed by the next."""
        self._genesis = genesis
        self._begun = tuple(begun)
        self.eras = Eras(chain_id(genesis), tuple(one.proof.plan.start for one in self._begun))

    @property
    def chain(self) -> Digest:
        """Hash of genesis."""
        return self.eras.chain

    def at(self, height: Height) -> Era:
        """Returns the era of a height."""
        return self.eras.at(height)

    def membership_at(self, height: Height, state: StateReader) -> Membership:
        """Returns M(height): the plan's members while an era begins, else those that a state names.

        Args:
            height: any up to two above the state's block.
            state: after the tip, or after block height - 2 at least.
        """
        begun = self._of(height)
        if begun is not None and height <= begun.first_block + 1:
            return Membership(begun.proof.plan.members)
        return membership_in(state, height)

    def memberships_after(self, height: Height, state: StateReader) -> Memberships:
        """Returns the members of the two heights above a decided one.

        Args:
            height: of the newest block that the state has.
            state: after it. Who is suspended in it leads nothing at the next height, and what is drawn there it says
                too; a later state may say more.
        """
        sets = [self.membership_at(Height(height + ahead), state) for ahead in (1, 2)]
        overlay = Overlay(state)  # one for both: where clusters are drawn each reads the scores of all
        return Memberships(
            undecided=sets[0],
            following=sets[1],
            followers=_followers(height, state),
            suspended=suspended_among(sets[0].addresses, overlay),
            sampling=sampling_above(height, sets[0].members, overlay, self._genesis),
        )

    def is_above(self, height: Height) -> bool:
        """Says whether the newest era's base lies above a decided height: who is behind has blocks to fetch first."""
        return bool(self._begun) and self._begun[-1].base > height

    def member_of(self, key: PublicKey) -> Address | None:
        """Returns whose node key this is when the newest era begins: who is behind knows its peers by it."""
        return Membership(self._begun[-1].proof.plan.members).member_of(key)

    def proof_in(self, height: Height) -> EraProof | None:
        """Returns what the block of a height must carry: a ceremony if an era begins with it."""
        begun = self._of(height)
        return begun.proof if begun is not None and begun.first_block == height else None

    def beginning_in(self, height: Height, state: StateReader) -> EraBeginning | None:
        """Returns what the block of a height begins; `state` is the one before it."""
        proof = self.proof_in(height)
        if proof is None:
            return None
        known = {start.plan for start in Overlay(state).require(ERAS_KEY, EraTable).starts}
        number = proof.plan.era
        begun = [one for one in self._begun if one.number <= number]
        plans = [one.proof.plan for one in begun if one.proof.plan.start.plan not in known]
        return EraBeginning(
            starts=tuple(plan.start for plan in plans),
            base=proof.plan.base,
            members=proof.plan.members,
            ends=tuple(_ends(plans)),
        )

    def carried_at(self, height: Height) -> bytes | None:
        """Returns the block that a height must be, None if it may be any."""
        begun = self._of(height)
        return begun.carried if begun is not None and height == begun.base + 1 else None

    def proofs(self) -> dict[Height, tuple[EraProof, ...]]:
        """Returns why the eras began, by the first height of each; several where the earlier ones decided nothing."""
        firsts = sorted({first_height_of(one.proof.plan) for one in self._begun})
        return {
            first: tuple(one.proof for one in self._begun if first_height_of(one.proof.plan) == first)
            for first in firsts
        }

    def up_to(self, number: EraNumber) -> "BegunEras":
        """Returns the eras up to one: how who lived in it saw the chain."""
        return BegunEras(self._genesis, [one for one in self._begun if one.number <= number])

    def _of(self, height: Height) -> BegunEra | None:
        return next((one for one in reversed(self._begun) if height > one.base), None)


def _ends(plans: Sequence[Plan]) -> Iterator[tuple[Address, Milliseconds]]:
    """Yields when the certificates end of new homes that plans brought in and that are still there after the last."""
    members = plans[-1].members
    for plan in plans:
        for one in plan.departures:
            if one.valid_until_ms is not None and (one.address, one.node_key) in members:
                yield one.address, Milliseconds(one.valid_until_ms)


def _followers(height: Height, state: StateReader) -> tuple[tuple[Address, PublicKey], ...]:
    candidates = (
        (address, applicant.node_key)
        for address, applicant in read_unfinished(Overlay(state))
        if applicant.standing is Standing.CANDIDATE
    )
    return (*candidates, *_departed(height, state))


def _departed(height: Height, state: StateReader) -> tuple[tuple[Address, PublicKey], ...]:
    """Returns who left last, by the key that it had then, and is in no set any more. Whom a ceremony removed lives in
    no era of ours, and a key that a member replaced is nobody's.
    """
    overlay = Overlay(state)
    bases = {start.base for start in overlay.require(ERAS_KEY, EraTable).starts}
    known = overlay.require(MEMBER_LIST_KEY, MemberList)
    newest = {term.address: term for term in known.terms}  # a term under a later key stands behind the one before
    left = sorted(
        (term.last_height, term.address, term.node_key)
        for term in newest.values()
        if term.last_height is not None and term.last_height <= height and term.last_height not in bases
    )
    return tuple((address, key) for _, address, key in left[-DEPARTED_MAX:])


def parent_of(name: Digest, proposal: bytes) -> Digest | None:
    """Returns the parent of the block that a proposal is, whole and of this name; None if it is none."""
    try:
        block = decode(proposal, Block)
    except DecodeError:
        return None
    return block.header.parent if block_digest(block.header) == name and block_is_whole(block) else None


def authority_in(proposal: bytes) -> PublicKey:
    """Returns the key that acts for the authority after a block, as its header says; the proposal is a block."""
    return decode(proposal, Block).header.authority


def members_in(proposal: bytes, era: EraNumber) -> Digest | None:
    """Returns the digest of the members two heights above a block, as its header says; the proposal is a block. None
    if another era made it: of a block that is carried over the era's first own block undoes what it fixed.
    """
    header = decode(proposal, Block).header
    return header.membership if header.era == era else None


def membership_in(state: StateReader, height: Height) -> Membership:
    """Returns M(height) as a state names it: the state after block height - 2, or any later one."""
    return Membership(Overlay(state).require(MEMBER_LIST_KEY, MemberList).at(height))
