"""Whose quorum counts in a ceremony of a chain whose members changed: real blocks, each with its height's quorum."""

import pytest

from consensus import ceremony
from consensus.ceremony_records import SignedMemberStatement
from consensus.cryptography import SigningKey
from consensus.events import fresh_sign_state
from consensus.identifiers import EraNumber, Height
from consensus.membership import Membership
from consensus.past import FIRST, Past
from consensus.plans import PlanRefusal, make_plan
from consensus.replica import Start
from consensus.statements import bad_field
from ledger.eras import authority_in, members_in, parent_of
from node.chain.application import read_decided
from tests.support.changing_members import ChangingChain, certify_by, changing_chain

TIP = 7
"""Block 5 gives home 2 another key, from this height on."""


@pytest.fixture
def chain(tmp_path):
    with changing_chain(tmp_path / "ledger") as made:
        while made.ledger.height < TIP:
            grow(made)
        yield made


def grow(chain: ChangingChain) -> None:
    block = chain.builder.build([])
    signers = common(chain) if block.header.height > TIP - 2 else chain.signers(block.header.height)
    chain.ledger.append(block, certify_by(chain.ledger, block, signers))


def common(chain: ChangingChain) -> list[SigningKey]:
    """A quorum of the members before home 2 had another key, and of those after it."""
    first, _, third, fourth = chain.community.node_keys
    return [first, third, fourth, chain.fifth]


def past_of(chain: ChangingChain, changes: int) -> Past:
    """What somebody knows who has genesis and was brought the first ones of the changes."""
    genesis = Membership.of_keys([key.public_key for key in chain.community.node_keys])
    past = Past(
        chain.ledger.chain,
        lambda _: genesis,
        first_authority=chain.community.authority_key.public_key,
        parent_of=parent_of,
        authority_in=authority_in,
        members_in=members_in,
    )
    for step in chain.ledger.set_steps()[:changes]:
        assert past.learn(FIRST, step.first_height, Membership(step.members))
    return past


def stated(chain: ChangingChain, key: SigningKey) -> SignedMemberStatement:
    ledger = chain.ledger
    start = Start(
        height=Height(ledger.height + 1),
        eras=ledger.eras,
        memberships=ledger.memberships(),
        tip=ledger.tip,
        parent_slot=ledger.tip_slot,
        sign_state=fresh_sign_state(Height(ledger.height + 1)),
    )
    decided = [read_decided(ledger, Height(height)) for height in (ledger.height - 1, ledger.height)]
    found = ceremony.state(ceremony.Home(chain=ledger.chain, start=start, decided=decided), EraNumber(1), key)
    assert not isinstance(found, ceremony.CeremonyRefusal)
    return ceremony.signed_statement(found[1], key)


def test_blocks_that_the_old_members_could_have_decided_too_name_the_new_ones(chain):
    """The quorum that signed is one of both sets: certificates alone would let a replaced key come back."""
    statement = stated(chain, chain.community.node_keys[0])
    assert bad_field(statement, past_of(chain, 2)) is None
    assert bad_field(statement, past_of(chain, 1)) == "changes"
    assert bad_field(statement, past_of(chain, 0)) == "decided"


def test_the_plan_speaks_of_the_set_above_the_base(chain):
    made = make_plan([stated(chain, key) for key in common(chain)], [], era=EraNumber(1), past=past_of(chain, 2))
    assert made.plan.quorums == (chain.set_of(TIP + 1).members,)
    assert made.plan.members == chain.set_of(TIP + 1).members
    assert not made.plan.is_everybody_there


def test_a_change_that_the_base_has_fixed_needs_a_quorum_of_both_sets(chain):
    """Block 8 lets home 1 leave, from 10 on. The plan begins with the set of 9, which loses it once the era runs."""
    grow(chain)
    statements, past = [stated(chain, key) for key in common(chain)], past_of(chain, 3)
    made = make_plan(statements, [], era=EraNumber(1), past=past)
    assert made.plan.quorums == (chain.set_of(9).members, chain.set_of(10).members)
    assert made.plan.members == chain.set_of(9).members
    assert make_plan(statements[1:], [], era=EraNumber(1), past=past) is PlanRefusal.TOO_FEW


def test_statements_of_different_heights_count_by_the_sets_above_the_base(chain):
    """Home 1 is behind and does not know yet that it leaves; the others are two blocks further."""
    behind = stated(chain, chain.community.node_keys[0])
    grow(chain)
    grow(chain)
    staying = [stated(chain, key) for key in chain.signers(10)]
    made = make_plan([behind, *staying], [], era=EraNumber(1), past=past_of(chain, 3))
    assert (made.plan.base, made.plan.quorums) == (9, (chain.set_of(10).members,))
    assert len(made.plan.statements) == len(staying) + 1


def test_changes_are_learned_in_order_and_one_per_height(chain):
    past = past_of(chain, 2)
    first, second = (Membership(step.members) for step in chain.ledger.set_steps())
    assert not past.learn(FIRST, Height(7), first)
    assert not past.learn(FIRST, Height(4), second)
    assert past.membership(FIRST, Height(7)).members == second.members
