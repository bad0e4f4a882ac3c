"""What the chain has and the API shows a second time, as a model of its own: a forgotten twin is named here."""

from collections.abc import Iterable, Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from msgspec import Struct
from pydantic import BaseModel

from consensus.evidence import Offence
from consensus.messages import CommitCertificate
from contracts import state, transactions
from contracts.misconduct import DOUBLE_OFFER
from contracts.receipts import Posting, Receipt
from contracts.state import ScoreCause, StateKey, StateValue, Table, Totals, Trade, TradeStatus
from ledger import state_keys
from ledger.block import BlockHeader
from ledger.state_keys import parse_state_key, state_key_text
from node.replies import fields, node, stories
from node.replies.node import CertificateModel, HeaderModel, PostingModel, ReceiptModel, TotalsStatus
from node.replies.state import TradeModel
from node.stories.misconduct import OFFENCES

RECORDS: Final[dict[type[Struct], type[BaseModel]]] = {
    BlockHeader: HeaderModel,
    CommitCertificate: CertificateModel,
    Posting: PostingModel,
    Receipt: ReceiptModel,
    Totals: TotalsStatus,
    Trade: TradeModel,
}
ADDED: Final = {TradeModel: {"trade", "index"}}
"""Fields that a model has beyond its record's: the record's own name and place."""


def leaves(hint: Any) -> Iterator[Any]:
    """Yields the classes, and `Literal`s, that a type is made of."""
    if hasattr(hint, "__supertype__"):
        yield from leaves(hint.__supertype__)
    elif get_origin(hint) is Annotated:
        yield from leaves(get_args(hint)[0])
    elif get_origin(hint) in {Union, UnionType, tuple, list}:
        for part in get_args(hint):
            yield from leaves(part)
    elif get_origin(hint) is dict:
        yield dict
    else:
        yield hint


def classes(hint: Any, kind: type) -> list[Any]:
    return [leaf for leaf in leaves(hint) if isinstance(leaf, type) and issubclass(leaf, kind)]


def words(hint: Any) -> set[str]:
    return {word for leaf in leaves(hint) if get_origin(leaf) is Literal for word in get_args(leaf)}


def tag(record: type[Struct]) -> Any:
    return record.__struct_config__.tag


def by_kind(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    return {kind: model for model in models for kind in words(get_type_hints(model).get("kind"))}


def faults(record: type[Struct], model: type[BaseModel]) -> Iterator[str]:
    """Yields what of a record its model does not show, does not show any more, or shows with other words."""
    own, shown = get_type_hints(record, include_extras=True), get_type_hints(model, include_extras=True)
    has = set(record.__struct_fields__)
    tag_only = {"kind"} - has
    shows = set(model.model_fields) - tag_only - ADDED.get(model, set())
    yield from (f"{record.__name__}.{name} is not in {model.__name__}" for name in sorted(has - shows))
    yield from (f"{model.__name__}.{name} is not in {record.__name__}" for name in sorted(shows - has))
    for name in sorted(has & shows):
        where = f"{record.__name__}.{name} as {model.__name__}.{name}"
        yield from (f"{where}: {fault}" for fault in field_faults(own[name], shown[name]))


def field_faults(own: Any, shown: Any) -> Iterator[str]:
    if dict in leaves(shown):
        return  # any record, by the names of its fields
    records, models = classes(own, Struct), classes(shown, BaseModel)
    if len(records) == len(models) == 1:
        yield from faults(records[0], models[0])
    else:
        twins = by_kind(models)
        for record in records:
            if tag(record) in twins:
                yield from faults(record, twins[tag(record)])
            else:
                yield f"{record.__name__} has no twin"
    for kind in classes(own, Enum):
        if words(shown):
            missing = {member.value for member in kind} ^ words(shown)
            yield from (f"{word!r} is in only one of {kind.__name__} and the model" for word in sorted(missing))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_a_record_and_its_model_have_the_same_fields(record: type[Struct]) -> None:
    assert list(faults(record, RECORDS[record])) == []


def test_every_action_has_a_model_and_no_model_is_left_over() -> None:
    actions = {tag(action): action for action in classes(transactions.Action, Struct)}
    models = by_kind(classes(node.Action, BaseModel))
    assert set(actions) - set(models) == set(), "actions without a model among node/replies/actions.py's `Action`"
    assert set(models) - set(actions) == set(), "models of actions that the chain does not know"
    assert [fault for kind, action in actions.items() for fault in faults(action, models[kind])] == []


@pytest.mark.parametrize(
    ("shown", "kind"),
    [
        (fields.Cause, ScoreCause),
        (stories.TradeStatusName, TradeStatus),
        (get_type_hints(stories.TradeStoryReply)["status"], [*TradeStatus, "declined"]),
    ],
    ids=["score", "version of a trade", "story of a trade"],
)
def test_words_of_replies_are_the_chains(shown: Any, kind: Iterable[Any]) -> None:
    assert words(shown) == {getattr(member, "value", member) for member in kind}


def test_every_offence_has_its_words() -> None:
    assert set(OFFENCES) == {DOUBLE_OFFER, *(offence.value for offence in Offence)}


# --- state -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [table for table in Table if table is not Table.SINGLETON], ids=lambda it: it.name)
def test_every_table_of_the_state_has_a_key_that_people_can_write(table: Table) -> None:
    texts = {state_key_text(StateKey(table.value + bytes(size))) for size in sizes(table)}
    assert len(texts) == 1, f"{table} is not among ledger/state_keys.py's tables"
    (text,) = texts
    assert parse_state_key(text) == StateKey(table.value + bytes(sizes(table)[0]))
    assert f"| `{text.partition(':')[0]}:" in str(state_keys.__doc__), f"{text} is not in the table at its top"


def sizes(table: Table) -> list[int]:
    """Returns the length of a table's keys, behind the table's byte, as `ledger/state_keys.py` reads them."""
    return [sum(part.size_bytes for part in parts) for one, parts in state_keys._TABLES.values() if one is table]


@pytest.mark.parametrize("record", classes(StateValue, Struct), ids=lambda record: record.__name__)
def test_every_record_of_the_state_is_in_its_list_of_tables(record: type[Struct]) -> None:
    assert f"`{record.__name__}`" in str(state.__doc__), f"{record.__name__} is not in contracts/state.py's table"
