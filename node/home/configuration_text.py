"""Writes a `meter.toml` in which every key is explained, by the field descriptions of the configuration."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import tomlkit
from pydantic import BaseModel
from tomlkit.items import Array, InlineTable, Table

from node.home.configuration import (
    ENVIRONMENT_DELIMITER,
    ENVIRONMENT_PREFIX,
    ApiTable,
    Configuration,
    MeterTable,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
)

COMMENT_WIDTH: Final = 100

_INTRODUCTION: Final = (
    "Configuration of one p2pnode daemon: `p2pnode start --config meter.toml`. An unknown key is refused. "
    f"The environment overrides every key: {ENVIRONMENT_PREFIX}<TABLE>{ENVIRONMENT_DELIMITER}<KEY>, "
    f"for example {ENVIRONMENT_PREFIX}API{ENVIRONMENT_DELIMITER}PORT=8081."
)


def render_example() -> str:
    """Returns the text of a `meter.toml` that has every key."""
    peer = PeerEntry(address="0" * 64, host="192.0.2.2", port=7000)
    example = Configuration(
        node=NodeTable(name="node1"),
        p2p=PeerToPeerTable(port=7000, peers=(peer,)),
        api=ApiTable(port=8000),
        meter=MeterTable(household_id="home1"),
    )
    return render_configuration(example)


def render_configuration(configuration: Configuration) -> str:
    """Returns the text of a `meter.toml` that loads to `configuration`, with a comment above every key."""
    document = tomlkit.document()
    for line in wrap(_INTRODUCTION, COMMENT_WIDTH):
        document.add(tomlkit.comment(line))
    for name in type(configuration).model_fields:
        table = getattr(configuration, name)
        if table is not None:
            document.add(tomlkit.nl())
            document.add(name, _table(table))
    return tomlkit.dumps(document)


def with_changes(text: str, **tables: Mapping[str, Any]) -> str:
    """Returns the text of a `meter.toml` with some keys changed, and everything else, comments too, as it was.

    Args:
        text: that loads.
        tables: by name, keys of them with their new values.
    """
    document = tomlkit.parse(text)
    for name, values in tables.items():
        table = document.setdefault(name, tomlkit.table())
        for key, value in values.items():
            table[key] = _value(value)
    return tomlkit.dumps(document)


def _table(values: BaseModel) -> Table:
    table = tomlkit.table()
    for line in wrap(type(values).__doc__ or "", COMMENT_WIDTH):
        table.add(tomlkit.comment(line))
    for name, field in type(values).model_fields.items():
        table.add(tomlkit.nl())
        assert field.description, f"{name} has no description"
        for line in wrap(field.description, COMMENT_WIDTH):
            table.add(tomlkit.comment(line))
        table.add(name, _value(getattr(values, name)))
    return table


def _value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return _one_per_line([_value(entry) for entry in value]) if value else []
    if isinstance(value, BaseModel):
        return _inline(value)
    return value


def _inline(entry: BaseModel) -> InlineTable:
    table = tomlkit.inline_table()
    table.update({name: _value(getattr(entry, name)) for name in type(entry).model_fields})
    return table


def _one_per_line(entries: list[Any]) -> Array:
    array = tomlkit.array()
    array.extend(entries)
    array.multiline(multiline=True)
    return array
