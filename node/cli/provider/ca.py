"""`p2pnode ca`: the network provider's certificate authority, in a folder of its own.

Each command checks all that it was given, shows what it will do and asks; what is refused has changed nothing. The
register is written before anything leaves the folder (`node/admission/authority_folder.py`).
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import typer
from rich.table import Table

from consensus.cryptography import SigningKey, address_of
from contracts.genesis import chain_id
from contracts.transactions import RevocationReason
from ledger.side_files import write_whole
from node.admission.authority import MEMBER_VALIDITY, present, require_lifetime
from node.admission.authority_folder import (
    AuthorityFolder,
    Order,
    create_authority,
    earlier_issuing,
    open_authority,
    order_of,
    orders_of,
    require_new_authority,
)
from node.admission.chain import Role
from node.admission.identity import load_key, load_private_key
from node.admission.office_keys import is_encrypted
from node.admission.passphrase import create_passphrase_file
from node.admission.register import Entry, IssuedToHome, Reason, Register, State
from node.admission.request import read_request
from node.admission.revocations import load_revocations
from node.cli.options import KeyFileOption, YesOption, confirm, passphrase_of
from node.cli.terminal import output_console
from node.errors import IdentityError, NodeError
from node.home.genesis_file import load_genesis_file
from node.proofs.revocation_file import REVOCATION_SUFFIX, make_revocation

CA_HELP: Final = """\
The network's certificate authority: who may have a home in this network.

A root key certifies an issuing authority, and this one certifies homes.
Homes trust the root alone (root.crt, their ca.crt), so the root key can
lie in a safe: only a new issuing authority (`ca renew --issuing`) and a
ceremony's plan (`recover plan --authority`) need it. In this order:

\b
1. ca init     once: the folder, both keys, an empty register
2.             take root.key away, on two media; keep the folder
3. ca issue    a certificate for each request (node.csr) of a home
4. ca list     from time to time: whose certificate ends soon
5. ca renew    the same key again, for two more years
   ca revoke   a key that was stolen, a home that is closed
   ca crl      once a month: the revocation list, signed anew

A certificate admits to no chain by itself: genesis or a plan that members
agree to does. docs/authority.md tells more."""

CA_EXAMPLE: Final = "Begin with: p2pnode ca init ca --network my-street --key-file ca.passphrase"
INIT_EXAMPLE: Final = """\
Example: p2pnode ca init ca --network my-street --key-file ca.passphrase

Next: take ca/root.key away; then `ca issue` with the homes' requests."""
ISSUE_EXAMPLE: Final = """\
Example: p2pnode ca issue ca node4-new/node.csr --key-file ca.passphrase

Next: bring node.crt, and ca/root.crt as ca.crt, back to the home."""
RENEW_EXAMPLE: Final = """\
Example: p2pnode ca renew ca node4 --output node4.crt --key-file ca.passphrase

The issuing authority: p2pnode ca renew ca --issuing --root-key ca/root.key --key-file ca.passphrase

Next: bring the file to the home as node.crt, and start its node again."""
REVOKE_EXAMPLE: Final = """\
Example: p2pnode ca revoke ca node4 --reason key-compromise --key-file ca.passphrase

A member of a chain: p2pnode ca revoke ca node4 --reason key-compromise --genesis genesis.json
--root-key stick-1/root.key --key-file ca.passphrase

Next: bring the file .revocation to any member (p2pnode member revoke)."""
LIST_EXAMPLE: Final = "Example: p2pnode ca list ca --expiring 90"
CRL_EXAMPLE: Final = "Example: p2pnode ca crl ca --key-file ca.passphrase"

DAYS_MAX: Final = 1_826
"""The issuing authority's own life."""

EXPIRES_SOON: Final = timedelta(days=60)

ADDRESS_DIGITS: Final = 16

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The authority's folder.", show_default=False)]
DaysOption = Annotated[
    int, typer.Option(help="How long it is valid.", min=1, max=DAYS_MAX, show_default=str(MEMBER_VALIDITY.days))
]

ca_app = typer.Typer(name="ca", help=CA_HELP, epilog=CA_EXAMPLE, no_args_is_help=True)


