"""The field at which a file is no record of its kind, in the names of the records instead of places in arrays."""

import re
from typing import Any, Final

from msgspec.inspect import StructType, TupleType, Type, UnionType, VarTupleType, type_info

_SAID: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>(?:\[\d+\])*)`)?$", re.DOTALL)
_PLACE: Final = re.compile(r"\d+")
_LENGTH: Final = re.compile(r"Expected `array` of at (?P<bound>most|least) length \d+, got (?P<found>\d+)")


def named_fields(detail: str, expected: type) -> str:
    """Returns what a decoder said of an array's places (`$[1][0][3]`), with the names of their fields.

    Args:
        detail: msgspec's words.
        expected: the record that was to be read.
    """
    said = _SAID.match(detail)
    assert said is not None, "every text has the form"
    names, kind = [], type_info(expected)
    for place in _PLACE.findall(said["path"] or ""):
        name, kind = _inside(kind, int(place))
        names.append(name)
    what = _number_of_fields(said["what"], kind)
    return ": ".join(filter(None, ("".join(names).lstrip("."), what)))


def _number_of_fields(what: str, kind: Type | None) -> str:
    """Returns in words that a record has a field too many, or lacks one."""
    length = _LENGTH.match(what)
    if length is None or not isinstance(kind, StructType):
        return what
    fields = [field.encode_name for field in kind.fields]
    if length["bound"] == "most":
        return f"has an unknown field; expected none behind {fields[-1]}"
    found = int(length["found"]) - (kind.tag is not None)
    return f"{fields[max(found, 0)]}: is missing"


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
