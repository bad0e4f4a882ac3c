"""The order of the modules, and the testnet that several look at: run once by each process, stopped, and copied by
whoever wants to change it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.long_chain import make_street
from tests.support.testnet import FIRST_RUN_HOURS, Ended, Street, cleaned_up, init_testnet, p2pnode

LONGEST: Final = (
    "test_recovery.py",
    "test_begins_with_snapshot.py",
    "test_joining_late.py",
    "test_rules.py",
    "test_renewing.py",
    "test_offices_of_daemons.py",
    "test_ceremony_of_daemons.py",
    "test_moved_homes.py",
    "test_removing.py",
    "test_founding.py",
    "test_testnet_signals.py",
    "test_joining.py",
    "test_leaving.py",
    "test_provider_page.py",
)
"""Modules that take a minute: the two processes begin with these, so that neither is left with one at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Street, Ended]]:
    """Five households that traded 48 hours and stopped; its tests leave it as it is."""
    directory = tmp_path_factory.mktemp("first") / "testnet"
    with cleaned_up(directory):
        init_testnet(directory, nodes=5)
        hours = ("--hours", str(FIRST_RUN_HOURS))
        ended = p2pnode(directory.parent, "testnet", "run", "--dir", directory, *hours, "--json")
        yield Street(directory), ended


@pytest.fixture
def stopped(first_run: tuple[Street, Ended], tmp_path: Path) -> Iterator[Street]:
    """A copy of the stopped testnet of the first run, to be changed."""
    directory = tmp_path / "testnet"
    shutil.copytree(first_run[0].directory, directory)
    with cleaned_up(directory):
        yield Street(directory)


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Four homes that measure nothing, for modules that have no street of their own; their daemons do not run yet."""
    target = tmp_path / "testnet"
    make_street(target, nodes=4)
    with cleaned_up(target):
        yield Street(target)
