"""A replica's evidence in the form that travels: it proves the same offence to anyone, and nothing else."""

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import Era, Eras, EraStart, first_era
from consensus.evidence import (
    Equivocation,
    Evidence,
    Offence,
    Signed,
    SignedStatement,
    contradiction,
    equivocation_of,
    proven_offence,
)
from consensus.identifiers import Digest, EraNumber, Height, Slot
from consensus.messages import (
    Claim,
    Commit,
    Prepare,
    PrePrepare,
    ViewChange,
    VoteStatement,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)

KEY, OTHER = SigningKey(bytes([1]) * 32), SigningKey(bytes([2]) * 32)
CHAIN, A, B = (Digest(bytes([number]) * 32) for number in (7, 8, 9))
ERA = first_era(CHAIN)
HEIGHT, SLOT = Height(5), Slot(9)


def proposal(block: Digest) -> PrePrepare:
    signature = KEY.sign(vote_bytes(CHAIN, HEIGHT, SLOT, block))
    return PrePrepare(
        height=HEIGHT,
        slot=SLOT,
        block=block,
        signer=KEY.address,
        signature=signature,
        justification=None,
        proposal=b"a whole block",
    )


def vote(block: Digest) -> Prepare:
    signature = KEY.sign(vote_bytes(CHAIN, HEIGHT, SLOT, block))
    return Prepare(height=HEIGHT, slot=SLOT, block=block, signer=KEY.address, signature=signature)


def commit(block: Digest) -> Commit:
    signature = KEY.sign(commit_bytes(CHAIN, HEIGHT, SLOT, block))
    return Commit(height=HEIGHT, slot=SLOT, block=block, signer=KEY.address, signature=signature)


def view_change(slot: int, claim: Claim | None) -> ViewChange:
    signature = KEY.sign(view_change_bytes(CHAIN, HEIGHT, Slot(slot), claim))
    return ViewChange(
        height=HEIGHT, slot=Slot(slot), claim=claim, signer=KEY.address, signature=signature, certificate=None
    )


PAIRS: dict[Offence, tuple[Signed, Signed]] = {
    Offence.TWO_VOTES: (proposal(A), vote(B)),
    Offence.TWO_COMMITS: (commit(A), commit(B)),
    Offence.TWO_VIEW_CHANGES: (view_change(10, None), view_change(10, Claim(slot=SLOT, block=A))),
    Offence.COMMIT_DENIED: (commit(A), view_change(10, None)),
}


def travelling(first: Signed, second: Signed) -> Equivocation:
    offence = contradiction(first, second)
    assert offence is not None
    evidence = Evidence(offence=offence, signer=KEY.address, height=HEIGHT, first=first, second=second)
    return equivocation_of(evidence, ERA)


def test_every_offence_has_a_pair() -> None:
    assert set(PAIRS) == set(Offence)


@pytest.mark.parametrize(("offence", "pair"), PAIRS.items(), ids=lambda value: getattr(value, "value", ""))
def test_what_travels_proves_the_offence(offence: Offence, pair: tuple[Signed, Signed]) -> None:
    for first, second in (pair, pair[::-1]):
        sent = travelling(first, second)
        received = decode(encode(sent), Equivocation)
        assert received == sent
        assert len(encode(sent)) < 1_000, "no proposal and no certificate travels"
        assert received.height == HEIGHT
        assert proven_offence(received, KEY.public_key, ERA) is offence


@pytest.mark.parametrize("pair", PAIRS.values(), ids=lambda pair: type(pair[0]).__name__)
def test_nothing_is_proven_of_another_key_or_for_another_chain(pair: tuple[Signed, Signed]) -> None:
    sent = travelling(*pair)
    assert proven_offence(sent, OTHER.public_key, ERA) is None
    assert proven_offence(sent, KEY.public_key, first_era(A)) is None
    assert proven_offence(replace(sent, era=EraNumber(1)), KEY.public_key, ERA) is None
    assert proven_offence(replace(sent, second=sent.first), KEY.public_key, ERA) is None
    forged = replace(sent.second, signature=OTHER.sign(encode(sent.second.statement)))
    assert proven_offence(replace(sent, second=forged), KEY.public_key, ERA) is None


def test_statements_of_two_heights_prove_nothing() -> None:
    sent = travelling(vote(A), vote(B))
    later = replace(sent.second.statement, height=Height(6))
    other = replace(sent.second, statement=later, signature=KEY.sign(encode(later)))
    assert proven_offence(replace(sent, second=other), KEY.public_key, ERA) is None


# --- eras -----------------------------------------------------------------------------------------------------

LATER = Eras(CHAIN, (EraStart(number=EraNumber(1), plan=A, base=Height(4)),)).at(HEIGHT)


def signed_in(era: Era, block: Digest) -> SignedStatement:
    statement = VoteStatement(domain=era.domain, height=HEIGHT, slot=SLOT, block=block)
    return SignedStatement(statement=statement, signature=KEY.sign(encode(statement)))


def two_votes(era: Era, first: Era, second: Era) -> Equivocation:
    """Two votes for different blocks, each of an era, as evidence of an era."""
    return Equivocation(offender=KEY.address, era=era.number, first=signed_in(first, A), second=signed_in(second, B))


def test_two_statements_of_one_era_prove_an_offence_in_it_and_in_no_other() -> None:
    for era, other in ((ERA, LATER), (LATER, ERA)):
        evidence = two_votes(era, era, era)
        assert proven_offence(evidence, KEY.public_key, era) is Offence.TWO_VOTES
        assert proven_offence(evidence, KEY.public_key, other) is None
        assert proven_offence(replace(evidence, era=other.number), KEY.public_key, other) is None


def test_statements_of_two_eras_contradict_nothing() -> None:
    for era in (ERA, LATER):
        for first, second in ((ERA, LATER), (LATER, ERA)):
            assert proven_offence(two_votes(era, first, second), KEY.public_key, era) is None
