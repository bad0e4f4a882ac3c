"""`member leave` and `member stay` cut off: the real commands and API, on a chain that the test decides."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from consensus.identifiers import Address
from contracts.transactions import SetLeaving, Transaction
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import raw_transaction
from tests.support.testnet import WAIT_DEADLINE_S, Ended, Running, background, community_of, write_readings

INTERRUPTED = 130


@dataclass
class Home:
    """The first home of a street of five: its folder, and its API."""

    directory: Path
    api: ApiHarness

    def member(self, *words: str) -> AbstractContextManager[Running]:
        """Runs `p2pnode member` with these words, beside the API."""
        place = {"P2PNODE_API__PORT": str(self.api.api.port)}
        config = self.directory / "node1" / "meter.toml"
        return background(self.directory, "member", *words, "--config", config, environment=place)

    @property
    def said(self) -> list[bool]:
        """What waits for a block about leaving."""
        actions = [one.envelope.action for one in self._waiting]
        return [action.leaving for action in actions if isinstance(action, SetLeaving)]

    @property
    def nonces(self) -> list[int]:
        """Of what waits for a block."""
        return [one.envelope.nonce for one in self._waiting]

    @property
    def _waiting(self) -> list[Transaction]:
        return self.api.chain.mempool.candidates(transactions_max=9, size_bytes_max=9_000)

    @property
    def members(self) -> int:
        """How many there are two heights on."""
        return len(self.api.ledger.memberships().following)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    readings = write_readings(tmp_path / "readings.csv", households=5, hours=1)
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    async with running_api(tmp_path / "ledger", community=community_of(testnet)) as api:
        yield Home(testnet.directory, api)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (what another process does wakes nobody here)
            await asyncio.sleep(0.02)


async def end_of(command: Running) -> Ended:
    return await asyncio.to_thread(command.wait)


async def interrupted_leave(home: Home) -> str:
    """Submits a leave and ends the command by Ctrl-C; returns what it said."""
    with home.member("leave", "--yes") as leave:
        await until(lambda: home.said == [True])
        leave.send(signal.SIGINT)
        ended = await end_of(leave)
    assert ended.exit_code == INTERRUPTED
    return ended.errors


async def test_an_interrupted_leave_says_what_is_under_way_and_stay_withdraws_it(home: Home) -> None:
    said = await interrupted_leave(home)
    assert "the leave of node1 is under way" in said
    assert "p2pnode member stay --config" in said
    with home.member("stay") as stay:
        await until(lambda: home.said == [True, False])
        home.api.decide()
        ended = await end_of(stay)
    assert (ended.exit_code, ended.output) == (0, "node1 stays\n"), ended.errors
    home.api.decide()
    assert home.members == 5


async def test_given_again_a_command_goes_on_and_signs_nothing_twice(home: Home) -> None:
    await interrupted_leave(home)
    with home.member("leave", "--yes") as leave:
        await until(lambda: "no block has taken it yet" in leave.errors())
        assert home.said == [True]
        with home.member("stay") as stay:
            await until(lambda: home.said == [True, False])
            stay.send(signal.SIGINT)
            assert "that node1 stays is under way" in (await end_of(stay)).errors
        with home.member("stay") as stay:
            await until(lambda: "no block has taken it yet" in stay.errors())
            assert home.said == [True, False]
            home.api.decide()
            assert (await end_of(stay)).output == "node1 stays\n"
        ended = await end_of(leave)
    assert (ended.exit_code, "this home stays a member" in ended.errors) == (1, True)


async def test_a_leave_said_after_a_stay_under_way_is_the_one_that_counts(home: Home) -> None:
    await interrupted_leave(home)
    with home.member("stay") as stay:
        await until(lambda: home.said == [True, False])
        stay.send(signal.SIGINT)
        await end_of(stay)
    with home.member("leave", "--yes") as leave:
        await until(lambda: home.said == [True, False, True])
        home.api.decide()
        await until(lambda: "waiting until height 2, the last one with this home, is decided" in leave.errors())
        leave.send(signal.SIGINT)
        ended = await end_of(leave)
    assert "node1 has left already" in ended.errors


async def test_who_left_cannot_stay_and_hears_it(home: Home) -> None:
    await interrupted_leave(home)
    home.api.decide()
    assert home.members == 4
    with home.member("stay") as stay:
        ended = await end_of(stay)
    assert (ended.exit_code, ended.output) == (1, "")
    assert "node1 left with height 2: nothing can be taken back" in ended.errors


async def test_who_says_nothing_about_leaving_has_nothing_to_take_back(home: Home) -> None:
    with home.member("stay") as stay:
        ended = await end_of(stay)
    assert (ended.exit_code, home.said) == (1, [])
    assert "no leave of this home waits, and none is under way: nothing was changed" in ended.errors


async def test_a_node_that_starts_anew_meanwhile_is_told_again(home: Home) -> None:
    with home.member("leave", "--yes") as leave:
        await until(lambda: home.said == [True])
        await home.api.restart(away=lambda: until(lambda: "does not answer" in leave.errors()))
        await until(lambda: home.said == [True])
        home.api.decide()
        await until(lambda: "waiting until height 2, the last one with this home, is decided" in leave.errors())
        leave.send(signal.SIGINT)
        assert "node1 has left already" in (await end_of(leave)).errors


async def test_a_leave_that_is_declined_ends_with_the_reason(home: Home) -> None:
    """As where two commands said it at the same time, and a third one took it back."""
    api = home.api
    with home.member("leave", "--yes") as leave:
        await until(lambda: home.said == [True])
        nonce = home.nonces[0]
        for other, leaving in ((nonce - 1, True), (nonce + 1, False)):
            await api.chain.submit(raw_transaction(api.community, 0, SetLeaving(leaving=leaving), nonce=other))
        api.decide()
        ended = await end_of(leave)
    assert (ended.exit_code, home.members) == (1, 5)
    assert "the leave was declined: it waits already" in ended.errors


async def test_a_leave_that_is_decided_right_after_a_look_goes_on(home: Home) -> None:
    """A node that starts anew catches up: it has the leave neither in its mempool nor, until then, in its ledger."""
    with home.member("leave", "--yes") as leave:
        await until(lambda: home.said == [True])
        lost = home.api.chain.mempool.candidates(transactions_max=1, size_bytes_max=9_000)

        def of_sender(_: Address) -> tuple[Transaction, ...]:
            """The reply has read the state by now."""
            if lost:
                home.api.decide([lost.pop().raw])
            return ()

        home.api.chain.mempool.of_sender = of_sender  # type: ignore[method-assign]
        await until(lambda: "the last one with this home" in leave.errors() or not leave.is_running)
        leave.send(signal.SIGINT)
        ended = await end_of(leave)
    assert (ended.exit_code, home.members) == (INTERRUPTED, 4), ended.errors
    assert "node1 has left already" in ended.errors
