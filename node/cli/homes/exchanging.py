"""`p2pnode member rotate` and `member replace-meter`: another node key, another meter, while the chain runs.

Three steps, each by the same command: the next key is made at home with a request to the authority; the certificate
comes back; the chain is asked, and the home's own node takes the key into use. Whatever was done stays done: the
command, given again, goes on from there.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer

from consensus.identifiers import Address
from contracts.genesis import chain_id
from contracts.member_records import ChangeKind
from contracts.transactions import KeyUse
from node.admission import next_keys
from node.admission.chain import CHAIN_FILE_SIZE_BYTES_MAX
from node.cli.homes.leaving import LOOK_PAUSE_S, OwnNode
from node.cli.options import RunningConfig, YesOption, confirm
from node.cli.terminal import error_console, output_console
from node.client import open_client
from node.errors import Declined, NodeError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.configuration import Configuration, load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.replies.state import MemberChangesReply, StateReply

ROTATE_EXAMPLE: Final = """\
\b
1. p2pnode member rotate --config node1/meter.toml
2. p2pnode ca issue ca node1/next/node.csr --output node1.crt      (at the authority)
3. p2pnode member rotate --config node1/meter.toml --certificate node1.crt"""
METER_EXAMPLE: Final = """\
\b
1. p2pnode member replace-meter --config node1/meter.toml
2. p2pnode ca issue ca node1/next/node.csr --output node1.crt      (at the authority)
3. p2pnode member replace-meter --config node1/meter.toml --certificate node1.crt"""

CertificateOption = Annotated[
    Path | None, typer.Option(help="The certificate that the authority gave for the request.", show_default=False)
]
DiscardOption = Annotated[
    bool, typer.Option("--discard", help="Give the next key up, as long as the chain does not have it.")
]


class _Words(NamedTuple):
    """How people speak of a key."""

    command: str
    key: str
    question: str
    done: str


_WORDS: Final = {
    KeyUse.NODE: _Words(
        command="member rotate",
        key="node key",
        question="Make the next node key? Once the chain has it, this home votes and signs by it, under the same "
        "address; the key of now is erased",
        done="acts and votes by its new node key",
    ),
    KeyUse.METER: _Words(
        command="member replace-meter",
        key="meter key",
        question="Make the key of another meter? Once the chain has it, readings count under it alone, corrections "
        "of earlier hours too; the key of now is erased",
        done="measures by its new meter key",
    ),
}


class _Known(NamedTuple):
    """What the chain has of this home."""

    node_key: str
    meter_key: str
    capacity_w: int
    waiting: str | None
    """Why its rotation waits, in words; None if none does."""


def rotate(
    config: RunningConfig,
    certificate: CertificateOption = None,
    discard: DiscardOption = False,  # noqa: FBT002
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Exchange this home's node key while the chain runs: address, wallet and score stay.

    The next key is born in next/ and never leaves this home; only the
    request goes to the authority. The node shows and uses the new key from
    the block on in which the chain has it, and keeps the old one until the
    last height below is decided: it need not be stopped. A key that may be
    stolen is exchanged at once; the pause before another exchange is a day,
    then two, up to 64. Interrupted, the same command goes on.
    """
    _exchange(config, KeyUse.NODE, certificate, discard=discard, yes=yes)


