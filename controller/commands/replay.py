"""``dpem replay``: check a run folder, first its bytes, then that it plays again."""

import dataclasses
import sys
from contextlib import nullcontext
from pathlib import Path

import click
import msgspec

from quantum.errors import InputError
from quantum.output import json_option, write_json

__all__ = ["command"]


@click.command("replay")
@click.argument("run", metavar="RUN")
@click.option("--twin", is_flag=True, help="The twin must decide the same (runs with --no-learn).")
@json_option
def command(run: str, twin: bool, json_path: str | None) -> None:
    """Verify the run folder RUN: every byte, then every slot, pair and test once more.

    RUN may also be a unit that ``dpem compare --keep`` kept (DIR/kept/UNIT): every allocator plays
    it again, and must decide the same.

    With ``--twin`` the run is compared with the twin, which decides anew instead of being told.

    Fidelities and outcomes of simulators are computed again; what instruments counted is taken as
    recorded. Exit code 1 where anything does not agree.
    """
    from rich.console import Console
    from rich.progress import Progress

    from quantum.record import read

    folder = Path(run)
    if (folder / "unit.json").is_file():
        if twin:
            raise InputError("--twin is for run folders; a unit is played by the twin anyway")
        _unit(folder, json_path)
        return
    # Written only where somebody is there to see it.
    shown, console = sys.stderr.isatty(), Console(stderr=True)
    with console.status(f" checking {folder} ...") if shown else nullcontext():
        record = read(folder)
        if twin:
            from controller.parity import check_playable, parity

            # Before the replay, which may take minutes.
            check_playable(record)
        from controller.replaying import replay
    with Progress(console=console, transient=True, disable=not shown) as bar:
        task = bar.add_task("playing again", total=len(record.events) + 1)
        done = replay(record, lambda line: bar.update(task, completed=line))
        if twin:
            bar.add_task("playing the twin", total=None)
            equal = parity(record)
    result = {
        "run_dir": str(folder),
        "verified": True,
        "replayed": True,
        "events": record.seal.events,
        "files": len(record.seal.files),
        "digest": record.seal.digest,
        **dataclasses.asdict(done),
    }
    if twin:
        result["twin"] = dataclasses.asdict(equal)
    write_json(result, json_path)
    if json_path == "-":
        return
    click.echo(
        f"Verified: {record.seal.events:,} chained events and {len(record.seal.files):,} files "
        f"are as they were sealed (digest {record.seal.digest[:16]})."
    )
    click.echo(
        f"Replayed: {done.slots:,} slots, {done.decisions:,} decisions, {done.pairs:,} pairs and "
        f"{done.tests:,} tests came out again."
    )
    if done.recomputed_tests < done.tests:
        taken = done.tests - done.recomputed_tests
        click.echo(f"{taken:,} of the tests are instruments' counts, taken as recorded.")
    if twin:
        click.echo(
            f"The twin took the same {equal.decisions:,} decisions and made the same "
            f"{equal.pairs:,} pairs (digest {equal.decision_digest[:16]})."
        )
    if not done.complete:
        click.echo("The run was interrupted: this is the record up to there.")


def _unit(folder: Path, json_path: str | None) -> None:
    """Play a kept unit of a comparison again."""
    from controller.arena.keeping import play_again

    done = play_again(folder)
    write_json({"unit": str(folder), "replayed": True, **msgspec.structs.asdict(done)}, json_path)
    if json_path != "-":
        click.echo(
            f"Replayed: {done.slots:,} slots by {len(done.allocators)} allocators; "
            f"{done.decisions:,} decisions came out again."
        )
