"""Certificates end in a street: one home is renewed in time, one late, and one, which was removed, joins anew."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from contracts.applicants import Verdict
from contracts.transactions import GiveVerdict, sign_transaction
from node.admission.joining.files import read_join_request
from node.home.genesis_file import load_genesis
from node.stories.members import JOINS_ANEW
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.support.ceremony_commands import config, decide_blocks, members_at, running
from tests.support.long_chain import make_street
from tests.support.new_homes import NewHome, ask_to_join
from tests.support.testnet import (
    VALID_UNTIL_HEIGHT,
    Node,
    Street,
    background,
    cleaned_up,
    daemon,
    p2pnode,
    wait_until,
)

IN_TIME, GOES, LATE = 2, 4, 5
"""Numbers of homes."""
ENDS_MS = {IN_TIME: 60 * 60_000, GOES: 1, LATE: 2}
"""When their certificates end, from the chain's start on: who ends first goes first."""
WAIT_SLOTS = 1
"""The grace is 14 of them: 3.5 s."""
YEAR_MS = 365 * 24 * 60 * 60_000


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Five homes on a chain whose genesis wants four."""
    directory = tmp_path / "testnet"
    with cleaned_up(directory):
        yield name_ends(make_street(directory, nodes=5))


def name_ends(street: Street) -> Street:
    """Has genesis say when certificates end."""
    genesis = load_genesis(street.node(1).home)
    members = tuple(
        replace(member, valid_until_ms=genesis.start_ms + ENDS_MS[number]) if number in ENDS_MS else member
        for number, member in enumerate(genesis.members, start=1)
    )
    rules = replace(genesis.membership, removal_wait_slots=WAIT_SLOTS)
    return street.on_chain_of(replace(genesis, members=members, membership=rules))


def test_one_is_renewed_in_time_one_late_and_one_joins_anew(street: Street) -> None:
    first, in_time, late, goes = (street.node(number) for number in (1, IN_TIME, LATE, GOES))
    authority, key_file = street.directory / AUTHORITY_NAME, street.directory / AUTHORITY_KEY_FILE_NAME
    renewed = ("ca", "renew", authority, in_time.name, late.name, "--output", street.directory)
    with running(*street.nodes):
        decide_blocks(street, 1)
        p2pnode(street.directory, *renewed, "--key-file", key_file, "--yes")
        assert "vouches for this home until" in notices(in_time)
        is_renewed(street, in_time)
        assert not notices(in_time)

        wait_until(lambda: has_removed_one(street), "one is removed")
        wait_until(lambda: "was removed, as its certificate ran out" in notices(goes), "it hears that")
        assert "it stays a member until another home joins" in notices(late), "genesis wants four"
        declined = ("member", "renew", *config(goes))
        with background(street.directory, *declined) as command:
            said = " ".join(command.wait().errors.split())
        assert "renew_not_member" in said
        assert JOINS_ANEW in said
        assert JOINS_ANEW in notices(goes)
        is_renewed(street, late)
        assert not notices(late)
        goes.end_by(signal.SIGTERM)

        joins_anew(street, goes)
        assert members_at(first) == 5


def notices(node: Node) -> str:
    return " ".join(node.request("/v1/why").document["notices"])


def until_ms(at: Node, of: Node) -> int:
    members = at.request("/v1/members").document["members"]
    return next(int(one["valid_until_ms"]) for one in members if one["address"] == of.address.hex())


def is_renewed(street: Street, node: Node) -> None:
    """A home takes its new certificate into use; its neighbours know it."""
    certificate, before = street.directory / f"{node.name}.crt", until_ms(street.node(1), node)
    said = p2pnode(street.directory, "member", "renew", *config(node), "--certificate", certificate).output
    assert f"the authority vouches for {node.name} until" in said.replace("\n", " ")
    assert node.home.certificate.read_bytes() == certificate.read_bytes()
    assert until_ms(street.node(1), node) > before + YEAR_MS


def has_removed_one(street: Street) -> bool:
    decide_blocks(street, 1)
    return members_at(street.node(1)) == 4


def joins_anew(street: Street, gone: Node) -> None:
    """The household makes another home, and is certified under its name."""
    first = street.node(1)
    new = NewHome(street, f"{gone.name}-again", household=gone.name)
    request = ask_to_join(street, new, who="The Fourths, back again")
    with daemon(new):
        p2pnode(street.directory, "join", "submit", request, *config(first))
        for number in (1, 2, 3):
            accept(street, new, street.node(number))
        wait_until(lambda: new.status() is not None, "it answers")
        wait_until(lambda: members_at(first) == members_at(new) == 5, "five members")
        assert until_ms(first, new) > load_genesis(first.home).start_ms + YEAR_MS
        decide_blocks(street, 1)
    assert "holds" in p2pnode(street.directory, "ledger", "verify", "--home", new.home.directory).output


def accept(street: Street, new: NewHome, verifier: Node) -> None:
    """What `verify-queue accept` sends."""
    number = read_join_request(new.home.join_request).application.number
    raw = sign_transaction(
        verifier.key,
        chain=street.chain,
        nonce=verifier.next_nonce(),
        valid_until_height=VALID_UNTIL_HEIGHT,
        action=GiveVerdict(applicant=new.address, number=number, verdict=Verdict.ACCEPT),
    )
    said = verifier.submit(raw, wait_s=60).document
    assert said["status"] == "executed", said
