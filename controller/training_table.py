"""What a training brought, as tables for people."""

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from controller.evolution.several import Averaged
from controller.evolution.training import Evolved
from controller.table import privacy_line
from controller.training import Training

__all__ = ["show_training"]

#: Generations that are shown of a long evolution: the first ones and the last.
_ROWS = 12


def show_training(found: Any) -> None:
    """Print an Evolved, an Averaged, a Training, or a mapping of two of them."""
    console = Console()
    for one in found.values() if isinstance(found, dict) else (found,):
        if isinstance(one, Evolved):
            _show_evolved(console, one)
        elif isinstance(one, Averaged):
            _show_averaged(console, one)
        else:
            _show_learned(console, one)


def _show_evolved(console: Console, found: Evolved) -> None:
    table = Table(title="gain over mean-rate, in fractions of the bound", box=box.SIMPLE)
    for name in ("generation", "candidates", "policy kept"):
        table.add_column(name, justify="right", no_wrap=True)
    every = max(1, -(-len(found.generations) // _ROWS))
    for one in found.generations[::-1][::every][::-1]:
        table.add_row(str(one.generation + 1), f"{one.candidates:+.4f}", f"{one.average:+.4f}")
    console.print(table)
    console.print(f"Policy: {found.policy} (from synthetic draws only)", soft_wrap=True)
    console.print(f"Learning state: {found.state}", soft_wrap=True)


def _show_averaged(console: Console, found: Averaged) -> None:
    table = Table(title="gain over mean-rate in the last generation", box=box.SIMPLE)
    for name in ("seed", "generations", "candidates", "policy kept", "file"):
        table.add_column(name, justify="left" if name == "file" else "right", overflow="fold")
    for seed, one in found.trainings.items():
        last = one.generations[-1]
        gains = f"{last.candidates:+.4f}", f"{last.average:+.4f}"
        table.add_row(seed, str(len(one.generations)), *gains, one.policy)
    console.print(table)
    console.print(f"Policy: {found.policy}, the mean of their weights", soft_wrap=True)


def _show_learned(console: Console, found: Training) -> None:
    table = Table(title="delivered, beside mean-rate on the same draws", box=box.SIMPLE)
    for name in ("seed", "delivered", "mean-rate", "difference", "of bound", "reward", "rounds"):
        table.add_column(name, justify="right", no_wrap=True)
    for e in found.episodes:
        table.add_row(
            str(e.seed),
            f"{e.delivery_rate:.3f}",
            f"{e.rival_delivery_rate:.3f}",
            f"{e.delivery_rate - e.rival_delivery_rate:+.4f}",
            f"{e.fraction_of_bound:.3f}",
            f"{e.reward:.1f}",
            str(e.rounds),
        )
    console.print(table)
    private = privacy_line(
        found.privacy, found.aggregator, found.federated_rounds, found.epsilon, found.delta
    )
    console.print(f"Policy: {found.policy} ({private})", soft_wrap=True)
    console.print(f"Learning state, not to be given away: {found.state}", soft_wrap=True)
