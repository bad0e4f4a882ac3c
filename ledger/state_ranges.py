"""The state in chunks, each with the proof that it is all of its range: how a state leaves one home for another.

Entries stand in the order of the authenticated map, that of their keys' hashes. A region is a subtree of it: all
hashes that begin with the same bits. A chunk is a region's entries with the hashes of the subtrees beside its path,
from the root down. Rebuilding the subtree from the entries and folding it with these gives the map's root only if the
region holds just these entries: none left out, none added, none changed. So a chunk is judged by itself, by the root
alone, and chunks whose regions cover all hashes are the whole state.

Which chunks there are follows from the state: a region that fits into one is one, any other is divided at its next
bit. All honest homes divide one state alike, so one home goes on where another stopped.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record
from consensus.identifiers import DIGEST_SIZE_BYTES, Digest
from consensus.messages import DigestField
from contracts.state import StateKey
from ledger.authenticated_map import KEY_SIZE_BITS, build_subtree, hash_inner, hash_key, hash_value

CHUNK_ENTRIES_MAX: Final = 1_024
"""Entries of a chunk: what is hashed to judge it takes 10 ms."""

CHUNK_SIZE_BYTES_MAX: Final = 256 * 1024
"""Keys and values of a chunk together; one entry alone may be larger."""

KEY_SIZE_BYTES_MAX: Final = 128
VALUE_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one entry; with it a chunk still fits a frame of the mesh."""

_ALL_ONES: Final = (1 << KEY_SIZE_BITS) - 1


class StateEntry(Record, frozen=True, kw_only=True):
    """A key of the state with its value."""

    key: Annotated[StateKey, Meta(min_length=1, max_length=KEY_SIZE_BYTES_MAX)]
    value: Annotated[bytes, Meta(max_length=VALUE_SIZE_BYTES_MAX)]

    @property
    def size_bytes(self) -> int:
        """What it counts in a chunk."""
        return len(self.key) + len(self.value)


class StateChunk(Record, frozen=True, kw_only=True, tag="state-chunk"):
    """All entries of the region around a position, with their path to the map's root."""

    siblings: Annotated[tuple[DigestField, ...], Meta(max_length=KEY_SIZE_BITS)]
    """Hashes of the subtrees beside the path, from the root down: as many as the region has bits."""
    entries: Annotated[tuple[StateEntry, ...], Meta(max_length=CHUNK_ENTRIES_MAX)]
    """In the order of their keys' hashes."""

    @property
    def size_bytes(self) -> int:
        """Keys and values together."""
        return sum(entry.size_bytes for entry in self.entries)


class ChunkFault(Enum):
    """What is wrong with a chunk: no honest home sends such a one."""

    TOO_LARGE = "chunk_too_large"
    """More entries, bytes or siblings than a chunk may have."""
    OUTSIDE = "chunk_outside"
    """An entry that the region does not hold, or entries out of their order, or one twice."""
    OTHER_ROOT = "chunk_other_root"
    """It is not part of the map with this root: left out, added or changed, or of another state."""


@dataclass(frozen=True, slots=True)
class Region:
    """All key hashes that share their first bits."""

    start: Digest
    """The lowest of them."""
    depth: int
    """How many bits, 0 to 256."""

    @property
    def last(self) -> Digest:
        """The highest of them."""
        return _hash_of(_number(self.start) | _ALL_ONES >> self.depth)

    @property
    def following(self) -> Digest | None:
        """The lowest hash above the region, None if there is none."""
        number = _number(self.last)
        return None if number == _ALL_ONES else _hash_of(number + 1)

    @property
    def preceding(self) -> Digest | None:
        """The highest hash below the region, None if there is none."""
        number = _number(self.start)
        return None if number == 0 else _hash_of(number - 1)

    def halves(self) -> tuple["Region", "Region"]:
        """Returns the regions with one bit more, the lower first."""
        assert self.depth < KEY_SIZE_BITS, "a region of one hash has no halves"
        upper = _number(self.start) | 1 << (KEY_SIZE_BITS - 1 - self.depth)
        return Region(self.start, self.depth + 1), Region(_hash_of(upper), self.depth + 1)

    def beside(self) -> "Region":
        """Returns the other half of the region that this one is a half of."""
        assert self.depth > 0, "nothing stands beside the whole map"
        return Region(_hash_of(_number(self.start) ^ 1 << (KEY_SIZE_BITS - self.depth)), self.depth)


WHOLE: Final = Region(Digest(bytes(DIGEST_SIZE_BYTES)), 0)
"""Every hash."""

HashedEntry = tuple[Digest, StateEntry]
"""An entry behind its key's hash."""


def region_at(position: Digest, depth: int) -> Region:
    """Returns the region of so many bits that a hash stands in."""
    return Region(_hash_of(_number(position) & ~(_ALL_ONES >> depth)), depth)


