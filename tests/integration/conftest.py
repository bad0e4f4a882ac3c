"""The testnet that several modules look at: run once, stopped, and copied by whoever wants to change it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.testnet import FIRST_RUN_HOURS, Ended, Street, cleaned_up, p2pnode


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Street, Ended]]:
    """Five households that traded 48 hours and stopped; its tests leave it as it is."""
    directory = tmp_path_factory.mktemp("first") / "testnet"
    with cleaned_up(directory):
        ended = p2pnode(
            directory.parent, "testnet", "run", "--dir", directory, "--hours", str(FIRST_RUN_HOURS), "--json"
        )
        yield Street(directory), ended


@pytest.fixture
def stopped(first_run: tuple[Street, Ended], tmp_path: Path) -> Iterator[Street]:
    """A copy of the stopped testnet of the first run, to be changed."""
    directory = tmp_path / "testnet"
    shutil.copytree(first_run[0].directory, directory)
    with cleaned_up(directory):
        yield Street(directory)
