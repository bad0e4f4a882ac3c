"""The inbox bounds what one neighbour may send, and holds requests for the next turn."""

from consensus.identifiers import Address
from contracts.units import WattHours
from node.household.offer_inbox import HELD_MAX, MESSAGES_PER_S_MAX, Letter, OfferInbox
from node.mesh.messages import OfferRequest
from tests.unit.node.household.market_simulation import hour_start

NEIGHBOUR, OTHER = Address(bytes(32)), Address(bytes([1]) * 32)


def letter(number: int = 0, *, sender: Address = NEIGHBOUR, arrived_ms: int = 0) -> Letter:
    request = OfferRequest(request_id=number, interval_start_ms=hour_start(0), wanted_wh=WattHours(1))
    return Letter(sender=sender, message=request, arrived_ms=arrived_ms)


def test_messages_come_out_once_and_in_their_order() -> None:
    inbox = OfferInbox()
    for number in range(3):
        assert inbox.put(letter(number))
    assert [taken.message for taken in inbox.take()] == [letter(number).message for number in range(3)]
    assert inbox.take() == []


def test_a_neighbour_may_send_so_many_messages_a_second_and_does_not_limit_others() -> None:
    inbox = OfferInbox()
    taken = [inbox.put(letter(number)) for number in range(MESSAGES_PER_S_MAX + 1)]
    assert taken == [True] * MESSAGES_PER_S_MAX + [False]
    assert inbox.put(letter(sender=OTHER))
    assert not inbox.put(letter(arrived_ms=999))
    assert inbox.put(letter(arrived_ms=1_000))


def test_held_requests_come_first_in_the_next_turn_up_to_a_bound() -> None:
    inbox = OfferInbox()
    held = [inbox.hold(letter(number)) for number in range(HELD_MAX + 1)]
    assert held == [True] * HELD_MAX + [False]
    assert inbox.hold(letter(sender=OTHER))
    inbox.put(letter(999))
    taken = inbox.take()
    assert len(taken) == HELD_MAX + 2
    assert taken[-1].message == letter(999).message
