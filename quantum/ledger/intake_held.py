"""The two kernels of a service, for tables that are unpacked once."""

from quantum.held import Held, tables_of
from quantum.kernels import kernel
from quantum.ledger.intake import play_slots as _play_slots
from quantum.ledger.intake import take_in as _take_in

__all__ = ["play_slots", "take_in"]


@kernel
def take_in(held: Held, asks: int) -> None:
    """See :func:`quantum.ledger.intake.take_in`."""
    world, ledger, rule, tables = tables_of(held)
    _take_in(world, ledger, rule, tables, asks)


@kernel
def play_slots(held: Held, slots: int) -> None:
    """See :func:`quantum.ledger.intake.play_slots`."""
    world, ledger, rule, tables = tables_of(held)
    _play_slots(world, ledger, rule, tables, slots)
