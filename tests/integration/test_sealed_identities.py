"""A fifth home joins four of which three verify it: who lives there reaches these three, sealed, and nobody else.

Every file, database, log, metric, API answer and message that a member without that task received is searched for the
contact data and the salt, while the application is open, after a verifier was killed and started again, and after the
decision.
"""

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from node.admission.joining.files import read_join_identity
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.mesh.messages import IdentityAnswer, IdentityNote
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, members_at
from tests.support.new_homes import NewHome, ask_to_join
from tests.support.ports import free_ports
from tests.support.recording_daemon import recorded
from tests.support.searching import found_in_files, found_on_disk
from tests.support.testnet import (
    Node,
    Street,
    background,
    cleaned_up,
    daemon,
    p2pnode,
    refused,
    wait_until,
    write_readings,
)

ROOT = Path(__file__).parents[2]
CONTACT = ("Quittenbaum", "Holunderweg 17", "quitte@example.org", "0221 4710815")
WHO = "\n".join(CONTACT)
VERIFIERS = 3


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Four households that measure three hours; the rules name three of them as founding verifiers."""
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=3)
    directory = tmp_path / "testnet"
    testnet, _ = initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(8)))
    for entry in testnet.nodes:
        home = testnet.home(entry)
        genesis = load_genesis(home)
        keys = tuple(member.node_key for member in genesis.members[:VERIFIERS])
        write_genesis(home, replace(genesis, membership=replace(genesis.membership, verifier_keys=keys)))
    with cleaned_up(directory):
        yield Street(directory)


class Search:
    """What nobody but the household and its verifiers is to have."""

    def __init__(self, home: Home) -> None:
        self.salt = read_join_identity(home.join_identity).salt

    def words_in(self, content: bytes) -> set[str]:
        found = {word for word in CONTACT if word.encode() in content or word.encode().hex().encode() in content}
        is_salt = self.salt in content or self.salt.hex().encode() in content
        return found | ({"the salt"} if is_salt else set())


def logged(street: Street) -> bytes:
    """All that daemons wrote to standard output and error, or into logs."""
    written = [*street.directory.glob("start-*"), *street.directory.glob("*/node.log")]
    assert any(b"peer" in path.read_bytes() for path in written), "it was searched"
    return b"\n".join(path.read_bytes() for path in written)


def answers(node: Node) -> Iterator[bytes]:
    """The answers of a node's API, of whatever kind."""
    paths = [
        "/v1/status", "/v1/why", "/v1/blocks", "/v1/members", "/v1/members/changes", "/v1/applications",
        "/v1/identities", "/v1/scores", "/v1/evidence", "/v1/rules", "/metrics", "/v1/openapi.json",
        *(f"/v1/blocks/{height}" for height in range(1, node.present_status()["height"] + 1)),
    ]  # fmt: skip
    for path in paths:
        with urlopen(f"{node.url}{path}") as answer:
            yield answer.read()


def identities(node: Node) -> list[dict[str, object]]:
    found: list[dict[str, object]] = node.request("/v1/identities").document["identities"]
    return found


def has_box(node: Node) -> bool:
    return node.status() is not None and any(one["box"] is not None for one in identities(node))


def nobody_knows(street: Street, new: NewHome, nodes: list[Node], search: Search) -> None:
    """While all run: files, logs and answers of the members, and what the new home has besides its own."""
    for node in nodes:
        assert found_in_files(node, search.words_in) == {}
        assert [answer for answer in answers(node) if search.words_in(answer)] == []
    assert set(found_in_files(new, search.words_in)) == {"join-identity.json"}
    assert search.words_in(logged(street)) == set()


def test_who_lives_in_a_home_that_joins_reaches_its_drawn_verifiers_alone(street: Street, tmp_path: Path) -> None:
    founders = [street.node(number) for number in range(1, 5)]
    verifiers, (fourth,) = founders[:VERIFIERS], founders[VERIFIERS:]
    record = tmp_path / "received"
    with ExitStack() as stack:
        for node in verifiers:
            stack.enter_context(daemon(node))
        program = (sys.executable, "-m", "tests.support.recording_daemon")
        options = ("start", "--record", record, "--config", fourth.home.configuration)
        place = {"PYTHONPATH": str(ROOT)}
        stack.enter_context(background(street.directory, *options, program=program, environment=place))
        wait_until(lambda: all(node.is_ready() for node in founders), "four homes")
        new = NewHome(street, "fifth")
        request = ask_to_join(street, new, who=WHO)
        search = Search(new.home)
        stack.enter_context(daemon(new))
        p2pnode(street.directory, "join", "submit", request, *config(fourth))

        panel, named = street.directory / "fifth.panel", new.address.hex()
        p2pnode(street.directory, "join", "panel", named, *config(fourth), "--output", panel)
        seal_to_no_other(street, new, panel, fourth)
        sealed = p2pnode(street.directory, "join", "seal", new.home.directory, "--panel", panel, "--yes").output
        assert [node.address.hex() in sealed for node in founders] == [True] * 3 + [False]
        brought = p2pnode(street.directory, "join", "deliver", new.home.join_sealed, *config(fourth)).output
        assert brought.splitlines()[-1] == "all have it"
        assert [has_box(node) for node in founders] == [True] * 3 + [False]
        nobody_knows(street, new, founders, search)
        assert "was not shown who it is" in refused(
            street.directory, "verify-queue", "show", named[:12], *config(fourth)
        )
        shown = p2pnode(street.directory, "verify-queue", "show", named[:12], *config(verifiers[0])).output
        assert shown.strip() == WHO

        lost = verifiers[1]
        lost.end_by(signal.SIGKILL)
        assert found_on_disk(lost, search.words_in) == {}
        stack.enter_context(daemon(lost))
        wait_until(lambda: has_box(lost), "it was brought its box again")
        status = p2pnode(street.directory, "join", "status", *config(fourth)).output
        assert status.count("no verdict yet; was shown who lives there") == VERIFIERS

        for node in verifiers:
            accepted = p2pnode(street.directory, "verify-queue", "accept", named[:12], *config(node), "--yes")
            assert accepted.output == f"{named[:16]}: accept\n"
            assert not has_box(node), "it said what it found, and forgot"
        wait_until(lambda: all(members_at(node) == 5 for node in (*founders, new)), "five members")
        assert [identities(node) for node in founders] == [[]] * 4
        nobody_knows(street, new, founders, search)
        for node in (*founders, new):
            node.end_by(signal.SIGTERM)
    for node in founders:
        assert found_on_disk(node, search.words_in) == {}
    assert set(found_on_disk(new, search.words_in)) == {"join-identity.json"}
    assert search.words_in(logged(street)) == set()
    received = recorded(record)
    assert len(received) > 100
    assert sum(isinstance(message, IdentityAnswer) for message in received) >= VERIFIERS + 1
    assert not [message for message in received if isinstance(message, IdentityNote)]
    assert search.words_in(record.read_bytes()) == set()


def seal_to_no_other(street: Street, new: NewHome, panel: Path, liar: Node) -> None:
    """A member that names itself, in what is read and in what is proven, is found out before anything is sealed."""
    verifier = street.node(1).address.hex()
    lie = street.directory / "lie.panel"
    lie.write_text(panel.read_text().replace(verifier, liar.address.hex()))
    assert liar.address.hex() in json.loads(lie.read_text())["about"]["verifiers"]
    complaint = refused(street.directory, "join", "seal", new.home.directory, "--panel", lie, "--yes")
    assert "is NOT valid, seal nothing to it" in complaint
    assert not new.home.join_sealed.exists()
