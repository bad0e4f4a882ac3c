"""`p2pnode testnet`: make a testnet, run it over its readings, look at it, stop it."""

import asyncio
import json
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from contracts.genesis import CLUSTER_SIZE_MAX, CLUSTER_SIZE_MIN
from node.cli.terminal import error_console, output_console
from node.client import open_client
from node.errors import NodeError, TestnetError
from node.home.process import on_ending_signal
from node.meter.readings_file import COLUMNS, EnergySummary
from node.testnet.folder import Layout, Testnet
from node.testnet.init import PORT_HIGHEST, TestnetPlan, initialise_testnet
from node.testnet.processes import TestnetProcesses
from node.testnet.run import ask_nodes, prepare_run, run_testnet
from node.testnet.summary import RunSummary
from node.testnet.tables import ProgressView, show_apis, show_status, show_summary

T = TypeVar("T")

DEFAULT_DIRECTORY: Final = Path("testnet")

testnet_app = typer.Typer(
    name="testnet",
    no_args_is_help=True,
    help="A testnet on this machine: one node per household of a file of meter readings.",
    epilog="Example: p2pnode testnet run --hours 48, then: p2pnode ledger show --home testnet/node1",
)


DirectoryOption = Annotated[Path, typer.Option("--dir", help="Folder of the testnet.")]
ReadingsOption = Annotated[
    Path | None,
    typer.Option(
        help=f"CSV file with the columns {', '.join(COLUMNS)}. Five real homes by default.",
        show_default=False,
    ),
]


@testnet_app.command(epilog="Example: p2pnode testnet init --dir my-street --readings my-street.csv --nodes 7")
def init(
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    readings: ReadingsOption = None,
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many; by default one per household. Further ones only validate.", show_default=False
        ),
    ] = None,
    base_port: Annotated[
        int | None,
        typer.Option(
            min=1_024, max=PORT_HIGHEST, help="First of two ports per node; free ones by default.", show_default=False
        ),
    ] = None,
    cluster_size: Annotated[
        int | None,
        typer.Option(
            min=CLUSTER_SIZE_MIN,
            max=CLUSTER_SIZE_MAX,
            help="So many nodes are drawn to collect each slot's votes; by default all do, up to 30 nodes.",
            show_default=False,
        ),
    ] = None,
    layout: Annotated[
        Layout | None,
        typer.Option(
            help="loopback (the default): ports of 127.0.0.1. containers: each node under its own name.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make keys, certificates, genesis and a commented meter.toml per node.

    Repeating it with the same input changes nothing.
    """
    plan = TestnetPlan(readings=readings, nodes=nodes, base_port=base_port, layout=layout, cluster_size=cluster_size)
    testnet, made = initialise_testnet(directory, plan)
    names = f"{len(testnet.nodes)} nodes, {len(testnet.manifest.households)} of them with a household"
    state = "made" if made else "is there already and was not changed"
    typer.echo(f"testnet in {testnet.directory} {state}: {names}")


@testnet_app.command(epilog="Example: p2pnode testnet run --hours 48 --keep, then open a node's API in a browser")
def run(
    directory: DirectoryOption = DEFAULT_DIRECTORY,
    readings: ReadingsOption = None,
    hours: Annotated[
        int | None, typer.Option(min=1, help="How many hours of the readings; all by default.", show_default=False)
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the nodes running at the end.")] = False,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,  # noqa: FBT002
) -> None:
    """Start all nodes, replay the readings as fast as blocks are decided, stop, and sum up.

    Makes the testnet if it is not there. Exits with 0 only if all nodes have the same chain, energy and tokens
    are conserved, and all that could be traded was traded. A node that dies is waited for: start it again with
    `p2pnode start --config DIR/nodeK/meter.toml`. However this command ends, killed too, the nodes that it started
    stop; only --keep leaves them running.
    """
    testnet, _ = initialise_testnet(directory, TestnetPlan(readings=readings, hours=hours))
    TestnetProcesses(testnet).refuse_running()
    energy = prepare_run(testnet, hours)
    summary = _run_to_the_end(_run(testnet, energy, keep=keep))
    if as_json:
        typer.echo(json.dumps(summary.as_json(), indent=2))
    else:
        show_summary(output_console(), summary)
    if keep:
        show_apis(error_console(), testnet)
    if summary.problems:
        raise TestnetError("; ".join(summary.problems))


@testnet_app.command()
def status(directory: DirectoryOption = DEFAULT_DIRECTORY) -> None:
    """Show every node: its process, its height, how far its meter is."""
    testnet = Testnet.open(directory)

    async def ask() -> None:
        async with open_client() as client:
            statuses, left = await ask_nodes(testnet, client)
        processes = TestnetProcesses(testnet)
        rows = [(node, processes.process_of(node), statuses.get(node.name)) for node in testnet.nodes]
        show_status(output_console(), rows, left)

    asyncio.run(ask())


@testnet_app.command()
def stop(directory: DirectoryOption = DEFAULT_DIRECTORY) -> None:
    """Stop every node of the testnet that runs."""
    testnet = Testnet.open(directory)
    processes = TestnetProcesses(testnet)
    running = [node.name for node in testnet.nodes if processes.process_of(node) is not None]
    killed = asyncio.run(processes.stop())
    typer.echo(f"stopped: {', '.join(running)}" if running else f"no node of {testnet.directory} runs")
    if killed:
        raise TestnetError(f"{', '.join(killed)} did not stop by itself and was killed")


async def _run(testnet: Testnet, energy: EnergySummary, *, keep: bool) -> RunSummary:
    view = ProgressView(error_console(), hours=energy.hours, tradable_wh=energy.tradable_wh)
    view.note(
        f"{len(testnet.nodes)} nodes in {testnet.directory}: {energy.hours:,} hours, "
        f"{energy.tradable_wh:,} Wh can be traded"
    )
    return await run_testnet(testnet, energy, keep=keep, view=view)


def _run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work`; a signal that asks this process to end ends it, with all daemons stopped.

    Only the first signal counts: a second one would leave daemons behind that are still stopping.
    """
    received: list[signal.Signals] = []

    async def guarded() -> T:
        task = asyncio.ensure_future(work)

        def end(number: signal.Signals) -> None:
            if received:
                error_console().print("the nodes are being stopped")
                return
            received.append(number)
            task.cancel()

        on_ending_signal(end)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if received == [signal.SIGINT]:
            error_console().print("interrupted; all nodes were stopped")
            raise KeyboardInterrupt from None
        raise NodeError(f"ended by {received[0].name}; all nodes were stopped") from None
