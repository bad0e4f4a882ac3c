"""Keys of offices change on a running street, by the commands of docs/operations.md; an old one is nobody's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from contracts.transactions import IssueTokens, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_key
from node.home.era_files import PlanFile, read_record, write_record
from node.home.genesis_file import load_genesis
from node.testnet.folder import GRID_KEY_NAME, ISSUER_KEY_NAME
from tests.support.ceremony_commands import (
    apply_at,
    authority,
    config,
    decide_blocks,
    export_all,
    join_all,
    lose_sign_states,
    recover,
    running,
)
from tests.support.testnet import Node, Reply, Street, background, p2pnode, refused, wait_until


def with_wait(street: Street, slots: int) -> Street:
    """Gives a street that never ran a chain on which an owner has some slots of 250 ms to object."""
    return street.on_chain_of(replace(load_genesis(street.node(1).home), office_wait_slots=slots))


def office(street: Street, command: str, *arguments: str | Path) -> str:
    return p2pnode(street.directory, "office", command, *arguments).output


def declined(street: Street, *arguments: str | Path) -> str:
    """Runs a command whose transaction the chain declines; returns what it says of that."""
    with background(street.directory, "office", *arguments) as running_command:
        ended = running_command.wait()
    assert ended.exit_code == 1, ended
    return ended.errors


def shown(street: Street) -> dict[str, Any]:
    document: dict[str, Any] = street.node(2).request("/v1/offices").document
    return document


def decide_until(street: Street, condition: Callable[[], bool]) -> None:
    """Decides a block every now and then, as the readings of a street do."""

    def look() -> bool:
        decide_blocks(street, 1)
        return condition()

    wait_until(look, "in time", deadline_s=180)


def issue(street: Street, key: SigningKey, amount_micro: int) -> Reply:
    """Lets a key issue tokens to the first home."""
    node = street.node(2)
    raw = sign_transaction(
        key,
        chain=street.chain,
        nonce=int(node.account(key.address)["nonce"]) + 1,
        valid_until_height=Height(10**6),
        action=IssueTokens(recipient=street.node(1).address, amount_micro=MicroTokens(amount_micro)),
    )
    return node.submit(raw, wait_s=60)


def successor(street: Street, office: str, name: str) -> tuple[Path, Path, Path]:
    """Makes the next key of an office; returns it, its passphrase, and what it shows."""
    key, key_file = street.directory / f"{name}.key", street.directory / f"{name}.passphrase"
    genesis = street.node(1).home.genesis
    p2pnode(street.directory, "office", "key", key, "--office", office, "--genesis", genesis, "--key-file", key_file)
    return key, key_file, key.with_suffix(".successor")


def asking(node: Node) -> tuple[str | Path, ...]:
    return "--genesis", node.home.genesis, "--url", node.url


def test_the_issuers_key_is_replaced_by_its_owner(street: Street) -> None:
    first = load_key(street.directory / ISSUER_KEY_NAME)
    key, key_file, agreed = successor(street, "issuer", "issuer-2")
    assert (key.stat().st_mode & 0o777, b"ENCRYPTED" in key.read_bytes()) == (0o600, True)
    with running(*street.nodes):
        assert issue(street, first, 5).document["status"] == "executed"
        with_another = ("--key", street.directory / GRID_KEY_NAME, *asking(street.node(1)), "--yes")
        said = refused(street.directory, "office", "replace", agreed, *with_another)
        assert f"{GRID_KEY_NAME}: is not the present key of the issuer" in said
        owned = ("--key", street.directory / ISSUER_KEY_NAME, *asking(street.node(1)), "--yes")
        said = p2pnode(street.directory, "office", "replace", agreed, *owned).output
        assert "from the next block on the new key acts for the issuer" in said
        again = p2pnode(street.directory, "office", "replace", agreed, *owned).output
        assert "This key acts for the issuer since block" in again

        old = issue(street, first, 7)
        assert (old.status, old.document["reason"]) == (422, "other_key")
        assert f"{first.public_key.hex()} is not the key of {first.address.hex()}" in old.document["detail"]
        following = load_key(key, passphrase=key_file.read_bytes().strip())
        assert issue(street, following.of_member(first.address), 11).document["status"] == "executed"
        street.at_one_tip()
        shown = p2pnode(street.directory, "office", "show", *config(street.node(4))).output
        assert following.public_key.hex() in shown
        assert first.public_key.hex() not in shown
    p2pnode(street.directory, "ledger", "verify", "--home", street.node(1).home.directory)
    assert following.public_key.hex() in p2pnode(street.directory, "office", "show", *config(street.node(4))).output


def agree(street: Street, agreed: Path) -> str:
    """Lets three of four members agree on a successor; returns the proposal's first digits."""
    members = [(*config(node), "--yes") for node in street.nodes]
    name = office(street, "propose", agreed, *members[0]).split("approve ")[1].strip()
    (proposal,) = shown(street)["proposals"]
    assert (proposal["status"], proposal["quorum"], len(proposal["approvals"])) == ("open", 3, 1)
    assert "proposal_approved_before" in declined(street, "approve", name, *members[0])
    for member in members[1:3]:
        assert "Approved in block" in office(street, "approve", name, *member)
    return name


