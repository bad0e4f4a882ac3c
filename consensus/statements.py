"""What must hold of a member's statement for a ceremony, in the era that its author takes part in."""

from collections.abc import Callable, Mapping
from typing import Final

from consensus.ceremony_records import MemberStatement, SignedMemberStatement
from consensus.codec import encode
from consensus.cryptography import verify
from consensus.era_plans import AppliedEra
from consensus.eras import Era
from consensus.identifiers import FIXED_AHEAD, GENESIS_HEIGHT, Height, PublicKey
from consensus.membership import Membership
from consensus.messages import Decided, PreparedCertificate
from consensus.past import Past
from consensus.verification import commit_certificate_holds, prepared_certificate_holds, proposal_refusal


def bad_field(signed: SignedMemberStatement, past: Past) -> str | None:
    """Returns the first field of a statement that does not hold, None if all do."""
    return next((name for name, holds in _FIELDS.items() if not holds(signed, past)), None)


def _signature_holds(signed: SignedMemberStatement, past: Past) -> bool:
    key = author_key(signed.statement, past)
    return key is not None and verify(key, encode(signed.statement), signed.signature)


def author_key(statement: MemberStatement, past: Past) -> PublicKey | None:
    """Returns the node key that the author has at its undecided height, in the era that it takes part in."""
    membership = past.membership(statement.applied, Height(statement.height + 1))
    return None if membership is None else membership.key_of(statement.author)


def _joined_is_known(statement: MemberStatement, past: Past) -> bool:
    agreed = agreed_era(statement)
    return agreed is None or past.knows(agreed)


def agreed_era(statement: MemberStatement) -> AppliedEra | None:
    """Returns the era that the author agreed to begin last, None if it agreed to none."""
    joined = statement.joined
    return None if joined is None else AppliedEra(era=joined.era, plan=joined.plan)


def _decided_holds(statement: MemberStatement, past: Past) -> bool:
    """The newest blocks have their certificates and lead to each other; the last one is the tip."""
    if statement.height == GENESIS_HEIGHT:
        return statement.block == past.chain and not statement.decided
    last = len(statement.decided) - 1
    names = [decided.certificate.block for decided in statement.decided]
    return (
        last >= 0
        and names[last] == statement.block
        and all(
            one.certificate.height == statement.height - (last - index)
            and decided_holds(one, statement.applied, past)
            and (index == 0 or past.parent_of(names[index], one.proposal) == names[index - 1])
            for index, one in enumerate(statement.decided)
        )
    )


def _changes_hold(statement: MemberStatement, past: Past) -> bool:
    """The members above the newest blocks are those that these commit to: else a change of them is missing."""
    for decided in statement.decided:
        said = past.members_in(decided.proposal, statement.applied.era)
        known = past.membership(statement.applied, Height(decided.certificate.height + FIXED_AHEAD))
        if said is not None and (known is None or known.digest() != said):
            return False
    return True


def decided_holds(decided: Decided, applied: AppliedEra, past: Past) -> bool:
    """Says whether a block was decided in the chain of who takes part in an era."""
    certificate = decided.certificate
    membership = past.membership(applied, certificate.height)
    return (
        membership is not None
        and commit_certificate_holds(certificate, membership, past.eras(applied).at(certificate.height))
        and is_whole(decided, past)
    )


def is_whole(decided: Decided, past: Past) -> bool:
    """Says whether the bytes beside a certificate are the block that it names."""
    return past.parent_of(decided.certificate.block, decided.proposal) is not None


def _voted_holds(statement: MemberStatement, past: Past) -> bool:
    """The block voted for extends the tip, and has the signature of a member. Whether that one led the slot only a
    state says, which who reads this may not have. A block counts where F + 1 voted for it: one of them is honest, and
    has that state.
    """
    voted = statement.voted
    if voted is None:
        return True
    height, membership, era = _undecided(statement, past)
    return (
        voted.height == height
        and proposal_refusal(voted, membership, era) is None
        and past.parent_of(voted.block, voted.proposal) == statement.block
    )


def _prepared_holds(statement: MemberStatement, past: Past) -> bool:
    """The prepared block extends the tip, and has its certificate."""
    if statement.prepared is None:
        return True
    height, membership, era = _undecided(statement, past)
    certificate = statement.prepared.certificate
    return (
        _is_prepared(certificate, height, membership, era)
        and past.parent_of(certificate.block, statement.prepared.proposal) == statement.block
    )


def _undecided(statement: MemberStatement, past: Past) -> tuple[Height, Membership, Era]:
    """Returns the height above the tip, with its members and its era."""
    height = Height(statement.height + 1)
    membership = past.membership(statement.applied, height)
    assert membership is not None, "the author is one of them"
    return height, membership, past.eras(statement.applied).at(height)


def _is_prepared(certificate: PreparedCertificate, height: Height, membership: Membership, era: Era) -> bool:
    return certificate.height == height and prepared_certificate_holds(certificate, membership, era)


_FIELDS: Final[Mapping[str, Callable[[SignedMemberStatement, Past], bool]]] = {
    "chain": lambda signed, past: signed.statement.chain == past.chain,
    "applied": lambda signed, past: past.knows(signed.statement.applied),
    "joined": lambda signed, past: _joined_is_known(signed.statement, past),
    "era": lambda signed, _: signed.statement.era > signed.statement.applied.era,
    "author": lambda signed, past: author_key(signed.statement, past) is not None,
    "signature": _signature_holds,
    "decided": lambda signed, past: _decided_holds(signed.statement, past),
    "changes": lambda signed, past: _changes_hold(signed.statement, past),
    "voted": lambda signed, past: _voted_holds(signed.statement, past),
    "prepared": lambda signed, past: _prepared_holds(signed.statement, past),
}
"""What must hold of a statement, by the field that is at fault; each row counts on those before it."""
