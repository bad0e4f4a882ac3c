"""Damages and grows encodings: bits, bytes, lengths, long forms, splices, hostile pieces.

The same random numbers give the same inputs.
"""

import re
from collections.abc import Callable
from random import Random
from typing import Final

INPUT_SIZE_BYTES_MAX: Final = 64 * 1024
"""Largest grown input: room for thousands of nested claims, and small enough for thousands of cases a second."""

CHANGES_MAX: Final = 4
REPETITIONS: Final = (2, 3, 16, 300, 1_200, 5_000)
"""Of a grown part: past a fixed array, past 255, and past every depth that a parser takes."""

DEPTHS: Final = (10, 500, 1_000, 2_000)
"""Of nested arrays: below and above the 1,024 that MessagePack's parser takes."""

BINARY_PIECES: Final = (
    b"\xdc\x40\x00",  # an array that claims as many elements as any record may have
    b"\xdd\x00\x00\x40\x00",
    b"\xdd\xff\xff\xff\xff",
    b"\xde\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\x91",
    b"\x81\x01",
    b"\x82\x01\x02\x01\x02",  # a key twice
    b"\x80",
    b"\x90",
    b"\xc4\x00",
    b"\xa0",
    b"\xa2\xff\xfe",  # not UTF-8
    b"\xa3\xed\xa0\x80",  # a surrogate
    b"\xca\x7f\xc0\x00\x00",
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # not a number
    b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    b"\xcb\x40\x14\x00\x00\x00\x00\x00\x00",  # 5.0
    b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
    b"\xd4\x01\x00",
    b"\xd6\xff\x00\x00\x00\x00",  # a timestamp
    b"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc1",
    b"\xc0",
    b"\xc2",
    b"\xc3",
    b"\xff",
    b"\x00",
)

TEXT_PIECES: Final = (
    b"[",
    b"{",
    b"[[",
    b'{"a":',
    b"]",
    b"}",
    b",",
    b":",
    b"=",
    b"\n",
    b"\r",
    b"\r\n",
    b"\\",
    b'"',
    b"'",
    b'""',
    b'"""',
    b"#",
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"-1",
    b"1.0",
    b"1.5",
    b"1e2",
    b"1e400",
    b"-1e400",
    b"NaN",
    b"nan",
    b"inf",
    b"Infinity",
    b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"9" * 400,
    b"9" * 4_400,  # more digits than Python turns into a number
    b"0x1F",
    b"1_000",
    b'"\\ud800"',
    b'"\\u0000"',
    b'"' + b"x" * 300 + b'"',
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "ß\u2028\u0663".encode(),
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59-23:59",
    b"9999-12-31T23:00:00-01:00",
    b"2016-02-30T00:00:00Z",
    b"a.b.c.d.",
)

_VALUE: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+_-]*|true|false|null')
_LONGER: Final = {
    0xC4: (b"\xc5\x00", b"\xc6\x00\x00\x00"),
    0xC5: (b"\xc6\x00\x00",),
    0xCC: (b"\xcd\x00", b"\xce\x00\x00\x00"),
    0xCD: (b"\xce\x00\x00", b"\xcf\x00\x00\x00\x00\x00\x00"),
    0xCE: (b"\xcf\x00\x00\x00\x00",),
    0xD9: (b"\xda\x00", b"\xdb\x00\x00\x00"),
    0xDC: (b"\xdd\x00\x00",),
}
"""A longer head of the same value, for each MessagePack head that has one; the length or number follows."""


class Mutator:
    """Makes inputs out of specimens."""

    def __init__(self, random: Random, *, is_text: bool) -> None:
        self._random = random
        self._pieces = TEXT_PIECES if is_text else BINARY_PIECES
        shared = (flip_bit, set_byte, insert_byte, delete_part, truncate, repeat_part, alter_length)
        self._own: tuple[Callable[[Random, bytes], bytes], ...] = (
            *shared,
            *((self._insert_piece,) * 2),
            *(
                (self._replace_value,) * 4
                if is_text
                else (lengthen_head, lengthen_head, nest_claims, self._replace_with_piece)
            ),
        )

    def mutate(self, specimen: bytes, other: bytes) -> bytes:
        """Returns a changed specimen; `other` is what it may be spliced with."""
        random, data = self._random, specimen
        if random.random() < 0.1:
            data = splice(random, data, other)
        for _ in range(random.randint(1, CHANGES_MAX) if random.random() < 0.4 else 1):
            data = random.choice(self._own)(random, data)
        return data[:INPUT_SIZE_BYTES_MAX]

    def _insert_piece(self, random: Random, data: bytes) -> bytes:
        place, piece = random.randint(0, len(data)), random.choice(self._pieces)
        return data[:place] + piece * _repetitions(random, len(piece)) + data[place:]

    def _replace_with_piece(self, random: Random, data: bytes) -> bytes:
        place, piece = random.randint(0, len(data)), random.choice(self._pieces)
        return data[:place] + piece + data[place + random.choice((1, len(piece), 2, 9, 33)) :]

    def _replace_value(self, random: Random, data: bytes) -> bytes:
        found = _VALUE.search(data, random.randint(0, len(data)))
        if found is None:
            return self._insert_piece(random, data)
        start, end = found.span()
        quote = b'"' if data[start : start + 1] == b'"' and random.random() < 0.3 else b""
        piece = random.choice(self._pieces)
        return data[:start] + quote + piece * _repetitions(random, len(piece)) + quote + data[end:]


