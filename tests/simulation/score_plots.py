"""`python -m tests.simulation.score_plots docs` draws the simulated years of docs/scores.md, and prints figures."""

from pathlib import Path
from statistics import median
from typing import Final

import matplotlib as mpl
import typer
from matplotlib import pyplot as plt

from qscore.parameters import DEFAULT_PARAMETERS, ONE
from tests.simulation.score_year import DAYS, Plan, Year, honest_curve, run_year, trades_until_out

MEMBERS: Final = 40
ALWAYS: Final = Plan(members=MEMBERS, cheating={0: 1.0, 1: 1.0})
"""5 % of the members cheat in every trade."""
SHARES: Final = Plan(members=MEMBERS, cheating={0: 0.05, 1: 0.2, 2: 0.5})
THRESHOLD: Final = DEFAULT_PARAMETERS.threshold_trade / ONE


def draw(year: Year, plan: Plan, title: str, path: Path) -> None:
    """Writes a year's scores as SVG: a band for the honest members, a line for each that cheats."""
    mpl.rcParams["svg.hashsalt"] = "p2pnode"
    days = range(1, DAYS + 1)
    honest = [scores for number, scores in enumerate(year.scores) if number not in plan.cheating]
    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    lowest, highest = ([pick(day) for day in zip(*honest, strict=True)] for pick in (min, max))
    axes.fill_between(
        days, lowest, highest, color="#2a9d8f", alpha=0.3, label=f"{len(honest)} honest, lowest to highest"
    )
    axes.plot(days, [median(day) for day in zip(*honest, strict=True)], color="#2a9d8f", label="honest, median")
    for number, share in plan.cheating.items():
        axes.plot(days, year.scores[number], lw=1, label=f"cheats in {share:.0%} of its trades")
    axes.axhline(THRESHOLD, color="black", lw=0.8, ls="--", label=f"trading threshold {THRESHOLD}")
    axes.set(title=title, xlabel="day", ylabel="Q-score", yscale="log", ylim=(0.04, 12), xlim=(1, DAYS))
    axes.legend(loc="center right", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(directory: Path) -> None:
    """Draw both years into DIRECTORY and print the figures."""
    directory.mkdir(parents=True, exist_ok=True)
    for plan, title, name in (
        (ALWAYS, "Two of 40 members always cheat", "scores-always.svg"),
        (SHARES, "Three of 40 members cheat in 5 %, 20 % and 50 % of their trades", "scores-shares.svg"),
    ):
        year = run_year(plan)
        draw(year, plan, title, directory / name)
        honest = [scores for number, scores in enumerate(year.scores) if number not in plan.cheating]
        lowest, last = min(map(min, honest)), min(scores[-1] for scores in honest)
        trades = {f"{share:.0%}": year.trades[number] for number, share in plan.cheating.items()}
        typer.echo(
            f"{name}: honest {lowest:.2f} at least, {last:.2f} at the end; out after {year.out_after} of {trades}"
        )
    curve = {count: round(score, 2) for count, score in honest_curve((10, 50, 100, 200, 400)).items()}
    typer.echo(f"honest, 7 members, after so many own trades: {curve}")
    for start in (1.0, 9.0):
        for share in (1.0, 0.5, 0.2, 0.05):
            found = trades_until_out(share, start=start)
            typer.echo(
                f"from {start}, cheats in {share:.0%}: {len(found)} of 60 out, median after {median(found)} trades"
            )
    typer.echo(f"0.5 % accidents: {len(trades_until_out(0.005))} of 60 out in a year")


if __name__ == "__main__":
    typer.run(main)
