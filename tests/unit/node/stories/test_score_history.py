"""A score explained line by line."""

from collections.abc import Iterator

import pytest
from rich.console import Console

from node.cli.story_tables import show_score_history
from node.errors import NotFound
from node.stories.score_history import score_history
from tests.support.contracts import resign, seeded_key, signed_trade
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in
from tests.support.stories import StoryChain, told


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoryChain]:
    chain = StoryChain(tmp_path_factory.mktemp("scores") / "ledger")
    yield chain
    chain.ledger.close()


def test_every_version_follows_from_the_one_before(chain: StoryChain) -> None:
    for member in ("home1", "home2", "home3", "home4"):
        history = told(score_history(chain.ledger, names_in(chain.ledger), member, after=None, versions_max=100))
        value = 1_000_000
        for version in history.versions:
            assert version.value_millionths == value + version.change_millionths
            value = version.value_millionths
        assert history.versions[0].words == "every member starts with it"
        assert history.next_after is None
        assert history.present_millionths == value


def test_trades_service_and_faults_are_named(chain: StoryChain) -> None:
    versions = told(
        score_history(chain.ledger, names_in(chain.ledger), "home1", after=None, versions_max=100)
    ).versions
    words = {version.height: version.words for version in versions}
    spot = chain.names.spot.hex()[:16]
    assert words[2] == f"sold 100 Wh of 2016-06-01 00:00 UTC to home2 (trade {spot}…)"
    assert words[3] == "attended block 2 with 1 rewarded trade"
    assert words[4].startswith("at fault: condition_1_seller_energy: seller has 200 Wh available, contract 250 Wh")
    expired = [text for text in words.values() if "forward trade" in text]
    assert expired == [
        "attended block 9 with 1 rewarded trade; "
        f"at fault: forward trade {chain.names.expired.hex()[:16]}… expired, "
        "0 of 40 Wh of 2016-06-01 02:00 UTC delivered"
    ]


def test_suspension_is_shown_with_what_proved_it(chain: StoryChain) -> None:
    history = told(score_history(chain.ledger, names_in(chain.ledger), "home4", after=None, versions_max=100))
    last = history.versions[-1]
    assert (last.cause, last.is_suspended) == ("suspension", True)
    assert last.reference == chain.names.misconduct_transaction.hex()
    console = Console(width=220, force_terminal=False)
    with console.capture() as captured:
        show_score_history(console, history, history.versions)
    assert "suspended" in captured.get()
    assert f"proven misconduct (transaction {last.reference[:16]}…)" in captured.get()


def test_a_way_back_is_shown_and_changes_count_from_where_it_had_come(tmp_path) -> None:  # type: ignore[no-untyped-def]
    builder = ChainBuilder.create(tmp_path / "ledger")
    honest = signed_trade(builder.community, 0, 1, 10)
    forged = resign(honest, seller=seeded_key("stranger", 0))
    for slot in (1, 2, 3, 100_003):  # each halves the score of who submits it
        builder.append([builder.transaction(1, forged)], slot=slot)
    versions = told(
        score_history(builder.ledger, names_in(builder.ledger), "home2", after=None, versions_max=100)
    ).versions
    assert [version.value_millionths for version in versions[:4]] == [1_000_000, 500_000, 250_000, 125_000]
    assert [version.falls for version in versions] == [0, 0, 0, 1, 1]
    back = builder.ledger.genesis.scores.way_back_slots
    assert [version.returns_at_slot for version in versions[2:]] == [None, 3 + back, 100_003 + back]
    risen = 125_000 + 75_000 * 100_000 // back
    assert versions[4].change_millionths == versions[4].value_millionths - risen
    assert abs(versions[4].value_millionths - risen // 2) <= 1
    builder.ledger.close()


def test_pages_add_up_to_the_whole(chain: StoryChain) -> None:
    whole = told(score_history(chain.ledger, names_in(chain.ledger), "home2", after=None, versions_max=100)).versions
    found, after = [], None
    while True:
        page = told(score_history(chain.ledger, names_in(chain.ledger), "home2", after=after, versions_max=2))
        found += page.versions
        after = page.next_after
        if after is None:
            break
    assert found == whole
    assert len(whole) > 4


def test_a_meter_is_named_by_name_address_or_first_digits(chain: StoryChain) -> None:
    address = chain.community.addresses[2].hex()
    for text in ("home3", address, address[:8].upper()):
        assert (
            told(score_history(chain.ledger, names_in(chain.ledger), text, after=None, versions_max=1)).member.address
            == address
        )
    for text in ("home9", address[:7], "", "0" * 64):
        with pytest.raises(NotFound) as refused:
            told(score_history(chain.ledger, names_in(chain.ledger), text, after=None, versions_max=1))
        assert refused.value.reason == "unknown_member"
