"""`p2pnode office` beside the real API, on a chain that the test decides: what is said where it is cut off."""

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from consensus.identifiers import Digest
from ledger.reading import TransactionLocation
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, ISSUER_KEY_NAME
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.integration.test_leave_cut_off import INTERRUPTED, end_of, until
from tests.support.api import ApiHarness, running_api
from tests.support.testnet import Ended, Running, background, community_of, p2pnode, write_readings


@dataclass
class Offices:
    """A street that never ran, with the keys of its offices, and the API of one of its nodes."""

    directory: Path
    api: ApiHarness

    def successor(self, office: str, name: str) -> Path:
        genesis = self.directory / "node1" / "genesis.json"
        key, key_file = self.directory / f"{name}.key", self.directory / f"{name}.passphrase"
        p2pnode(
            self.directory, "office", "key", key, "--office", office, "--genesis", genesis, "--key-file", key_file
        )
        return key.with_suffix(".successor")

    def replace(self, successor: Path, *present: str | Path) -> AbstractContextManager[Running]:
        """Runs `office replace` with these words about the present key."""
        place = ("--genesis", self.directory / "node1" / "genesis.json", "--url", self.api.url, "--yes")
        return background(self.directory, "office", "replace", successor, "--key", *present, *place)

    @property
    def waiting(self) -> int:
        return len(self.api.chain.mempool)

    def count_waiting_requests(self) -> list[Digest]:
        """Returns a list that grows with each request that waits for a block."""
        chain, asked = self.api.chain, list[Digest]()
        wait_for = chain.wait_for

        async def noted(digest: Digest, timeout_s: float) -> TransactionLocation | None:
            asked.append(digest)
            return await wait_for(digest, timeout_s)

        chain.wait_for = noted  # type: ignore[method-assign]
        return asked

    async def replaced(self, successor: Path, *present: str | Path) -> Ended:
        with self.replace(successor, *present) as command:
            await until(lambda: self.waiting == 1 or not command.is_running)
            self.api.decide()
            return await end_of(command)


@pytest.fixture
async def offices(tmp_path: Path) -> AsyncIterator[Offices]:
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=1)
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    async with running_api(tmp_path / "ledger", community=community_of(testnet)) as api:
        yield Offices(testnet.directory, api)


async def test_a_replacement_that_is_cut_off_says_what_is_under_way_and_goes_on_when_given_again(
    offices: Offices,
) -> None:
    successor, present = offices.successor("issuer", "issuer-2"), offices.directory / ISSUER_KEY_NAME
    with offices.replace(successor, present) as command:
        await until(lambda: offices.waiting == 1)
        command.send(signal.SIGINT)
        ended = await end_of(command)
    (transaction,) = offices.api.chain.mempool.candidates(transactions_max=9, size_bytes_max=9_000)
    assert ended.exit_code == INTERRUPTED
    assert (
        f"Transaction {transaction.digest.hex()} may be under way, and goes on without this command" in ended.errors
    )
    asked = offices.count_waiting_requests()
    with offices.replace(successor, present) as command:
        await until(lambda: bool(asked) or not command.is_running)
        assert offices.waiting == 1, "nothing is signed twice"
        offices.api.decide()
        ended = await end_of(command)
    assert (ended.exit_code, "Block 1 replaced it" in ended.output) == (0, True), ended.errors


async def test_a_node_that_goes_away_meanwhile_leaves_nobody_believing_that_nothing_was_sent(
    offices: Offices,
) -> None:
    successor, present = offices.successor("issuer", "issuer-2"), offices.directory / ISSUER_KEY_NAME
    with offices.replace(successor, present) as command:
        await until(lambda: offices.waiting == 1)
        await offices.api.api.stop()
        ended = await end_of(command)
    await offices.api.api.start()
    assert (ended.exit_code, "may be under way" in ended.errors) == (1, True), ended.errors


async def test_nobody_is_told_to_throw_away_the_root_of_the_certificates(offices: Offices) -> None:
    """The authority's first key stays it, whatever the chain says; a later one of the authority is worth nothing."""
    root = (
        offices.directory / AUTHORITY_NAME / "root.key",
        "--key-file",
        offices.directory / AUTHORITY_KEY_FILE_NAME,
    )
    second = (offices.directory / "authority-2.key", "--key-file", offices.directory / "authority-2.passphrase")
    steps = (("authority-2", root, True), ("authority-3", second, False))
    for name, present, is_root in steps:
        ended = await offices.replaced(offices.successor("authority", name), *present)
        assert ended.exit_code == 0, ended.errors
        assert ("the certificates of all homes go by it" in ended.output) is is_root
        assert ("is worth nothing" in ended.output) is not is_root
        assert "Compare that with what `p2pnode office key` showed" in ended.output