def replace_meter(
    config: RunningConfig,
    certificate: CertificateOption = None,
    discard: DiscardOption = False,  # noqa: FBT002
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Exchange this home's meter, as where one is dead: readings count under the new one's key from then on.

    What the old meter signed and no block has is lost: corrections of
    earlier hours are signed by the new one. The node key stays. Interrupted,
    the same command goes on.
    """
    _exchange(config, KeyUse.METER, certificate, discard=discard, yes=yes)


def _exchange(config: Path, use: KeyUse, certificate: Path | None, *, discard: bool, yes: bool) -> None:
    configuration = load_configuration(config)
    home, words = configuration.home, _WORDS[use]
    begun = next_keys.begun_exchange(home)
    if begun not in (use, None):
        other = _WORDS[begun].command
        raise NodeError(f"{home.next.directory}: another key is being exchanged: `p2pnode {other}` goes on with it")
    if discard:
        _discard(home, use, asyncio.run(_asked(configuration)))
        return
    if not home.next.request.exists():
        if certificate is not None:
            raise NodeError(f"{home.next.directory}: no key was made yet: give this command without --certificate")
        known = asyncio.run(_asked(configuration))
        if begun is None:
            confirm(words.question, yes=yes)
        next_keys.prepare(home, use, name=configuration.node.name, capacity_w=known.capacity_w)
    if certificate is not None:
        next_keys.take_certificate(home, use, certificate_content(certificate))
    again = f"p2pnode {words.command} --config {config}"
    if not home.next.certificate.exists():
        typer.echo(
            f"{home.next.request}: bring it to the authority (p2pnode ca issue), and come back with the answer: "
            f"{again} --certificate FILE"
        )
        return
    asyncio.run(_followed(configuration, use, again))
    output_console().print(f"{configuration.node.name} {words.done}; the old one is erased")


async def _asked(configuration: Configuration) -> _Known:
    async with open_client() as client:
        own = OwnNode(configuration, client)
        await own.look_up()
        return await _known(own)


async def _followed(configuration: Configuration, use: KeyUse, again: str) -> None:
    async with open_client() as client:
        own = OwnNode(configuration, client)
        try:
            await own.look_up()
            await _follow(own, configuration.home, use)
        except asyncio.CancelledError:
            error_console().print(f"the exchange goes on without this command. `{again}` follows it", soft_wrap=True)
            raise


def _discard(home: Home, use: KeyUse, known: _Known) -> None:
    if next_keys.begun_exchange(home) is None:
        raise NodeError("no next key is there: nothing was changed")
    was_asked = home.next.certificate.exists() and (
        known.waiting is not None or next_keys.next_key(home, use).hex() in (known.node_key, known.meter_key)
    )
    if was_asked:
        raise NodeError("the chain was asked for the next key already, and it cannot be given up any more")
    next_keys.discard(home)
    typer.echo(f"{home.next.directory}: the next {_WORDS[use].key} is erased; the present one stays")


async def _known(own: OwnNode) -> _Known:
    reply = await own.get(f"/v1/state/member:{own.address}", StateReply)
    assert reply.record is not None, "the node is a member"
    fields = reply.record.fields
    changes = await own.get("/v1/members/changes", MemberChangesReply)
    waiting = (
        one.sentence for one in changes.waiting if one.address == own.address and one.kind is ChangeKind.ROTATE
    )
    return _Known(
        node_key=str(fields["node_key"]),
        meter_key=str(fields["meter_key"]),
        capacity_w=int(str(fields["capacity_w"])),
        waiting=next(waiting, None),
    )


async def _follow(own: OwnNode, home: Home, use: KeyUse) -> None:
    """Asks the chain for the next key, unless it has it, and waits until the node has put it in the old one's place.

    Raises:
        NodeError: it was declined.
    """
    key, raw = next_keys.next_key(home, use).hex(), None
    while True:
        known = await _known(own)
        if key in (known.node_key, known.meter_key):
            if not home.next.directory.exists() and not home.taken.directory.exists():
                return
            own.tell("the chain has the key; waiting until it needs the old one no more")
        elif known.waiting is not None:
            own.tell(known.waiting)
        else:
            raw = raw or await _signed(own, home, use)
            reply = await own.submit(raw)
            if reply.receipt is not None and reply.status == "declined":
                raise Declined(reply.receipt.reason, reply.receipt.detail)
            own.tell("the chain is asked for the key")
        await asyncio.sleep(LOOK_PAUSE_S)


async def _signed(own: OwnNode, home: Home, use: KeyUse) -> bytes:
    chain, member = chain_id(load_genesis(home)), Address(bytes.fromhex(own.address))
    return await own.signed(next_keys.action_of(home, use, chain, member))


def certificate_content(path: Path) -> bytes:
    """Returns what is in a file that the authority gave.

    Raises:
        NodeError: it cannot be read, or is too long for a certificate.
    """
    try:
        return read_bounded(path, size_bytes_max=CHAIN_FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise NodeError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise NodeError(f"{path} {error}, which no certificate is") from None
