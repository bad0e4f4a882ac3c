"""Candidates: when the word that one is ready counts, when it becomes a member, what an era makes of it."""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height, Slot
from contracts.agenda_records import Agenda, Due
from contracts.applicants import ApplicationEnd, Applications, Standing, Verdict
from contracts.joining import READY_HEIGHTS_MAX, should_say_ready
from contracts.member_changes import SEEN_PARTS, Hindrance, is_seen, prospect
from contracts.member_records import Activity, KeyOwner, Leave
from contracts.receipts import Reason
from contracts.run import EraBeginning
from contracts.state import (
    AGENDA_KEY,
    APPLICATIONS_KEY,
    MEMBER_LIST_KEY,
    Account,
    Overlay,
    account_key,
    activity_key,
    due_key,
    used_key,
)
from contracts.transactions import IssueTokens, SetLeaving
from tests.support.contracts import forward_terms, sign_trade
from tests.support.joining import JoiningChain, Newcomer, newcomer
from tests.unit.contracts.test_joining import (
    HOMES,
    LAPSE_SLOTS,
    NEW,
    OTHER,
    WINDOW_SLOTS,
    admitted,
    joins,
    list_of,
    queue_of,
    reason_of,
    replace_keys,
)


def records_of_agenda(chain: JoiningChain) -> list[Due]:
    size = chain.read(AGENDA_KEY, Agenda).size
    return [chain.read(due_key(place), Due) for place in range(size)]


# --- ready -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", [0, HOMES.issuer_key])
def test_candidates_say_that_they_are_ready_and_nobody_else(sender: int | SigningKey) -> None:
    chain = admitted()
    assert reason_of(chain, sender, chain.ready()) is Reason.READY_NOT_CANDIDATE
    chain.block((NEW.node_key, chain.ready()))
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.READY_NOT_CANDIDATE


def test_a_candidate_names_a_block_that_was_decided_lately() -> None:
    chain = admitted()
    unknown = (
        chain.ready(block=bytes(32)),
        chain.ready(block=chain.block_digest(chain.height - 1)),
        chain.ready(height=chain.height + 9, block=chain.block_digest(chain.height + 9)),
    )
    assert {reason_of(chain, NEW.node_key, action) for action in unknown} == {Reason.READY_UNKNOWN_BLOCK}
    early = chain.height
    while chain.height < early + READY_HEIGHTS_MAX:
        chain.block()
    named = chain.ready(height=early, block=chain.block_digest(early))
    assert reason_of(chain, NEW.node_key, named) is Reason.READY_OLD_BLOCK
    assert queue_of(chain).waiting == ()
    named = chain.ready(height=early + 2, block=chain.block_digest(early + 2))
    assert reason_of(chain, NEW.node_key, named) is Reason.NONE


def hindrance(chain: JoiningChain, home: Newcomer) -> Hindrance | None:
    return prospect(
        Overlay(chain.state),
        joins(home),
        height=Height(chain.height + 1),
        slot=Slot(chain.slot + 1),
        genesis=chain.community.genesis,
    ).hindrance


def test_a_candidate_counts_by_its_word_alone() -> None:
    """Six members, four of them there: with the seventh five are, which is a quorum of seven."""
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    there = HOMES.addresses[:3]
    assert reason_of(chain, NEW.node_key, chain.ready(), slot=late, parent_voters=there) is Reason.NONE
    assert hindrance(chain, NEW) is Hindrance.TOO_FEW_SEEN
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + WINDOW_SLOTS, parent_voters=HOMES.addresses[:4])
    assert queue_of(chain).waiting == ()


def test_a_word_counts_for_the_window_and_then_it_says_it_again() -> None:
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    assert reason_of(chain, NEW.node_key, chain.ready(), parent_voters=()) is Reason.READY_SAID_BEFORE
    chain.block((NEW.node_key, IssueTokens(recipient=NEW.address, amount_micro=1)), parent_voters=())
    chain.block(slot=late + WINDOW_SLOTS + 1)  # all members are seen, and the candidate is not
    assert hindrance(chain, NEW) is Hindrance.NOT_READY
    assert queue_of(chain).waiting == (joins(NEW),)
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE
    assert queue_of(chain).waiting == ()


def test_a_word_that_is_said_again_waits_once() -> None:
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    again = late + WINDOW_SLOTS // 2
    assert reason_of(chain, NEW.node_key, chain.ready(), slot=again, parent_voters=()) is Reason.NONE
    assert chain.applicant(NEW).ready_slot == again
    assert queue_of(chain).waiting == (joins(NEW),)


