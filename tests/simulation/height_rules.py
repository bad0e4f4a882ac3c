"""What an honest member signs at a height, and what is decided there: production code, asked about one situation.

Each question makes a real `Member` with a sign state, gives it real statements, and runs one rule: `rule_vote` (S1),
`rule_commit` (S3), `view_change` (S4), `rule_decide` (S5); or asks `justification_holds` (S2). What the member then
sends, and its sign state, are the answer.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple, TypeVar

from consensus import safety, verification
from consensus.eras import Eras
from consensus.events import BlockOrigin, Instant, PreparedBlock, SignState, fresh_sign_state
from consensus.height import HeightState
from consensus.identifiers import Digest, Height, Slot
from consensus.member import KeyRing, Member, Parameters
from consensus.membership import Membership, Memberships
from consensus.messages import (
    Claim,
    Commit,
    Endorsement,
    Justification,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    ViewChangeHeader,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.phases import Phase
from tests.simulation.signing import KeyedHashKey, keyed_hash_keys

MEMBERS: Final = 4

Block = tuple[int, int]
"""The slot that its header names, and its number among the blocks of that slot."""
Statement = tuple[int, Block]
"""The slot of a vote or COMMIT, and its block."""
Claimed = tuple[Statement, ...]
"""What a VIEW-CHANGE claims: one statement, or nothing."""


class History(NamedTuple):
    """What an honest member signed, and what binds it by now."""

    sign_state: SignState
    votes: frozenset[Statement] = frozenset()
    commits: frozenset[Statement] = frozenset()
    changes: frozenset[tuple[int, Claimed]] = frozenset()
    """Slots that it asked for, with what it claimed."""

    def with_signed(self, more: "History") -> "History":
        """Returns the history with what was signed after it."""
        return History(
            more.sign_state, self.votes | more.votes, self.commits | more.commits, self.changes | more.changes
        )


class Proposal(NamedTuple):
    """A block proposed in a slot; S1 asks of a justification that holds only whether it claims a block."""

    slot: int
    block: Block
    is_justified: bool = False
    is_claimed: bool = False


# --- real statements -------------------------------------------------------------------------------------------

_KEYS: Final = sorted(keyed_hash_keys(MEMBERS), key=lambda key: key.address)
"""In the order that certificates and justifications have."""
_MEMBERSHIP: Final = Membership.of_keys([key.public_key for key in _KEYS])
_MEMBERSHIPS: Final = Memberships(undecided=_MEMBERSHIP, following=_MEMBERSHIP)
QUORUM: Final = _MEMBERSHIP.quorum
LIARS: Final = _MEMBERSHIP.fault_bound
HONEST: Final = MEMBERS - LIARS

_ERAS: Final = Eras(Digest(bytes(32)))
_HEIGHT: Final = Height(1)
_ERA: Final = _ERAS.at(_HEIGHT)
_NOW: Final = Instant(monotonic_ms=0, clock_ms=0)
_PARAMETERS: Final = Parameters(slot_duration_ms=1_000, attempt_max_ms=60_000)
_BODY: Final = b"block"

NOTHING_SIGNED: Final = History(fresh_sign_state(_HEIGHT))

S = TypeVar("S", Prepare, Commit)


def digest_of(block: Block) -> Digest:
    """Returns the block's name in statements."""
    return Digest(bytes(block).ljust(32))


def claim_of(claimed: Claimed) -> Claim | None:
    """Returns what a VIEW-CHANGE says."""
    return next((Claim(slot=Slot(slot), block=digest_of(block)) for slot, block in claimed), None)


def claimed_by(claim: Claim | None) -> Claimed:
    """Returns what a VIEW-CHANGE, or a sign state, speaks of."""
    return () if claim is None else (_statement(claim),)


def _statement(signed: Prepare | Commit | Claim) -> Statement:
    return signed.slot, (signed.block[0], signed.block[1])


def _signed_by(key: KeyedHashKey, statement: Statement, kind: type[S], bytes_of: Callable[..., bytes]) -> S:
    slot, block = Slot(statement[0]), digest_of(statement[1])
    signature = key.sign(bytes_of(_ERA.domain, _HEIGHT, slot, block))
    return kind(height=_HEIGHT, slot=slot, block=block, signer=key.address, signature=signature)


def _votes(statement: Statement, honest: int) -> list[Prepare]:
    """Returns the votes of so many honest members and of the liar, Q of them at most."""
    return [_signed_by(key, statement, Prepare, vote_bytes) for key in _KEYS[: min(honest + LIARS, QUORUM)]]


def _commits(statement: Statement, honest: int) -> list[Commit]:
    return [_signed_by(key, statement, Commit, commit_bytes) for key in _KEYS[: min(honest + LIARS, QUORUM)]]


