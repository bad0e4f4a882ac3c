"""`p2pnode committee-risk`: what liars can hope for in clusters and panels that are drawn."""

from fractions import Fraction
from typing import Annotated, Final

import typer

from consensus.committee_risk import (
    DRAWN_SEEDS,
    ClusterRisk,
    cluster_risk,
    panel_risk,
    regional_risk,
)
from consensus.quorum import fault_bound
from contracts.panels import PANEL_MAX, VERDICTS_MIN, verdicts_needed
from node.errors import NodeError

COMMITTEE_RISK_EXAMPLE: Final = (
    "Examples: p2pnode committee-risk --members 100 --size 10; "
    "p2pnode committee-risk --members 100 --size 10 --regions 60,30,9,1 --cap 4"
)

MEMBERS_SHOWN_MAX: Final = 1_000
"""More than a chain may have: how chances go on."""

CLUSTER_SIZE: Final = 10


committee_risk_app = typer.Typer()


@committee_risk_app.command(epilog=COMMITTEE_RISK_EXAMPLE)
def committee_risk(
    members: Annotated[int, typer.Option(min=2, max=MEMBERS_SHOWN_MAX, help="N.", show_default=False)],
    size: Annotated[
        int | None,
        typer.Option(
            min=1, max=MEMBERS_SHOWN_MAX, help=f"M, members of a cluster; by default {CLUSTER_SIZE}, or all."
        ),
    ] = None,
    byzantine: Annotated[
        int | None, typer.Option(min=0, help="Members that lie; by default F, the most that N bears.")
    ] = None,
    regions: Annotated[
        str | None, typer.Option(help="Members of each region, such as 60,30,9,1; their sum is N.")
    ] = None,
    cap: Annotated[int | None, typer.Option(min=1, help="At most so many of one region; by default M.")] = None,
    stakers: Annotated[
        int | None,
        typer.Option(min=VERDICTS_MIN, help="Members that staked enough to sit on panels; by default all."),
    ] = None,
    byzantine_stakers: Annotated[
        int | None, typer.Option(min=0, help="Stakers that lie; by default all liars: stakers choose themselves.")
    ] = None,
) -> None:
    """Say how likely liars are to fill a drawn cluster, or to decide who joins in a drawn panel (docs/committees.md).

    A cluster without an honest member costs its height up to two thirds of a slot, never safety.
    """
    drawn = min(CLUSTER_SIZE, members) if size is None else size
    liars = fault_bound(members) if byzantine is None else byzantine
    of_panel = members if stakers is None else stakers
    liars_of_panel = min(liars, of_panel) if byzantine_stakers is None else byzantine_stakers
    _require_at_most(drawn, members, "--size", "--members")
    _require_at_most(liars, members, "--byzantine", "--members")
    _require_at_most(of_panel, members, "--stakers", "--members")
    _require_at_most(liars_of_panel, min(liars, of_panel), "--byzantine-stakers", "the stakers and the liars")
    sizes = None if regions is None else _sizes(regions, members)
    if cap is not None and sizes is None:
        raise NodeError("--cap limits who is drawn of one region: name their members with --regions")
    typer.echo(_of_cluster(members, liars, drawn, cluster_risk(members, liars, drawn)))
    if sizes is not None:
        typer.echo(_of_regions(sizes, liars, drawn, drawn if cap is None else cap))
    if of_panel >= VERDICTS_MIN:
        typer.echo(_of_panel(of_panel, liars_of_panel))


def _of_cluster(members: int, liars: int, size: int, risk: ClusterRisk) -> str:
    return (
        f"clusters of {size} of {members:,} members, {liars:,} of which lie:\n"
        f"  no honest member: {_chance(risk.no_honest)}\n"
        f"  half of them or more lie: {_chance(risk.half)}\n"
        f"  both that collect for one member lie: {_chance(risk.both_collectors)}"
    )


def _of_regions(sizes: tuple[int, ...], liars: int, size: int, cap: int) -> str:
    risk = regional_risk(sizes, liars, size, cap)
    fair = size / sum(sizes)
    lines = [f"regions, at most {cap} of one, over {DRAWN_SEEDS:,} drawn clusters (a fair share is {fair:.3f}):"]
    lines += [
        f"  region of {members:,}: each member is drawn with {included:.3f}, {included / fair:.2f} times its share"
        for members, included in zip(sizes, risk.inclusion, strict=True)
    ]
    lines.append(f"  no honest member, the liars sitting where most are drawn: {risk.no_honest:,} clusters")
    return "\n".join(lines)


def _of_panel(stakers: int, liars: int) -> str:
    size = min(PANEL_MAX, stakers)
    quorum = verdicts_needed(size)
    risk = panel_risk(stakers, liars, size=size, quorum=quorum)
    return (
        f"panels of {size} of {stakers:,} stakers, {liars:,} of which lie; {quorum} decide:\n"
        f"  the liars alone decide: {_chance(risk.bought)}\n"
        f"  the honest alone decide: {_chance(risk.decides)}"
    )


def _chance(chance: Fraction) -> str:
    if chance == 0:
        return "0"
    return f"{float(chance):.3f}" if chance >= Fraction(1, 1000) else f"{float(chance):.1e}"


def _sizes(text: str, members: int) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) <= len(str(MEMBERS_SHOWN_MAX)) for part in parts):
        raise NodeError(f"--regions {text[:64]!r}: write the members of each region as 60,30,9,1")
    sizes = tuple(map(int, parts))
    if 0 in sizes or sum(sizes) != members:
        raise NodeError(f"--regions has {sum(sizes):,} members, --members {members:,}; no region is empty")
    return sizes


def _require_at_most(value: int, bound: int, option: str, bounded_by: str) -> None:
    if value > bound:
        raise NodeError(f"{option} {value:,} is more than {bounded_by}, {bound:,}")
