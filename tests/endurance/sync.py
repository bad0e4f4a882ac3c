"""`sync`: a node 100,000 blocks behind catches up from three others, then again beside one that lies."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.request import urlopen

import psutil
import typer

from consensus.codec import encode
from consensus.events import fresh_sign_state
from consensus.identifiers import Height
from node.home.sign_state import SignStateFile
from node.names.names import label_of
from tests.faults.block_liars import BLOCK_SERVERS
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import Node, Running, Street, cleaned_up, daemon, wait_until

ROOT: Final = Path(__file__).parents[2]
NODES: Final = 4
LIAR: Final = 3
LAST: Final = 4
"""The node that is behind."""

LIAR_BLOCKS: Final = 300
SYNC_DEADLINE_S: Final = 3_600.0
SAMPLE_INTERVAL_S: Final = 0.25
FIRST_PART: Final = 0.1
"""Share of the blocks after which the caches are taken to be full; memory may not grow much after it."""

PROGRESS_LINE: Final = re.compile(r"^(\S+).*\bsyncing\b.*height=(\d+)", re.MULTILINE)
REASON: Final = re.compile(r"a member sent wrong blocks.* peer=(\S+) .*reason=(\S+)")

EXPECTED_REASONS: Final[Mapping[str, frozenset[str]]] = {
    "altered-body": frozenset({"sync_not_a_block"}),
    "altered-header": frozenset({"sync_not_a_block"}),
    "bad-certificate": frozenset({"sync_bad_certificate"}),
    "wrong-range": frozenset({"sync_wrong_height"}),
    "too-many": frozenset({"sync_too_many"}),
    "withheld": frozenset(),
}
"""What each liar is banned for; who only keeps silent is asked less and less."""


# --- from honest members ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SyncFigures:
    """How a node caught up."""

    blocks: int
    elapsed_s: float
    """From the start of the process until it stood at the others' tip."""
    blocks_per_s: float
    memory_start_mib: float
    """Resident, when a tenth of the blocks was there."""
    memory_most_mib: float
    progress_lines: int
    progress_gap_most_s: float
    received_mib: dict[str, float]
    """From each of the others."""


def sync_from_all(directory: Path, *, blocks: int) -> SyncFigures:
    """Lets a node with nothing fetch a chain from three others.

    Raises:
        AssertionError: it does not come to the others' tip and root.
    """
    target = directory / "testnet"
    street = make_street(target, nodes=NODES)
    decide_beforehand(street, lambda builder: append_transfers(builder, blocks), for_nodes=LAST - 1)
    last = street.node(LAST)
    with cleaned_up(target), ExitStack() as stack:
        for node in street.nodes[: LAST - 1]:
            stack.enter_context(daemon(node))
        wait_until(lambda: all(node.is_ready() for node in street.nodes[: LAST - 1]), "the others are ready")
        start_s = time.monotonic()
        running = stack.enter_context(daemon(last))
        memory = _watch(street, running, blocks)
        elapsed_s = time.monotonic() - start_s
        received = {
            node.name: round(metric(last, _received_from(node)) / 2**20, 1) for node in street.nodes[: LAST - 1]
        }
        _require_same(street)
        said = running.errors()
    moments = [datetime.fromisoformat(moment).timestamp() for moment, _ in PROGRESS_LINE.findall(said)]
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    return SyncFigures(
        blocks=blocks,
        elapsed_s=round(elapsed_s, 1),
        blocks_per_s=round(blocks / elapsed_s, 1),
        memory_start_mib=memory[0],
        memory_most_mib=memory[1],
        progress_lines=len(moments),
        progress_gap_most_s=round(max(gaps, default=0.0), 1),
        received_mib=received,
    )


def _watch(street: Street, running: Running, blocks: int) -> tuple[float, float]:
    """Waits until the last node is at the tip; returns its memory after the first part, and the most of it."""
    last, memory_start, memory_most = street.node(LAST), 0.0, 0.0
    end_s = time.monotonic() + SYNC_DEADLINE_S
    while (height := height_of(last)) < blocks:
        assert running.is_running, running.errors()[-2_000:]
        assert time.monotonic() < end_s, f"at {height} of {blocks}"
        if height > 0:
            memory = _memory_mib(last)
            memory_most = max(memory_most, memory)
            if height < FIRST_PART * blocks:
                memory_start = memory
        time.sleep(SAMPLE_INTERVAL_S)
    return round(memory_start, 1), round(memory_most, 1)


def _memory_mib(node: Node) -> float:
    process = node.process
    return 0.0 if process is None else float(psutil.Process(process).memory_info().rss) / 2**20


def _require_same(street: Street) -> None:
    ends = {(status["tip"], status["state_root"]) for status in map(Node.present_status, street.nodes)}
    assert len(ends) == 1, ends


