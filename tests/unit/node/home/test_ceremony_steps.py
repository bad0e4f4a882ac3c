"""The order in which a ceremony's steps become durable, whoever takes them."""

from collections.abc import Callable

import pytest

from consensus.ceremony import Applied
from consensus.events import forgetful_sign_state
from consensus.identifiers import FIRST_HEIGHT
from node.home import ceremony_steps

STATE = forgetful_sign_state(FIRST_HEIGHT)


def taken(step: Callable[..., None], first: object, *names: str) -> list[str]:
    """Returns the calls that a step made, in their order."""
    calls: list[str] = []
    step(first, **{name: lambda *_, name=name: calls.append(name) for name in names})
    return calls


def test_a_statement_leaves_once_the_home_is_sealed() -> None:
    assert taken(ceremony_steps.export, STATE, "write_statement", "save") == ["save", "write_statement"]


def test_an_agreement_leaves_once_it_binds() -> None:
    names = ("write_join", "save", "keep_plans")
    assert taken(ceremony_steps.join, STATE, *names) == ["keep_plans", "save", "write_join"]


@pytest.mark.parametrize("drops_carried", [False, True])
def test_an_era_begins_with_the_sign_state(drops_carried: bool) -> None:
    """A ledger that the new era would find damaged goes before the files that say so."""
    begun = Applied(sign_state=STATE, drops_carried=drops_carried)
    calls = taken(ceremony_steps.apply, begun, "save", "keep_eras", "set_ledger_aside", "keep_plans")
    aside = ["set_ledger_aside"] if drops_carried else []
    assert calls == ["keep_plans", *aside, "keep_eras", "save"]