@ca_app.command(epilog=INIT_EXAMPLE)
def init(
    directory: DirectoryArgument,
    network: Annotated[str, typer.Option(help="The network's name, for people.", show_default=False)],
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the passphrase of both keys; made with 32 random bytes if it is missing. Without, a "
            "passphrase is asked for.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a new authority: root and issuing keys, their certificates, an empty register.

    A passphrase has at least 12 characters; six words drawn by dice are a
    good one. Lost passphrases are lost keys. A key file belongs on another
    machine or medium than a copy of the folder.
    """
    require_new_authority(directory, network)
    if key_file is not None and not (key_file.exists() or key_file.is_symlink()):
        create_passphrase_file(key_file)
    create_authority(directory, network, passphrase_of(key_file, is_new=True))
    folder = AuthorityFolder(directory)
    typer.echo(
        f"{directory}: the authority of {network}. Its root ends on {folder.root().not_valid_after_utc:%Y-%m-%d}, "
        f"its issuing authority on {folder.issuing().not_valid_after_utc:%Y-%m-%d}.\n"
        f"Next: copy {folder.root_key} to two media, check them, and delete it here. Homes get root.crt as "
        "their ca.crt"
    )


@ca_app.command(epilog=ISSUE_EXAMPLE)
def issue(
    directory: DirectoryArgument,
    requests: Annotated[
        list[Path], typer.Argument(metavar="REQUEST...", help="The homes' node.csr.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where the certificate goes, or a folder that gets one file per name. By default beside each "
            "request, as .crt. Nothing that is there is replaced.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[Role, typer.Option(help="member: opens links to other homes. provider: does not.")] = Role.MEMBER,
    days: DaysOption = MEMBER_VALIDITY.days,
    key_file: KeyFileOption = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Sign the certificates that homes ask for: key, name, and where each is reached.

    Ask the homes' owners, not the files, whether the requests are theirs:
    compare the address. Each file holds the home's certificate and the
    issuing authority's.
    """
    with open_authority(directory) as folder:
        register, orders = folder.register(), []
        for path in requests:
            asked = read_request(path)
            try:
                register.require_free(asked.name, asked.node_key)
            except IdentityError as error:
                raise IdentityError(f"{path}: {error}") from None
            orders.append(order_of(asked, role))
        _require_different(requests, orders)
        outputs = _outputs([order.name for order in orders], output, beside=requests)
        _sign(folder, register, orders, outputs, days=days, key_file=key_file, yes=yes)


@ca_app.command(epilog=RENEW_EXAMPLE)
def renew(
    directory: DirectoryArgument,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Names, addresses, or their first 8 or more digits."),
    ] = None,
    issuing: Annotated[  # noqa: FBT002
        bool, typer.Option("--issuing", help="The issuing authority's key and certificate; needs the root key.")
    ] = False,
    root_key: Annotated[
        Path | None,
        typer.Option(help="Where the root key is; by default root.key of the folder.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where the certificate goes, or a folder that gets one file per name; by default this folder. "
            "Nothing that is there is replaced.",
            show_default=False,
        ),
    ] = None,
    days: DaysOption = MEMBER_VALIDITY.days,
    key_file: KeyFileOption = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Make new certificates for the same keys, from today on; or another issuing authority.

    Homes keep their keys, names and places. The earlier certificates are
    good until they end, so there is no hurry at the homes. A new issuing
    authority changes nothing at any home: they trust the root.
    """
    if issuing == bool(names):
        raise NodeError("give names, or --issuing: one of both")
    with open_authority(directory) as folder:
        if issuing:
            _renew_issuing(folder, root_key or folder.root_key, key_file, yes=yes)
            return
        register = folder.register()
        orders = orders_of([_living(register, name) for name in names or ()])
        _require_different(names or (), orders)
        outputs = _outputs([order.name for order in orders], output or Path(), beside=None)
        _sign(folder, register, orders, outputs, days=days, key_file=key_file, yes=yes)


@ca_app.command(epilog=REVOKE_EXAMPLE)
def revoke(
    directory: DirectoryArgument,
    reason: Annotated[Reason, typer.Option(help="Why, as RFC 5280 names it.", show_default=False)],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Name, address, or its first 8 or more digits.")
    ] = None,
    issuing: Annotated[  # noqa: FBT002
        bool, typer.Option("--issuing", help="The issuing authority's certificates before the present one.")
    ] = False,
    genesis: Annotated[
        Path | None,
        typer.Option(
            help="The genesis.json of a chain that the home is a member of: says for it, in a file, that the key is "
            "a member's no more. Needs the root key.",
            show_default=False,
        ),
    ] = None,
    root_key: Annotated[
        Path | None,
        typer.Option(
            help="The key that acts for the authority in the chain; by default root.key of the folder.",
            show_default=False,
        ),
    ] = None,
    key_file: KeyFileOption = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Revoke all certificates of a key for good, and sign the revocation list.

    The key gets no certificate any more; the home makes a new one. With
    --genesis, a file .revocation beside the list says so to that chain,
    which removes the member once somebody brings it there. With --issuing,
    whatever the earlier issuing keys signed counts no more: renew the homes'
    certificates first.
    """
    if issuing == (name is not None):
        raise NodeError("give a name, or --issuing: one of both")
    if issuing and genesis is not None:
        raise NodeError("--genesis: a chain knows homes, and no issuing authority")
    with open_authority(directory) as folder:
        register, now = folder.register(), present()
        passphrase = cache(lambda: passphrase_of(key_file))
        acting = root_key or folder.root_key
        if genesis is not None:
            load_genesis_file(genesis)
            _require_root_key(acting, "It says on the chain whose key is no member's any more")
        found = [] if issuing else register.named(name or "")
        serials, question, done = _to_revoke(found) if found else _issuing_to_revoke(folder, register)
        if serials:
            typer.echo(f"{question.rstrip('?')}: {reason}. This is never taken back.")
            confirm(question, yes=yes)
            folder.revoke(folder.open(passphrase()), serials, reason, now=now)
            typer.echo(f"Revoked. Bring {folder.revocation_list} to whoever checks certificates")
        elif folder.is_list_behind(register):  # as after a kill between register and list
            folder.sign_list(folder.open(passphrase()), now=now)
            typer.echo(f"{done}; {folder.revocation_list} lacked that, and has it now")
        elif genesis is None:
            typer.echo(f"{done}: nothing was changed")
        if genesis is not None:
            authority_key = load_key(acting, passphrase=passphrase() if is_encrypted(acting) else None)
            _revoke_on_chain(folder, found[-1], genesis, reason, authority_key)


def _to_revoke(found: Sequence[IssuedToHome]) -> tuple[list[str], str, str]:
    """Returns which certificates of a home are to be revoked, what to ask, and what to say where none is left."""
    serials = [one.serial for one in found if one.revoked is None]
    question = f"Revoke {_count(serials)} of {found[-1].name} ({_short(found[-1].address)})?"
    return serials, question, f"{found[-1].name} is revoked already"


def _issuing_to_revoke(folder: AuthorityFolder, register: Register) -> tuple[list[str], str, str]:
    """Returns the same of the issuing authority's earlier keys."""
    serials = [one.serial for one in earlier_issuing(register, folder.issuing())]
    question = f"Revoke {_count(serials)} of the earlier issuing authority, and all that was signed with its key?"
    done = "no earlier certificate of the issuing authority is left to revoke (ca renew --issuing makes another)"
    return serials, question, done


def _revoke_on_chain(
    folder: AuthorityFolder, home: IssuedToHome, genesis: Path, reason: Reason, authority_key: SigningKey
) -> None:
    """Writes the file with which a chain removes a member; made again, it has the same content."""
    path = folder.directory / f"{home.name}-{home.address[:8]}{REVOCATION_SUFFIX}"
    chain = chain_id(load_genesis_file(genesis))
    write_whole(path, make_revocation(chain, home.public_key, RevocationReason(reason.value), authority_key))
    typer.echo(f"{path}: bring it to any member of the chain, which removes this home (p2pnode member revoke)")


@ca_app.command("list", epilog=LIST_EXAMPLE)
def list_command(
    directory: DirectoryArgument,
    expiring: Annotated[
        int | None,
        typer.Option(
            help="Only keys without a certificate that is valid for so many days.", min=0, show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for programs.")] = False,  # noqa: FBT002
) -> None:
    """Show every certificate that was issued: whose, until when, and what it is worth. Needs no passphrase."""
    folder, now = AuthorityFolder(directory), present()
    register = folder.register()
    entries = register.entries(now)
    if expiring is not None:
        end = now + timedelta(days=expiring)
        newest = _newest_of_keys(entries)
        entries = [one for one in newest if one.state is State.REVOKED or one.issued.valid_until <= end]
    if as_json:
        typer.echo(json.dumps(_listing(folder, register, entries), indent=2))
        return
    table = Table(title=f"Certificates of {register.network}", title_justify="left")
    for heading in ("name", "address", "role", "until", "state"):
        table.add_column(heading)
    for issued, state in entries:
        end_text = f"{issued.valid_until:%Y-%m-%d}"
        table.add_row(issued.name, _short(issued.address), issued.role, end_text, _state_text(issued, state, now))
    output_console().print(table)
    _tell_folder(folder, register, now)


@ca_app.command(epilog=CRL_EXAMPLE)
def crl(directory: DirectoryArgument, key_file: KeyFileOption = None) -> None:
    """Sign the revocation list anew, with the next number and 30 more days, and show it."""
    with open_authority(directory) as folder:
        folder.sign_list(folder.open(passphrase_of(key_file)), now=present())
        made = load_revocations(folder.revocation_list, folder.root())
        names = {int(one.serial, 16): one.name for one in folder.register().certificates}
    table = Table(title=f"Revocation list {made.number}", title_justify="left")
    for heading in ("serial", "name", "revoked"):
        table.add_column(heading)
    for serial, at in made.revoked.items():
        table.add_row(f"{serial:x}", names.get(serial, "the issuing authority"), f"{at:%Y-%m-%d %H:%M}")
    output_console().print(table)
    typer.echo(
        f"{folder.revocation_list}: list {made.number} of {made.issued:%Y-%m-%d %H:%M} UTC with "
        f"{len(made.revoked)} revoked; the next is due by {made.next_list:%Y-%m-%d}"
    )


# --- what is signed --------------------------------------------------------------------------------------------


def _sign(
    folder: AuthorityFolder,
    register: Register,
    orders: Sequence[Order],
    outputs: Sequence[Path],
    *,
    days: int,
    key_file: Path | None,
    yes: bool,
) -> None:
    """Shows what will be signed, asks, and writes it: into the register first."""
    now, validity = present(), timedelta(days=days)
    require_lifetime(folder.issuing(), now + validity)
    for order, path in zip(orders, outputs, strict=True):
        place = "where it was" if order.endpoint is None else f"at {order.endpoint}"
        meter = "" if order.meter is None else f", a connection of {order.meter.capacity_w / 1_000:g} kW"
        typer.echo(
            f"{order.name}, {order.role} {place}{meter}, until {now + validity:%Y-%m-%d}, into {path}\n"
            f"  address {address_of(order.node_key).hex()}"
        )
        others = {one.address for one in register.certificates if one.name == order.name and one.revoked is None}
        if others - {address_of(order.node_key).hex()}:
            typer.echo("  has another key, too: that one is exchanged, this is a new home in its place, or a mistake")
    confirm("Sign?", yes=yes)
    chains = folder.issue(folder.open(passphrase_of(key_file)), orders, now=now, validity=validity)
    _write_outputs(outputs, chains)
    for order, path in zip(orders, outputs, strict=True):
        typer.echo(f"{path}: the certificate of {order.name}")


def _require_root_key(path: Path, what_it_does: str) -> None:
    if not path.exists():
        raise NodeError(
            f"{path}: is not there. {what_it_does}; if it was taken away, bring it from where it is kept (--root-key "
            "names it), and take it away again. Nothing was changed"
        )


def _renew_issuing(folder: AuthorityFolder, root_key: Path, key_file: Path | None, *, yes: bool) -> None:
    _require_root_key(root_key, "The root's key certifies issuing authorities")
    typer.echo(f"The issuing authority ends on {folder.issuing().not_valid_after_utc:%Y-%m-%d}.")
    confirm("Make another key and certificate in its place?", yes=yes)
    passphrase = passphrase_of(key_file)
    authority = folder.renew_issuing(load_private_key(root_key, passphrase=passphrase), passphrase, now=present())
    typer.echo(
        f"{folder.directory}: another issuing authority, until {authority.issuing.not_valid_after_utc:%Y-%m-%d}. "
        "Certificates that the earlier one signed count as before"
    )


def _living(register: Register, name: str) -> IssuedToHome:
    """Returns the newest certificate of a key that may have another one."""
    newest = register.named(name)[-1]
    try:
        register.require_free(newest.name, newest.public_key)
    except IdentityError as error:
        raise IdentityError(f"{name[:64]!r}: {error}") from None
    return newest


def _require_different(texts: Sequence[str | Path], orders: Sequence[Order]) -> None:
    seen: dict[bytes, str | Path] = {}
    for text, order in zip(texts, orders, strict=True):
        other = seen.setdefault(order.node_key, text)
        if other is not text:
            raise NodeError(f"{text}: node_key: is the same as in {other}")


# --- where it goes ---------------------------------------------------------------------------------------------


def _outputs(names: Sequence[str], output: Path | None, *, beside: Sequence[Path] | None) -> list[Path]:
    """Returns a file for each certificate, none of which is there.

    Raises:
        NodeError: one is, or its folder is not.
    """
    if output is None:
        outputs = [request.with_suffix(".crt") for request in beside or ()]
    elif output.is_dir():
        outputs = [output / f"{name}.crt" for name in names]
    elif len(names) == 1:
        outputs = [output]
    else:
        raise NodeError(f"--output {output}: is no folder, and there are {len(names)} certificates")
    for index, path in enumerate(outputs):
        if path in outputs[:index]:
            raise NodeError(f"{path}: two certificates would have this file: give them one by one, with --output")
        if path.is_symlink() or path.exists():
            raise NodeError(f"{path}: is there already, and is not replaced. Nothing was signed")
        if not path.parent.is_dir():
            raise NodeError(f"{path}: there is no folder {path.parent}. Nothing was signed")
    return outputs


def _write_outputs(outputs: Sequence[Path], chains: Sequence[bytes]) -> None:
    """Writes all files or none."""
    path = outputs[0]
    try:
        for path, chain in zip(outputs, chains, strict=True):
            write_whole(path, chain)
    except OSError as error:
        for made in outputs[: outputs.index(path) + 1]:
            made.unlink(missing_ok=True)
        raise NodeError(
            f"{path}: cannot be written: {error.strerror}. The register has the certificate, and nobody else: run "
            "the command again, it makes another"
        ) from None


# --- what is shown ---------------------------------------------------------------------------------------------


class _ListState(NamedTuple):
    """What a person wants to know of the revocation list."""

    is_behind: bool
    text: str


def _list_state(folder: AuthorityFolder, register: Register, now: datetime) -> _ListState:
    remedy = f"run `p2pnode ca crl {folder.directory}`"
    if folder.is_list_behind(register):
        return _ListState(is_behind=True, text=f"the revocation list lacks what the register says: {remedy}")
    made = load_revocations(folder.revocation_list, folder.root())
    if made.next_list < now:
        return _ListState(is_behind=False, text=f"was due on {made.next_list:%Y-%m-%d}: {remedy}")
    return _ListState(is_behind=False, text=f"the next one is due by {made.next_list:%Y-%m-%d}")


def _tell_folder(folder: AuthorityFolder, register: Register, now: datetime) -> None:
    issuing = folder.issuing().not_valid_after_utc
    lacks = "" if issuing - now > MEMBER_VALIDITY else ": too soon for new homes' two years, run `ca renew --issuing`"
    typer.echo(
        f"Root until {folder.root().not_valid_after_utc:%Y-%m-%d}, "
        f"issuing authority until {issuing:%Y-%m-%d}{lacks}.\n"
        f"Root key: {'in the folder: take it away' if folder.root_key.exists() else 'not in the folder'}.\n"
        f"Revocation list {register.list_number}: {_list_state(folder, register, now).text}."
    )


def _newest_of_keys(entries: Sequence[Entry]) -> list[Entry]:
    """Returns the last certificate of each key that was not revoked itself."""
    newest = {one.issued.address: one for one in entries if one.issued.revoked is None}
    return sorted(newest.values(), key=lambda one: one.issued.valid_until)


def _state_text(issued: IssuedToHome, state: State, now: datetime) -> str:
    if state is State.REVOKED:
        why = issued.revoked
        return "revoked: its issuing authority is" if why is None else f"revoked {why.at:%Y-%m-%d}: {why.reason}"
    left = issued.valid_until - now
    return f"valid, {left.days} days left" if state is State.VALID and left < EXPIRES_SOON else state.value


def _listing(folder: AuthorityFolder, register: Register, entries: Sequence[Entry]) -> dict[str, object]:
    return {
        "network": register.network,
        "root_until": f"{folder.root().not_valid_after_utc.isoformat()}",
        "issuing_until": f"{folder.issuing().not_valid_after_utc.isoformat()}",
        "list_number": register.list_number,
        "is_list_behind": folder.is_list_behind(register),
        "certificates": [{**one.issued.model_dump(mode="json"), "state": one.state.value} for one in entries],
    }


def _count(serials: Sequence[str]) -> str:
    return f"{len(serials)} certificate{'' if len(serials) == 1 else 's'}"


def _short(address: str) -> str:
    return address[:ADDRESS_DIGITS]
