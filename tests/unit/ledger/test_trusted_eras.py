"""From genesis through ceremonies to the members and the era of any height."""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.era_plans import Departure, EraProof
from consensus.identifiers import EraNumber, Height
from consensus.membership import Membership
from contracts.genesis import Genesis
from contracts.transactions import SetLeaving
from ledger.checkpoint import checkpoint_of
from ledger.trusted_sets import SetChange, SetStep, TrustedSets
from tests.support.begun_eras import ErasChain
from tests.support.checkpoints import proof_of_tip
from tests.support.contracts import make_genesis


def taken(steps: tuple[SetStep, ...], genesis: Genesis) -> TrustedSets | str:
    sets = TrustedSets(genesis)
    for step in steps:
        fault = sets.take(step)
        if fault is not None:
            return fault
    return sets


@pytest.fixture(scope="module")
def eras(tmp_path_factory):
    """Two blocks, era 1 with another key of home 1, two blocks, era 2 without home 4, two blocks."""
    made = ErasChain(tmp_path_factory.mktemp("eras") / "ledger")
    new = SigningKey(b"\x07" * 32).of_member(made.community.addresses[0])
    made.keys[new.public_key] = new
    for number, absent in enumerate(
        (
            [Departure(address=new.address, node_key=new.public_key)],
            [Departure(address=made.community.addresses[3], node_key=None)],
        ),
        start=1,
    ):
        made.grow()
        made.grow()
        made.begin(made.plan(number, absent=absent))
    made.grow()
    made.grow()
    yield made
    made.ledger.close()


def test_ceremonies_lead_on_from_genesis(eras):
    steps = eras.ledger.set_steps()
    assert [type(step) for step in steps] == [EraProof, EraProof]
    sets = taken(steps, eras.community.genesis)
    for height in range(1, 9):
        assert sets.at(Height(height)).members == eras.ledger.membership_at(Height(height)).members
        assert sets.eras.at(Height(height)) == eras.ledger.eras.at(Height(height))
    assert [len(sets.at(Height(height))) for height in (2, 3, 4, 5)] == [4, 4, 4, 3]


def with_plan(proof: EraProof, **changes: object) -> EraProof:
    return replace(proof, plan=replace(proof.plan, **changes))


@pytest.mark.parametrize(
    "alter",
    [
        lambda proof: replace(proof, joins=proof.joins[:2]),
        lambda proof: replace(proof, joins=(proof.joins[0],) * 3),
        lambda proof: with_plan(proof, members=proof.plan.members[:2]),
        lambda proof: with_plan(proof, quorums=(proof.plan.quorums[0][:1],)),
        lambda proof: with_plan(proof, base=Height(0)),
        lambda proof: with_plan(proof, era=EraNumber(7)),
        lambda proof: with_plan(proof, carried=bytes(32)),
        lambda proof: with_plan(proof, chain=bytes(32)),
        lambda proof: with_plan(proof, members=proof.plan.members * 2),
        lambda proof: replace(proof, authority=None),
        lambda proof: replace(proof, authority=SigningKey(b"\x08" * 32).sign(encode(proof.plan))),
    ],
)
@pytest.mark.parametrize("index", [0, 1])
def test_an_altered_ceremony_leads_nowhere(eras, index, alter):
    steps = list(eras.ledger.set_steps())
    steps[index] = alter(steps[index])
    assert "ceremony" in str(taken(tuple(steps), eras.community.genesis))


def test_a_ceremony_left_out_leads_nowhere(eras):
    first, second = eras.ledger.set_steps()
    assert "follows another" in str(taken((second,), eras.community.genesis))
    assert "not in its order" in str(taken((first, first), eras.community.genesis))


def test_what_a_carried_block_fixed_is_no_change_of_the_era_that_carries_it(tmp_path):
    """The era has decided it, and its header commits to the members without home 5; but the plan's go on."""
    chain = ErasChain(tmp_path / "ledger", make_genesis(5))
    chain.grow()
    block = chain.builder.build([chain.builder.transaction(4, SetLeaving(leaving=True))])
    chain.begin(chain.plan(1, prepared=chain.prepared(block)))
    chain.grow()
    certificate = chain.ledger.certificate(Height(2))
    fewer = chain.ledger.membership().members[:4]
    assert (certificate.era, block.header.membership) == (1, Membership(fewer).digest())
    (proof,) = chain.ledger.set_steps()
    change = SetChange(header=block.header, certificate=certificate, members=fewer)
    assert "carried over into era 1" in str(taken((proof, change), chain.community.genesis))
    chain.ledger.close()


def test_what_the_base_fixed_is_undone_by_the_era_that_begins_above_it(tmp_path):
    chain = ErasChain(tmp_path / "ledger", make_genesis(5))
    chain.grow()
    block = chain.grow([chain.builder.transaction(4, SetLeaving(leaving=True))])
    (change,) = chain.ledger.set_steps()
    assert change.header == block.header
    chain.begin(chain.plan(1))
    (proof,) = chain.ledger.set_steps()
    assert [len(members) for members in proof.plan.quorums] == [5, 4]
    for steps in ((proof, change), (change, proof)):
        assert "not in its order" in str(taken(steps, chain.community.genesis))
    while chain.ledger.height < 6:
        chain.grow()
    sets = taken(chain.ledger.set_steps(), chain.community.genesis)
    assert [len(sets.at(Height(height))) for height in (3, 4, 5, 7)] == [5, 5, 4, 4]
    chain.ledger.close()


def test_a_change_in_force_right_above_the_base_comes_before_the_ceremony(tmp_path):
    chain = ErasChain(tmp_path / "ledger", make_genesis(5))
    chain.grow([chain.builder.transaction(4, SetLeaving(leaving=True))])
    chain.grow()
    chain.begin(chain.plan(1, absent=[Departure(address=chain.community.addresses[3], node_key=None)]))
    steps = chain.ledger.set_steps()
    assert [type(step) for step in steps] == [SetChange, EraProof]
    sets = taken(steps, chain.community.genesis)
    assert [len(sets.at(Height(height))) for height in (2, 3, 4)] == [5, 3, 3]
    chain.ledger.close()


def test_a_block_proves_itself_around_ceremonies(tmp_path):
    """Also the last block of an era, which still names the members that the plan replaced."""
    chain = ErasChain(tmp_path / "ledger")
    new = SigningKey(b"\x07" * 32).of_member(chain.community.addresses[0])
    chain.keys[new.public_key] = new
    absences = [
        Departure(address=new.address, node_key=new.public_key),
        Departure(address=chain.community.addresses[3], node_key=None),
    ]

    def holds():
        checkpoint = checkpoint_of(proof_of_tip(chain.ledger), chain.community.genesis)
        both = chain.ledger.memberships()
        assert (checkpoint.undecided, checkpoint.following) == (both.undecided.members, both.following.members)

    for number, absent in enumerate(absences, start=1):
        for _ in range(2):
            chain.grow()
            holds()
        chain.begin(chain.plan(number, absent=[absent]))
        holds()
    for _ in range(3):
        chain.grow()
        holds()
    chain.ledger.close()
