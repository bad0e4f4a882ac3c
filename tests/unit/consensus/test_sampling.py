"""Draws against the vectors, and against what chance says of them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from consensus.identifiers import Address, Digest, Height, Slot
from consensus.sampling import (
    BLOCK,
    ORDER,
    PANEL,
    Candidate,
    Draws,
    Sampling,
    draw_cluster,
    draw_order,
    randomness_after,
    sampling_of,
    seed_of,
)

VECTORS: Final = json.loads((Path(__file__).parent / "vectors" / "sampling.json").read_text())
EXAMPLES: Final = json.loads((Path(__file__).parent / "vectors" / "vrf.json").read_text())["examples"]
RANDOMNESS: Final = Digest(bytes.fromhex(VECTORS["randomness"]))
SEED: Final = seed_of(RANDOMNESS, Height(1), Slot(0), BLOCK)
ONE_REGION: Final = [Candidate(number, 0) for number in range(20)]


def test_randomness_follows_from_the_one_before_and_the_leaders_output() -> None:
    assert randomness_after(RANDOMNESS, b"").hex() == VECTORS["randomness_after_nothing"]
    output = bytes.fromhex(EXAMPLES[0]["output"])
    assert randomness_after(RANDOMNESS, output).hex() == VECTORS["randomness_after_rfc_example_16"]


def test_words_and_numbers_below_a_bound() -> None:
    assert SEED.hex() == VECTORS["seed"]
    draws = Draws(SEED)
    assert [f"{draws.word():016x}" for _ in range(4)] == VECTORS["words"]
    draws = Draws(SEED)
    assert [draws.below(10) for _ in range(12)] == VECTORS["below_10"]
    assert [Draws(SEED).below(2**63 + 1)] == VECTORS["below_2_63_plus_1"]


@pytest.mark.parametrize("vector", VECTORS["clusters"], ids=lambda vector: f"{vector['cap']}-{vector['height']}")
def test_clusters(vector: dict[str, list[int]]) -> None:
    candidates = [Candidate(number, region) for number, region in enumerate(vector["regions"])]
    seed = seed_of(RANDOMNESS, Height(vector["height"]), Slot(vector["slot"]), BLOCK)
    drawn = draw_cluster(candidates, size=vector["size"], cap=vector["cap"], seed=seed)
    assert list(drawn) == vector["cluster"]
    assert drawn[vector["slot"] % len(drawn)] == vector["leader"]


def test_a_panel_of_a_request_and_an_order_of_all() -> None:
    panel = seed_of(RANDOMNESS, Height(9), Slot(0), PANEL + b"\xaa" * 32)
    assert list(draw_cluster(ONE_REGION, size=5, cap=5, seed=panel)) == VECTORS["panel"]
    after = Digest(bytes.fromhex("5590076afbfbf0b4e2c2811c289624b8a43a5ba4349ccdeedc532bac459faafb"))
    assert draw_order(10, seed_of(after, Height(2), Slot(0), ORDER)) == (2, 3, 9, 0, 6, 5, 8, 1, 7, 4)


def test_who_are_no_more_than_the_cluster_are_it_in_their_order() -> None:
    for candidates in (ONE_REGION[:7], ONE_REGION[:1]):
        assert draw_cluster(candidates, size=7, cap=7, seed=SEED) == tuple(range(len(candidates)))


@pytest.mark.parametrize(("sizes", "size", "cap"), [((20,), 7, 7), ((5, 5, 5, 5), 7, 2), ((14, 5, 1), 10, 2)])
def test_each_is_drawn_once_and_no_region_above_its_cap_while_others_have_some(
    sizes: tuple[int, ...], size: int, cap: int
) -> None:
    regions = [region for region, members in enumerate(sizes) for _ in range(members)]
    candidates = [Candidate(number, region) for number, region in enumerate(regions)]
    room = sum(min(cap, members) for members in sizes)
    for height in range(1, 500):
        drawn = draw_cluster(candidates, size=size, cap=cap, seed=seed_of(RANDOMNESS, Height(height), Slot(0), BLOCK))
        assert len(drawn) == len(set(drawn)) == size
        if room >= size:
            assert max(Counter(regions[number] for number in drawn).values()) <= cap


# --- of a height's members ------------------------------------------------------------------------------------------

TWENTY: Final = [Address(bytes([number]) * 32) for number in range(20)]


def sampling(eligible: list[Address] = TWENTY, *, members_min: int = 20, **overrides: Any) -> Sampling | None:
    fields: dict[str, Any] = {"height": Height(1), "randomness": RANDOMNESS, "size": 7, **overrides}
    return sampling_of(TWENTY, eligible, members_min=members_min, **fields)


OF_ONE_REGION: Final = [one for one in VECTORS["clusters"] if len(set(one["regions"])) == 1]


@pytest.mark.parametrize("vector", OF_ONE_REGION[:4], ids=lambda vector: f"{vector['height']}-{vector['slot']}")
def test_the_clusters_of_a_height_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    assert (len(vector["regions"]), vector["size"]) == (len(TWENTY), 7)
    drawn = sampling(height=Height(vector["height"]))
    assert drawn is not None
    cluster = drawn.cluster(Slot(vector["slot"]))
    assert [TWENTY.index(member) for member in cluster] == vector["cluster"]


def test_the_order_of_a_height_is_that_of_the_vector() -> None:
    after = Digest(bytes.fromhex("5590076afbfbf0b4e2c2811c289624b8a43a5ba4349ccdeedc532bac459faafb"))
    drawn = sampling(randomness=after, height=Height(2))
    assert drawn is not None
    assert [TWENTY.index(member) for member in drawn.order(TWENTY[:10])] == [2, 3, 9, 0, 6, 5, 8, 1, 7, 4]
    assert [TWENTY.index(member) for member in drawn.cluster(Slot(5))] == [14, 7, 6, 15, 3, 1, 18]


def test_only_eligible_members_are_drawn_in_the_order_of_admission() -> None:
    eligible = TWENTY[11:] + TWENTY[:5]
    drawn = sampling(eligible)
    assert drawn is not None
    assert drawn.eligible == tuple(TWENTY[:5] + TWENTY[11:])
    met = {member for slot in range(200) for member in drawn.cluster(Slot(slot))}
    assert met == set(eligible)
    assert sorted(drawn.order(TWENTY)) == TWENTY  # who is not eligible leads attempts all the same


def test_nothing_is_drawn_among_few_members_or_where_no_more_are_eligible_than_a_cluster_has() -> None:
    assert sampling(members_min=20) is not None
    assert sampling(members_min=21) is None
    assert sampling(TWENTY[:8]) is not None
    assert sampling(TWENTY[:7]) is None
    assert sampling([*TWENTY[:7], Address(b"x" * 32)]) is None  # a stranger is nobody
