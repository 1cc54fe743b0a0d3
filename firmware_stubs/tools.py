"""``dpem stub record`` and ``dpem stub compare``: is the stub like the instrument?"""

import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from quantum.errors import InputError
from quantum.output import json_option, write_json

__all__ = ["compare_command", "record_command"]

_TCP = re.compile(r"tcp://(?P<host>[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:]+\]):(?P<ports>\d+(,\d+)*)\Z")
_LINE = re.compile(
    r"serial://(?P<device>/[^?]+)(\?(baud=(?P<baud>\d+))?&?(rtscts=(?P<rtscts>[01]))?)?\Z"
)


@click.command("record")
@click.argument("kind")
@click.option(
    "--address", required=True, help="The instrument: tcp://HOST:PORT or serial:///dev/..."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where the transcript goes; standard output unless given.",
)
@click.option(
    "--bind", default="127.0.0.1", show_default=True, help="HOST that clients connect to."
)
@click.option(
    "--identity", is_flag=True, help="Ask *IDN? first, and note the answer (id900, SCPI)."
)
def record_command(kind: str, address: str, out: Path | None, bind: str, identity: bool) -> None:
    """Stand between a client and the real instrument KIND and write down all that passes.

    The first line on standard error is "record KIND ADDRESS": let your client connect to that
    address instead. Ends with SIGINT or SIGTERM. Compare the transcript with our stub by
    "dpem stub compare".
    """
    from firmware_stubs.proxy import Scribe, run_frames, run_line, run_ports

    tcp, line = _TCP.match(address), _LINE.match(address)
    if tcp is None and line is None:
        raise InputError(
            f"--address must be tcp://HOST:PORT[,PORT] or serial:///dev/NAME, got {address!r}"
        )
    if out is not None and out.exists():
        raise InputError(f"{out} exists; a transcript never overwrites one")
    asked = _identity(kind, address) if identity else ""
    ended: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        ended.append(number)

    old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}

    def ready(where: str) -> None:
        click.echo(f"record {kind} {where}", err=True)

    target = sys.stdout if out is None else out.open("x", encoding="utf-8")
    try:
        scribe = Scribe(kind, target)
        scribe.head(address, datetime.now(UTC).isoformat(timespec="seconds"), asked)
        stop = lambda: bool(ended)  # noqa: E731
        if line is not None:
            run_line(
                Path(line["device"]),
                int(line["baud"] or 115200),
                line["rtscts"] == "1",
                scribe,
                stop,
                ready,
            )
        elif kind == "id900":
            run_frames(address, f"{bind}:0", scribe, stop, ready)
        else:
            assert tcp is not None
            ports = [int(port) for port in tcp["ports"].split(",")]
            run_ports(tcp["host"].strip("[]"), ports, bind, scribe, stop, ready)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        if out is not None:
            target.close()
            click.echo(f"{scribe.messages} messages in {out}", err=True)


def _identity(kind: str, address: str) -> str:
    from firmware_stubs.compare import compare
    from firmware_stubs.transcript import Turn

    said = b"*IDN?" if kind == "id900" else b"*IDN?\n"
    turn = Turn(said, b"\0", section="frames" if kind == "id900" else "")
    found = compare([turn], address)
    return found.differences[0].got.decode("utf-8", errors="replace").strip()


@click.command("compare")
@click.argument("transcript", type=click.Path(path_type=Path))
@click.argument("kind")
@click.option("--address", help="A stub that runs already; one is started unless given.")
@click.option("--scenario", type=click.Path(path_type=Path), help="For the stub that is started.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True)
@click.option("--speed", type=float, default=1.0, show_default=True)
@click.option("--section", help="Only the turns below this '== SECTION'.")
@click.option(
    "--numbers-free", is_flag=True, help="All numbers may differ, not only those of '<#' answers."
)
@json_option
def compare_command(
    transcript: Path,
    kind: str,
    address: str | None,
    scenario: Path | None,
    seed: int,
    speed: float,
    section: str | None,
    numbers_free: bool,
    json_path: str | None,
) -> None:
    """Say what the client says in TRANSCRIPT to our stub of KIND; exit code 1 where it differs."""
    from firmware_stubs.compare import compare, own_stub
    from firmware_stubs.transcript import describe, encode_bytes, read_transcript

    try:
        text = transcript.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        said = getattr(wrong, "strerror", None) or wrong
        raise InputError(f"cannot read {transcript}: {said}") from wrong
    turns = read_transcript(kind, text)
    if section is not None:
        turns = [turn for turn in turns if turn.section == section]
    if not any(turn.said for turn in turns):
        raise InputError(f"{transcript} holds nothing that a client says")
    for turn in turns:
        turn.section = "frames" if kind == "id900" else turn.section
    options = ["--seed", str(seed), "--speed", repr(speed)]
    options += ["--scenario", str(scenario)] if scenario is not None else []
    if address is not None:
        found = compare(turns, address, numbers_free=numbers_free)
    else:
        with own_stub(kind, options) as started:
            found = compare(turns, started, numbers_free=numbers_free)
    rows = [
        {
            "row": difference.turn.row,
            "said": encode_bytes(kind, difference.turn.said),
            "transcript": encode_bytes(kind, difference.turn.answered),
            "stub": encode_bytes(kind, difference.got),
        }
        for difference in found.differences
    ]
    report = {"kind": kind, "compared": found.compared, "skipped": found.skipped}
    write_json(report | {"ok": not rows, "differences": rows}, json_path)
    if json_path != "-":
        for difference in found.differences:
            turn = difference.turn
            click.echo(f"row {turn.row}: {encode_bytes(kind, turn.said)}")
            for text in describe(turn.answered, difference.got, kind):
                click.echo(text)
        more = f", {found.skipped} that nobody asked for" if found.skipped else ""
        click.echo(f"{found.compared} turns, {len(rows)} answered differently{more}")
    if rows:
        raise click.exceptions.Exit(1)