def test_the_grids_lost_key_is_replaced_by_three_of_four(street: Street) -> None:
    street = with_wait(street, 60)
    first = load_key(street.directory / GRID_KEY_NAME)
    key, key_file, agreed = successor(street, "grid", "grid-2")
    following = load_key(key, passphrase=key_file.read_bytes().strip())
    with running(*street.nodes):
        agree(street, agreed)
        decide_until(street, lambda: shown(street)["offices"][2]["key"] == following.public_key.hex())
        assert shown(street)["proposals"][0]["status"] == "done"
        old = issue(street, first, 1)
        assert (old.status, old.document["reason"]) == (422, "other_key")
        new = issue(street, following.of_member(first.address), 1)
        assert new.document["receipt"]["reason"] == "issue_not_issuer"  # heard, as what it is
        street.at_one_tip()
    p2pnode(street.directory, "ledger", "verify", "--home", street.node(1).home.directory)


def test_an_owner_that_is_there_objects(street: Street) -> None:
    street = with_wait(street, 10_000)
    _, _, agreed = successor(street, "grid", "grid-2")
    with running(*street.nodes):
        name = agree(street, agreed)
        assert "approved; the key acts after" in office(street, "show", *config(street.node(4)))
        owner = ("--key", street.directory / GRID_KEY_NAME, *asking(street.node(3)))
        assert "the proposal is over" in office(street, "object", name, *owner)
        assert shown(street)["proposals"][0]["status"] == "objected"
        assert "office_objected" in declined(street, "propose", agreed, *config(street.node(4)), "--yes")


def signed_by(street: Street, plan: Path, key: SigningKey) -> Path:
    """What somebody with another key makes of a plan."""
    file = read_record(plan, PlanFile)
    signed = file.plans[-1]
    forged = street.directory / "forged.plan"
    write_record(forged, PlanFile(plans=(*file.plans[:-1], replace(signed, authority=key.sign(encode(signed.plan))))))
    return forged


def test_a_ceremony_goes_by_the_authoritys_present_key(street: Street) -> None:
    """Two of four lose what they signed, one of them its ledger, too, and the fourth is away."""
    first_root = authority(street.directory)
    first = load_key(first_root[1], passphrase=first_root[3].read_bytes().strip())
    key, key_file, agreed = successor(street, "authority", "root-2")
    following = load_key(key, passphrase=key_file.read_bytes().strip())
    with running(*street.nodes):
        decide_blocks(street, 1)
        owned = ("--key", first_root[1], *first_root[2:], *asking(street.node(1)), "--yes")
        assert "the new key acts for the authority" in office(street, "replace", agreed, *owned)
        decide_blocks(street, 1)
        street.at_one_tip()
    lose_sign_states(street.node(2), street.node(3))
    shutil.rmtree(street.node(3).home.ledger)

    statements = export_all(street, 1, 2, 3)
    plan = street.directory / "era.plan"
    to_plan = ("plan", *statements, *config(street.node(1)), "--output", plan)
    said = refused(street.directory, "recover", *to_plan, *first_root)
    assert "root.key: acts no more for this chain's authority" in said
    assert f"its key is {following.public_key.hex()}. Bring that one" in said
    assert not plan.exists()
    said = recover(street, *to_plan, "--authority", key, "--key-file", key_file)
    assert f"in what the plan keeps of the chain, {following.public_key.hex()[:16]}" in " ".join(said.split())

    forged = signed_by(street, plan, first)
    to_join = ("join", forged, *config(street.node(3)), "--output", street.directory / "no", "--yes")
    said = refused(street.directory, "recover", *to_join)
    assert "plan.authority: members are absent, and the key that acts for the authority then did not sign" in said
    joins = join_all(street, plan, 1, 2, 3)
    for number in (1, 2, 3, 4):
        apply_at(street, plan, joins, number)

    receipt = street.directory / "transfer.receipt"
    with running(*street.nodes):
        (name,) = decide_blocks(street, 1)
        p2pnode(street.directory, "receipt", "export", name, *config(street.node(3)), "--output", receipt)
        street.at_one_tip()
    for node in street.nodes:
        p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory)
    said = p2pnode(street.directory, "receipt", "verify", receipt, "--genesis", street.node(1).home.genesis).output
    assert f"whose key they found to be {following.public_key.hex()}" in said
