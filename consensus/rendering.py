"""Records as JSON, for people: the other form of what `consensus.codec` encodes."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec
from msgspec.inspect import BytesType, StructType, Type, VarTupleType, type_info

R = TypeVar("R", bound=msgspec.Struct)

_TAG = "type"


def render(value: object) -> Any:
    """Returns a record, or a part of one, as JSON: bytes as hexadecimal text, enums by value, fields by name.

    A member of a union has its tag as `type`.
    """
    match value:
        case msgspec.Struct():
            tag = value.__struct_config__.tag
            fields = {name: render(getattr(value, name)) for name in value.__struct_fields__}
            return fields if tag is None else {_TAG: tag, **fields}
        case Enum():
            return render(value.value)
        case bytes():
            return value.hex()
        case tuple() | list():
            return [render(item) for item in value]
        case Mapping():
            return {str(render(key)): render(item) for key, item in value.items()}
        case _:
            return value


def unrender(fields: Any, record: type[R]) -> R:
    """Returns the record that `render` showed; fields that it does not have are passed over.

    Takes records of plain values, of records, and of tuples of either; no unions and no mappings.

    Raises:
        ValueError: a field is missing, of another type or out of its bounds.
    """
    try:
        return msgspec.convert(_unrendered(fields, type_info(record)), record)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _unrendered(value: Any, kind: Type) -> Any:
    """Returns what `render` showed in the form that a record is made of."""
    match kind:
        case StructType():
            fields = [_unrendered(value[field.name], field.type) for field in kind.fields]
            return fields if kind.tag is None else [value[_TAG], *fields]
        case VarTupleType():
            return [_unrendered(item, kind.item_type) for item in value]
        case BytesType():
            return bytes.fromhex(value)
        case _:
            return value