def test_a_word_may_be_said_again_after_a_part_of_the_window() -> None:
    chain, pause = admitted(), WINDOW_SLOTS // SEEN_PARTS
    said = chain.slot + WINDOW_SLOTS + 5
    reasons = [
        reason_of(chain, NEW.node_key, chain.ready(), slot=said + late, parent_voters=())
        for late in (0, pause, pause + 1)
    ]
    assert reasons == [Reason.NONE, Reason.READY_SAID_BEFORE, Reason.NONE]


def test_a_candidate_says_that_it_is_ready_twice_in_a_window_and_nobody_else_does() -> None:
    def should_say(chain: JoiningChain, slot: int) -> bool:
        return should_say_ready(Overlay(chain.state), NEW.address, slot=Slot(slot), genesis=HOMES.genesis)

    chain = JoiningChain(HOMES)
    assert not should_say(chain, 1)
    chain.request(NEW)
    assert not should_say(chain, 2)
    chain.judge(NEW, range(5))
    assert should_say(chain, 3)
    said = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=said, parent_voters=())
    assert [should_say(chain, said + WINDOW_SLOTS // 2 + late) for late in (0, 1)] == [False, True]
    chain.block()
    assert chain.applicant(NEW).standing is Standing.JOINED
    assert not should_say(chain, said + LAPSE_SLOTS)


def test_what_is_over_does_not_lapse() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    chain.request(OTHER)
    chain.judge(OTHER, range(6), Verdict.IDENTITY_WRONG)
    chain.block(slot=2 * LAPSE_SLOTS)
    assert chain.applicant(NEW).standing is Standing.JOINED
    assert chain.applicant(OTHER).standing is Standing.REFUSED


def test_an_earlier_applications_end_is_not_that_of_the_next() -> None:
    """The first one lapsed before its day was over: its meter's key became another's."""
    chain = JoiningChain(HOMES)
    chain.request(NEW, slot=10)
    chain.state[used_key(NEW.meter_key.public_key)] = encode(KeyOwner(owner=HOMES.addresses[1]))
    chain.judge(NEW, range(5))
    assert chain.applicant(NEW).standing is Standing.LAPSED
    again = replace_keys(newcomer(1, meter_key=OTHER.meter_key.public_key), meter_key=OTHER.meter_key)
    chain.request(again, number=2)
    until_slot = chain.applicant(again).until_slot
    chain.block(slot=until_slot - 1)
    ends = [due for due in records_of_agenda(chain) if isinstance(due.subject, ApplicationEnd)]
    assert [(due.slot, due.subject.number) for due in ends] == [(until_slot, 2)]
    assert chain.applicant(again).standing is Standing.OPEN


def test_who_joined_counts_as_there_as_any_member_does() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    joined = chain.slot
    state = Overlay(chain.state)
    for late, seen in ((WINDOW_SLOTS, True), (WINDOW_SLOTS + 1, False)):
        assert is_seen(state, NEW.address, slot=Slot(joined + late), genesis=HOMES.genesis) is seen


def test_a_candidate_that_never_comes_lapses_and_may_apply_again() -> None:
    chain = admitted()
    end = chain.applicant(NEW).until_slot
    chain.block(slot=end - 1)
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert reason_of(chain, NEW.node_key, chain.ready(), slot=end) is Reason.READY_NOT_CANDIDATE
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.LAPSED, ())
    wallet = chain.read(account_key(NEW.address), Account)
    chain.admit(NEW, sponsor=1, number=2)
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert chain.read(account_key(NEW.address), Account) == wallet, "the wallet is the same"
    assert chain.read(APPLICATIONS_KEY, Applications).admitted == (NEW.address,)
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE


def test_one_that_waits_and_says_nothing_more_lapses_and_waits_no_more() -> None:
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + LAPSE_SLOTS - 1, parent_voters=())
    assert queue_of(chain).waiting == (joins(NEW),), "a day from its last word"
    chain.block(slot=late + LAPSE_SLOTS, parent_voters=())
    assert (queue_of(chain).waiting, chain.applicant(NEW).standing) == ((), Standing.LAPSED)


def test_who_goes_is_not_kept_by_who_comes() -> None:
    """A leave that was said later is tried first; each set decides a block before the next change is fixed."""
    chain = admitted()
    late = chain.slot + WINDOW_SLOTS + 5
    chain.block((NEW.node_key, chain.ready()), slot=late, parent_voters=())
    chain.block((5, SetLeaving(leaving=True)), parent_voters=())
    assert queue_of(chain).waiting == (Leave(address=HOMES.addresses[5]), joins(NEW))
    chain.block()
    assert queue_of(chain).waiting == (joins(NEW),)
    fixed = chain.height
    assert chain.block().changes.keys().isdisjoint({MEMBER_LIST_KEY}), "one is pending"
    chain.block()
    known = list_of(chain)
    assert queue_of(chain).waiting == ()
    assert [len(known.at(Height(fixed + ahead))) for ahead in (1, 2, 3, 4)] == [6, 5, 5, 6]
    assert known.addresses[-1] == NEW.address


