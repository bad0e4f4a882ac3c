"""A member is removed from a running street: by the authority's word, and by a quorum of its neighbours."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.support.ceremony_commands import config, decide_blocks, height, members_at, running
from tests.support.long_chain import make_street
from tests.support.testnet import Node, Street, background, cleaned_up, p2pnode, refused, wait_until

WAIT_SLOTS = 14_400
"""An hour: more than any machine takes for what the members do meanwhile."""
SHORT_WAIT_SLOTS = 4
"""A second, to be waited for."""


def make_waiting_street(target: Path, wait_slots: int) -> Street:
    """Makes five homes, on a chain with so much time to withdraw from an expulsion."""
    made = make_street(target, nodes=5)
    genesis = load_genesis(made.node(1).home)
    rules = replace(genesis.membership, removal_wait_slots=wait_slots)
    return made.on_chain_of(replace(genesis, membership=rules))


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    with cleaned_up(target):
        yield make_waiting_street(target, WAIT_SLOTS)


@pytest.fixture
def soon(tmp_path: Path) -> Iterator[Street]:
    """Whose members are expelled a second after a quorum approved it."""
    target = tmp_path / "testnet"
    with cleaned_up(target):
        yield make_waiting_street(target, SHORT_WAIT_SLOTS)


def declined(street: Street, *arguments: str | Path) -> str:
    """Runs a command whose transaction the chain declines; returns what it says of that."""
    with background(street.directory, *arguments) as running_command:
        ended = running_command.wait()
    assert ended.exit_code == 1, ended
    return ended.errors


def test_whose_key_the_authority_revokes_is_told_and_the_others_go_on(street: Street) -> None:
    removed, staying = street.node(5), [street.node(number) for number in range(1, 5)]
    authority, key_file = street.directory / AUTHORITY_NAME, street.directory / AUTHORITY_KEY_FILE_NAME
    revoke = ("ca", "revoke", authority, removed.name, "--reason", "key-compromise", "--yes")
    for_chain = ("--genesis", removed.home.genesis, "--key-file", key_file)
    made = p2pnode(street.directory, *revoke, *for_chain).output
    (file,) = authority.glob("*.revocation")
    assert f"{file}: bring it to any member" in made
    content = file.read_bytes()
    p2pnode(street.directory, *revoke, *for_chain)
    assert file.read_bytes() == content, "given again it makes the same"
    bring = ("member", "revoke", file, *config(street.node(2)), "--yes")
    with running(*street.nodes):
        decide_blocks(street, 2)
        wallet = removed.account()["available_micro"]
        said = p2pnode(street.directory, *bring).output
        assert f"(key-compromise), which is that of {removed.name}" in said
        assert "5 members, 4 must answer; without it 4, 3 must answer" in said
        wait_until(lambda: all(members_at(node) == 4 for node in staying), "four members")
        assert "revocation_not_member" in declined(street, *bring), "played again it is over"
        street.node(4).end_by(signal.SIGKILL)
        before = height(staying[0])
        decide_blocks(street, 2)  # three of the four
        assert height(staying[0]) > before
        wait_until(lambda: height(removed) > before, "who was removed still hears what is decided")
        why = p2pnode(street.directory, "why", *config(removed)).output
        assert f"{removed.name} was removed, as the authority revoked its key" in why
        assert removed.account()["available_micro"] == wallet, "its wallet is its own"
        removed.end_by(signal.SIGTERM)
        with running(removed):
            wait_until(lambda: height(removed) >= height(staying[0]), "started again it hears it, too")
    shown = p2pnode(street.directory, "member", "changes", *config(removed)).output
    assert "revoked" in shown
    for node in street.nodes:
        assert "holds" in p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory).output


def proposed(street: Street, by: Node) -> str:
    """Has a member propose to expel the fifth; returns the proposal's name."""
    said = p2pnode(street.directory, "member", "expel", street.node(5).name, *config(by), "--yes").output
    return said.split("approve ")[1].strip()


def approve(street: Street, name: str, *by: Node) -> None:
    for node in by:
        p2pnode(street.directory, "member", "approve", name, *config(node), "--yes")


def test_what_a_quorum_approved_lapses_if_one_withdraws(street: Street) -> None:
    accused, members = street.node(5), [street.node(number) for number in range(1, 5)]

    def shown() -> str:
        return " ".join(p2pnode(street.directory, "member", "changes", *config(accused)).output.split())

    with running(*street.nodes):
        decide_blocks(street, 1)
        nobody = ("member", "expel", "node9", *config(members[0]), "--yes")
        assert "'node9' names 0 of the members" in refused(street.directory, *nobody)
        name = proposed(street, members[0])
        again = ("member", "approve", name, *config(members[0]), "--yes")
        assert "proposal_approved_before" in declined(street, *again)
        approve(street, name, *members[1:])
        assert "approved until" in shown()
        p2pnode(street.directory, "member", "withdraw", name, *config(members[2]))
        assert "lapsed" in shown()
        assert "approved until" not in shown()
        approve(street, proposed(street, members[1]), members[0], members[2], members[3])
        assert "approved until" in shown(), "another proposal is another matter"
        assert [members_at(node) for node in members] == [5] * 4


def test_a_quorum_suspends_and_reinstates_at_once(street: Street) -> None:
    accused, members = street.node(5), [street.node(number) for number in range(1, 5)]

    def proposal(measure: str) -> tuple[str | Path, ...]:
        return ("member", measure, accused.name, *config(members[0]), "--yes")

    def decided(measure: str) -> str:
        """Members decide it; returns what a home is shown of the accused then."""
        name = p2pnode(street.directory, *proposal(measure)).output.split("approve ")[1].strip()
        approve(street, name, *members[1:])
        return p2pnode(street.directory, "member", "show", accused.name, *config(members[1])).output

    with running(*street.nodes):
        decide_blocks(street, 1)
        assert f"{accused.name} is not suspended: nothing was changed" in refused(
            street.directory, *proposal("reinstate")
        )
        assert "It is suspended: it votes, and trades and leads no more" in decided("suspend")
        assert "suspended, leads nothing" in p2pnode(street.directory, "why", *config(members[1])).output
        assert f"{accused.name} is suspended: nothing was changed" in refused(street.directory, *proposal("suspend"))
        assert "suspended" not in decided("reinstate").split("proposed")[0]
        history = p2pnode(street.directory, "qscore", "history", accused.name, *config(members[1])).output
        assert "suspended no more, by a quorum" in " ".join(history.split())
        decide_blocks(street, 2)


def test_a_quorum_expels_once_the_waiting_time_is_over(soon: Street) -> None:
    accused, members = soon.node(5), [soon.node(number) for number in range(1, 5)]

    def is_expelled() -> bool:
        decide_blocks(soon, 1)
        return all(members_at(node) == 4 for node in members)

    with running(*soon.nodes):
        approve(soon, proposed(soon, members[0]), *members[1:])
        wait_until(is_expelled, "the waiting time is over", deadline_s=300)
        why = p2pnode(soon.directory, "why", *config(accused)).output
        assert f"{accused.name} was removed, as a quorum of the members expelled it" in why
