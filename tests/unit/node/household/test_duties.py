"""What members sign by themselves, whether they have a meter or only validate."""

from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from consensus.cryptography import SigningKey
from consensus.identifiers import Slot
from contracts.genesis import MembershipParameters
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList, MemberQueue
from contracts.state_reading import require
from contracts.transactions import SayReady, SetLeaving, ShowPresence, decode_transaction
from contracts.units import MS_PER_HOUR
from node.household.duties import MemberDuties
from node.household.market_design import Moment
from node.household.own_transactions import OwnTransactions
from node.stories.members import NOTICE_DAYS
from tests.support.contracts import make_genesis, raw_transaction
from tests.support.joining import newcomer, request_of, verdict_on
from tests.support.validity import with_ends
from tests.unit.node.household.market_simulation import MemberLedger, MemoryJournal, SharedChain, StateOf

WINDOW_SLOTS = 16


@dataclass
class Validator:
    """A member without a meter."""

    chain: SharedChain
    number: int
    key: SigningKey | None = None
    """Of a home that is no founder."""
    journal: MemoryJournal = field(default_factory=MemoryJournal)

    def __post_init__(self) -> None:
        self.ledger = MemberLedger(self.chain)
        self.start()

    def start(self) -> None:
        community = self.chain.community
        key = community.node_keys[self.number] if self.key is None else self.key
        transactions = OwnTransactions(key=key, chain=community.chain, ledger=self.ledger, journal=self.journal)
        self.duties = MemberDuties(address=key.address, ledger=self.ledger, transactions=transactions, household=None)

    def turn(self, slot: int, *, is_behind: bool = False) -> list[bytes]:
        """What it brings to the chain."""
        while self.ledger.apply_next():
            pass
        moment = Moment(now_ms=0, present_slot=Slot(slot), connected=frozenset(), is_behind=is_behind)
        turn = self.duties.turn(moment)
        assert (turn.messages, self.journal.is_synced) == ((), True)
        return [own.raw for own in turn.transactions]


def idle_street(members: int) -> tuple[SharedChain, list[Validator]]:
    """Nothing was decided for so long that nobody counts as seen; then one says that it leaves."""
    membership = MembershipParameters(
        members_min=4, seen_window_slots=WINDOW_SLOTS, removal_wait_slots=1_000, verifier_keys=()
    )
    chain = SharedChain(make_genesis(members, membership=membership))
    leave = raw_transaction(chain.community, members - 1, SetLeaving(leaving=True), nonce=0)
    chain.decide(Slot(5 * WINDOW_SLOTS), [leave], voters=())
    return chain, [Validator(chain, number) for number in range(members)]


def members_of(chain: SharedChain) -> int:
    return len(require(StateOf(chain.state), MEMBER_LIST_KEY, MemberList).addresses)


@pytest.mark.parametrize("members", [5, 6, 9])
def test_members_that_only_validate_show_that_they_are_there_so_that_one_can_leave(members: int) -> None:
    chain, validators = idle_street(members)
    assert require(StateOf(chain.state), MEMBER_QUEUE_KEY, MemberQueue).waiting, "too few were seen"
    slot = chain.blocks[-1].block.header.slot + 1
    shown = [raw for validator in validators for raw in validator.turn(slot)]
    assert [decode_transaction(raw).envelope.action for raw in shown] == [ShowPresence()] * (members - 1)
    chain.decide(Slot(slot), shown, voters=())
    assert members_of(chain) == members - 1
    assert [validator.turn(slot + 5 * WINDOW_SLOTS) for validator in validators] == [[]] * members


def test_presence_is_signed_once_while_it_is_on_its_way_also_after_a_restart() -> None:
    chain, (validator, *_) = idle_street(6)
    slot = chain.blocks[-1].block.header.slot + 1
    (raw,) = validator.turn(slot)
    assert validator.turn(slot + 1) == [raw]
    validator.start()
    assert validator.turn(slot + 2) == [raw]


def test_who_was_seen_shows_itself_again_once_half_of_the_window_is_over() -> None:
    """Nothing is decided meanwhile: the slots go on at one height."""
    chain, (validator, *_) = idle_street(6)
    slot = chain.blocks[-1].block.header.slot + 1
    chain.decide(Slot(slot), validator.turn(slot), voters=())
    shown = [bool(validator.turn(slot + later)) for later in range(1, WINDOW_SLOTS)]
    assert shown.index(True) == WINDOW_SLOTS // 2


def test_a_leave_that_waits_for_another_member_costs_no_transactions() -> None:
    """Of four nobody may leave: the street would make a thousand blocks a day for nothing."""
    chain, validators = idle_street(4)
    first = chain.blocks[-1].block.header.slot + 1
    assert not any(validator.turn(slot) for slot in range(first, first + 200) for validator in validators)


def test_a_candidate_says_that_it_is_ready_once_it_has_followed_the_chain() -> None:
    membership = MembershipParameters(
        members_min=4, seen_window_slots=WINDOW_SLOTS, removal_wait_slots=1_000, verifier_keys=()
    )
    chain, new = SharedChain(make_genesis(4, membership=membership)), newcomer(1)
    home = Validator(chain, 4, key=new.node_key)
    assert home.turn(1) == [], "before anybody knows it"
    chain.decide(Slot(1), [raw_transaction(chain.community, 0, request_of(chain.community, new), nonce=0)])
    assert home.turn(2) == [], "it only asked"
    accepted = [raw_transaction(chain.community, verifier, verdict_on(new), nonce=1) for verifier in range(3)]
    chain.decide(Slot(2), accepted)
    assert home.turn(3, is_behind=True) == [], "it has not followed yet"
    (raw,) = home.turn(3)
    assert decode_transaction(raw).envelope.action == SayReady(height=home.ledger.height, block=home.ledger.tip)
    assert home.turn(4) == [raw], "once, while it is on its way"
    chain.decide(Slot(4), [raw])
    assert members_of(chain) == 5
    assert home.turn(5) == []


def test_a_home_whose_certificate_ends_is_warned_once_a_day() -> None:
    slots_per_day = 24 * MS_PER_HOUR // 60_000
    end = 100 * slots_per_day
    chain = SharedChain(with_ends(make_genesis(5, slot_duration_ms=60_000, start_ms=0), {0: end}))
    ending, other = Validator(chain, 0), Validator(chain, 1)
    with capture_logs() as logs:
        for day in range(90):
            for slot in (day * slots_per_day, day * slots_per_day + 1, (day + 1) * slots_per_day - 1):
                ending.turn(slot)
                other.turn(slot)
    told = [entry["reason"] for entry in logs if entry["event"] == "this home's certificate ends"]
    assert len(told) == 90 - (100 - NOTICE_DAYS), "nothing before, then once a day, and nobody else's"
    assert told[0].startswith("The authority vouches for this home until 1970-04-11, 60 days from now.")