def chunk_fault(chunk: StateChunk, root: Digest, position: Digest) -> ChunkFault | None:
    """Says what is wrong with a chunk, None if it is all that the map of `root` holds around a position.

    Pure; never raises. Takes about 15 ms for the largest chunk.
    """
    entries = chunk.entries
    if len(chunk.siblings) > KEY_SIZE_BITS or not _fits(len(entries), chunk.size_bytes):
        return ChunkFault.TOO_LARGE
    region = region_at(position, len(chunk.siblings))
    hashes = [hash_key(entry.key) for entry in entries]
    if any(above <= below for below, above in pairwise(hashes)):
        return ChunkFault.OUTSIDE
    if hashes and not region.start <= hashes[0] <= hashes[-1] <= region.last:
        return ChunkFault.OUTSIDE
    name = region_root(region, zip(hashes, entries, strict=True))
    for sibling in reversed(chunk.siblings):
        name = hash_inner(name, sibling) if region.start < region.beside().start else hash_inner(sibling, name)
        region = region_at(region.start, region.depth - 1)
    return None if name == root else ChunkFault.OTHER_ROOT


def region_root(region: Region, entries: Iterable[HashedEntry]) -> Digest:
    """Returns the hash of the map's subtree in a region, of all of its entries in their order."""
    return build_subtree(region.depth, [(key_hash, hash_value(entry.value)) for key_hash, entry in entries])


def divide(entries: Iterable[HashedEntry]) -> Iterator[tuple[Region, Sequence[HashedEntry]]]:
    """Yields the chunks of a whole state, in their order; holds the entries of one and a little more.

    Args:
        entries: all of them, in the order of their hashes.
    """
    ahead = _Ahead(iter(entries))
    waiting = [WHOLE]
    while waiting:
        region = waiting.pop()
        found = ahead.take(region)
        if found is None:
            waiting += reversed(region.halves())
        else:
            yield region, found


class _Ahead:
    """Entries read from a source that does not go back."""

    def __init__(self, source: Iterator[HashedEntry]) -> None:
        self._source = source
        self._held: list[HashedEntry] = []

    def take(self, region: Region) -> Sequence[HashedEntry] | None:
        """Takes the entries of the lowest region that is left; takes none and returns None if no chunk holds them."""
        count, size_bytes, last = 0, 0, region.last
        while self._has(count) and self._held[count][0] <= last:
            size_bytes += self._held[count][1].size_bytes
            count += 1
            if not _fits(count, size_bytes):
                return None
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _has(self, place: int) -> bool:
        if place == len(self._held):
            following = next(self._source, None)
            if following is None:
                return False
            assert not self._held or self._held[-1][0] < following[0], "the entries are not in their order"
            self._held.append(following)
        return True


def join_regions(parts: Iterable[tuple[Region, Digest]]) -> Iterator[tuple[Region, Digest]]:
    """Yields the regions above those of a whole state's chunks with their subtrees' hashes; the whole map comes last.

    Args:
        parts: every chunk's region with its subtree's hash, in their order.
    """
    open_: list[tuple[Region, Digest]] = []
    for part in parts:
        region, name = part
        while open_ and open_[-1][0] == region.beside():
            left, left_name = open_.pop()
            region, name = Region(left.start, left.depth - 1), hash_inner(left_name, name)
            yield region, name
        open_.append((region, name))
    assert [region for region, _ in open_] == [WHOLE], "the regions do not cover the map"


class Covered:
    """Which hashes chunks were taken of, as few intervals as there can be."""

    def __init__(self, intervals: Iterable[tuple[Digest, Digest]] = ()) -> None:
        """Takes intervals that `intervals` returned, first and last hash of each."""
        self._intervals = [(_number(first), _number(last)) for first, last in intervals]
        before = -2
        for first, last in self._intervals:
            if not before + 1 < first <= last:
                raise ValueError("the intervals are not apart and in their order")
            before = last

    @property
    def intervals(self) -> tuple[tuple[Digest, Digest], ...]:
        """First and last hash of each interval, in their order."""
        return tuple((_hash_of(first), _hash_of(last)) for first, last in self._intervals)

    @property
    def is_whole(self) -> bool:
        """Says whether every hash is covered."""
        return self._intervals == [(0, _ALL_ONES)]

    @property
    def share(self) -> float:
        """How much is covered, 0 to 1, for people."""
        return sum(last - first + 1 for first, last in self._intervals) / (_ALL_ONES + 1)

    def add(self, region: Region) -> None:
        """Covers a region, whatever of it was covered before."""
        first, last = _number(region.start), _number(region.last)
        apart = [one for one in self._intervals if one[1] + 1 < first or last + 1 < one[0]]
        joined = [one for one in self._intervals if one not in apart]
        whole = (min([first, *(one[0] for one in joined)]), max([last, *(one[1] for one in joined)]))
        self._intervals = sorted([*apart, whole])

    def first_missing(self, region: Region) -> Digest | None:
        """Returns the lowest hash of a region that is not covered, None if all are."""
        lowest = _number(region.start)
        for first, last in self._intervals:
            if first <= lowest <= last:
                lowest = last + 1
        return _hash_of(lowest) if lowest <= _number(region.last) else None


def _fits(count: int, size_bytes: int) -> bool:
    return count <= CHUNK_ENTRIES_MAX and (count <= 1 or size_bytes <= CHUNK_SIZE_BYTES_MAX)


def _number(key_hash: Digest) -> int:
    return int.from_bytes(key_hash, "big")


def _hash_of(number: int) -> Digest:
    return Digest(number.to_bytes(DIGEST_SIZE_BYTES, "big"))
