"""`p2pnode genesis`: homes found a chain together, each with keys of its own."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.messages import MEMBERS_MAX
from consensus.quorum import fault_bound, quorum
from contracts.genesis import CLUSTER_SIZE_MAX, CLUSTER_SIZE_MIN, ClusterParameters, chain_id
from contracts.units import MICRO_TOKENS_PER_TOKEN, MicroTokens
from node.admission.founding import (
    Founder,
    Founding,
    FoundingSignature,
    begin_founding,
    check_founding,
    missing_signatures,
    with_card,
    with_member,
    with_signature,
)
from node.admission.founding_file import (
    FOUNDING_NAME,
    read_founding,
    read_from_home,
    write_founding,
    write_signature,
)
from node.admission.founding_rules import (
    CAPTURED_MAX,
    CLUSTERS,
    WALLET_MICRO,
    Accounts,
    Tariffs,
    captured_fault,
    clusters_text,
    make_rules,
)
from node.admission.identity import certificate_key, create_key, load_root
from node.admission.new_home import found_from, made_whole
from node.cli.options import YesOption, confirm
from node.cli.terminal import output_console
from node.errors import FoundingError
from node.home.configuration import load_configuration
from node.names.card import Card
from node.names.rules import require_name
from node.testnet.folder import GRID_KEY_NAME, ISSUER_KEY_NAME

GENESIS_HELP: Final = """\
Found a chain: several homes, each with keys of its own, agree on one genesis.

\b
1. init            at each home: keys, meter.toml, a request (node.csr)
2. ca issue        the authority answers each request with a certificate
3. genesis new     whoever coordinates: the rules, in a file founding.json
4. genesis add     there: every home's certificate, and its card if it gave one
5. genesis sign    at each home, with the file that came back; then start
6. genesis add     there: the signatures of the homes

The file holds public keys, and the cards of those who gave one. Compare the chain's name, which
`genesis show` prints, with your neighbours: who has the same name has the
same members and the same rules."""

GENESIS_EXAMPLE: Final = "Begin with: p2pnode genesis new --help"
NEW_EXAMPLE: Final = """\
Example: p2pnode genesis new street --network "Sunny Street" --authority ca/root.crt --retail 0.34

Next: genesis add street/founding.json with the certificates of the homes."""
ADD_EXAMPLE: Final = """\
Example: p2pnode genesis add street/founding.json home1.crt home2.crt home3.crt home4.crt

Next: send founding.json to every home, which signs it (p2pnode genesis sign)."""
SIGN_EXAMPLE: Final = """\
Example: p2pnode genesis sign founding.json --config my-home/meter.toml

