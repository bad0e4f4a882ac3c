"""A state in chunks: whole, divided alike by all, and every tampering found at the chunk that it was done to."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.identifiers import Digest
from contracts.state import StateKey
from ledger import state_ranges
from ledger.authenticated_map import EMPTY, hash_inner, hash_key, hash_value, no_nodes, update_map
from ledger.state_ranges import (
    WHOLE,
    ChunkFault,
    Covered,
    Region,
    StateChunk,
    StateEntry,
    chunk_fault,
    divide,
    join_regions,
    region_at,
    region_root,
)

Values = dict[bytes, bytes]
STATES = st.dictionaries(st.binary(min_size=1, max_size=6), st.binary(max_size=9), max_size=40)
HIGHEST = Digest(b"\xff" * 32)


@pytest.fixture(autouse=True, scope="module")
def small_chunks() -> Iterator[None]:
    """Chunks of a few entries, so that states which hypothesis draws have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state_ranges, "CHUNK_ENTRIES_MAX", 3)
        patch.setattr(state_ranges, "CHUNK_SIZE_BYTES_MAX", 40)
        yield


def hashed(values: Values) -> list[tuple[Digest, StateEntry]]:
    return sorted((hash_key(key), StateEntry(key=StateKey(key), value=value)) for key, value in values.items())


def root_of(values: Values) -> Digest:
    return update_map(no_nodes, EMPTY, values).root


def chunks_of(values: Values) -> list[tuple[Region, StateChunk]]:
    parts = [(region, region_root(region, entries), entries) for region, entries in divide(hashed(values))]
    names = {region: name for region, name, _ in parts}
    names.update(join_regions([(region, name) for region, name, _ in parts]))
    return [
        (region, StateChunk(siblings=siblings(names, region), entries=tuple(entry for _, entry in entries)))
        for region, _, entries in parts
    ]


def siblings(names: dict[Region, Digest], region: Region) -> tuple[Digest, ...]:
    found = []
    while region.depth:
        found.append(names[region.beside()])
        region = region_at(region.start, region.depth - 1)
    return tuple(reversed(found))


def keys_that_begin_alike(count: int, *, bits: int) -> Values:
    wanted, found, number = hash_key(b"the first"), {b"the first": b"1"}, 0
    while len(found) < count:
        number += 1
        key = number.to_bytes(4, "big")
        if region_at(hash_key(key), bits) == region_at(wanted, bits):
            found[key] = b"%d" % number
    return found


@settings(derandomize=True, max_examples=200, deadline=None)
@given(STATES)
def test_the_chunks_of_a_state_are_right_and_together_are_all_of_it(values: Values) -> None:
    root = root_of(values)
    position: Digest | None = WHOLE.start
    taken: Values = {}
    for region, chunk in chunks_of(values):
        assert position == region.start, "the regions follow upon each other"
        position = region.following
        for place in (region.start, region.last):
            assert chunk_fault(chunk, root, place) is None
        taken |= {entry.key: entry.value for entry in chunk.entries}
    assert position is None
    assert taken == values


def test_a_region_is_divided_only_if_no_chunk_holds_it() -> None:
    values = {b"%d" % number: b"" for number in range(200)}
    hashes = sorted(map(hash_key, values))
    regions = {region for region, _ in chunks_of(values)}
    assert len(regions) > 50
    for region in regions:
        above = region_at(region.start, region.depth - 1)
        assert sum(above.start <= one <= above.last for one in hashes) > 3


def test_an_entry_that_is_larger_than_a_chunk_has_one_to_itself() -> None:
    values = {b"large": bytes(1_000), b"small": b"", b"other": b""}
    (large,) = [chunk for _, chunk in chunks_of(values) if any(entry.key == b"large" for entry in chunk.entries)]
    assert len(large.entries) == 1
    assert all(chunk_fault(chunk, root_of(values), region.start) is None for region, chunk in chunks_of(values))


def test_an_empty_map_and_a_map_of_one_entry_are_one_chunk() -> None:
    ((region, nothing),) = chunks_of({})
    assert (region, nothing) == (WHOLE, StateChunk(siblings=(), entries=()))
    assert chunk_fault(nothing, EMPTY, HIGHEST) is None
    ((_, one),) = chunks_of({b"key": b"value"})
    root = root_of({b"key": b"value"})
    assert chunk_fault(one, root, HIGHEST) is None
    assert chunk_fault(nothing, root, HIGHEST) is ChunkFault.OTHER_ROOT
    assert chunk_fault(one, EMPTY, HIGHEST) is ChunkFault.OTHER_ROOT


