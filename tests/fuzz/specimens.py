"""Values of every kind of record, made from the types themselves: a kind that is added is fuzzed without anybody
thinking of it.
"""

from collections.abc import Iterator
from random import Random
from typing import Any, Final

import msgspec
from msgspec.inspect import (
    BoolType,
    BytesType,
    EnumType,
    IntType,
    NoneType,
    StrType,
    StructType,
    TupleType,
    Type,
    UnionType,
    VarTupleType,
    type_info,
)

from consensus.codec import Record, encode
from consensus.identifiers import DIGEST_SIZE_BYTES

ATTEMPTS_MAX: Final = 100
"""A record may refuse combinations of fields; another draw has another one."""

VARIANTS: Final = 3
"""Specimens of each kind: optional parts there and not, arrays of several lengths."""

ELEMENTS_MAX: Final = 3


def kinds_in(root: Any) -> set[type[Record]]:
    """Returns every record that an encoding of `root` may contain."""
    found: set[type[Record]] = set()
    _collect(type_info(root), found)
    return found


def _collect(kind: Type, found: set[type[Record]]) -> None:
    match kind:
        case StructType():
            if kind.cls not in found:
                found.add(kind.cls)
                for field in kind.fields:
                    _collect(field.type, found)
        case UnionType():
            for each in kind.types:
                _collect(each, found)
        case VarTupleType():
            _collect(kind.item_type, found)
        case TupleType():
            for item in kind.item_types:
                _collect(item, found)


def kinds_of(value: Any) -> set[type[Record]]:
    """Returns every record that a value does contain."""
    if isinstance(value, tuple):
        return set().union(*map(kinds_of, value))
    if not isinstance(value, Record):
        return set()
    fields = (getattr(value, name) for name in value.__struct_fields__)
    return {type(value)}.union(*map(kinds_of, fields))


def encodings(root: Any, random: Random) -> tuple[bytes, ...]:
    """Returns encodings of `root`, of all its alternatives, until every kind of record in it has occurred."""
    wanted, made = kinds_in(root), []
    for alternative in _alternatives(type_info(root)):
        made += [_make(alternative, root, random) for _ in range(VARIANTS)]
    seen = set().union(*map(kinds_of, made))
    for _ in range(ATTEMPTS_MAX * len(wanted)):
        if seen == wanted:
            break
        value = _make(type_info(root), root, random)
        if not kinds_of(value) <= seen:
            made.append(value)
            seen |= kinds_of(value)
    assert seen == wanted, f"no specimen of {wanted - seen}"
    return tuple(map(encode, made))


def _alternatives(kind: Type) -> Iterator[Type]:
    """Yields a kind for each member of the union that a root is, or that its only field is."""
    match kind:
        case UnionType():
            for each in kind.types:
                yield from _alternatives(each)
        case StructType(fields=(field,)) if isinstance(field.type, UnionType):
            for each in _alternatives(field.type):
                yield msgspec.structs.replace(kind, fields=(msgspec.structs.replace(field, type=each),))
        case _:
            yield kind


def _make(kind: Type, root: Any, random: Random) -> Any:
    for _ in range(ATTEMPTS_MAX):
        try:
            return msgspec.convert(_draw(kind, random), root)
        except msgspec.ValidationError:
            continue
    raise AssertionError(f"cannot make a {kind}")


def _draw(kind: Type, random: Random) -> Any:
    """Returns a value in the form that a record is made of."""
    match kind:
        case StructType():
            tag = () if kind.tag is None else (kind.tag,)
            return (*tag, *(_draw(field.type, random) for field in kind.fields))
        case UnionType():
            return _draw(random.choice(kind.types), random)
        case VarTupleType():
            longest = ELEMENTS_MAX if kind.max_length is None else min(ELEMENTS_MAX, kind.max_length)
            return tuple(_draw(kind.item_type, random) for _ in range(random.randint(kind.min_length or 0, longest)))
        case TupleType():
            return tuple(_draw(item, random) for item in kind.item_types)
        case _:
            return _draw_plain(kind, random)


def _draw_plain(kind: Type, random: Random) -> Any:
    match kind:
        case BytesType():
            shortest = DIGEST_SIZE_BYTES if kind.min_length is None else kind.min_length
            longest = DIGEST_SIZE_BYTES if kind.max_length is None else min(kind.max_length, max(shortest, 64))
            return random.randbytes(random.randint(min(shortest, longest), longest))
        case StrType():
            return random.choice(("aä☀", "a"))[: kind.max_length]
        case IntType():
            lowest = -1 if kind.ge is None else kind.ge
            highest = 2**63 - 1 if kind.le is None else kind.le
            return min(highest, max(lowest, random.choice((0, 1, 127, 128, 300, 70_000, 2**40, lowest, highest))))
        case EnumType():
            return random.choice(list(kind.cls)).value
        case BoolType():
            return random.random() < 0.5
        case NoneType():
            return None
        case _:
            raise AssertionError(f"no specimen of {kind} is known how to make")