Next: p2pnode start --config my-home/meter.toml, and the signature back to whoever coordinates."""

CHANCE_CHARACTERS_MAX: Final = 32
_MICRO: Final = Decimal(MICRO_TOKENS_PER_TOKEN)


def _tokens(text: str) -> int:
    """Returns an amount in micro-tokens, given in tokens: at most six decimals, nothing lost."""
    try:
        micro = Decimal(text) * _MICRO
    except InvalidOperation:
        raise typer.BadParameter(f"{text!r} is no number of tokens, such as 0.30") from None
    if not micro.is_finite() or micro != micro.to_integral_value() or not 0 <= micro <= 10**15:
        raise typer.BadParameter(f"{text} is not from 0 to 1000000000 tokens, with six decimals at most")
    return int(micro)


def _chance(text: str) -> Fraction:
    """Returns a chance above 0 and at most 1, exactly as it is written."""
    try:
        chance = Fraction(text) if len(text) <= CHANCE_CHARACTERS_MAX and "e" not in text.lower() else Fraction(0)
    except (ValueError, ZeroDivisionError):
        chance = Fraction(0)
    if not 0 < chance <= 1:
        raise typer.BadParameter(f"{text[:CHANCE_CHARACTERS_MAX]!r} is no chance, such as 0.001")
    return chance


def _in_tokens(micro: int) -> str:
    return format(Decimal(micro) / _MICRO, "f")


FoundingArgument = Annotated[Path, typer.Argument(help="The founding.json.", show_default=False)]
_DEFAULTS: Final = Tariffs()

genesis_app = typer.Typer(name="genesis", help=GENESIS_HELP, epilog=GENESIS_EXAMPLE, no_args_is_help=True)


@genesis_app.command("new", epilog=NEW_EXAMPLE)
def new(
    directory: Annotated[Path, typer.Argument(help="Folder to make; must not exist.", show_default=False)],
    network: Annotated[str, typer.Option(help="The chain's name, for people.", show_default=False)],
    authority: Annotated[Path, typer.Option(help="The authority's root.crt (p2pnode ca init).", show_default=False)],
    retail: Annotated[
        int, typer.Option(parser=_tokens, metavar="TOKENS", help="What the grid takes per kWh.")
    ] = _in_tokens(_DEFAULTS.retail_micro_per_kwh),  # type: ignore[assignment]  # typer parses defaults too
    feed_in: Annotated[
        int, typer.Option(parser=_tokens, metavar="TOKENS", help="What the grid pays per kWh.")
    ] = _in_tokens(_DEFAULTS.feed_in_micro_per_kwh),  # type: ignore[assignment]
    grid_fee: Annotated[
        int, typer.Option(parser=_tokens, metavar="TOKENS", help="What a buyer pays per kWh for the use of the grid.")
    ] = _in_tokens(_DEFAULTS.grid_fee_micro_per_kwh),  # type: ignore[assignment]
    cluster_size: Annotated[
        int, typer.Option(min=CLUSTER_SIZE_MIN, max=CLUSTER_SIZE_MAX, help="How many members are drawn for a block.")
    ] = CLUSTERS.size,
    cluster_members_min: Annotated[
        int, typer.Option(min=8, max=MEMBERS_MAX + 1, help="Draw from so many members on; 257: never.")
    ] = CLUSTERS.members_min,
    captured_max: Annotated[
        Fraction,
        typer.Option(parser=_chance, metavar="CHANCE", help="Refuse clusters without an honest member above it."),
    ] = str(float(CAPTURED_MAX)),  # type: ignore[assignment]
) -> None:
    """Begin a founding: the street's rules, no members yet, and keys for issuing tokens and for the grid's fees.

    issuer.key and grid.key stay in the folder, with whoever issues tokens and
    receives the fees; founding.json is what the others get.
    """
    if feed_in > retail:
        raise FoundingError(f"--feed-in {_in_tokens(feed_in)} is above --retail {_in_tokens(retail)}")
    require_name(network, field="--network")
    clusters = _clusters(cluster_size, cluster_members_min, captured_max)
    certificate = load_root(authority)
    with made_whole(directory) as folder:
        accounts = Accounts(
            authority=certificate_key(certificate),
            issuer=create_key(folder.directory / ISSUER_KEY_NAME).public_key,
            grid=create_key(folder.directory / GRID_KEY_NAME).public_key,
        )
        rules = make_rules(network, accounts, Tariffs(feed_in, retail, grid_fee), clusters)
        write_founding(directory / FOUNDING_NAME, begin_founding(rules, certificate))
    typer.echo(f"{directory / FOUNDING_NAME}: the rules of {network}. Add the homes: p2pnode genesis add")


def _clusters(size: int, members_min: int, captured_max: Fraction) -> ClusterParameters:
    if size >= members_min:
        raise FoundingError(f"--cluster-size {size} must be below --cluster-members-min {members_min}")
    clusters = ClusterParameters(size=size, members_min=members_min)
    fault = captured_fault(clusters, captured_max)
    if fault is not None:
        raise FoundingError(f"{fault} (--cluster-size, --captured-max; p2pnode committee-risk)")
    return clusters


@genesis_app.command("add", epilog=ADD_EXAMPLE)
def add(
    founding: FoundingArgument,
    files: Annotated[
        list[Path], typer.Argument(help="Certificates, cards and signatures of homes.", show_default=False)
    ],
    tokens: Annotated[
        int, typer.Option(parser=_tokens, metavar="TOKENS", help="What the wallet of each home added starts with.")
    ] = _in_tokens(WALLET_MICRO),  # type: ignore[assignment]
) -> None:
    """Add homes by their certificates; their cards; their signatures: all of them or, if one is refused, none.

    Homes are numbered in the order in which they are added: the slots' leaders
    follow it. Another home makes another chain, so signatures given before go.
    A home's card (p2pnode names share) says how it is called: those who sign
    take it into their address books, and the chain does not have it.
    """
    now, grown = datetime.now(UTC), read_founding(founding)
    check_founding(grown, now=now)  # each step below rests on it
    dropped = 0
    for path in files:
        brought = read_from_home(path)
        try:
            if isinstance(brought, FoundingSignature):
                grown = with_signature(grown, brought)
            elif isinstance(brought, Card):
                grown = with_card(grown, brought)
            else:
                dropped += len(grown.signatures)
                grown = with_member(grown, brought, MicroTokens(tokens), now=now)
        except FoundingError as refused:
            raise FoundingError(f"{path}: {refused}. Nothing was added") from None
    everybody = check_founding(grown, now=now)
    write_founding(founding, grown)
    if dropped:
        typer.echo(f"Earlier signatures went, as they were given to fewer members: {dropped}")
    _show(grown, everybody)


@genesis_app.command("sign", epilog=SIGN_EXAMPLE)
def sign(
    founding: FoundingArgument,
    config: Annotated[Path, typer.Option(help="The home's meter.toml.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Where the signature goes; by default NAME.signature beside the founding.", show_default=False
        ),
    ] = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Agree to a founding: checks it, shows it, asks, and makes this home ready to start.

    Writes genesis, both certificates and the sign state into the home, and
    into meter.toml where the others are; the keys stay where they are.
    """
    configuration, wanted = load_configuration(config), read_founding(founding)
    everybody = check_founding(wanted, now=datetime.now(UTC))
    _show(wanted, everybody)
    confirm("Found this chain, with these members and rules?", yes=yes)
    signature = found_from(configuration.home, wanted, everybody)
    target = output or founding.with_name(f"{signature.member.hex()[:16]}.signature")
    write_signature(target, signature)
    typer.echo(
        f"{configuration.home.directory} is ready: p2pnode start --config {config}. "
        f"Give {target} to whoever coordinates the founding"
    )


