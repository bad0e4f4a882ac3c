"""The one codec: typed records to canonical MessagePack and strictly back.

A record is a frozen class whose fields travel as an array in their order; a union's member is told by the tag
in front. There is exactly one encoding per value: the decoder encodes again what it read and refuses input
that differs, so floats, long forms, duplicate or trailing bytes cannot name the same value twice. Before anything
is built, the input is skipped through once: every claimed length must be there in bytes, so nothing is allocated
in proportion to a mere claim (1,000 nested arrays that each claim 16,384 elements are 3 KB, and would take 130 MB).
"""

from enum import Enum
from types import UnionType
from typing import Any, Final, TypeVar, overload

import msgpack
import msgspec

T = TypeVar("T")

ELEMENTS_MAX: Final = 16_384
"""Longest array in any record: the largest allowed block, with room. Bounds what a forged header allocates."""

RECORD_SIZE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Largest encoding of any record. Callers pass the tighter limit of their own kind."""


class Record(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """The base of every message, record and state value."""


class Malformed(Enum):
    """Why bytes are not a record."""

    TOO_LARGE = "too_large"
    NOT_MESSAGEPACK = "not_messagepack"
    WRONG_TYPE = "wrong_type"
    NOT_CANONICAL = "not_canonical"


class DecodeError(ValueError):
    """Bytes that are not the canonical encoding of the expected record."""

    def __init__(self, reason: Malformed, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason


def encode(value: Any) -> bytes:
    """Returns the canonical MessagePack of a record (or of a tuple of records or plain values)."""
    builtin = msgspec.to_builtins(value, builtin_types=(bytes,))
    return msgpack.packb(builtin, use_bin_type=True)  # type: ignore[no-any-return]


@overload
def decode(data: bytes, expected: type[T], *, size_bytes_max: int = ...) -> T: ...
@overload
def decode(data: bytes, expected: UnionType, *, size_bytes_max: int = ...) -> Any: ...
def decode(data: bytes, expected: type[T] | UnionType, *, size_bytes_max: int = RECORD_SIZE_BYTES_MAX) -> Any:
    """Returns the record that `data` encodes.

    Args:
        data: the encoding, nothing before or after it.
        expected: a `Record` class, or any type that msgspec converts to, such as a union of tagged records.
        size_bytes_max: longest `data` accepted.

    Raises:
        DecodeError: `data` is too long, not MessagePack, of another type, or not canonical.
    """
    if len(data) > size_bytes_max:
        raise DecodeError(Malformed.TOO_LARGE, f"{len(data)} bytes, at most {size_bytes_max}")
    try:
        _skip_through(data)
        raw = msgpack.unpackb(
            data,
            raw=False,
            use_list=False,
            strict_map_key=False,
            max_array_len=ELEMENTS_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(Malformed.NOT_MESSAGEPACK, str(error) or type(error).__name__) from None
    try:
        value = msgspec.convert(raw, expected)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise DecodeError(Malformed.WRONG_TYPE, str(error)) from None
    if encode(value) != data:
        raise DecodeError(Malformed.NOT_CANONICAL, "the same value has another encoding")
    return value


def _skip_through(data: bytes) -> None:
    """Parses without building anything. Raises what MessagePack raises for incomplete or malformed input."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    unpacker.skip()
