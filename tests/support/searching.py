"""What a search of a home's disk finds: of every file, and of what its database holds compressed."""

import shutil
import time
from collections.abc import Callable

import plyvel

from ledger.side_files import database_path
from tests.support.testnet import Node

WordsIn = Callable[[bytes], set[str]]


def found_in_files(node: Node, words_in: WordsIn) -> dict[str, set[str]]:
    """What stands in the files of a node, by their names; it may run."""
    found = {}
    for path in node.home.directory.rglob("*"):
        if path.is_file():
            try:
                found[str(path.relative_to(node.home.directory))] = words_in(path.read_bytes())
            except FileNotFoundError:  # a database that runs takes its old files away
                continue
    assert len(found) > 10, "it was searched"
    return {place: words for place, words in found.items() if words}


def found_on_disk(node: Node, words_in: WordsIn) -> dict[str, set[str]]:
    """What stands in the files of a stopped node; its database is read, as it is compressed in its files."""
    found = found_in_files(node, words_in)
    copy = node.home.directory.parent / f"copy-{time.monotonic_ns()}"
    shutil.copytree(database_path(node.home.ledger), copy)
    database = plyvel.DB(str(copy))  # opening it writes: the node would take its own for damaged
    try:
        entries = list(database.iterator())
        words = set().union(*(words_in(key + value) for key, value in entries))
    finally:
        database.close()
    shutil.rmtree(copy)
    assert len(entries) > 100, "it was searched"
    return found | ({"the database": words} if words else {})
