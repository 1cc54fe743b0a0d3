"""The two kernels of a service, for tables that are unpacked once."""

from typing import Any

from quantum.held import Held, keep, tables_of
from quantum.kernels import kernel
from quantum.ledger.intake import play_slots as _play_slots
from quantum.ledger.intake import take_in as _take_in

__all__ = ["play_slots", "take_in", "unpack"]


@kernel
def unpack(tables: tuple[Any, ...], address: int) -> int:
    """Unpack world, ledger, rule and intake; see :class:`quantum.held.Held`."""
    return keep(tables, address)


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
