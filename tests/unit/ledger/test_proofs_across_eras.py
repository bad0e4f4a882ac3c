"""Leaders' proofs where a ceremony gives a leader another key: the carried block holds, the new key seasons."""

from pathlib import Path

from consensus.cryptography import SigningKey
from consensus.era_plans import Departure
from contracts.panels import PANEL_MAX
from contracts.randomness_records import Randomness
from contracts.state import RANDOMNESS_KEY
from contracts.state_reading import require
from ledger.verify import verify_ledger
from tests.support.begun_eras import ErasChain
from tests.support.contracts import make_genesis
from tests.support.joining import newcomer, request_of

MEMBERS = PANEL_MAX + 3
BASE = 3
TURNS = 2


def test_a_carried_block_is_proved_by_its_leaders_key_of_then_and_the_new_one_seasons(
    tmp_path: Path,
) -> None:
    chain = ErasChain(tmp_path / "ledger", make_genesis(MEMBERS))
    first, new = chain.community.addresses[0], SigningKey(b"\x07" * 32)
    while chain.ledger.height < BASE - 1:
        chain.grow([chain.builder.transfer(2, 3, 1)])
    chain.grow([chain.builder.transaction(1, request_of(chain.community, newcomer(1)))])
    block = chain.builder.build(slot=MEMBERS)
    assert block.header.leader == first
    assert block.header.vrf_proof
    chain.keys[new.public_key] = new.of_member(first)
    chain.builder.node_keys.append(new)
    absent = [Departure(address=first, node_key=new.public_key)]
    chain.begin(chain.plan(1, absent=absent, prepared=chain.prepared(block)))
    chain.ledger._executed.clear()
    assert chain.ledger.check(block) is None
    chain.grow()
    assert chain.ledger.tip_slot == MEMBERS
    chain.grow()
    assert [one.node_key for one in require(chain.ledger, RANDOMNESS_KEY, Randomness).seasoning] == [new.public_key]
    for _ in range(TURNS * MEMBERS):
        header = chain.grow().header
        assert (header.vrf_proof == b"") is (header.leader == first)
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None, begun=chain.begun)
    assert (report.damage, report.heights_checked) == ((), BASE + 2 + TURNS * MEMBERS)
