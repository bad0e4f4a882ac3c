"""A home joins a chain on disk: the blocks that candidates name, who follows, the larger set, the check."""

from pathlib import Path

import pytest

from consensus.identifiers import Digest, Height
from contracts.joining import READY_HEIGHTS_MAX
from contracts.receipts import Reason
from contracts.transactions import Action, SayReady
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from tests.support.changing_members import certify_by
from tests.support.contracts import make_genesis, raw_transaction
from tests.support.joining import Newcomer, newcomer, request_of, verdict_on
from tests.support.ledger import ChainBuilder

NEW = newcomer(1)


class GrowingChain:
    """Four members, and one that joins."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.community = make_genesis(4)
        self.builder = ChainBuilder.create(directory, self.community)
        self.keys = {key.public_key: key for key in (*self.community.node_keys, NEW.node_key)}
        self._nonce = 0

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    def block(self, *actions: tuple[int | Newcomer, Action]) -> list[Reason]:
        raws = []
        for sender, action in actions:
            self._nonce += 1
            key = sender.node_key if isinstance(sender, Newcomer) else sender
            raws.append(raw_transaction(self.community, key, action, nonce=self._nonce))
        block = self.builder.build(raws)
        assert len(block.transactions) == len(raws)
        members = self.ledger.membership()
        keys = [self.keys[key] for _, key in members.members[-members.quorum :]]
        self.ledger.append(block, certify_by(self.ledger, block, keys))
        return [receipt.reason for receipt in self.ledger.receipts(block.header.height)]

    def ready(self, height: int | None = None) -> SayReady:
        named = Height(self.ledger.height if height is None else height)
        return SayReady(height=named, block=block_name(self.ledger, named))


def block_name(ledger: Ledger, height: Height) -> Digest:
    return ledger.tip if height == ledger.height else ledger.decided_block(Height(height + 1)).header.parent


@pytest.fixture
def chain(tmp_path):
    made = GrowingChain(tmp_path / "ledger")
    made.block((0, request_of(made.community, NEW)))
    made.block(*((verifier, verdict_on(NEW)) for verifier in (0, 1, 2)))
    yield made
    made.ledger.close()


def test_a_candidate_follows_and_is_told_what_is_decided(chain):
    both = chain.ledger.memberships()
    assert NEW.address not in both
    assert both.hears(NEW.address)
    assert both.followers == ((NEW.address, NEW.node_key.public_key),)
    assert chain.ledger.member_of(NEW.node_key.public_key) == NEW.address


def test_who_only_asked_follows_nothing(tmp_path):
    made = GrowingChain(tmp_path / "ledger")
    made.block((0, request_of(made.community, NEW)))
    assert made.ledger.memberships().followers == ()
    assert made.ledger.member_of(NEW.node_key.public_key) is None
    made.ledger.close()


def test_it_joins_and_the_larger_set_decides_and_the_check_agrees(chain):
    wrong = SayReady(height=chain.ledger.height, block=Digest(bytes(32)))
    assert chain.block((NEW, wrong)) == [Reason.READY_UNKNOWN_BLOCK]
    early = chain.ledger.height
    while chain.ledger.height < early + READY_HEIGHTS_MAX:
        chain.block()
    assert chain.block((NEW, chain.ready(early))) == [Reason.READY_OLD_BLOCK]
    assert chain.block((NEW, chain.ready(early + 2))) == [Reason.NONE]
    assert chain.ledger.wants_block, "the change is to come into force"
    for _ in range(2):
        chain.block()
    members = chain.ledger.membership()
    assert (len(members), members.addresses[-1]) == (5, NEW.address)
    assert not chain.ledger.wants_block
    for _ in range(3):
        chain.block()  # its COMMITs count
    height = chain.ledger.height
    chain.ledger.close()
    report = verify_ledger(chain.directory, chain.community.genesis, lambda *_: None)
    assert (report.damage, report.heights_checked, report.unbalanced) == ((), height, ())
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis)
    assert chain.ledger.membership().addresses == members.addresses


def test_a_block_is_named_with_its_height(chain):
    right = chain.ready()
    wrong = SayReady(height=Height(right.height - 1), block=right.block)
    assert chain.block((NEW, wrong)) == [Reason.READY_UNKNOWN_BLOCK]


def test_the_oldest_block_that_may_be_named(chain):
    """The check from genesis remembers as many blocks as candidates may name, and not one fewer."""
    early = chain.ledger.height
    while chain.ledger.height < early + READY_HEIGHTS_MAX - 1:
        chain.block()
    assert chain.block((NEW, chain.ready(early))) == [Reason.NONE]
    chain.ledger.close()
    assert verify_ledger(chain.directory, chain.community.genesis, lambda *_: None).damage == ()
    chain.builder.ledger = Ledger.open(chain.directory, chain.community.genesis)
