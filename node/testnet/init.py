"""Makes a testnet: keys, certificates, genesis and one commented meter.toml per node.

Everything is made in a folder beside the wanted one, which then gets its name: a testnet is there completely
or not at all. A testnet that is there is never changed.
"""

import random
import shutil
import socket
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from contracts.genesis import ClusterParameters, chain_id
from contracts.units import MICRO_TOKENS_PER_TOKEN, WH_PER_KWH, MicroTokensPerKwh, contract_amount
from node.admission.authority import MEMBER_VALIDITY, present
from node.admission.authority_folder import create_authority, open_authority, order_of
from node.admission.endpoint import Endpoint
from node.admission.founding import begin_founding, check_founding, with_card, with_member, with_signature
from node.admission.founding_file import FOUNDING_NAME, write_founding
from node.admission.founding_rules import (
    CLUSTERS,
    GRID_FEE_MICRO_PER_KWH,
    WALLET_MICRO,
    Accounts,
    Tariffs,
    make_rules,
)
from node.admission.identity import certificate_key, create_key, load_key
from node.admission.new_home import CAPACITY_W_DEFAULT, found_from, make_home
from node.admission.passphrase import create_passphrase_file, read_passphrase_file
from node.admission.request import read_request
from node.errors import TestnetError
from node.home.configuration import (
    RETAIL_PRICE_MICRO_PER_KWH,
    ApiTable,
    Configuration,
    MeterTable,
    NodeTable,
    PeerToPeerTable,
)
from node.home.folder import READINGS_NAME, Home
from node.home.genesis_file import load_genesis
from node.meter.readings_file import (
    HOUSEHOLDS_MAX,
    SHIPPED_READINGS,
    Readings,
    deficit_of,
    largest_net_wh,
    read_readings,
    write_household,
)
from node.names.card import call, sign_card
from node.testnet.folder import (
    AUTHORITY_KEY_FILE_NAME,
    AUTHORITY_NAME,
    GRID_KEY_NAME,
    ISSUER_KEY_NAME,
    MANIFEST_NAME,
    Layout,
    Manifest,
    Testnet,
    TestnetNode,
    hours_to_run,
    sha256_of,
)

NETWORK: Final = "p2pnode-testnet"

HOUSEHOLDS_MIN: Final = 4
"""The least number of members of which one may fail: N = 3F + 1 with F = 1."""

NODES_MAX: Final = HOUSEHOLDS_MAX

PORT_LOWEST: Final = 10_000
PORT_HIGHEST: Final = 65_535
_EPHEMERAL_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL_LOWEST_DEFAULT: Final = 32_768
_PORT_ATTEMPTS_MAX: Final = 200