def _certificate(statement: Statement, honest: int) -> PreparedCertificate:
    """Returns the most that so many honest votes and the liar's make: with fewer than Q it holds nowhere."""
    votes = _votes(statement, honest)
    endorsements = tuple(Endorsement(signer=vote.signer, signature=vote.signature) for vote in votes)
    return PreparedCertificate(
        era=_ERA.number, height=_HEIGHT, slot=votes[0].slot, block=votes[0].block, endorsements=endorsements
    )


def _headers(slot: int, claims: tuple[Claimed, ...]) -> tuple[ViewChangeHeader, ...]:
    return tuple(
        ViewChangeHeader(
            signer=key.address,
            claim=claim,
            signature=key.sign(view_change_bytes(_ERA.domain, _HEIGHT, Slot(slot), claim)),
        )
        for key, claim in zip(_KEYS, map(claim_of, claims), strict=False)
    )


# --- a real member ---------------------------------------------------------------------------------------------


def _member(sign_state: SignState) -> Member:
    prepared = [
        PreparedBlock(certificate=_certificate(statement, HONEST), proposal=_BODY)
        for statement in claimed_by(sign_state.prepared)
    ]
    state = HeightState(
        height=_HEIGHT,
        era=_ERA,
        memberships=_MEMBERSHIPS,
        tip=_ERAS.chain,
        parent_slot=Slot(0),
        started_ms=0,
        sign_state=sign_state,
        prepared=next(iter(prepared), None),
    )
    return Member(
        keys=KeyRing(_KEYS[0]), parameters=_PARAMETERS, eras=_ERAS, state=state, phase=Phase.WAITING, now=_NOW
    )


def _sent_by(member: Member) -> History:
    """Returns what a member signed, and what binds it since."""
    sent = [send.message for send in member.out.send]
    return History(
        member.state.sign_state,
        frozenset(_statement(message) for message in sent if isinstance(message, Prepare)),
        frozenset(_statement(message) for message in sent if isinstance(message, Commit)),
        frozenset((message.slot, claimed_by(message.claim)) for message in sent if isinstance(message, ViewChange)),
    )


class Rules:
    """The production rules, asked once for each situation: what they say depends on nothing else.

    Each returns what the member then signs, None if it does not.
    """

    def __init__(self) -> None:
        self.vote = cache(self._vote)
        self.commit = cache(self._commit)
        self.view_change = cache(self._view_change)
        self.decides = cache(self._decides)
        self.is_justified = cache(self._is_justified)

    @staticmethod
    def _vote(sign_state: SignState, proposal: Proposal) -> History | None:
        """S1, for a proposal of another member that is valid, as is its justification."""
        member, (leaders, *_) = _member(sign_state), reversed(_votes((proposal.slot, proposal.block), HONEST))
        certificate = _certificate((proposal.slot - 1, proposal.block), HONEST) if proposal.is_claimed else None
        member.state.proposals.add(
            PrePrepare(
                height=_HEIGHT,
                slot=leaders.slot,
                block=leaders.block,
                signer=leaders.signer,
                signature=leaders.signature,
                justification=Justification(headers=(), certificate=certificate) if proposal.is_justified else None,
                proposal=_BODY,
            )
        )
        member.state.origins[leaders.block] = BlockOrigin(Slot(proposal.block[0]), leaders.signer)
        return _sent_by(member) if safety.rule_vote(member, _NOW) else None

    @staticmethod
    def _commit(sign_state: SignState, statement: Statement, honest: int) -> History | None:
        """S3, when so many honest votes and the liar's are at hand, and the body."""
        member = _member(sign_state)
        for vote in _votes(statement, honest):
            member.state.votes.add(vote)
        member.state.bodies[digest_of(statement[1])] = _BODY
        return _sent_by(member) if safety.rule_commit(member, _NOW) else None

    @staticmethod
    def _view_change(sign_state: SignState, slot: int) -> History | None:
        """S4."""
        member = _member(sign_state)
        return _sent_by(member) if safety.view_change(member, Slot(slot), _NOW) else None

    @staticmethod
    def _decides(statement: Statement, honest: int) -> bool:
        """S5: says whether so many honest COMMITs and the liar's decide."""
        member = _member(NOTHING_SIGNED.sign_state)
        for commit in _commits(statement, honest):
            member.state.commits.add(commit)
        member.state.bodies[digest_of(statement[1])] = _BODY
        return safety.rule_decide(member, _NOW)

    @staticmethod
    def _is_justified(
        slot: int, block: Block, claims: tuple[Claimed, ...], certified: tuple[Statement, int] | None
    ) -> bool:
        """S2: says whether VIEW-CHANGEs for a slot allow a block.

        Args:
            slot: that all of them ask for.
            block: proposed.
            claims: of each, in the order of their signers.
            certified: what the certificate shown names, and how many honest members voted so; None: none is shown.
        """
        certificate = None if certified is None else _certificate(*certified)
        justification = Justification(headers=_headers(slot, claims), certificate=certificate)
        return verification.justification_holds(
            justification, _HEIGHT, Slot(slot), digest_of(block), _MEMBERSHIP, _ERA
        )
