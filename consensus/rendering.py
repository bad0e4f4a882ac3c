"""Records as JSON, for people: the other form of what `consensus.codec` encodes."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec


def render(value: object) -> Any:
    """Returns a record, or a part of one, as JSON: bytes as hexadecimal text, enums by value, fields by name.

    A member of a union has its tag as `type`.
    """
    match value:
        case msgspec.Struct():
            tag = value.__struct_config__.tag
            fields = {name: render(getattr(value, name)) for name in value.__struct_fields__}
            return fields if tag is None else {"type": tag, **fields}
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