@genesis_app.command("show", epilog="Example: p2pnode genesis show street/founding.json")
def show(founding: FoundingArgument) -> None:
    """Check a founding, and show its members, its rules, who signed it, and the chain's name."""
    shown = read_founding(founding)
    _show(shown, check_founding(shown, now=datetime.now(UTC)))


def _show(founding: Founding, everybody: Sequence[Founder]) -> None:
    rules = founding.genesis
    table = Table(title=rules.network, title_justify="left")
    for heading in ("home", "reached at", "connection", "wallet", "address", "signed"):
        table.add_column(heading)
    for founder in everybody:
        table.add_row(
            founder.name,
            str(founder.endpoint),
            f"{founder.member.capacity_w / 1_000:g} kW",
            f"{_in_tokens(founder.member.tokens_micro)} tokens",
            founder.address.hex()[:16],
            "yes" if founder.has_signed else "not yet",
        )
    output_console().print(table)
    typer.echo(
        f"Tokens per kWh: {_in_tokens(rules.price_min_micro_per_kwh)} from the grid, "
        f"{_in_tokens(rules.price_max_micro_per_kwh)} to it, {_in_tokens(rules.grid_fee_micro_per_kwh)} for its use "
        "between neighbours."
    )
    typer.echo(clusters_text(rules.clusters))
    count = len(everybody)
    if not count:
        typer.echo("No homes yet: p2pnode genesis add")
        return
    typer.echo(
        f"{count} members, {quorum(count)} must agree on every block; {fault_bound(count)} may be down or lie."
    )
    missing = missing_signatures(everybody)
    typer.echo("All have signed." if not missing else f"Not signed yet: {', '.join(missing)}.")
    typer.echo(f"The chain's name, for comparing with your neighbours: {chain_id(rules).hex()}")