def test_keys_whose_hashes_begin_alike_are_divided_where_they_differ() -> None:
    values = keys_that_begin_alike(10, bits=11)
    parts, root = chunks_of(values), root_of(values)
    assert max(len(chunk.siblings) for _, chunk in parts) > 11
    assert sum(not chunk.entries for _, chunk in parts) >= 11, "beside the long path there is nothing"
    assert all(chunk_fault(chunk, root, region.start) is None for region, chunk in parts)


def tampered(region: Region, chunk: StateChunk, others: list[StateChunk]) -> Iterator[StateChunk]:
    """Yields what a liar makes of a right chunk."""
    entries, beside = chunk.entries, chunk.siblings
    foreign = StateEntry(key=StateKey(b"never written"), value=b"")
    yield replace(chunk, entries=(*entries, foreign))
    yield replace(chunk, entries=(foreign, *entries))
    yield replace(chunk, siblings=(*beside, EMPTY))
    yield replace(chunk, siblings=(EMPTY, *beside))
    yield replace(chunk, siblings=(EMPTY,) * 256)
    yield replace(chunk, siblings=(EMPTY,) * 257)
    for place, entry in enumerate(entries):
        before, after = entries[:place], entries[place + 1 :]
        yield replace(chunk, entries=(*before, *after))
        yield replace(chunk, entries=(*before, replace(entry, value=entry.value + b"!"), *after))
        yield replace(chunk, entries=(*before, replace(entry, key=StateKey(entry.key + b"!")), *after))
        yield replace(chunk, entries=(*before, entry, entry, *after))
    if len(entries) > 1:
        yield replace(chunk, entries=entries[::-1])
    for place, name in enumerate(beside):
        yield replace(chunk, siblings=(*beside[:place], *beside[place + 1 :]))
        yield replace(
            chunk, siblings=(*beside[:place], Digest(bytes([name[0] ^ 1]) + name[1:]), *beside[place + 1 :])
        )
    for other in others:
        yield replace(chunk, entries=other.entries)
        yield replace(chunk, siblings=other.siblings)
        yield other
    if beside:  # the region above, as if this half were all of it
        half = region_root(region, [(hash_key(entry.key), entry) for entry in entries])
        yield replace(chunk, siblings=beside[:-1])
        yield replace(chunk, siblings=(*beside[:-2], hash_inner(half, beside[-1])))


def is_true(chunk: StateChunk, region: Region, values: Values) -> bool:
    """Says whether a chunk tells all and nothing but what a region holds; the same may be told of a part of it."""
    return list(chunk.entries) == [
        entry for key_hash, entry in hashed(values) if region.start <= key_hash <= region.last
    ]


STATE = {b"key %d" % number: b"value %d" % number for number in range(60)}


@pytest.mark.parametrize(
    "values",
    [{}, {b"one": b"1"}, {b"one": b"1", b"two": b"2"}, STATE, keys_that_begin_alike(7, bits=9)],
    ids=["empty", "one", "two", "many", "alike"],
)
def test_every_tampered_chunk_is_refused(values: Values) -> None:
    parts, root, refused = chunks_of(values), root_of(values), 0
    for region, chunk in parts:
        others = [other for _, other in parts if other != chunk]
        for lie in tampered(region, chunk, others):
            if chunk_fault(lie, root, region.start) is None:
                assert is_true(lie, region_at(region.start, len(lie.siblings)), values), (region, lie)
            else:
                refused += 1
    assert refused >= 5


@settings(derandomize=True, max_examples=100, deadline=None)
@given(STATES, st.data())
def test_a_chunk_holds_under_no_other_root_and_at_no_other_position(values: Values, data: st.DataObject) -> None:
    parts, root = chunks_of(values), root_of(values)
    region, chunk = data.draw(st.sampled_from(parts))
    key = data.draw(st.binary(min_size=1, max_size=6))
    other = root_of({**values, key: values.get(key, b"") + b"!"})
    assert chunk_fault(chunk, other, region.start) is ChunkFault.OTHER_ROOT
    if values.keys() - {key}:
        fewer = root_of({one: value for one, value in values.items() if one != next(iter(values))})
        assert chunk_fault(chunk, fewer, region.start) is not None
    for elsewhere, beside in parts:
        is_same = (elsewhere, beside) == (region, chunk)
        assert (chunk_fault(chunk, root, elsewhere.start) is None) == is_same