def _repetitions(random: Random, size_bytes: int) -> int:
    if random.random() < 0.85:
        return 1
    return max(1, min(random.choice(REPETITIONS), INPUT_SIZE_BYTES_MAX // max(1, size_bytes)))


def _part(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 2, 3, 4, 9, 33, 67, 200)))


def flip_bit(random: Random, data: bytes) -> bytes:
    """Changes one bit."""
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << random.randrange(8),)) + data[place + 1 :]


def set_byte(random: Random, data: bytes) -> bytes:
    """Changes one byte to any other."""
    place = random.randint(0, len(data))
    return data[:place] + bytes((random.randrange(256),)) + data[place + 1 :]


def insert_byte(random: Random, data: bytes) -> bytes:
    """Adds a byte somewhere, at the end as often as not."""
    place = len(data) if random.random() < 0.5 else random.randint(0, len(data))
    return data[:place] + bytes((random.randrange(256),)) + data[place:]


def delete_part(random: Random, data: bytes) -> bytes:
    """Takes some bytes out."""
    start, end = _part(random, data)
    return data[:start] + data[end:]


def truncate(random: Random, data: bytes) -> bytes:
    """Ends early."""
    return data[: random.randint(0, len(data))]


def repeat_part(random: Random, data: bytes) -> bytes:
    """Grows by saying a part again, up to thousands of times."""
    start, end = _part(random, data)
    return data[:end] + data[start:end] * _repetitions(random, end - start) + data[end:]


def alter_length(random: Random, data: bytes) -> bytes:
    """Moves a byte, or a number of two or four bytes, by a little or to its end."""
    place, size = random.randint(0, len(data)), random.choice((1, 1, 2, 4, 8))
    number = int.from_bytes(data[place : place + size], "big") + random.choice((-2, -1, 1, 2, 16, -16))
    top = 1 << 8 * size
    if random.random() < 0.2:
        number = random.choice((0, top - 1, top // 2))
    return data[:place] + (number % top).to_bytes(size, "big") + data[place + size :]


def lengthen_head(random: Random, data: bytes) -> bytes:
    """Says a number, or a length, in a longer form than it needs."""
    start = random.randint(0, len(data))
    for place in range(start, min(len(data), start + 64)):
        head = data[place]
        longer = _LONGER.get(head)
        if longer is not None:
            return data[:place] + random.choice(longer) + data[place + 1 :]
        if head < 0x80 and random.random() < 0.3:
            return data[:place] + random.choice((b"\xcc", b"\xcd\x00", b"\xd0", b"\xcf" + bytes(7))) + data[place:]
        if 0x90 <= head < 0xA0:
            return data[:place] + b"\xdc\x00" + bytes((head & 0x0F,)) + data[place + 1 :]
        if 0xA0 <= head < 0xC0 and random.random() < 0.5:
            return data[:place] + b"\xd9" + bytes((head & 0x1F,)) + data[place + 1 :]
    return data


def nest_claims(random: Random, data: bytes) -> bytes:
    """Puts arrays into each other that all claim to be long; from the start, or behind what was read well."""
    place = 0 if random.random() < 0.5 else random.randint(0, len(data))
    claim, depth = random.choice(BINARY_PIECES[:3]), random.choice(DEPTHS)
    return data[:place] + claim * depth + data[place:]


def splice(random: Random, data: bytes, other: bytes) -> bytes:
    """Puts a part of one specimen where a part of another was."""
    start, end = sorted(random.randint(0, len(data)) for _ in range(2))
    first, last = sorted(random.randint(0, len(other)) for _ in range(2))
    return data[:start] + other[first:last] + data[end:]
