"""Quorums against brute force: sets of members, counted one by one, for every N from 1 to 100."""

import pytest

from consensus import quorum

EVERY_SIZE = range(1, 101)


def worst_overlap(members: int, size: int) -> int:
    """Members that two sets of `size` out of `members` share at least: one takes the first, one the last."""
    return len(set(range(size)) & set(range(members - size, members)))


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_two_quorums_share_an_honest_member_and_no_smaller_number_would(members: int) -> None:
    faulty = quorum.fault_bound(members)
    size = quorum.quorum(members)
    assert worst_overlap(members, size) > faulty
    assert size == min(q for q in range(1, members + 1) if worst_overlap(members, q) > faulty)


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_the_honest_members_alone_reach_a_quorum(members: int) -> None:
    assert quorum.quorum(members) <= members - quorum.fault_bound(members)


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_no_quorum_of_any_size_tolerates_one_fault_more(members: int) -> None:
    faulty = quorum.fault_bound(members) + 1
    reachable = range(1, members - faulty + 1)
    assert not any(worst_overlap(members, size) > faulty for size in reachable)


def shared_across(common: int, members: int, later_members: int) -> int:
    """Members that a quorum of one set and one of another share at least, where so many are in both sets."""
    first = max(0, quorum.quorum(members) - (members - common))
    second = max(0, quorum.quorum(later_members) - (later_members - common))
    return max(0, first + second - common)


def breaks_agreement(common: int, members: int, later_members: int) -> bool:
    """Says whether two quorums may share only liars: at most F of each set lie."""
    liars = min(quorum.fault_bound(members), quorum.fault_bound(later_members))
    return shared_across(common, members, later_members) <= liars


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_two_sets_that_differ_by_one_member_share_an_honest_one_in_any_two_quorums(members: int) -> None:
    assert not breaks_agreement(members, members, members + 1)
    assert not breaks_agreement(members, members + 1, members)


def test_a_swap_or_two_changes_at_once_let_quorums_share_only_liars() -> None:
    # why a block changes one member: a swap keeps N - 1, two joins keep N, two leaves keep N - 2
    assert [n for n in range(2, 11) if breaks_agreement(n - 1, n, n)] == [3, 4, 6, 7, 9, 10]
    assert [n for n in range(1, 11) if breaks_agreement(n, n, n + 2)] == [1, 4, 7, 10]
    assert [n for n in range(3, 11) if breaks_agreement(n - 2, n, n - 2)] == [3, 6, 9]


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_a_weak_quorum_always_has_an_honest_member(members: int) -> None:
    faulty = quorum.fault_bound(members)
    assert quorum.weak_quorum(members) == faulty + 1
    assert quorum.clock_quorum(members) == 2 * faulty + 1 <= members


@pytest.mark.parametrize("members", EVERY_SIZE)
def test_two_f_plus_one_is_enough_only_where_members_are_three_f_plus_one(members: int) -> None:
    faulty = quorum.fault_bound(members)
    is_safe = worst_overlap(members, 2 * faulty + 1) > faulty
    assert is_safe == (members % 3 == 1)


@pytest.mark.parametrize("members", [5, 6])
def test_two_f_plus_one_lets_five_and_six_members_fork(members: int) -> None:
    # member 0 lies and votes for both blocks; the others vote once each
    liars = {0}
    assert len(liars) <= quorum.fault_bound(members)
    for_one = liars | set(range(1, 3))
    for_other = liars | set(range(3, 5))
    familiar = 2 * quorum.fault_bound(members) + 1
    assert len(for_one) >= familiar
    assert len(for_other) >= familiar
    assert min(len(for_one), len(for_other)) < quorum.quorum(members)


@pytest.mark.parametrize(
    ("members", "expected"),
    [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (13, 9), (100, 67)],
)
def test_known_quorums(members: int, expected: int) -> None:
    assert quorum.quorum(members) == expected
