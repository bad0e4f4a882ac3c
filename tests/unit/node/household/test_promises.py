"""Which offer ids a household remembers to have signed, also across restarts."""

import pytest

from consensus.identifiers import Signature, Slot
from node.household.promises import REMEMBERED_PER_SELLER, Promise, Promises, Slots
from tests.unit.node.household.market_simulation import MemoryJournal
from tests.unit.node.household.test_buyer import FIRST, SECOND, hour_start, make_terms
from tests.unit.node.household.test_seller import make_state

STATE = make_state()


def promise(counter: int, seller: bytes = FIRST) -> Promise:
    terms = make_terms(seller, offer_counter=counter)  # type: ignore[arg-type]
    return Promise(interval_start_ms=hour_start(0), terms=terms, seller_signature=Signature(bytes(64)))


def opened(journal: MemoryJournal) -> Promises:
    return Promises(journal=journal, state=STATE, tip=Slot(10**6))


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


def test_an_offer_id_that_lapsed_is_not_signed_again_even_after_a_restart(journal: MemoryJournal) -> None:
    promises = opened(journal)
    promises.add(promise(7))
    promises.sync()
    promises.refresh(STATE, Slots(tip=Slot(10**6), present=Slot(10**6)))
    assert promises.binding() == ()
    for known in (promises, opened(journal), opened(journal)):
        assert not known.may_sign(FIRST, 7)
        assert known.may_sign(FIRST, 6)
        assert known.may_sign(FIRST, 8)
        assert known.may_sign(SECOND, 7)


def test_what_is_older_than_all_that_is_remembered_is_not_signed(journal: MemoryJournal) -> None:
    promises = opened(journal)
    for counter in range(10, 10 + REMEMBERED_PER_SELLER + 1):
        promises.add(promise(counter))
    assert not promises.may_sign(FIRST, 10)
    assert not promises.may_sign(FIRST, 9)
    assert promises.may_sign(FIRST, 11 + REMEMBERED_PER_SELLER)
    assert promises.highest_counter(FIRST) == 10 + REMEMBERED_PER_SELLER
    assert promises.highest_counter(SECOND) == -1
    promises.sync()
    opened(journal)
    assert len(journal.entries) == REMEMBERED_PER_SELLER
