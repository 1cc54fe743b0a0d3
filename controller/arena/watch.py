"""What a comparison shows while it plays: units done, time left, and the best guess so far."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from controller.arena.unit import Unit

__all__ = ["Guess", "watched"]

#: Where nobody looks, a line so often.
_EVERY_S = 60.0


class Guess:
    """Mean fractions of the bound so far, of the judged allocator and of its best rival."""

    def __init__(self, allocators: Sequence[str]) -> None:
        self._sums = dict.fromkeys(allocators, 0.0)
        self._judged = allocators[0]
        self._count = 0

    def add(self, unit: Unit) -> None:
        """Count a unit; those that nobody could play say nothing."""
        if unit.note is None:
            self._count += 1
            for name in self._sums:
                self._sums[name] += unit.allocators[name].fraction_of_bound

    def __str__(self) -> str:
        """Say it in a few words; empty before the first unit."""
        if not self._count:
            return ""
        mean = {name: total / self._count for name, total in self._sums.items()}
        said = f"{self._judged} {mean[self._judged]:.3f} of the bound"
        rivals = [name for name in mean if name != self._judged]
        if not rivals:
            return said
        best = max(rivals, key=lambda name: mean[name])
        return f"{said}, best rival {best} {mean[best]:.3f}"


@contextmanager
def watched(
    total: int, allocators: Sequence[str], *, there: int, console: Console
) -> Iterator[Callable[[Unit], None]]:
    """Show the progress of ``total`` units on a console, ``there`` of which were played before."""
    guess = Guess(allocators)
    if not console.is_terminal:
        yield _lines(total, there, guess, console)
        return
    bar = Progress(
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with bar:
        # Only what is played now tells how long the rest will take.
        task = bar.add_task("comparing", total=total - there)
        told = 0

        def advance(unit: Unit) -> None:
            nonlocal told
            told += 1
            guess.add(unit)
            bar.update(task, description=str(guess) or "comparing")
            if told > there:
                bar.advance(task)

        yield advance


def _lines(total: int, there: int, guess: Guess, console: Console) -> Callable[[Unit], None]:
    begun = last = time.monotonic()
    done = 0

    def advance(unit: Unit) -> None:
        nonlocal done, last
        done += 1
        guess.add(unit)
        now = time.monotonic()
        if now - last < _EVERY_S or done <= there:
            return
        last = now
        left = (now - begun) / (done - there) * (total - done)
        console.print(f"{done} of {total} units, {left / 60:.0f} min left; {guess}", soft_wrap=True)

    return advance
