"""What a terminal shows while a run is going on."""

from rich.console import Group, RenderableType
from rich.spinner import Spinner
from rich.text import Text

from controller.table import Live, live_table
from quantum.egp import Telemetry

__all__ = ["progress_view"]


def progress_view(
    word: str, telemetry: Telemetry | None, left_s: float | None = None
) -> RenderableType:
    """Return the view of a stage: a spinner before the slots run, a table while they do.

    ``left_s`` are the seconds that the slots still take, about.
    """
    if telemetry is None:
        return Spinner("dots", text=f" {word} ...")
    table = live_table(
        Live(
            time_s=telemetry.slot * telemetry.slot_s,
            seconds=telemetry.horizon * telemetry.slot_s,
            pairs_requested=telemetry.requested,
            pairs_delivered=telemetry.delivered,
            contention=telemetry.contention,
            fidelity=telemetry.fidelity,
            rounds=telemetry.rounds,
            reward=telemetry.reward,
            left_s=left_s,
        )
    )
    facts = Text(
        f"{telemetry.executed:,} pairs executed, {telemetry.tested:,} tested, "
        f"{telemetry.stored:,} in memory",
        style="dim",
    )
    return Group(table, facts)
