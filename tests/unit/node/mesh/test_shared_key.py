"""Whether two processes use one key: by the ids that they show, and for how long it is told."""

import pytest

from node.mesh.shared_key import TOLD_FOR_S, ProcessWatch, Sign, draw_process_id

A, B, C = "a" * 16, "b" * 16, "c" * 16


def seen(*shown: str | None) -> list[bool]:
    watch = ProcessWatch()
    return [watch.has_returned(one) for one in shown]


def test_a_process_that_comes_back_after_another_one_lives_beside_it() -> None:
    assert seen(A, B, A) == [False, False, True]
    assert seen(A, B, A, B) == [False, False, True, True]
    assert seen(A, B, C, A) == [False, False, False, True]


def test_restarts_and_broken_links_are_no_second_process() -> None:
    assert not any(seen(A, A, A, B, B, C, C))
    assert seen(A, B, A, A, A) == [False, False, True, False, False], "the other one is gone"


@pytest.mark.parametrize("odd", [None, "", "A" * 16, "a" * 15, "a" * 17, "g" * 16, "a" * 16 + "\n"])
def test_what_is_no_id_is_passed_over(odd: str | None) -> None:
    assert not any(seen(odd, A, odd, B, odd))


def test_no_more_ids_are_remembered_than_a_few() -> None:
    watch = ProcessWatch()
    for number in range(1_000):
        assert not watch.has_returned(f"{number:016x}")
    assert not watch.has_returned(f"{0:016x}"), "forgotten"
    assert watch.has_returned(f"{999:016x}")


def test_ids_are_drawn() -> None:
    assert len({draw_process_id() for _ in range(100)}) == 100


def test_a_sign_is_news_once_and_goes_after_a_while() -> None:
    now_s = 0.0
    sign = Sign(lambda: now_s)
    assert not sign.holds
    assert sign.notice()
    assert not sign.notice()
    now_s = TOLD_FOR_S
    assert sign.holds
    assert not sign.notice(), "it is kept up"
    now_s = 2 * TOLD_FOR_S
    assert sign.holds
    now_s = 2 * TOLD_FOR_S + 1
    assert not sign.holds
    assert sign.notice()
