import asyncio
from dataclasses import dataclass
from typing import cast

import pytest

from consensus.identifiers import Address
from node.api.connections import ConnectionGuard
from node.api.quota import SubmissionQuota


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def sender(number: int) -> Address:
    return Address(number.to_bytes(32, "big"))


def make_quota(clock: Clock, *, senders_max: int = 10) -> SubmissionQuota:
    return SubmissionQuota(clock_s=clock, burst_max=3, rate_per_s=2.0, senders_max=senders_max)


def test_burst_is_allowed_and_one_more_is_not() -> None:
    quota = make_quota(Clock())
    assert [quota.charge(sender(1)) for _ in range(3)] == [None] * 3
    assert quota.charge(sender(1)) == pytest.approx(0.5)
    assert quota.charge(sender(2)) is None


def test_tokens_come_back_at_the_rate_up_to_the_burst() -> None:
    clock = Clock()
    quota = make_quota(clock)
    for _ in range(3):
        quota.charge(sender(1))
    clock.now_s = 0.5
    assert quota.charge(sender(1)) is None
    assert quota.charge(sender(1)) is not None
    clock.now_s = 1_000
    assert [quota.charge(sender(1)) for _ in range(4)].count(None) == 3


def test_refused_charges_do_not_postpone_the_next_token() -> None:
    clock = Clock()
    quota = make_quota(clock)
    for _ in range(3):
        quota.charge(sender(1))
    for step in range(1, 11):
        clock.now_s = step / 20
        refused = quota.charge(sender(1))
    assert refused is None


def test_refund_leaves_no_trace_of_a_borrowed_name() -> None:
    quota = make_quota(Clock())
    quota.charge(sender(1))
    quota.refund(sender(1))
    assert len(quota) == 0


def test_borrowed_name_costs_its_owner_nothing() -> None:
    quota = make_quota(Clock())
    quota.charge(sender(1))
    for _ in range(10):
        assert quota.charge(sender(1)) is None
        quota.refund(sender(1))
    assert [quota.charge(sender(1)) for _ in range(3)] == [None, None, pytest.approx(0.5)]


def test_buckets_are_bounded() -> None:
    quota = make_quota(Clock(), senders_max=10)
    for number in range(100):
        quota.charge(sender(number))
    assert len(quota) == 10


class Transport(asyncio.Transport):
    """A socket whose unread bytes a test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.unread_bytes = 0
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes

    def abort(self) -> None:
        self.aborted = True


def admit(guard: ConnectionGuard) -> tuple[asyncio.Protocol, Transport, bool]:
    connection, transport = asyncio.Protocol(), Transport()
    return connection, transport, guard.admit(connection, transport)


def test_connections_are_bounded_and_room_comes_back() -> None:
    guard = ConnectionGuard(clock_s=Clock(), connections_max=2)
    first, _, admitted_first = admit(guard)
    assert [admitted_first, admit(guard)[2], admit(guard)[2]] == [True, True, False]
    guard.forget(first)
    assert admit(guard)[2]


def test_client_that_reads_nothing_is_cut_after_the_limit() -> None:
    clock = Clock()
    guard = ConnectionGuard(clock_s=clock, stall_max_s=30)
    _, stalled, _ = admit(guard)
    _, slow, _ = admit(guard)
    _, idle, _ = admit(guard)
    stalled.unread_bytes = 1_000
    for step in range(1, 8):
        clock.now_s = 5.0 * step
        slow.unread_bytes = 10_000 - step
        assert guard.sweep() == 0
    clock.now_s = 35.1
    assert guard.sweep() == 1
    assert [stalled.aborted, slow.aborted, idle.aborted] == [True, False, False]


def test_stall_begins_anew_when_the_client_reads() -> None:
    clock = Clock()
    guard = ConnectionGuard(clock_s=clock, stall_max_s=30)
    _, transport, _ = admit(guard)
    transport.unread_bytes = 1_000
    guard.sweep()
    clock.now_s = 29
    transport.unread_bytes = 999
    guard.sweep()
    clock.now_s = 58
    assert guard.sweep() == 0
    assert cast(bool, transport.aborted) is False