def height_of(node: Node) -> int:
    status = node.status()
    return -1 if status is None else int(status["height"])


def metric(node: Node, name: str) -> float:
    """Returns the sum over all samples whose name and labels begin so."""
    with urlopen(f"{node.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def _received_from(node: Node) -> str:
    return f'p2pnode_mesh_bytes_total{{direction="received",peer="{label_of(node.address)}"}}'


# --- beside a liar ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LiarFigures:
    """How a node caught up although one of three served wrong blocks."""

    behaviour: str
    elapsed_s: float
    banned_for: tuple[str, ...]
    """Reasons in the log, each naming the liar."""


def sync_beside_liars(directory: Path, *, behaviours: Sequence[str], blocks: int = LIAR_BLOCKS) -> list[LiarFigures]:
    """Lets a node with nothing fetch a chain again and again, each time beside another liar.

    Raises:
        AssertionError: it does not catch up, believes the liar, or blames somebody else.
    """
    target = directory / "testnet"
    street = make_street(target, nodes=NODES)
    decide_beforehand(street, lambda builder: append_transfers(builder, blocks), for_nodes=LAST - 1)
    with cleaned_up(target):
        return [_sync_beside(street, behaviour, blocks) for behaviour in behaviours]


def _sync_beside(street: Street, behaviour: str, blocks: int) -> LiarFigures:
    """The liar is the first that can be asked; the honest members come when it is found out."""
    last, liar, expected = street.node(LAST), street.node(LIAR), EXPECTED_REASONS[behaviour]
    shutil.rmtree(last.home.ledger, ignore_errors=True)
    last.home.sign_state.unlink()
    SignStateFile.create(last.home.sign_state, encode(fresh_sign_state(Height(1))))
    start_s = time.monotonic()
    with lying(liar, behaviour), daemon(last) as running, ExitStack() as honest:
        if expected:
            wait_until(lambda: REASON.search(running.errors()), f"the liar is found out: {behaviour}")
            assert height_of(last) < blocks, "nothing that it needs came from the liar"
        for node in street.nodes[: LIAR - 1]:
            honest.enter_context(daemon(node))
        wait_until(lambda: height_of(last) >= blocks, f"caught up beside a liar: {behaviour}", deadline_s=120)
        elapsed_s = time.monotonic() - start_s
        _require_same(street)
        blamed = REASON.findall(running.errors())
        assert {reason for _, reason in blamed} == expected, (behaviour, blamed)
        assert {name for name, _ in blamed} <= {label_of(liar.address)}
        for reason in expected:
            assert metric(last, f'p2pnode_messages_refused_total{{reason="{reason}"}}') >= 1
    return LiarFigures(
        behaviour=behaviour, elapsed_s=round(elapsed_s, 1), banned_for=tuple(reason for _, reason in blamed)
    )


@contextmanager
def lying(node: Node, behaviour: str) -> Iterator[None]:
    """Runs a daemon that serves wrong blocks."""
    arguments = ["-m", "tests.faults.daemon", "--block-server", behaviour, "--config", str(node.home.configuration)]
    with node.home.log.open("ab") as log:
        process = subprocess.Popen([sys.executable, *arguments], stdout=log, stderr=log, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


# --- the command -----------------------------------------------------------------------------------------------


def sync(
    blocks: Annotated[int, typer.Option(help="How far the node is behind.")] = 100_000,
    directory: Annotated[Path, typer.Option(help="For the testnets; made anew.")] = Path("build/endurance-sync"),
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Catch up from far behind, from three members, and beside each kind of liar."""
    shutil.rmtree(directory, ignore_errors=True)
    directory = directory.resolve()
    beside = sync_beside_liars(directory / "liars", behaviours=tuple(BLOCK_SERVERS))
    far = sync_from_all(directory / "far", blocks=blocks)
    if as_json:
        figures: dict[str, Any] = {"far": asdict(far), "beside_liars": [asdict(one) for one in beside]}
        typer.echo(json.dumps(figures, indent=2))
        return
    typer.echo(
        f"{far.blocks:,} blocks in {far.elapsed_s:,.0f} s: {far.blocks_per_s:,.0f} blocks/s, memory "
        f"{far.memory_start_mib:.0f} MiB after a tenth, {far.memory_most_mib:.0f} MiB at most; {far.progress_lines} "
        f"lines of progress, {far.progress_gap_most_s:.1f} s apart at most; received (MiB): {far.received_mib}"
    )
    for one in beside:
        banned = ", ".join(one.banned_for) or "nothing: only asked less often"
        typer.echo(f"beside a liar ({one.behaviour}): {one.elapsed_s:.1f} s; banned for {banned}")
