"""The queue to one peer: bulk leaves only while nothing else waits, and never pushes anything else out."""

import asyncio

import pytest

from node.mesh.link import OutgoingQueue


async def drained(queue: OutgoingQueue, count: int) -> list[bytes]:
    async with asyncio.timeout(5):
        return [await queue.get() for _ in range(count)]


async def test_bulk_waits_for_everything_else() -> None:
    queue = OutgoingQueue(frames_max=10, size_bytes_max=100, bulk_size_bytes_max=50)
    assert queue.put_bulk(b"bulk 1")
    queue.put(b"vote 1")
    assert queue.put_bulk(b"bulk 2")
    queue.put(b"vote 2")
    assert await drained(queue, 4) == [b"vote 1", b"vote 2", b"bulk 1", b"bulk 2"]


async def test_bulk_alone_leaves_and_wakes_the_writer() -> None:
    queue = OutgoingQueue(frames_max=10, size_bytes_max=100, bulk_size_bytes_max=50)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_bulk(b"bulk")
    async with asyncio.timeout(5):
        assert await waiting == b"bulk"


@pytest.mark.parametrize(("size", "fits"), [(30, True), (31, False)])
async def test_bulk_is_bounded_by_itself_and_drops_nothing(size: int, fits: bool) -> None:
    queue = OutgoingQueue(frames_max=10, size_bytes_max=100, bulk_size_bytes_max=50)
    assert queue.put(bytes(100)) == 0
    assert queue.put_bulk(bytes(20))
    assert queue.put_bulk(bytes(size)) is fits
    assert len(queue) == 1
    assert queue.size_bytes == 100
    frames = await drained(queue, 3 if fits else 2)
    assert [len(frame) for frame in frames] == [100, 20, 30][: len(frames)]
    assert queue.put_bulk(bytes(100)), "an empty lane takes a frame of any size"
    assert not queue.put_bulk(b"x")