CONTAINER_P2P_PORT: Final = 7_000
CONTAINER_API_PORT: Final = 8_000
_EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104  (inside a container, the container's network is the limit)
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestnetPlan:
    """What the operator asks for; None where the default (or the existing testnet) decides."""

    __test__ = False  # not a test class

    readings: Path | None = None
    """CSV file; the shipped one by default."""
    nodes: int | None = None
    """The number of households by default; further nodes only validate."""
    base_port: int | None = None
    """First of two ports per node; free ones by default."""
    layout: Layout | None = None
    """Loopback by default."""
    hours: int | None = None
    """How many hours the readings must have at least, where the testnet is not there yet."""
    cluster_size: int | None = None
    """So many of the members are drawn to collect votes; by default as on any chain, so only of many members."""


def initialise_testnet(directory: Path, plan: TestnetPlan) -> tuple[Testnet, bool]:
    """Makes the testnet in `directory`, or finds it made from the same input already.

    Args:
        directory: missing or empty, or an existing testnet.
        plan: what to make.

    Returns:
        The testnet, and whether it was made now.

    Raises:
        TestnetError: it was made from other input, or cannot be made from this.
        ReadingsError: the readings file is wrong.
    """
    if (directory / MANIFEST_NAME).exists():
        testnet = Testnet.open(directory)
        _refuse_other_input(testnet, plan)
        return testnet, False
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise TestnetError(f"{directory} is neither empty nor a testnet: give another --dir")
    readings = read_readings(plan.readings or SHIPPED_READINGS)
    hours_to_run(plan.hours, len(readings.hours_start_ms), readings.path.name)
    nodes = _check_readings(readings, plan.nodes)
    if plan.cluster_size is not None and plan.cluster_size >= nodes:
        raise TestnetError(f"clusters of {plan.cluster_size} are drawn of more nodes than {nodes}")
    try:
        _make(directory, plan, readings, nodes)
    except OSError as error:
        raise TestnetError(f"{directory} cannot be made: {error.strerror or error}") from None
    return Testnet.open(directory), True


def _refuse_other_input(testnet: Testnet, plan: TestnetPlan) -> None:
    manifest = testnet.manifest
    remedy = "give another --dir, or remove this one"
    if plan.nodes is not None and plan.nodes != len(manifest.nodes):
        asked = f"{len(manifest.nodes)} nodes, not {plan.nodes}"
        raise TestnetError(f"the testnet in {testnet.directory} has {asked}: {remedy}")
    if plan.readings is not None and sha256_of(plan.readings) != manifest.readings_sha256:
        asked = f"was made from other readings ({manifest.readings_name}) than {plan.readings}"
        raise TestnetError(f"the testnet in {testnet.directory} {asked}: {remedy}")
    if plan.layout is not None and plan.layout != manifest.layout:
        asked = f"was made for {manifest.layout}, not for {plan.layout}"
        raise TestnetError(f"the testnet in {testnet.directory} {asked}: {remedy}")
    size = load_genesis(testnet.home(testnet.nodes[0])).clusters.size
    if plan.cluster_size not in (None, size):
        asked = f"draws clusters of {size}, not of {plan.cluster_size}"
        raise TestnetError(f"the testnet in {testnet.directory} {asked}: {remedy}")
    if plan.base_port is not None and plan.base_port != manifest.nodes[0].p2p_port:
        asked = f"has ports from {manifest.nodes[0].p2p_port} on, not from {plan.base_port}"
        raise TestnetError(f"the testnet in {testnet.directory} {asked}: {remedy}")


def _check_readings(readings: Readings, nodes: int | None) -> int:
    """Returns the number of nodes, once the readings are known to fit a testnet."""
    households = len(readings.households)
    if households < HOUSEHOLDS_MIN:
        raise TestnetError(
            f"{readings.path} has {households} households; a testnet needs at least {HOUSEHOLDS_MIN}, "
            "the least number of members of which one may fail"
        )
    wanted = households if nodes is None else nodes
    if wanted > NODES_MAX:
        raise TestnetError(f"{wanted} nodes asked for, and a chain has at most {NODES_MAX} members")
    if wanted < households:
        first = readings.households[wanted]
        raise TestnetError(
            f"{wanted} nodes asked for, but {readings.path} has {households} households and each needs one: "
            f"household {first!r} is the first without"
        )
    for household in readings.households:
        deficit_wh = deficit_of(readings, household)
        cost_micro = contract_amount(
            deficit_wh, MicroTokensPerKwh(RETAIL_PRICE_MICRO_PER_KWH + GRID_FEE_MICRO_PER_KWH)
        )
        if cost_micro > WALLET_MICRO:
            raise TestnetError(
                f"{readings.path}: household {household!r} lacks {deficit_wh // WH_PER_KWH:,} kWh, which may cost "
                f"{cost_micro // MICRO_TOKENS_PER_TOKEN:,} tokens; a wallet starts with "
                f"{WALLET_MICRO // MICRO_TOKENS_PER_TOKEN:,}"
            )
    return wanted


def _make(directory: Path, plan: TestnetPlan, readings: Readings, nodes: int) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    name = directory.resolve().name
    partial = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=".partial", dir=directory.resolve().parent))
    try:
        _fill(partial, plan, readings, nodes)
        partial.rename(directory.resolve())
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _fill(directory: Path, plan: TestnetPlan, readings: Readings, nodes: int) -> None:
    layout: Layout = plan.layout or "loopback"
    made = [_make_home(directory, layout, readings, index, ports) for index, ports in enumerate(_ports(plan, nodes))]
    root, chains = _certify(directory, [home for _, home in made])
    accounts = Accounts(
        authority=certificate_key(root),
        issuer=create_key(directory / ISSUER_KEY_NAME).public_key,
        grid=create_key(directory / GRID_KEY_NAME).public_key,
    )
    founding = begin_founding(make_rules(NETWORK, accounts, Tariffs(), _clusters(plan)), root)
    for chain in chains:
        founding = with_member(founding, chain.decode("ascii"), WALLET_MICRO, now=present())
    for node, home in made:
        founding = with_card(founding, sign_card(load_key(home.node_key), call(node.name)))
    everybody = check_founding(founding, now=present())
    for _, home in made:
        founding = with_signature(founding, found_from(home, founding, everybody))
    write_founding(directory / FOUNDING_NAME, founding)
    shutil.copyfile(readings.path, directory / READINGS_NAME)
    manifest = Manifest(
        chain=chain_id(founding.genesis).hex(),
        layout=layout,
        readings_name=readings.path.name,
        readings_sha256=sha256_of(directory / READINGS_NAME),
        nodes=tuple(node for node, _ in made),
    )
    (directory / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _clusters(plan: TestnetPlan) -> ClusterParameters:
    if plan.cluster_size is None:
        return CLUSTERS
    return ClusterParameters(size=plan.cluster_size, members_min=plan.cluster_size + 1)


def _make_home(
    directory: Path, layout: Layout, readings: Readings, index: int, ports: tuple[int, int]
) -> tuple[TestnetNode, Home]:
    """Makes the home of a node as `p2pnode init` does, with the household's own readings."""
    name, (port, api_port) = f"node{index + 1}", ports
    household = readings.households[index] if index < len(readings.households) else None
    host = name if layout == "containers" else _LOOPBACK
    listen_host = _EVERY_ADDRESS if layout == "containers" else _LOOPBACK
    configuration = Configuration(
        node=NodeTable(name=name),
        p2p=PeerToPeerTable(host=listen_host, port=port),
        api=ApiTable(host=listen_host, port=api_port, host_names=(host,) if layout == "containers" else ()),
        meter=None if household is None else MeterTable(household_id=household),
    )
    capacity_w = CAPACITY_W_DEFAULT if household is None else _capacity_w(readings, household)
    home = make_home(directory / name, configuration, Endpoint(host, port), capacity_w=capacity_w)
    if household is not None:
        home.readings.touch(mode=0o600)  # a household's profile is its own
        write_household(readings, household, home.readings)
    node = TestnetNode(
        name=name,
        address=load_key(home.node_key).address.hex(),
        household=household,
        p2p_host=host,
        p2p_port=port,
        api_host=host,
        api_port=api_port,
    )
    return node, home


def _certify(directory: Path, homes: Sequence[Home]) -> tuple[x509.Certificate, list[bytes]]:
    """Makes the testnet's authority and lets it certify the homes; returns its root and their chains."""
    passphrase_file = directory / AUTHORITY_KEY_FILE_NAME
    create_passphrase_file(passphrase_file)
    passphrase = read_passphrase_file(passphrase_file)
    create_authority(directory / AUTHORITY_NAME, NETWORK, passphrase)
    orders = [order_of(read_request(home.request)) for home in homes]
    with open_authority(directory / AUTHORITY_NAME) as folder:
        chains = folder.issue(folder.open(passphrase), orders, now=present(), validity=MEMBER_VALIDITY)
        return folder.root(), chains


def _capacity_w(readings: Readings, household: str) -> int:
    """Returns the connection that a household must have: its largest net power, in full kW."""
    return max(CAPACITY_W_DEFAULT, -(-largest_net_wh(readings, household) // 1_000) * 1_000)


def _ports(plan: TestnetPlan, nodes: int) -> list[tuple[int, int]]:
    """Returns the ports of each node: for the mesh, and for the API."""
    if plan.layout == "containers":
        return [(CONTAINER_P2P_PORT, CONTAINER_API_PORT)] * nodes
    first = _free_ports(2 * nodes) if plan.base_port is None else plan.base_port
    if first + 2 * nodes - 1 > PORT_HIGHEST:
        raise TestnetError(f"{nodes} nodes need {2 * nodes} ports from {first} on, and {PORT_HIGHEST} is the last")
    return [(first + 2 * index, first + 2 * index + 1) for index in range(nodes)]


def _free_ports(count: int) -> int:
    """Returns the first of `count` neighbouring ports that nobody listens on now.

    They lie below the range that the system takes ports of outgoing connections from: one of those could be
    in use by a peer's connection just when its node wants to listen.
    """
    try:
        ephemeral_lowest = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        ephemeral_lowest = _EPHEMERAL_LOWEST_DEFAULT
    highest = max(PORT_LOWEST + count, ephemeral_lowest) - count
    generator = random.SystemRandom()
    for _ in range(_PORT_ATTEMPTS_MAX):
        first = generator.randint(PORT_LOWEST, highest)
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise TestnetError(f"no {count} free neighbouring ports from {PORT_LOWEST} on: give --base-port")


def is_free(port: int) -> bool:
    """Says whether nobody listens on a port of this machine now."""
    with socket.socket() as probe:
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True