def test_a_valid_root_with_missing_keys_is_found_at_the_chunk_that_lacks_them() -> None:
    """A server that kept all but one key cannot show the region in which it stood."""
    missing = b"key 17"
    root = root_of(STATE)
    lacking = {key: value for key, value in STATE.items() if key != missing}
    true_parts = dict(chunks_of(STATE))
    for region, chunk in chunks_of(lacking):
        if region.start <= hash_key(missing) <= region.last:
            true_path = next(
                one.siblings for where, one in true_parts.items() if where.start <= region.start <= where.last
            )
            assert chunk_fault(replace(chunk, siblings=true_path), root, region.start) is not None
        assert chunk_fault(chunk, root, region.start) is not None, "its own paths lead to another root"


@pytest.mark.parametrize(
    ("count", "size_bytes", "fault"),
    [(3, 1, None), (4, 1, ChunkFault.TOO_LARGE), (2, 30, ChunkFault.TOO_LARGE), (1, 300, None)],
)
def test_a_chunk_beyond_its_bounds_is_refused_before_anything_is_hashed(
    count: int, size_bytes: int, fault: ChunkFault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {b"%d" % number: bytes(size_bytes) for number in range(count)}
    chunk = StateChunk(siblings=(), entries=tuple(entry for _, entry in hashed(values)))
    if fault is not None:
        monkeypatch.setattr(state_ranges, "hash_key", None)
    assert chunk_fault(chunk, root_of(values), WHOLE.start) is fault


def test_entries_out_of_order_are_not_divided() -> None:
    with pytest.raises(AssertionError, match="order"):
        list(divide(hashed(STATE)[::-1]))


def test_regions_that_leave_something_out_are_not_joined() -> None:
    parts = [(region, region_root(region, entries)) for region, entries in divide(hashed(STATE))]
    assert dict(join_regions(parts))[WHOLE] == root_of(STATE)
    for place in (0, len(parts) // 2, len(parts) - 1):
        with pytest.raises(AssertionError, match="cover"):
            list(join_regions(parts[:place] + parts[place + 1 :]))


def test_a_region_knows_its_bounds() -> None:
    left, right = WHOLE.halves()
    assert (left.start, left.last) == (Digest(bytes(32)), Digest(b"\x7f" + b"\xff" * 31))
    assert (left.following, right.following) == (right.start, None)
    assert (left.beside(), right.beside()) == (right, left)
    assert region_at(HIGHEST, 256) == Region(HIGHEST, 256)
    assert region_at(HIGHEST, 256).last == HIGHEST
    assert hash_value(b"") != EMPTY


# --- what is covered --------------------------------------------------------------------------------------------

REGIONS = st.builds(
    region_at, st.integers(0, 255).map(lambda number: Digest(bytes([number]) + bytes(31))), st.integers(0, 8)
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(REGIONS, max_size=12), REGIONS)
def test_what_is_covered_is_what_was_added(added: list[Region], asked: Region) -> None:
    """Against a table of the 256 hashes that the regions tell apart."""
    covered, table = Covered(), [False] * 256
    for region in added:
        covered.add(region)
        table[region.start[0] : region.last[0] + 1] = [True] * (region.last[0] - region.start[0] + 1)
    missing = [number for number in range(asked.start[0], asked.last[0] + 1) if not table[number]]
    expected = Digest(bytes([missing[0]]) + bytes(31)) if missing else None
    assert covered.first_missing(asked) == expected
    assert covered.is_whole == all(table)
    assert covered.share == sum(table) / 256
    edges = [True] * table[0] + [below != above for below, above in pairwise(table)]
    assert len(covered.intervals) == (sum(edges) + 1) // 2
    assert Covered(covered.intervals).intervals == covered.intervals


def test_intervals_that_touch_overlap_or_go_back_are_refused() -> None:
    first, second = (b"\x01" + bytes(31), b"\x02" + bytes(31)), (b"\x04" + bytes(31), b"\x05" + bytes(31))
    assert Covered([first, second]).intervals == (first, second)
    touching = (b"\x02" + bytes(30) + b"\x01", b"\x03" + bytes(31))
    for wrong in ([second, first], [first, first], [first, touching], [first[::-1]]):
        with pytest.raises(ValueError, match="apart"):
            Covered(wrong)
