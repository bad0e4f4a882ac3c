"""The parts of a process as tasks: started in order, watched together, ended together."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from node.errors import ConfigurationError


async def started(
    stack: AsyncExitStack,
    start: Callable[[], Coroutine[Any, Any, None]],
    stop: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Starts a server, which `stack` stops.

    Raises:
        ConfigurationError: it cannot listen.
    """
    stack.push_async_callback(stop)
    try:
        await start()
    except OSError as error:
        raise ConfigurationError(f"cannot listen: {error.strerror or error}") from None


async def first_of(ends: Sequence[asyncio.Event], parts: list[asyncio.Future[None]]) -> None:
    """Waits for an event that ends the node's run, or raises what made a part fail."""
    ended = [asyncio.ensure_future(one.wait()) for one in ends]
    waiting: list[asyncio.Future[Any]] = [*ended, *parts]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in ended:
            one.cancel()
    for part in done.difference(ended):
        part.result()
        raise AssertionError("a part of the node ended by itself")


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancels all, and waits until they have ended."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):  # the first failure is the one reported
            await task
