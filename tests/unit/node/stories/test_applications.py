"""What people read of a home that asks to join: while its verifiers are drawn, and while they decide."""

from pathlib import Path

from contracts.panels import PANEL_MAX
from ledger.ledger import Ledger
from node.replies.state import ApplicationView
from node.stories.applications import last_application_of
from tests.support.contracts import make_genesis
from tests.support.joining import newcomer, request_of
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in

NEW = newcomer(1)


def asked(directory: Path, members: int) -> ChainBuilder:
    builder = ChainBuilder.create(directory / "ledger", make_genesis(members))
    builder.append([builder.transaction(0, request_of(builder.community, NEW))])
    return builder


def told(ledger: Ledger) -> ApplicationView:
    (application,) = last_application_of(ledger, names_in(ledger), NEW.address).applications
    return application


def test_a_panel_of_all_and_when_it_lapses(tmp_path: Path) -> None:
    chain = asked(tmp_path, 4)
    view = told(chain.ledger)
    assert len(view.verifiers) == 4
    assert view.sentence == (
        f"3 of 4 verifiers must say the same: 0 accepted, 0 refused. It lapses with slot {view.until_slot}."
    )
    chain.ledger.close()


def test_a_panel_that_is_drawn_and_what_comes_after_it(tmp_path: Path) -> None:
    chain = asked(tmp_path, 13)
    view = told(chain.ledger)
    assert (view.verifiers, view.needed) == ([], 7)
    assert view.sentence == (
        "10 of 13 verifiers are drawn as soon as enough leaders have made a block. "
        f"It lapses with slot {view.until_slot}."
    )
    while not told(chain.ledger).verifiers:
        chain.append()
    view = told(chain.ledger)
    assert len(view.verifiers) == PANEL_MAX
    assert view.sentence == (
        "7 of 10 verifiers must say the same: 0 accepted, 0 refused. "
        f"Another panel is drawn from slot {view.until_slot}."
    )
    chain.ledger.close()
