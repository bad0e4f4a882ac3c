"""Ceremonies of a street's real homes at the command line, and the daemons before and after."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from contracts.transactions import transaction_digest
from node.admission.authority_folder import ROOT_KEY_NAME
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, Testnet
from tests.support.testnet import Node, Street, daemon, p2pnode, wait_until


@contextmanager
def running(*nodes: Node) -> Iterator[None]:
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(daemon(node))
        wait_until(lambda: all(node.status() is not None for node in nodes), "all answer")
        yield
        for node in nodes:
            if node.process is not None:
                node.end_by(signal.SIGTERM)


def height(node: Node) -> int:
    status = node.status()
    return -1 if status is None else int(status["height"])


def members_at(node: Node) -> int:
    return int(node.present_status()["members"])


def newest_trade(node: Node) -> tuple[str, int]:
    """Returns its name and its height; without any, no name and zero."""
    trades = node.request("/v1/trades?order=newest&limit=1").document["trades"]
    return (str(trades[0]["trade"]), int(trades[0]["height"])) if trades else ("", 0)


def decide_blocks(street: Street, count: int, *, by: int = 1) -> list[str]:
    """Decides blocks, one transfer each; returns the transfers' names."""
    sender, names = street.node(by), []
    for _ in range(count):
        raw = sender.transfer(street.node(2), 1, nonce=sender.next_nonce())
        reply = sender.submit(raw, wait_s=60)
        assert reply.status == 200, reply.document
        names.append(transaction_digest(raw).hex())
    return names


def recover(street: Street, *arguments: str | Path) -> str:
    return p2pnode(street.directory, "recover", *arguments).output


def config(node: Node) -> tuple[str, Path]:
    return "--config", node.home.configuration


def authority(directory: Path) -> tuple[str | Path, ...]:
    """The options that sign a plan with the root key of a testnet."""
    root_key, key_file = directory / AUTHORITY_NAME / ROOT_KEY_NAME, directory / AUTHORITY_KEY_FILE_NAME
    return "--authority", root_key, "--key-file", key_file


def file(street: Street, name: str) -> Path:
    return street.directory / name


def export_all(street: Street, *numbers: int, era: int = 1) -> list[Path]:
    files = []
    for number in numbers:
        files.append(file(street, f"node{number}-{era}.statement"))
        recover(street, "export", *config(street.node(number)), "--era", str(era), "--output", files[-1])
    return files


def plan_of(street: Street, files: list[Path], *options: str | Path, name: str = "era.plan") -> Path:
    plan = file(street, name)
    recover(street, "plan", *files, *config(street.node(1)), "--output", plan, *options)
    return plan


def join_all(street: Street, plan: Path, *numbers: int) -> list[Path]:
    files = []
    for number in numbers:
        files.append(file(street, f"{plan.stem}-node{number}.join"))
        recover(street, "join", plan, *config(street.node(number)), "--output", files[-1], "--yes")
    return files


def apply_at(street: Street, plan: Path, joins: list[Path], number: int) -> str:
    return recover(street, "apply", plan, *joins, *config(street.node(number)), "--yes", "--accept-loss")


def lose_sign_states(*nodes: Node) -> None:
    for node in nodes:
        node.home.sign_state.unlink()


def new_home(street: Street, number: int, *, ports: tuple[int, int]) -> Node:
    """Makes a new home for a member by the commands: keys there, certificate by the authority."""
    name, first = f"{street.node(number).name}-new", street.node(1)
    like = ("--like", first.home.configuration)
    options = ("--host", "127.0.0.1", "--port", str(ports[0]), "--api-port", str(ports[1]))
    made = street.directory / name
    p2pnode(street.directory, "home", "new", made, *like, "--member", street.node(number).name, *options)
    key_file = ("--key-file", street.directory / AUTHORITY_KEY_FILE_NAME)
    p2pnode(street.directory, "ca", "issue", street.directory / AUTHORITY_NAME, made / "node.csr", *key_file, "--yes")
    manifest = Testnet.open(street.directory).manifest
    entry = manifest.nodes[number - 1].model_copy(update={"name": name, "p2p_port": ports[0], "api_port": ports[1]})
    return Node(Testnet(street.directory, manifest.model_copy(update={"nodes": (entry,)})), 1)
