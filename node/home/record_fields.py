"""The field at which a file is no record of its kind, in the names of the records instead of places in arrays."""

import re
from typing import Any, Final

from msgspec.inspect import StructType, TupleType, Type, UnionType, VarTupleType, type_info

_PATH: Final = re.compile(r"^(?P<what>.*) - at `\$(?P<path>(\[\d+\]|\[\.\.\.\])*)`$", re.DOTALL)
_PLACE: Final = re.compile(r"\d+")


def named_fields(detail: str, expected: type) -> str:
    """Returns what a decoder said of an array's places (`$[1][0][3]`), with the names of their fields.

    Args:
        detail: msgspec's words.
        expected: the record that was to be read.
    """
    found = _PATH.match(detail)
    if found is None:
        return detail
    names, kind = [], type_info(expected)
    for place in _PLACE.findall(found["path"]):
        name, kind = _inside(kind, int(place))
        names.append(name)
    return f"{''.join(names).lstrip('.')}: {found['what']}"


def _inside(kind: Type | None, place: int) -> tuple[str, Any]:
    """Returns how a place in an array is called, and what stands there."""
    match kind:
        case StructType():
            index = place - (kind.tag is not None)
            if index < 0:
                return ".kind", None
            field = kind.fields[index]
            return f".{field.encode_name}", _resolved(field.type)
        case VarTupleType():
            return f"[{place}]", _resolved(kind.item_type)
        case TupleType():
            return f"[{place}]", _resolved(kind.item_types[place])
        case _:
            return f"[{place}]", None


def _resolved(kind: Type) -> Type | None:
    """Returns the record or array in an optional value."""
    if not isinstance(kind, UnionType):
        return kind
    return next((one for one in kind.types if isinstance(one, StructType | VarTupleType | TupleType)), None)