# --- eras ------------------------------------------------------------------------------------------------------


def begin(chain: JoiningChain, base: int, *, replaced: SigningKey | None = None) -> None:
    """Begins an era with the founders; the first one's home may have been replaced by one with another key."""
    keys = {key.address: key.public_key for key in chain.community.node_keys}
    if replaced is not None:
        keys[chain.community.addresses[0]] = replaced.public_key
    members = tuple(keys.items())
    chain.block(beginning=EraBeginning(starts=(), base=Height(base), members=members), parent_voters=())


def test_a_join_that_was_not_in_force_at_a_base_waits_again() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    fixed = chain.height
    begin(chain, fixed)
    known = list_of(chain)
    assert [NEW.address in dict(known.at(Height(fixed + ahead))) for ahead in (1, 2, 3)] == [False, False, True]
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.JOINED, ())
    assert [term.first_height for term in known.terms if term.address == NEW.address] == [fixed + 3]


def test_what_who_joins_again_has_promised_still_counts() -> None:
    """The block above the base was carried into the era: the home traded in it, and is a candidate again."""
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    base = chain.height
    terms = replace(forward_terms(HOMES, 2, 3, 100), seller=NEW.address, origin_meter=NEW.address)
    contract = sign_trade(terms, seller=NEW.node_key, buyer=HOMES.node_keys[3])
    assert reason_of(chain, 3, contract) is Reason.NONE
    before = chain.read(activity_key(NEW.address), Activity)
    begin(chain, base)
    assert chain.applicant(NEW).standing is Standing.JOINED, "in one of the era's first blocks"
    assert chain.read(activity_key(NEW.address), Activity) == before
    assert before.trades_pending == 1


def test_who_was_to_join_at_a_base_and_is_not_heard_again_lapses() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    base = chain.height
    late = chain.slot + WINDOW_SLOTS + 5
    keys = {key.address: key.public_key for key in HOMES.node_keys}
    beginning = EraBeginning(starts=(), base=Height(base), members=tuple(keys.items()))
    chain.block(beginning=beginning, slot=late, parent_voters=())
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.CANDIDATE, (NEW.address,))
    assert queue_of(chain).waiting == (joins(NEW),)
    chain.block(slot=late + LAPSE_SLOTS)
    assert (chain.applicant(NEW).standing, queue_of(chain).waiting) == (Standing.LAPSED, ())


def test_it_lapses_also_where_the_block_above_the_base_came_after_its_day() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()))
    base = chain.height
    chain.block(slot=chain.applicant(NEW).until_slot + 1, parent_voters=())
    begin(chain, base)
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    chain.block(slot=chain.slot + LAPSE_SLOTS)
    assert (chain.applicant(NEW).standing, queue_of(chain).waiting) == (Standing.LAPSED, ())


def test_candidates_go_on_waiting_when_an_era_begins() -> None:
    chain = admitted()
    chain.block((NEW.node_key, chain.ready()), slot=chain.slot + WINDOW_SLOTS + 5, parent_voters=())
    begin(chain, chain.height)
    assert queue_of(chain).waiting == (joins(NEW),)


def test_a_key_that_a_ceremony_brings_is_used() -> None:
    chain, key = JoiningChain(HOMES), SigningKey(b"\x09" * 32)
    chain.block()
    begin(chain, 1, replaced=key)
    stolen = replace_keys(newcomer(1, node_key=key.public_key), node_key=key)
    assert chain.request(stolen, sponsor=1).reason is Reason.JOIN_SAME_KEY


@pytest.mark.parametrize("until", ["admission", "ready", "membership"])
@pytest.mark.parametrize("key", [NEW.node_key, NEW.meter_key])
def test_a_ceremony_that_gives_a_members_new_home_the_key_of_a_candidate_ends_that_one(
    until: str, key: SigningKey
) -> None:
    """Two members under one node key would stop the chain for good."""
    chain = admitted()
    if until == "ready":
        chain.block((NEW.node_key, chain.ready()), slot=chain.slot + WINDOW_SLOTS + 5, parent_voters=())
        assert queue_of(chain).waiting == (joins(NEW),)
    elif until == "membership":
        chain.block((NEW.node_key, chain.ready()))
        assert queue_of(chain).last == joins(NEW)
    begin(chain, chain.height, replaced=key)
    assert (chain.applicant(NEW).standing, chain.unfinished()) == (Standing.LAPSED, ())
    assert queue_of(chain).waiting == ()
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.READY_NOT_CANDIDATE
    assert NEW.address not in list_of(chain).addresses
    assert chain.request(NEW, number=2, sponsor=1).reason in {Reason.JOIN_SAME_KEY, Reason.JOIN_SAME_METER}
